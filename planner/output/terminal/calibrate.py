"""The view of a calibration: the measured rates of this machine, or the fit to latencies that a user has."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.calibrate import CalibrateDocument
from splitpoint.planner.output.terminal.figures import command_line
from splitpoint.profiles.units import format_fraction, format_seconds

__all__ = ["calibrate_view"]


def __dir__() -> list[str]:
    return __all__


def calibrate_view(document: CalibrateDocument) -> RenderableType:
    """What `splitpoint calibrate` measured, with the spread of two runs; or what it fitted, with its errors."""
    if document.fingerprint is None:
        return Group(_left_out(document, "yours"), *_warning(document), *_last_lines(document))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measured", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("two runs differ by", justify="right", no_wrap=True)
    for row in document.rows:
        table.add_row(row.name, row.value, "" if row.spread is None else format_fraction(row.spread))
    checked = [_left_out(document, "measured")] if document.left_out else []
    return Group(table, *checked, *_warning(document), *_last_lines(document))


def _left_out(document: CalibrateDocument, measured: str) -> Table:
    """Each network that was not fitted to, as the rest predicts it; `measured` is what its seconds are called."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network, left out", overflow="fold")
    for name in (measured, "predicted", "factor"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in document.left_out:
        factor = f"x{row.predicted_s / row.seconds:.2f}"
        table.add_row(row.network, format_seconds(row.seconds), format_seconds(row.predicted_s), factor)
    return table


def _last_lines(document: CalibrateDocument) -> list[Text]:
    machine = "" if document.fingerprint is None else f", machine {document.fingerprint}"
    lines = [Text(f"wrote {document.written}{machine}"), command_line(f"→ {document.next}")]
    if document.prediction_error is None or document.interval_factor is None:
        return lines
    error = (
        f"networks that were left out miss by x{document.prediction_error:.2f} on average;"
        f" 90 % of others are expected within x{document.interval_factor:.2f}"
    )
    return [Text(error), *lines]


def _warning(document: CalibrateDocument) -> list[Text]:
    if document.warning is None:
        return []
    return [Text(document.warning, style="yellow" if document.usable else "bold red")]
