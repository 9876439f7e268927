"""What one tenant is: its records and the view they fold to."""
