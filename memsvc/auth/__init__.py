"""Who calls, and how far that reaches: credentials, grants, and what each method needs."""
