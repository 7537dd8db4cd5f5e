"""The view of a calibration: the measured rates of this machine."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.calibrate import CalibrateDocument
from splitpoint.profiles.units import format_fraction

__all__ = ["calibrate_view"]


def __dir__() -> list[str]:
    return __all__


def calibrate_view(document: CalibrateDocument) -> RenderableType:
    """What `splitpoint calibrate` measured; the spread is between two runs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("two runs differ by", justify="right", no_wrap=True)
    for row in document.rows:
        table.add_row(row.name, row.value, "" if row.spread is None else format_fraction(row.spread))
    lines = [f"wrote {document.written}, machine {document.fingerprint}", f"→ {document.next}"]
    warning = (
        [Text(document.warning, style="yellow" if document.usable else "bold red")]
        if document.warning is not None
        else []
    )
    return Group(table, *warning, Text("\n".join(lines)))
