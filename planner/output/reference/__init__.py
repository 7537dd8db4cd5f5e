"""Pages of docs/reference that are made of the code."""
