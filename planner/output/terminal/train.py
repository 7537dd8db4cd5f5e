"""The view of what was trained ahead."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.train import TrainDocument, TrainRow
from splitpoint.planner.output.terminal.figures import command_line

__all__ = ["train_view"]


def __dir__() -> list[str]:
    return __all__


UNKNOWN = "-"
WIDEST = 20  # a word of a name that is never broken
STATES = {
    "kept": "kept",
    "trained": "trained now",
    "loaded": "trained elsewhere",
    "not begun": "not begun",
    "refused": "not trained",
}


def train_view(document: TrainDocument) -> RenderableType:
    """One row a candidate in the order of training, the reasons of those that were not, and what to type next."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name, texts in (("what", [row.name for row in document.rows]), ("where", [row.where for row in document.rows])):
        longest = max((len(word) for text in texts for word in text.split()), default=0)
        table.add_column(name, overflow="fold", min_width=min(longest, WIDEST))
    for name in ("steps", "inputs", "minutes", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in document.rows:
        table.add_row(row.name, row.where, *_spent(row), STATES[row.state])
    lines = [f"{row.name} {row.where}: {row.reason}" for row in document.rows if row.reason is not None]
    lines += [f"note  {note}" for note in document.notes if not note.startswith("left out: ")]  # rows have those
    return Group(table, *map(Text, lines), command_line(f"next: {document.next}"))


def _spent(row: TrainRow) -> tuple[str, str, str, str]:
    """Steps, inputs, minutes and the sum of the losses, as far as they are known."""
    if row.steps is None or row.inputs is None or row.minutes is None or row.losses is None:
        return UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN
    return f"{row.steps:,}", f"{row.inputs:,}", f"{row.minutes:.1f}", f"{sum(row.losses.values()):.3g}"
