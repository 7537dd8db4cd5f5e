"""The answer of a plan: what to deploy, why, and what the best answer of every other kind would cost instead."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from splitpoint.planner.deploy.schema import Alternative, Kind
from splitpoint.planner.output.documents.point import PointRow, latency_words
from splitpoint.planner.output.terminal.figures import size_text
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.place import codec_text
from splitpoint.profiles.units import format_fraction

__all__ = ["answer_rows", "answer_title"]


def __dir__() -> list[str]:
    return __all__


def answer_title(row: PointRow, kind: Kind) -> str:
    """What to deploy: "split after blocks.3 (24 % of the MACs on the device), kltq-rans q5"."""
    network = "" if row.variant == GIVEN else f" ({row.variant})"
    if kind == "device":
        return f"run all of it on the device{network}"
    share = "" if row.head_share is None else f" ({format_fraction(row.head_share)} of the MACs on the device)"
    place = f"split {row.cut}{network}{share}" if kind == "split" else f"{row.cut}{network}"
    return f"{place}, {codec_text(row.codec, row.rate)}"


def answer_rows(
    row: PointRow, reason: str, instead: Sequence[Alternative], checked: str | None, not_certain: str | None
) -> Table:
    """The figures of the answer, why it is recommended, what there is instead, and what the report set says.

    `not_certain` is the deadline that its latency's interval contains, and what to measure.
    """
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    lost = f"loses {100 * row.lost:.1f} points [{100 * row.lost_low:.1f}, {100 * row.lost_high:.1f}]"
    quality = f"{row.metric} {row.value:.2f}, {lost}"
    table.add_row("  gives", f"{size_text(row.payload_bytes, row.channel_uses)} · {latency_words(row)} · {quality}")
    if not_certain is not None:
        table.add_row("  but", Text(not_certain, style="yellow"))
    table.add_row("  why", reason)
    for number, other in enumerate(instead):
        table.add_row("" if number else "  instead", Text(_instead_text(other)))
    if checked is not None:
        table.add_row("  checked", checked)
    return table


def _instead_text(other: Alternative) -> str:
    codec = "" if other.codec == "-" else f", {codec_text(other.codec, other.rate)}"
    point = "" if other.number is None else f" (point {other.number})"
    return f"{other.place}{codec}{point}: {other.price}"
