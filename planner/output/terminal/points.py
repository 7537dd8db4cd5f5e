"""The table of points, its plot, and the words under it that explain its columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.output.documents.point import PointRow
from splitpoint.planner.output.plot import scatter
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.place import codec_text
from splitpoint.profiles.units import format_bytes, format_fraction, format_seconds, format_uses

__all__ = ["points_legend", "points_plot", "points_table", "squeezed"]


def __dir__() -> list[str]:
    return __all__


FIXED_WIDTH = 49  # columns of a table of points that cut, codec and notes leave: numbers and gaps
AFTER = "after "  # how the text of a split begins, which the column's name says already
END_OF_CUT = 3  # characters of a long name of a cut that stay, its number mostly: "featur….13"
STAR = "★"  # the recommended point
NEVER = "never"  # its message can never arrive


def points_table(rows: Sequence[PointRow], title: str, *, share: float | None, width: int) -> Table:
    """Points with units, at most `width` columns wide; where the figures come from stands in the title.

    `share` is the fraction of cases in which the deadline must hold: the latency of that case then stands beside the
    mean.
    """
    metric = rows[0].metric if rows else "quality"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("#", justify="right", no_wrap=True, min_width=2)
    several = any(row.variant != GIVEN for row in rows)
    latencies = ["latency"] if share is None else ["mean", format_fraction(share)]
    notes = [" ".join(_marks(row)) for row in rows]
    notes_width = max(map(len, notes), default=0)
    # Cut and codec share what the other columns leave, after 36 % for the network where it is shown.
    spare = max(20, width - FIXED_WIDTH - 8 * (len(latencies) - 1) - notes_width)
    if several:
        wide = min(28, max(len("network"), *(len(row.variant) for row in rows)), round(0.36 * spare))
        table.add_column("network", no_wrap=True, overflow="ellipsis", width=wide)
        spare -= wide + 1
    cuts = [row.cut.removeprefix(AFTER) if row.label is None else row.label for row in rows]
    codecs = [codec_text(row.codec, row.rate) for row in rows]
    longest = [max(map(len, [name, *texts])) for name, texts in (("cut after", cuts), ("codec", codecs))]
    cut_width = min(longest[0], max(len("cut after"), spare - longest[1]))
    codec_width = min(longest[1], spare - cut_width)
    cuts = [cut if " " in cut else squeezed(cut, cut_width, END_OF_CUT) for cut in cuts]  # words are cut at the end
    codecs = [squeezed(text, codec_width, len(text) - len(row.codec)) for text, row in zip(codecs, rows, strict=True)]
    table.add_column("cut after", no_wrap=True, overflow="ellipsis", max_width=cut_width)
    table.add_column("MACs", justify="right", no_wrap=True, min_width=4)
    table.add_column("codec", no_wrap=True, overflow="ellipsis", max_width=codec_width)
    on_air = any(row.channel_uses is not None for row in rows)
    for name in ("uses" if on_air else "payload", "+ once", *latencies):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column(f"{metric} lost %", no_wrap=True, min_width=14)
    table.add_column("", no_wrap=True, min_width=notes_width)
    for row, cut, codec, note in zip(rows, cuts, codecs, notes, strict=True):
        seconds = [row.latency_s] if share is None else [row.latency_s, row.deadline_latency_s]
        table.add_row(
            "" if row.number is None else str(row.number),
            *([row.variant] if several else []),
            cut,
            "-" if row.head_share is None else format_fraction(row.head_share),
            codec,
            _uses(row) if on_air else format_bytes(row.payload_bytes),
            format_bytes(row.side_bytes),
            *(NEVER if value is None else format_seconds(value) for value in seconds),
            f"{row.value:.2f} {100 * row.lost:4.1f} ±{50 * (row.lost_high - row.lost_low):.1f}",
            note,
            style="bold" if "recommended" in row.notes else "",
        )
    return table


def _uses(row: PointRow) -> str:
    return "-" if row.channel_uses is None else f"{row.channel_uses:,.0f}"


def squeezed(text: str, width: int, end: int) -> str:
    """`text` in `width` columns: what is left out is before its last `end` characters, which tell rows apart."""
    if len(text) <= width or end > width - 2:
        return text  # the table cuts off what is too long
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def points_legend(rows: Sequence[PointRow], *, share: float | None = None) -> Text:
    """What the words of a table of points mean, of those that occur in `rows`."""
    notes = {note for row in rows for note in row.notes}
    missed = dict.fromkeys(name for row in rows for name in row.misses)
    metric = rows[0].metric if rows else "quality"
    texts = ["MACs: share that the device computes."]
    if any(row.channel_uses is not None for row in rows):
        texts.append(
            "uses: channel uses (real symbols) of each request, of coded bits their number over what a use carries at"
            " the link's rate."
        )
    else:
        texts.append("payload: bytes sent with each request.")
    texts.append("+ once: bytes of the codec's tables and weights, stored once.")
    if share is not None:
        texts.append(f"{format_fraction(share)}: latency that {format_fraction(share)} of the requests do not exceed.")
    texts.append(f"lost %: points of {metric}, estimated from all measured points, ± half of the 95 % interval.")
    if "recommended" in notes:
        texts.append(f"{STAR}: recommended.")
    if "knee" in notes:
        texts.append("knee: the best compromise, farthest from the line between the extremes of the front.")
    for name in missed:
        limit = LIMITS.get(name)
        texts.append(
            f"{NEVER}: its message cannot be sent over this link."
            if limit is None
            else f"{limit.short}: {limit.title(metric)} is outside its limit."
        )
    return Text(" ".join(texts), style="dim")


def points_plot(rows: Sequence[PointRow], *, deadline_s: float | None, width: int) -> Text:
    """The latency that is compared with the deadline, over what crosses; the recommended point has a star."""
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
    show = format_uses if on_air else format_bytes
    return Text("\n".join(scatter(points, deadline_s=deadline_s, width=min(width, 100) - 1, show=show)))


def _marks(row: PointRow) -> list[str]:
    """What narrow tables show of a point's notes and of the limits that it misses, a word each."""
    marks = [STAR] if "recommended" in row.notes else []
    marks += ["knee"] if "knee" in row.notes else []
    return [*marks, *(LIMITS[name].short if name in LIMITS else NEVER for name in row.misses)]
