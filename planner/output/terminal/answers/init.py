"""The view of a configuration that was drafted: what is guessed, what is missing, and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from splitpoint.planner.output.terminal.figures import command_line, next_step
from splitpoint.planner.values.plurals import count_text

__all__ = ["init_view"]


def __dir__() -> list[str]:
    return __all__


def init_view(out: Path, *, guesses: int, missing: Sequence[str]) -> RenderableType:
    """What was written, and the next step."""
    lines = [f"wrote {out}: {count_text(guesses, 'line')} marked GUESS"]
    lines += [f"fill in {text}" for text in missing]
    return Group(*map(Text, lines), command_line(f"next  {next_step('plan', str(out))}"))
