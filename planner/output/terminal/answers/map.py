"""The view of a map: a letter a cell, the legend, and the sentence that answers whether splitting pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.text import Text

from splitpoint.planner.choice.intervals import LEVEL
from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.output.documents.answers.map import LARGE_GAIN, MapDocument, MapRow
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_fraction, format_seconds

__all__ = ["map_view"]


def __dir__() -> list[str]:
    return __all__


STYLES: Mapping[Kind, str] = {"device": "blue", "input": "yellow", "split": "green"}
GAP = 1  # between columns
UNCERTAIN = "?"  # before the letter of a cell whose winner is not certain


def map_view(document: MapDocument, *, width: int) -> RenderableType:
    """The answer of ``splitpoint map``, at most `width` columns wide: the columns are continued below where needed."""
    return Group(
        Text(f"\n{document.header}"),
        Text.assemble(("need  ", "dim"), document.need, ("  best in  ", "dim"), document.prefer),
        *_blocks(document, width=width),
        Text(""),
        _legend(document),
        Text(f"\n{document.answer}", style="bold"),
        *_notes(document),
    )


def _blocks(document: MapDocument, *, width: int) -> Iterator[Text]:
    rates = [_short(rate) for rate in document.rates_bit_s]
    column = max(map(len, rates), default=1) + GAP
    seconds = ["" if row.whole_s is None else format_seconds(row.whole_s) for row in document.rows]
    seconds_width = max(map(len, seconds), default=0) + GAP
    longest = max((len(row.device) for row in document.rows), default=0)
    name_width = min(longest, max(8, width - seconds_width - len(rates) * column))
    at_once = max(1, (width - name_width - seconds_width) // column)
    for first in range(0, len(rates), at_once):
        shown = slice(first, first + at_once)
        head = "".join(f"{rate:>{column}}" for rate in rates[shown])
        yield Text(f"\n{'bit/s':>{name_width + seconds_width}}{head}", style="dim")
        for row, text in zip(document.rows, seconds, strict=True):
            if row.cells:
                yield _line(f"{_cut(row.device, name_width)}{text:>{seconds_width}}", row, shown, column)


def _line(name: str, row: MapRow, shown: slice, column: int) -> Text:
    line = Text(name)
    for cell in row.cells[shown]:
        style = "dim" if cell.kind is None else STYLES[cell.kind]
        line.append(
            f"{'' if cell.certain else UNCERTAIN}{cell.letter}".rjust(column),
            style=f"bold {style}" if cell.letter.isupper() else style,
        )
    return line


def _legend(document: MapDocument) -> Text:
    text = Text()
    for entry in document.legend:
        text.append(entry.letter, style=f"bold {STYLES[entry.kind]}")
        text.append(f" {'split ' if entry.kind == 'split' else ''}{entry.place} ({entry.cells}) · ")
    if document.empty_cells:
        text.append(f". nothing meets every limit ({document.empty_cells}) · ")
    text.append(f"capital: more than {format_fraction(LARGE_GAIN)} better than any other kind, or nothing else fits")
    return text


def _notes(document: MapDocument) -> Iterator[Text]:
    for row in document.rows:
        if row.reason:
            yield Text(f"{row.device}: left out, {row.reason}", style="yellow")
    if document.uncertain_cells:
        yield Text(
            f"{UNCERTAIN}: not certain, in {count_text(document.uncertain_cells, 'cell')}: the fastest in fewer than"
            f" {round(100 * LEVEL)} of 100 draws of the seconds of device and server, or a deadline that may not hold.",
            style="dim",
        )
    if document.unmeasured_cells:
        yield Text(
            f"In {count_text(document.unmeasured_cells, 'cell')} a candidate that was not measured could be better:"
            " splitpoint what-if names it.",
            style="dim",
        )


def _cut(name: str, width: int) -> str:
    return f"{name:<{width}}" if len(name) <= width else f"{name[: width - 1]}…"


def _short(bit_s: float) -> str:
    """A rate in at most five characters: "50k", "1M", "2.5M"."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if float(f"{bit_s:.3g}") >= factor:
            return f"{bit_s / factor:.3g}{unit}"
    return f"{bit_s:.3g}"
