"""The view of the cuts of a network."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.cuts import CutRow, CutsDocument
from splitpoint.planner.output.plot import bar
from splitpoint.planner.output.plurals import count_text, uncounted_text
from splitpoint.profiles.units import format_bytes, format_flops, format_fraction

__all__ = ["cuts_view"]


def __dir__() -> list[str]:
    return __all__


LEGEND = (
    "FLOPs: of the operators since the cut before. cum.: share of the network's FLOPs before the cut."
    " size: bytes that cross it without a codec."
)


def cuts_view(document: CutsDocument, *, refused: bool) -> RenderableType:
    """Cuts, then the places that are no cut (all of them with `refused`) and what is not counted."""
    parts: list[RenderableType] = [_table(document.cuts), Text(LEGEND, style="dim")]
    if document.refused and refused:
        parts.append(Text("\n".join(f"refused after {row.after}: {row.reason}" for row in document.refused)))
    elif document.refused:
        first, count = document.refused[0], count_text(len(document.refused), "place")
        parts.append(Text(f"refused {count}, such as after {first.after}: {first.reason} (--refused lists all)"))
    if document.inputs:
        parts.append(Text("\n".join(document.inputs)))
    if document.uncounted:
        parts.append(Text(uncounted_text(document.uncounted), style="yellow"))
    parts.append(Text(f"{count_text(len(document.cuts), 'cut')} of {document.model}, {format_flops(document.macs)}"))
    return Group(*parts)


def _by(shape: Sequence[int]) -> str:
    """The sizes, without the batch axis where there is one."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))


def _table(rows: Sequence[CutRow]) -> Table:
    """One row a cut; the bar is its bytes as a share of the largest."""
    largest = max((row.bytes for row in rows), default=1)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("after", overflow="fold", max_width=24)
    table.add_column("tensor", overflow="fold", max_width=16)
    for name in ("shape", "FLOPs", "cum.", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    before = 0
    for row in rows:
        table.add_row(
            str(row.index),
            row.layer,
            "+".join(row.tensors),
            " ".join(_by(shape) for shape in row.shapes),
            format_flops(row.head_macs - before),
            format_fraction(row.head_share),
            format_bytes(row.bytes),
            bar(row.bytes / largest),
        )
        before = row.head_macs
    return table
