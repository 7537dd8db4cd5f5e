"""The table of points, its plot, and the words under it that explain its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.output.documents.point import PointRow
from splitpoint.planner.output.plot import scatter
from splitpoint.planner.output.terminal.figures import whole_parts
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.place import codec_text
from splitpoint.profiles.units import format_bytes, format_fraction, format_seconds, format_span, format_uses

__all__ = ["LEAST_ROWS", "points_legend", "points_plot", "points_table", "squeezed"]


def __dir__() -> list[str]:
    return __all__


AFTER = "after "  # how the text of a split begins, which the column's name says already
END_OF_CUT = 3  # characters of a long name of a cut that stay, its number mostly: "featur….13"
STAR = "★"  # the recommended point
SHOWN = "▸"  # the point that ``show --point`` asks for
NEVER = "never"  # its message can never arrive
NOT_CERTAIN = "?"  # the interval of its latency reaches over the deadline; a map marks cells with it, too
PLOT_ROWS, LEAST_ROWS = 8, 4  # of a plot, and the fewest that are still one
INTERVAL = "90 % within"  # the column of a modelled latency's interval
NARROWEST = 60  # columns of a table; below, each point is a block of lines
SHORTEST_NAME = 9  # columns that a network, a cut or a codec gets at least
WIDEST_NETWORK = 28  # columns of a network's name
NETWORK_SHARE = 0.36  # of what names share


class _Column(NamedTuple):
    """One column of a table of points."""

    name: str
    texts: tuple[str, ...]
    justify: Literal["left", "right"] = "right"

    @property
    def width(self) -> int:
        return max(map(len, (self.name, *self.texts)))


def points_table(rows: Sequence[PointRow], title: str, *, share: float | None, width: int) -> RenderableType:
    """Points with units, at most `width` columns wide; where the figures come from stands in the title.

    Numbers and marks are never cut off: names are shortened, then the interval of the latency, what is stored once and
    the device's share of the MACs are left out, and below `NARROWEST` columns each point is a block of lines. `share`
    is the fraction of cases in which the deadline must hold: the latency of that case then stands beside the mean.
    """
    fitting, several = _fitting(rows, share, width), any(row.variant != GIVEN for row in rows)
    if fitting is None:
        return _blocks(rows, title, share=share, width=width)
    (number, *figures, notes), spare = fitting
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    placed = [number, *_names(rows, spare, several=several), *figures, notes]
    if any(column.name == "MACs" for column in figures):  # it belongs to the cut, which it follows
        share_of_macs = next(column for column in figures if column.name == "MACs")
        placed.remove(share_of_macs)
        placed.insert(2 + several, share_of_macs)
    for column in placed:
        table.add_column(column.name, justify=column.justify, no_wrap=True, min_width=column.width)
    for index, row in enumerate(rows):
        table.add_row(*(column.texts[index] for column in placed), style="bold" if "recommended" in row.notes else "")
    return table


def _fitting(rows: Sequence[PointRow], share: float | None, width: int) -> tuple[list[_Column], int] | None:
    """The columns beside the names that `width` has room for, and what the names share; None: a block a point."""
    columns, names = _columns(rows, share), 3 if any(row.variant != GIVEN for row in rows) else 2
    for optional in (INTERVAL, "+ once", "MACs", None):
        spare = width - sum(column.width + 1 for column in columns) - names
        if width >= NARROWEST and spare >= names * SHORTEST_NAME:
            return columns, spare
        columns = [column for column in columns if column.name != optional]
    return None


def _columns(rows: Sequence[PointRow], share: float | None) -> list[_Column]:
    """The columns that are shown whole: number, figures, notes."""
    metric = rows[0].metric if rows else "quality"
    on_air = any(row.channel_uses is not None for row in rows)
    latencies = {"latency" if share is None else "mean": [row.latency_s for row in rows]}
    if share is not None:
        latencies[format_fraction(share)] = [row.deadline_latency_s for row in rows]
    return [
        _Column("#", tuple(map(_number, rows))),
        _Column("MACs", tuple("-" if row.head_share is None else format_fraction(row.head_share) for row in rows)),
        _Column(
            "uses" if on_air else "payload",
            tuple(_uses(row) if on_air else format_bytes(row.payload_bytes) for row in rows),
        ),
        _Column("+ once", tuple(format_bytes(row.side_bytes) for row in rows)),
        *(_Column(name, tuple(map(_latency, seconds))) for name, seconds in latencies.items()),
        *(
            [_Column(INTERVAL, tuple(map(_interval, rows)))]
            if any(row.latency_low_s is not None for row in rows)
            else []
        ),
        _Column(
            f"{metric} lost %",
            tuple(f"{row.value:.2f} {100 * row.lost:4.1f} ±{50 * (row.lost_high - row.lost_low):.1f}" for row in rows),
            "left",
        ),
        _Column("", tuple(" ".join(_marks(row)) for row in rows), "left"),
    ]


def _names(rows: Sequence[PointRow], spare: int, *, several: bool) -> list[_Column]:
    """Networks (of `several`), cuts and codecs in `spare` columns together."""
    networks: list[_Column] = []
    if several:
        longest = max(len("network"), *(len(row.variant) for row in rows))
        wide = min(WIDEST_NETWORK, longest, max(len("network"), round(NETWORK_SHARE * spare)))
        networks = [_Column("network", tuple(_shortened(row.variant, wide) for row in rows), "left")]
        spare -= wide
    cuts = [row.cut.removeprefix(AFTER) if row.label is None else row.label for row in rows]
    codecs = [codec_text(row.codec, row.rate) for row in rows]
    longest_cut, longest_codec = (
        max(map(len, [name, *texts])) for name, texts in (("cut after", cuts), ("codec", codecs))
    )
    cut_width = min(longest_cut, max(len("cut after"), spare - longest_codec))
    codec_width = min(longest_codec, spare - cut_width)
    cuts = [squeezed(cut, cut_width, 0 if " " in cut else END_OF_CUT) for cut in cuts]  # words are cut at the end
    codecs = [
        _shortened(squeezed(text, codec_width, len(text) - len(row.codec)), codec_width)
        for text, row in zip(codecs, rows, strict=True)
    ]
    return [*networks, _Column("cut after", tuple(cuts), "left"), _Column("codec", tuple(codecs), "left")]


def _blocks(rows: Sequence[PointRow], title: str, *, share: float | None, width: int) -> RenderableType:
    """Each point as lines that wrap, its number and mark in front."""
    table = Table.grid(padding=(0, 1, 0, 0))
    numbers = _Column("", tuple(map(_number, rows)))
    table.add_column(justify="right", no_wrap=True, min_width=numbers.width)
    table.add_column(overflow="fold")
    for row, number in zip(rows, numbers.texts, strict=True):
        network = "" if row.variant == GIVEN else f"{row.variant}: "
        place = f"{network}{row.cut if row.label is None else row.label}"
        sent = format_bytes(row.payload_bytes) if row.channel_uses is None else format_uses(row.channel_uses)
        parts = [] if row.head_share is None else [f"{format_fraction(row.head_share)} of the MACs"]
        parts += [codec_text(row.codec, row.rate), sent]
        parts += [f"{format_bytes(row.side_bytes)} once"] if row.side_bytes else []
        parts += [_latency(row.latency_s)]
        parts += [] if row.latency_low_s is None else [f"{INTERVAL}: {_interval(row)}"]
        parts += [] if share is None else [f"{format_fraction(share)}: {_latency(row.deadline_latency_s)}"]
        parts += [
            f"{row.metric} {row.value:.2f}",
            f"lost {100 * row.lost:.1f} ±{50 * (row.lost_high - row.lost_low):.1f} %",
            *_marks(row),
        ]
        lines = [place, whole_parts(parts, width - numbers.width - 1)]
        table.add_row(number, Text("\n".join(lines), style="bold" if "recommended" in row.notes else ""))
    return Group(Text(title, style="bold"), table)


def _number(row: PointRow) -> str:
    """The number on the front, behind the mark of the point that is recommended, or shown."""
    mark = STAR if "recommended" in row.notes else SHOWN if "shown" in row.notes else ""
    return " ".join(filter(None, (mark, "" if row.number is None else str(row.number))))


def _latency(seconds: float | None) -> str:
    return NEVER if seconds is None else format_seconds(seconds)


def _interval(row: PointRow) -> str:
    if row.latency_low_s is None or row.latency_high_s is None:
        return "-"
    return format_span(row.latency_low_s, row.latency_high_s)


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _uses(row: PointRow) -> str:
    return "-" if row.channel_uses is None else f"{row.channel_uses:,.0f}"


def squeezed(text: str, width: int, end: int) -> str:
    """`text` in `width` columns: what is left out is before its last `end` characters, which tell rows apart."""
    if len(text) <= width or end > width - 2:
        return text  # the table cuts off what is too long
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def points_legend(*tables: Sequence[PointRow], share: float | None = None, width: int) -> Text:
    """What the words of tables of points of that `width` mean, of those that occur in one of them."""
    fitting = [_fitting(rows, share, width) for rows in tables]
    shown = {column.name for each in fitting if each is not None for column in each[0]}
    shown |= {"MACs", "+ once"} if None in fitting else set()  # which stand in every block
    rows = [row for table in tables for row in table]
    notes = {note for row in rows for note in row.notes}
    missed = dict.fromkeys(name for row in rows for name in row.misses)
    metric = rows[0].metric if rows else "quality"
    texts = ["MACs: share that the device computes."] if "MACs" in shown else []
    if any(row.channel_uses is not None for row in rows):
        texts.append(
            "uses: channel uses (real symbols) of each request, of coded bits their number over what a use carries at"
            " the link's rate."
        )
    else:
        texts.append("payload: bytes sent with each request.")
    if "+ once" in shown:
        texts.append("+ once: bytes of the codec's tables and weights, stored once.")
    if share is not None:
        texts.append(f"{format_fraction(share)}: latency that {format_fraction(share)} of the requests do not exceed.")
    texts.append(f"lost %: points of {metric}, estimated from all measured points, ± half of the 95 % interval.")
    if "recommended" in notes:
        texts.append(f"{STAR}: recommended.")
    if any("shown" in row.notes and "recommended" not in row.notes for row in rows):
        texts.append(f"{SHOWN}: shown here.")
    if "knee" in notes:
        texts.append("knee: the best compromise, farthest from the line between the extremes of the front.")
    if any(row.not_certain for row in rows):
        texts.append(f"{NOT_CERTAIN}: not certain to meet the deadline.")
    for name in missed:
        limit = LIMITS.get(name)
        texts.append(
            f"{NEVER}: its message cannot be sent over this link."
            if limit is None
            else f"{limit.short}: {limit.title(metric)} is outside its limit."
        )
    return Text(" ".join(texts), style="dim")


def points_plot(
    rows: Sequence[PointRow], *, deadline_s: float | None, width: int, height: int = PLOT_ROWS
) -> RenderableType:
    """The latency that is compared with the deadline, over what crosses; the recommended point has a star."""
    if len(rows) < 2 or height < LEAST_ROWS:
        return Group()
    on_air = any(row.channel_uses is not None for row in rows)
    points = [
        (
            row.deadline_latency_s,
            (row.channel_uses or 0.0) if on_air else row.payload_bytes,
            f"{row.number}{STAR if 'recommended' in row.notes else ''}",
        )
        for row in rows
        if row.deadline_latency_s is not None  # a point of the front always arrives
    ]
    name, unit = ("channel uses", "") if on_air else ("payload", "B")
    lines = scatter(
        points, deadline_s=deadline_s, width=min(width, 100) - 1, height=min(PLOT_ROWS, height), name=name, unit=unit
    )
    return Text("\n".join(["", *lines]))


def _marks(row: PointRow) -> list[str]:
    """What narrow tables show of a point's notes and of the limits that it misses, a word each."""
    marks = ["knee"] if "knee" in row.notes else []
    marks += [NOT_CERTAIN] if row.not_certain else []
    return [*marks, *(LIMITS[name].short if name in LIMITS else NEVER for name in row.misses)]
