"""What commands print with --json: one typed document each, with its version. May import all of the planner."""
