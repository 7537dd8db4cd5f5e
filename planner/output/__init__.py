"""What commands print: documents for --json, and their views in the terminal."""
