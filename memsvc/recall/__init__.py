"""From a query to ranked entries."""
