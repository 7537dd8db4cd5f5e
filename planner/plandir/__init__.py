"""Plan directories: written, read back, run on the report set and verified."""
