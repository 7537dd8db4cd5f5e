"""What a chart of the report is: a Plotly figure of plain values, a sentence, and a table that says the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Axis", "Chart", "Figure", "Table", "axis_of", "plain", "scale_of"]


def __dir__() -> list[str]:
    return __all__


Figure = Mapping[str, Any]  # "data" and "layout" as plotly.js takes them; colours are names of the page's style
WIDE = 100.0  # largest over smallest value from which an axis is logarithmic


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of text under headers; the first column names the row."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: int | None = None  # the row that stands out


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """A quantity that the reader may put on an axis: a value for each row of the chart's data, in SI units."""

    key: str
    title: str
    values: tuple[float | None, ...]
    format: str = "~s"  # d3's: SI prefixes
    unit: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart, or the sentence that says why there is none."""

    key: str
    title: str
    text: str  # what it shows, in a sentence or two; read aloud in place of the drawing
    figure: Figure | None = None
    table: Table | None = None
    axes: tuple[Axis, ...] = ()  # the first is x, the second y until the reader chooses others
    groups: tuple[tuple[int, ...], ...] = ()  # with axes: the rows that each trace draws


def plain(text: str) -> str:
    """`text` as Plotly draws it letter by letter: its own small HTML (<b>, <a href>) is escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def axis_of(axis: Axis) -> dict[str, Any]:
    """The layout of an axis of this quantity."""
    return {
        "title": {"text": axis.title},
        **scale_of(axis.values),
        "tickformat": axis.format,
        "ticksuffix": axis.unit,
    }


def scale_of(values: Sequence[float | None]) -> dict[str, Any]:
    """The layout of an axis on which `values` can be told apart: by decades where they are positive and far apart."""
    known = [value for value in values if value is not None]
    far = bool(known) and min(known) > 0 and max(known) / min(known) >= WIDE
    return {"type": "log", "dtick": 1} if far else {"type": "linear", "nticks": 7}
