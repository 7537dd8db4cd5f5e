"""Charts of measured points: the front, what each costs part by part, and its quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from splitpoint.planner.output.documents.point import LatencyParts, PointRow, latency_words
from splitpoint.planner.output.report.chart import Axis, Chart, Table, axis_of, plain
from splitpoint.planner.output.report.content import Content
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.place import codec_text
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import (
    format_bytes,
    format_fraction,
    format_joules,
    format_seconds,
    format_usd,
    format_uses,
)

__all__ = ["cost_chart", "front_chart", "point_name", "quality_chart"]


def __dir__() -> list[str]:
    return __all__


PARTS = LatencyParts.__struct_fields__
BAR_PX = 26  # height of a bar with its gap
MOST_BARS = 24  # of a chart, spread over the front; the table has all
MOST_INTERVALS = 60
MOST_TICKS = 15
SHIFT = 0.15  # of a point's intervals, so that none covers another


def point_name(row: PointRow) -> str:
    """Where it is cut and how it is coded: "after blocks.10, kltq-rans q6"."""
    network = "" if row.variant == GIVEN else f"{row.variant}: "
    codec = "" if row.codec == "-" else f", {codec_text(row.codec, row.rate)}"
    return f"{network}{row.cut}{codec}"


def front_chart(content: Content) -> Chart:
    """Every measured point; the reader chooses what is on the axes."""
    rows = content.rows
    axes = tuple(axis for axis in _axes(rows) if any(value is not None for value in axis.values))
    groups = (
        tuple(i for i, row in enumerate(rows) if row.number is None),
        tuple(i for i, row in enumerate(rows) if row.number not in (None, content.recommended)),
        tuple(i for i, row in enumerate(rows) if row.number == content.recommended),
    )
    styles: tuple[dict[str, Any], ...] = (
        {"name": "measured, not on the front", "marker": {"color": "faint", "size": 7, "symbol": "circle-open"}},
        {"name": "on the front", "marker": {"color": "accent", "size": 10}},
        {"name": "recommended", "marker": {"color": "strong", "size": 18, "symbol": "star"}},
    )
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [axes[0].values[i] for i in group],
            "y": [axes[1].values[i] for i in group],
            "hovertext": [_hover(rows[i]) for i in group],
            "hoverinfo": "text",
            **style,
        }
        for group, style in zip(groups, styles, strict=True)
    ]
    on_front, others = content.front, len(rows) - len(content.front)
    return Chart(
        key="front",
        title="The front",
        text=f"{count_text(len(on_front), 'point')} of the Pareto front, and {others} other measured"
        f" {'point' if others == 1 else 'points'} that another one beats or that miss a limit."
        f" Point {content.recommended} is recommended. Payload and quality are measured on the search set.",
        figure={"data": data, "layout": {"xaxis": axis_of(axes[0]), "yaxis": axis_of(axes[1]), "hovermode": "closest"}},
        table=_points_table(content),
        axes=axes,
        groups=groups,
    )


def cost_chart(content: Content) -> Chart:
    """The parts that add up to each point's latency, on bars."""
    rows = [row for row in _compared(content) if row.latency_s is not None]
    shown = _spread(rows, content.recommended)
    names = [_short(row, content) for row in shown]
    used = [name for name in PARTS if any(getattr(row.latency_parts_s, name) for row in rows)]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": names,
            "x": [getattr(row.latency_parts_s, name) for row in shown],
            "marker": {"color": f"part-{name}"},
            "hovertext": [f"{plain(point_name(row))}<br>{name} {_part(row, name)}" for row in shown],
            "hoverinfo": "text",
        }
        for name in used
    ]
    layout = {
        "barmode": "stack",
        "height": 150 + BAR_PX * len(shown),
        "xaxis": {"title": {"text": "latency"}, "tickformat": "~s", "ticksuffix": "s"},
        "yaxis": {"type": "category", "autorange": "reversed", "title": {"text": "point"}},
    }
    left_out = f" {len(shown)} of {len(rows)} are drawn, spread over the front." if len(shown) < len(rows) else ""
    table = Table(
        headers=("point", "where and how", *used, "latency", "how known"),
        rows=tuple(
            (
                _short(row, content),
                point_name(row),
                *(_part(row, name) for name in used),
                format_seconds(row.latency_s or 0.0),
                row.latency_how,
            )
            for row in rows
        ),
        marked=_place_of(content, rows),
    )
    return Chart(
        key="cost",
        title="What each point costs",
        text="The seconds of one inference, part by part; the parts add up to the latency. A half is measured (timed as"
        " exported), profiled (from operators timed on that machine) or modelled (from the machine's profile). D and P"
        f" are the simple answers where they are not on the front.{left_out}",
        figure={"data": data, "layout": layout} if shown else None,
        table=table,
    )


def quality_chart(content: Content) -> Chart:
    """What each point loses: the estimate, the count on the search set, and the count on the report set."""
    front, report = content.front[:MOST_INTERVALS], content.plan.report
    metric = content.plan.metric
    numbers = [row.number or 0 for row in front]
    estimated = [(row.lost, row.lost_low, row.lost_high) for row in front]
    counted = [(row.drop, row.drop_low, row.drop_high) for row in front]
    data = [
        _intervals("estimate from all points", "accent", "circle", numbers, estimated, shift=-SHIFT),
        _intervals("count on the search set", "faint", "circle-open", numbers, counted),
    ]
    checked = ""
    if report is not None:
        own = [(report.drop, report.drop_low, report.drop_high)]
        data.append(_intervals("count on the report set", "strong", "diamond", [content.plan.point], own, shift=SHIFT))
        search = content.plan.search
        checked = (
            f" Point {content.plan.point} was checked on {count_text(report.n, 'input')} that were never searched:"
            f" {metric.name} {report.value:.3f} {_interval(report.low, report.high)},"
            f" payload {format_bytes(report.payload_bytes)}; the search set said {search.value:.3f}"
            f" {_interval(search.low, search.high)}, {format_bytes(search.payload_bytes)}."
        )
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "point of the front"},
            "tickformat": "d",
            "dtick": -(-len(front) // MOST_TICKS) or 1,
        },
        "yaxis": {"title": {"text": f"{plain(metric.name)} lost"}, "tickformat": "~%"},
    }
    floor = content.plan.requirements.value("drop")
    if floor is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": floor,
                "y1": floor,
                "line": {"color": "strong", "dash": "dash"},
            }
        ]
    limit = "" if floor is None else f" The dashed line is the limit of {100 * floor:.3g} points."
    return Chart(
        key="quality",
        title="Quality",
        text=f"{metric.name} ({metric.unit}): {metric.definition}. Points of it that are lost against the unsplit"
        f" network, each with its 95 % interval.{limit}{checked}",
        figure={"data": data, "layout": layout} if front else None,
        table=Table(
            headers=("point", "set", metric.name, "95 %", "lost, estimate", "95 %", "lost, count", "95 %", "inputs"),
            rows=tuple(_quality_rows(content)),
        ),
    )


def _quality_rows(content: Content) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for row in content.front:
        count = f"{row.n} in {count_text(row.groups, 'group')}"
        ends = _interval(row.low, row.high), _lost_interval(row.lost_low, row.lost_high)
        counted = _points(row.drop), _lost_interval(row.drop_low, row.drop_high)
        rows.append(
            (str(row.number), "search", f"{row.value:.3f}", ends[0], _points(row.lost), ends[1], *counted, count)
        )
        report = content.plan.report
        if report is not None and row.number == content.plan.point:
            rows.append(
                (
                    *(str(row.number), "report", f"{report.value:.3f}", _interval(report.low, report.high), "-", "-"),
                    *(_points(report.drop), _lost_interval(report.drop_low, report.drop_high)),
                    f"{report.n} in {count_text(report.groups, 'group')}",
                )
            )
    return rows


def _axes(rows: Sequence[PointRow]) -> list[Axis]:
    on_air = any(row.channel_uses is not None for row in rows)

    def axis(key: str, title: str, read: Callable[[PointRow], float | None], **style: str) -> Axis:
        return Axis(key=key, title=title, values=tuple(map(read, rows)), **style)

    size = axis("payload", "payload (measured)", lambda row: row.payload_bytes, unit="B")
    uses = axis("uses", "channel uses", lambda row: row.channel_uses)
    return [
        uses if on_air else size,
        axis("latency", "latency", lambda row: row.latency_s, unit="s"),
        axis("quality", f"{plain(rows[0].metric)} (measured)", lambda row: row.value, format=".3~f"),
        axis("lost", f"{plain(rows[0].metric)} lost (estimate)", lambda row: row.lost, format="~%"),
        axis("deadline", "latency compared with the deadline", lambda row: row.deadline_latency_s, unit="s"),
        axis("share", "MACs on the device", lambda row: row.head_share, format="~%"),
        axis("memory", "memory of the head", lambda row: row.head_peak_bytes, unit="B"),
        axis("once", "tables and weights of the codec", lambda row: row.side_bytes, unit="B"),
        axis("energy", "energy of the device", lambda row: row.energy_j, unit="J"),
        axis("usd", "cost", lambda row: row.usd, unit=" USD"),
        axis("rate", "frame rate", lambda row: row.frame_rate, unit="/s"),
        *([size] if on_air else []),
    ]


def _hover(row: PointRow) -> str:
    number = "" if row.number is None else f"point {row.number}: "
    lines = [
        f"<b>{number}{plain(point_name(row))}</b>",
        f"{_sent(row)}, {latency_words(row)} ({row.latency_how})",
        f"{plain(row.metric)} {row.value:.3f} {_interval(row.low, row.high)},"
        f" lost {_points(row.lost)} {_lost_interval(row.lost_low, row.lost_high)}",
        *([] if row.head_share is None else [f"{format_fraction(row.head_share)} of the MACs on the device"]),
        *(plain(f"misses {note}") for note in row.notes if row.misses and note != "recommended"),
    ]
    return "<br>".join(lines)


def _points_table(content: Content) -> Table:
    rows = content.rows
    energy, usd = (any(getattr(row, name) is not None for row in rows) for name in ("energy_j", "usd"))
    return Table(
        headers=(
            *("point", "where and how", "MACs", "sent", "once", "latency", rows[0].metric, "lost, estimate", "95 %"),
            *(["energy"] if energy else []),
            *(["cost"] if usd else []),
            "misses",
        ),
        rows=tuple(
            (
                "-" if row.number is None else str(row.number),
                point_name(row),
                "-" if row.head_share is None else format_fraction(row.head_share),
                _sent(row),
                format_bytes(row.side_bytes),
                latency_words(row),
                f"{row.value:.3f}",
                _points(row.lost),
                _lost_interval(row.lost_low, row.lost_high),
                *([_known(row.energy_j, format_joules)] if energy else []),
                *([_known(row.usd, format_usd)] if usd else []),
                "; ".join(note for note in row.notes if row.misses and note != "recommended") or "-",
            )
            for row in rows
        ),
        marked=_place_of(content, rows),
    )


def _compared(content: Content) -> list[PointRow]:
    """The front, and the cheapest of each simple answer that is not on it."""
    found = list(content.front)
    for placement in ("device", "server"):
        rows = [row for row in content.rows if row.placement == placement and row.latency_s is not None]
        if rows and not any(row in found for row in rows):
            found.append(min(rows, key=lambda row: (bool(row.misses), row.lost > 0, row.latency_s or 0.0)))
    return found


def _spread(rows: Sequence[PointRow], recommended: int) -> list[PointRow]:
    """At most about `MOST_BARS` of `rows`: evenly spread ones, the recommended one, and the simple answers."""
    step = -(-len(rows) // MOST_BARS)
    return [row for i, row in enumerate(rows) if i % step == 0 or row.number in (None, recommended)]


def _short(row: PointRow, content: Content) -> str:
    if row.number is None:
        return "D" if row.placement == "device" else "P"
    return f"{row.number} ★" if row.number == content.recommended else str(row.number)


def _place_of(content: Content, rows: Sequence[PointRow]) -> int | None:
    return next((i for i, row in enumerate(rows) if row.number == content.recommended), None)


def _intervals(
    name: str,
    color: str,
    symbol: str,
    numbers: Sequence[int],
    values: Sequence[tuple[float, float, float]],
    *,
    shift: float = 0.0,
) -> dict[str, Any]:
    """Values with the two ends of their intervals, as points with error bars."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [number + shift for number in numbers],
        "y": [value for value, _, _ in values],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(0.0, high - value) for value, _, high in values],
            "arrayminus": [max(0.0, value - low) for value, low, _ in values],
            "color": color,
            "thickness": 1.5,
        },
        "marker": {"color": color, "symbol": symbol, "size": 9},
        "hovertext": [
            f"point {number}<br>{name}: {_points(value)} {_lost_interval(low, high)}"
            for number, (value, low, high) in zip(numbers, values, strict=True)
        ],
        "hoverinfo": "text",
    }


def _part(row: PointRow, name: str) -> str:
    how = {"head": row.head_how, "tail": row.tail_how}.get(name)
    seconds = getattr(row.latency_parts_s, name)
    return f"{format_seconds(seconds)}{f' ({how})' if how and seconds else ''}"


def _sent(row: PointRow) -> str:
    return format_bytes(row.payload_bytes) if row.channel_uses is None else format_uses(row.channel_uses)


def _known(value: float | None, show: Callable[[float], str]) -> str:
    return "-" if value is None else show(value)


def _points(share: float) -> str:
    return f"{100 * share:z.1f} points"


def _interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]"


def _lost_interval(low: float, high: float) -> str:
    return f"[{100 * low:z.1f}, {100 * high:z.1f}]"
