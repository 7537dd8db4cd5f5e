"""The document of ``splitpoint map``: where splitting pays, for devices against link rates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.payoff import Cell, Row
from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.choice.answer import point_text
from splitpoint.planner.choice.intervals import LEVEL
from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.escape import printable_line
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import place_text
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_fraction, format_rate

__all__ = ["LARGE_GAIN", "LegendRow", "MapCell", "MapDocument", "MapRow", "map_document"]


def __dir__() -> list[str]:
    return __all__


LARGE_GAIN = 0.2  # of what is preferred: by more than that a letter is a capital
LETTERS = "ABCEFGHJKLMNOQRSTUVWXYZ"  # of splits; D is the device, P the picture, I another input
NOTHING = "."


class MapCell(Value, frozen=True, kw_only=True):
    """The answer on one device over one link."""

    letter: str  # of the legend; a capital where it wins by more than 20 %; ".": nothing meets every limit
    kind: Kind | None
    what: str | None  # "after blocks.10, kltq-rans q6"
    number: int | None  # on the plan's front; None: it wins elsewhere only
    gain: float | None  # share of the preferred quantity saved against the best other kind; None: no other kind fits
    latency_s: float | None
    payload_bytes: float | None
    value: float | None  # quality
    unmeasured: int  # candidates that were not measured and could be better
    faster_share: float | None  # of draws in which it is the fastest; None: no other kind fits, or it is not the aim
    certain: (
        bool  # it wins in 90 of 100 draws, where latency is preferred, and its deadline holds at the interval's end
    )


class MapRow(Value, frozen=True, kw_only=True):
    """One device over all links, in the order of the columns."""

    device: str  # or the multiple of its speed: "x1/4"
    whole_s: float | None  # of the whole network on it
    cells: tuple[MapCell, ...]
    reason: str  # why there are no cells; empty: there are


class LegendRow(Value, frozen=True, kw_only=True):
    """What a letter is, and in how many cells it stands."""

    letter: str
    kind: Kind
    place: str
    cells: int


class MapDocument(Document, frozen=True, kw_only=True, tag="map"):
    """The answer of ``splitpoint map``."""

    header: str
    need: str
    prefer: str  # what the answer of a cell is best in
    rates_bit_s: tuple[float, ...]  # mean uplink rates: the columns
    rows: tuple[MapRow, ...]  # the slowest device first
    legend: tuple[LegendRow, ...]
    split_cells: int
    empty_cells: int  # nothing meets every limit
    answer: str  # does splitting pay, in one sentence
    uncertain_cells: int  # whose winner or deadline is not certain
    unmeasured_cells: int  # where a candidate that was not measured could be better


def map_document(
    record: PlanRecord, changes: Changes, rows: Sequence[Row], rates_bit_s: Sequence[float], *, name: str, speeds: bool
) -> MapDocument:
    """`rows` as the document of the network called `name`; with `speeds` they are multiples of one device's speed."""
    _, question = ask(record, changes)
    numbers = {candidate: number for number, candidate in enumerate(record.front, start=1)}
    legend = _legend([cell for row in rows for cell in row.cells])
    letters = {(entry.kind, entry.place): entry.letter for entry in legend}

    def shown(cell: Cell) -> MapCell:
        point = cell.point
        if point is None or cell.kind is None:
            return _empty(cell)
        share = cell.faster_share if question.aim.prefer == "latency" else None
        letter = letters[cell.kind, place_text(point, with_variant=True)]
        return MapCell(
            letter=letter if cell.gain is None or cell.gain > LARGE_GAIN else letter.lower(),
            kind=cell.kind,
            what=point_text(point),
            number=numbers.get(point.candidate),
            gain=cell.gain,
            latency_s=point.cost.latency_s if math.isfinite(point.cost.latency_s) else None,
            payload_bytes=point.cost.payload_bytes,
            value=point.accuracy.value,
            unmeasured=cell.unmeasured,
            faster_share=share,
            certain=cell.certain and (share is None or share >= LEVEL),
        )

    table = tuple(
        MapRow(device=row.name, whole_s=row.whole_s, cells=tuple(map(shown, row.cells)), reason=row.reason)
        for row in rows
    )
    cells = [cell for row in table for cell in row.cells]
    return MapDocument(
        header=printable_line(
            f"{name} · {f'{question.device.name} at multiples of its speed' if speeds else 'devices'}"
            f" ──{question.channel.link.name} at other rates──> {question.server.name}"
        ),
        need=needs_text(question.needs, record.points[0].accuracy.metric),
        prefer=question.aim.prefer,
        rates_bit_s=tuple(rates_bit_s),
        rows=table,
        legend=legend,
        split_cells=sum(cell.kind == "split" for cell in cells),
        empty_cells=sum(cell.kind is None for cell in cells),
        answer=_answer(table, rates_bit_s, question.aim.prefer),
        uncertain_cells=sum(not cell.certain for cell in cells),
        unmeasured_cells=sum(cell.unmeasured > 0 for cell in cells),
    )


def _empty(cell: Cell) -> MapCell:
    return MapCell(
        letter=NOTHING,
        kind=None,
        what=None,
        number=None,
        gain=None,
        latency_s=None,
        payload_bytes=None,
        value=None,
        unmeasured=cell.unmeasured,
        faster_share=None,
        certain=True,
    )


def _legend(cells: Sequence[Cell]) -> tuple[LegendRow, ...]:
    """The places that answer anywhere: the device, what is sent as input, then splits from the input on."""
    found: dict[tuple[Kind, str], Evaluated] = {}
    counts: Counter[tuple[Kind, str]] = Counter()
    for cell in cells:
        if cell.point is not None and cell.kind is not None:
            key = cell.kind, place_text(cell.point, with_variant=True)
            found.setdefault(key, cell.point)
            counts[key] += 1
    order = sorted(found, key=lambda key: (_ORDER[key[0]], found[key].head_share or 0.0, key[1]))
    names = iter(LETTERS)
    rows = []
    for kind, place in order:
        plain = {"all on device": "D", "send picture": "P", "send input": "I"}.get(place)
        rows.append(LegendRow(letter=plain or next(names, "?"), kind=kind, place=place, cells=counts[kind, place]))
    return tuple(rows)


_ORDER: Mapping[Kind, int] = {"device": 0, "input": 1, "split": 2}


def _answer(rows: Sequence[MapRow], rates_bit_s: Sequence[float], prefer: str) -> str:
    """Does splitting pay: in how many cells, by how much, on which devices and over which links."""
    total = sum(len(row.cells) for row in rows)
    wins = [
        (row.device, rate, cell.gain)
        for row in rows
        for rate, cell in zip(rates_bit_s, row.cells, strict=False)
        if cell.kind == "split"
    ]
    if not wins:
        return f"No split wins in any of {count_text(total, 'cell')}."
    devices = list(dict.fromkeys(device for device, _, _ in wins))
    rates = [rate for _, rate, _ in wins]
    gains = sorted(gain for _, _, gain in wins if gain is not None)
    alone = len(wins) - len(gains)
    texts = [f"A split wins in {len(wins)} of {count_text(total, 'cell')}"]
    if gains:
        ends = list(dict.fromkeys(format_fraction(max(0.0, gain)) for gain in (gains[0], gains[-1])))
        texts.append(f"by {' to '.join(ends)} of the {prefer}")
    if alone:
        texts.append(f"in {alone} of them nothing else meets every limit")
    span = list(dict.fromkeys(format_rate(rate) for rate in (min(rates), max(rates))))
    return f"{', '.join(texts)}: on {', '.join(devices)}; over links of {' to '.join(span)}."
