"""``python -m splitpoint``: the command line."""

from splitpoint.cli import entry

if __name__ == "__main__":
    entry()
