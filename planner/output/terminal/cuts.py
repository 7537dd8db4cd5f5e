"""The view of the cuts of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.cuts import CutRow, CutsDocument
from splitpoint.planner.output.plot import bar
from splitpoint.planner.output.terminal.figures import whole_parts
from splitpoint.planner.values.plurals import count_text, uncounted_text
from splitpoint.profiles.units import format_bytes, format_flops, format_fraction, format_seconds

__all__ = ["cuts_view"]


def __dir__() -> list[str]:
    return __all__


LEGEND = (
    "FLOPs: of the operators since the cut before. cum.: share of the network's FLOPs before the cut."
    " size: bytes that cross it without a codec."
)
UNITS_LEGEND = " on CPU: operators before the cut that fall back from the accelerator."
SECONDS_LEGEND = (
    " whole: seconds of a request in float32 without a codec, as modelled: device, link and server ({parts})."
)
TENSORS = " Names of the tensors: --json, or a wider terminal."
GAP = 2  # between columns


def cuts_view(document: CutsDocument, *, refused: bool, width: int) -> RenderableType:
    """Cuts, then the places that are no cut (all of them with `refused`) and what is not counted.

    Names are shown whole: the bars go first, then the tensors' names, and then each cut is two lines.
    """
    legend, table = _cuts(document.cuts, width)
    if document.timed is not None:
        legend += SECONDS_LEGEND.format(parts=document.timed)
    if any(row.fallen_back for row in document.cuts):
        legend += UNITS_LEGEND
    parts: list[RenderableType] = [table, Text(legend, style="dim")]
    if document.refused and refused:
        parts.append(Text("\n".join(f"refused after {row.after}: {row.reason}" for row in document.refused)))
    elif document.refused:
        first, count = document.refused[0], count_text(len(document.refused), "place")
        parts.append(Text(f"refused {count}, such as after {first.after}: {first.reason} (--refused lists all)"))
    if document.units:
        parts.append(Text("\n".join(document.units)))
    if document.inputs:
        parts.append(Text("\n".join(document.inputs)))
    if document.uncounted:
        parts.append(Text(uncounted_text(document.uncounted), style="yellow"))
    parts.append(Text(f"{count_text(len(document.cuts), 'cut')} of {document.model}, {format_flops(document.macs)}"))
    return Group(*parts)


def _by(shape: Sequence[int]) -> str:
    """The sizes, without the batch axis where there is one."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape))


def _cuts(rows: Sequence[CutRow], width: int) -> tuple[str, RenderableType]:
    """The legend and the table in which every name is whole; the bar is a cut's bytes as a share of the largest."""
    largest = max((row.bytes for row in rows), default=1)
    figures = {
        "shape": [" ".join(_by(shape) for shape in row.shapes) for row in rows],
        "FLOPs": [
            format_flops(row.head_macs - (rows[place - 1].head_macs if place else 0)) for place, row in enumerate(rows)
        ],
        "cum.": [format_fraction(row.head_share) for row in rows],
        "size": [format_bytes(row.bytes) for row in rows],
    }
    if any(row.latency_s is not None for row in rows):
        figures["whole"] = ["-" if row.latency_s is None else format_seconds(row.latency_s) for row in rows]
    if any(row.fallen_back for row in rows):
        figures["on CPU"] = [str(row.fallen_back) for row in rows]
    names = {"#": [str(row.index) for row in rows], "after": [row.layer for row in rows]}
    tensors = {"tensor": ["+".join(row.tensors) for row in rows]}
    bars = {"": [bar(row.bytes / largest) for row in rows]}
    for columns, legend in (
        ({**names, **tensors, **figures, **bars}, LEGEND),
        ({**names, **tensors, **figures}, LEGEND),
        ({**names, **figures}, LEGEND + TENSORS),
    ):
        if sum(max(map(len, [name, *texts])) + GAP for name, texts in columns.items()) - GAP <= width:
            return legend, _table(columns)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for place, row in enumerate(rows):
        parts = [
            f"{name} {texts[place]}" if name in ("whole", "on CPU") else texts[place] for name, texts in figures.items()
        ]
        table.add_row(str(row.index), f"{row.layer}\n{whole_parts(parts, width - 5)}")
    return LEGEND + TENSORS, table


def _table(columns: Mapping[str, Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP // 2, 0, 0))
    for name, texts in columns.items():
        left = name in ("after", "tensor", "")
        table.add_column(name, justify="left" if left else "right", no_wrap=True, min_width=max(map(len, texts)))
    for texts in zip(*columns.values(), strict=True):
        table.add_row(*texts)
    return table
