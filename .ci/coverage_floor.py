"""Files of planner/ whose coverage is below the floor; exit 1 when there is one.

coverage_floor.py COVERAGE.json    COVERAGE.json: coverage json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FLOOR = 80.0  # percent of lines and branches of one file
FOLDER = "planner/"


def main(arguments: list[str]) -> int:
    """Print the files below the floor, the lowest first."""
    files = json.loads(Path(arguments[0]).read_text())["files"]
    found = {name: data["summary"]["percent_covered"] for name, data in files.items() if name.startswith(FOLDER)}
    if not found:
        print(f"no file of {FOLDER} was measured")
        return 1
    low = sorted((percent, name) for name, percent in found.items() if percent < FLOOR)
    for percent, name in low:
        print(f"{name}: {percent:.1f} %, expected at least {FLOOR:.0f} %")
    print(f"{len(found)} files of {FOLDER}, {len(low)} below {FLOOR:.0f} %, the lowest {min(found.values()):.1f} %")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
