"""Charts of the network: what lies between its places, and what was predicted against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitpoint.planner.output.report.chart import Chart, Table, plain, scale_of
from splitpoint.planner.output.report.content import Content, PlaceRow, Prediction
from splitpoint.profiles.units import format_bytes, format_macs, format_seconds

__all__ = ["halves_chart", "places_chart", "sizes_chart"]


def __dir__() -> list[str]:
    return __all__


HEIGHT_PX = 620
DOMAINS = ((0.78, 1.0), (0.52, 0.74), (0.26, 0.48), (0.0, 0.22))  # of four charts, one above the other


def places_chart(content: Content) -> Chart:
    """MACs, bytes, seconds and compressibility from the input to the output, the plan's cut marked."""
    places = content.places
    if not places:
        return Chart(key="network", title="The network", text="What is known of its layers is not in this directory.")
    at = list(range(len(places)))
    hover = [_hover(i, place, content.codec) for i, place in enumerate(places)]
    codec = plain(content.codec)

    def trace(kind: str, panel: int, name: str, color: str, values: Sequence[float | None]) -> dict[str, Any]:
        style = {"line": {"color": color}, "connectgaps": True} if kind == "scatter" else {}
        return {
            "type": kind,
            "name": name,
            "x": at,
            "y": list(values),
            "yaxis": "y" if panel == 0 else f"y{panel + 1}",
            "marker": {"color": color},
            "hovertext": hover,
            "hoverinfo": "text",
            **style,
        }

    data = [
        trace("bar", 0, "MACs since the place before", "part-head", [place.macs for place in places]),
        trace("scatter", 1, "bytes that cross, uncompressed", "faint", [place.raw_bytes for place in places]),
        trace("scatter", 1, f"coded, {codec}", "accent", [place.coded_bytes for place in places]),
        trace("scatter", 2, "head on the device", "part-head", [place.head_s for place in places]),
        trace("scatter", 2, "tail on the server", "part-tail", [place.tail_s for place in places]),
        trace("scatter", 3, f"bits of an element, {codec}", "strong", [place.bits for place in places]),
    ]
    names = (("MACs", ""), ("bytes", "B"), ("seconds", "s"), ("bits", ""))
    series: tuple[list[float | None], ...] = (
        [],
        [place.raw_bytes for place in places] + [place.coded_bytes for place in places],
        [place.head_s for place in places] + [place.tail_s for place in places],
        [],
    )
    layout: dict[str, Any] = {
        "height": HEIGHT_PX,
        "hovermode": "closest",
        "xaxis": {"title": {"text": "place, from the input to the output"}, "anchor": "y4", "dtick": _step(len(at))},
    }
    for panel, ((title, unit), domain) in enumerate(zip(names, DOMAINS, strict=True)):
        layout["yaxis" if panel == 0 else f"yaxis{panel + 1}"] = {
            "domain": list(domain),
            "title": {"text": title},
            "tickformat": "~s",
            "ticksuffix": unit,
            **scale_of(series[panel]),
        }
    chosen = next((i for i, place in enumerate(places) if place.chosen), None)
    if chosen is not None:
        ends = {"xref": "x", "yref": "paper", "x0": chosen, "x1": chosen, "y0": 0, "y1": 1}
        layout["shapes"] = [{"type": "line", "line": {"color": "strong", "dash": "dash", "width": 1.5}, **ends}]
    cut = (
        "This plan does not cut it."
        if chosen is None
        else f"The cut is marked: place {chosen}, {places[chosen].layer}."
    )
    return Chart(
        key="network",
        title="The network",
        text=f"The places where candidates cut the network, in its order. {cut} MACs and weights are those between a"
        " place and the one before. Compressibility is what an element needs with one codec at every place"
        f" ({content.codec}), as it was estimated before the search.",
        figure={"data": data, "layout": layout},
        table=Table(
            headers=("place", "after", "MACs", "weights", "raw", "coded", "bits/element", "head", "tail"),
            rows=tuple(_cells(i, place) for i, place in enumerate(places)),
            marked=chosen,
        ),
    )


def sizes_chart(content: Content) -> Chart:
    """Bytes of payloads that the table predicted before the search, against those measured."""
    return _prediction_chart(
        "sizes",
        "Predicted against measured: bytes",
        content.sizes,
        format_bytes,
        "B",
        "Mean payloads: what was estimated from a few inputs before the search, against what was measured on the search"
        " set.",
    )


def halves_chart(content: Content) -> Chart:
    """Seconds of halves that the profile of the whole network predicts, against those of the exported halves."""
    return _prediction_chart(
        "halves",
        "Predicted against measured: seconds",
        content.halves,
        format_seconds,
        "s",
        "Seconds of heads and tails on the machine that made the plan: the sum of their operators in the profile of the"
        " whole network, against the exported halves as they were timed. The timed ones correct the others.",
    )


def _prediction_chart(key: str, title: str, rows: Sequence[Prediction], show: Any, unit: str, text: str) -> Chart:
    if not rows:
        return Chart(key=key, title=title, text="Nothing of this plan was both predicted and measured.")
    ends = [value for row in rows for value in (row.predicted, row.measured)]
    low, high = min(ends), max(ends)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "equal",
            "x": [low, high],
            "y": [low, high],
            "line": {"color": "faint", "dash": "dash"},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "candidates" if unit == "B" else "halves",
            "x": [row.predicted for row in rows],
            "y": [row.measured for row in rows],
            "marker": {"color": "accent", "size": 9},
            "hovertext": [
                f"{plain(row.name)}<br>predicted {show(row.predicted)}, measured {show(row.measured)}" for row in rows
            ],
            "hoverinfo": "text",
        },
    ]
    errors = sorted(_error(row) for row in rows if row.measured > 0)
    middle = f" The median error is {100 * errors[len(errors) // 2]:.0f} %." if errors else ""
    axis = {**scale_of(ends), "tickformat": "~s", "ticksuffix": unit}
    layout = {
        "hovermode": "closest",
        "xaxis": {**axis, "title": {"text": "predicted"}},
        "yaxis": {**axis, "title": {"text": "measured"}},
    }
    return Chart(
        key=key,
        title=title,
        text=f"{text}{middle}",
        figure={"data": data, "layout": layout},
        table=Table(
            headers=("what", "predicted", "measured", "error"),
            rows=tuple(
                (
                    row.name,
                    show(row.predicted),
                    show(row.measured),
                    f"{100 * _error(row):.0f} %" if row.measured else "-",
                )
                for row in rows
            ),
        ),
    )


def _error(row: Prediction) -> float:
    return abs(row.predicted - row.measured) / row.measured


def _cells(place: int, row: PlaceRow) -> tuple[str, ...]:
    return (
        str(place),
        row.layer,
        format_macs(row.macs),
        f"{row.parameters:,}",
        format_bytes(row.raw_bytes),
        "-" if row.coded_bytes is None else format_bytes(row.coded_bytes),
        "-" if row.bits is None else f"{row.bits:.2f}",
        "-" if row.head_s is None else format_seconds(row.head_s),
        "-" if row.tail_s is None else format_seconds(row.tail_s),
    )


def _hover(place: int, row: PlaceRow, codec: str) -> str:
    _, _, macs, weights, raw, coded, bits, head, tail = _cells(place, row)
    return (
        f"<b>place {place}: {plain(row.layer)}</b>{' (the cut)' if row.chosen else ''}<br>"
        f"{macs}, {weights} weights since the place before<br>"
        f"{raw} cross, {coded} with {plain(codec)} ({bits} bits an element)<br>head {head}, tail {tail}"
    )


def _step(count: int) -> int:
    """Of the ticks of `count` places: at most a dozen."""
    return 1 + (count - 1) // 12
