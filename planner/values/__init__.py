"""Values that stages hand to one another, and where stages report progress."""
