"""One requirement of pyproject.toml, as pip takes it: requirement.py NAME [--oldest].

Prints the requirement as it is written, or with --oldest ``NAME==`` the lower bound. Exit 1 with one line where there
is none.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Print the requirement named by the first argument."""
    name, oldest = arguments[0], "--oldest" in arguments[1:]
    for line in requirements(Path("pyproject.toml")):
        found = re.fullmatch(rf"{re.escape(name)}>=([0-9.]+).*", line)
        if found:
            print(f"{name}=={found[1]}" if oldest else line)
            return 0
    print(f"pyproject.toml has no requirement {name}>=VERSION", file=sys.stderr)
    return 1


def requirements(path: Path) -> list[str]:
    """Every requirement of the package and of its extras."""
    project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    groups: list[list[str]] = [project["dependencies"], *project["optional-dependencies"].values()]
    return [line for group in groups for line in group]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
