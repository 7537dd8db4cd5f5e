"""report.html: what a plan directory says, with charts, in one file that opens without a network."""
