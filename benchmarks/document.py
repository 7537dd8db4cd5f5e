"""Generated parts of pages in docs/: between two comments, replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from splitpoint.profiles.files.structs import read_text, write_text

__all__ = ["END", "begin", "generated", "replace"]

END = "<!-- end -->"


def begin(command: str) -> str:
    """The comment before the part that `command` writes."""
    return f"<!-- begin: {command} -->"


def generated(page: Path, command: str) -> str:
    """What stands in the page between the two comments, they included."""
    start = begin(command)
    _, found, rest = read_text(page).partition(start)
    return found + rest[: rest.index(END)] + END


def replace(page: Path, command: str, text: str) -> None:
    """Put `text`, which brings its two comments, in the place of the part that is there."""
    write_text(page, read_text(page).replace(generated(page, command), text))
