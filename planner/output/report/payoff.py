"""The chart of where splitting pays: the device's speed against the link's rate."""

from __future__ import annotations

from typing import Any

from splitpoint.planner.output.documents.answers.map import MapCell
from splitpoint.planner.output.report.chart import Chart, Table, plain
from splitpoint.planner.output.report.content import Content
from splitpoint.profiles.units import format_bytes, format_fraction, format_rate, format_seconds

__all__ = ["map_chart"]


def __dir__() -> list[str]:
    return __all__


KINDS = {None: 0, "device": 1, "input": 2, "split": 3}
COLORS = ("cell-none", "cell-device", "cell-input", "cell-split")
BANDS = [[place / 4, name] for i, name in enumerate(COLORS) for place in (i, i + 1)]  # four colours, no gradient
ROW_PX = 34


def map_chart(content: Content) -> Chart:
    """A cell for each speed of the device and each rate of the link: what would be recommended there."""
    found, title = content.map, "Where splitting pays"
    if isinstance(found, str):
        return Chart(key="map", title=title, text=found)
    rows = [row for row in found.rows if row.cells]
    rates = [format_rate(rate) for rate in found.rates_bit_s]
    legend = ", ".join(
        f"{entry.letter}: {'split ' if entry.kind == 'split' else ''}{entry.place}" for entry in found.legend
    )
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "x": rates,
            "y": [row.device for row in rows],
            "z": [[KINDS[cell.kind] for cell in row.cells] for row in rows],
            "zmin": 0,
            "zmax": 3,
            "text": [[plain(cell.letter) for cell in row.cells] for row in rows],
            "texttemplate": "%{text}",
            "textfont": {"color": "text"},
            "hovertext": [
                [f"{row.device}, {rate}<br>{plain(_answer(cell))}" for rate, cell in zip(rates, row.cells, strict=True)]
                for row in rows
            ],
            "hoverinfo": "text",
            "colorscale": BANDS,
            "showscale": False,
            "xgap": 2,
            "ygap": 2,
        }
    ]
    layout = {
        "height": 150 + ROW_PX * len(rows),
        "xaxis": {"type": "category", "title": {"text": "mean uplink rate"}},
        "yaxis": {"type": "category", "title": {"text": "speed of the device"}, "autorange": "reversed"},
    }
    return Chart(
        key="map",
        title=title,
        text=f"{found.answer} What would be recommended for a device of another speed over a link of another rate, from"
        f" the same measured points. {legend}{'; .: nothing meets every limit' if found.empty_cells else ''}. A capital"
        " letter wins by more than 20 % over any other kind of answer, or nothing else meets the limits.",
        figure={"data": data, "layout": layout} if rows else None,
        table=Table(
            headers=("device", *rates),
            rows=tuple((row.device, *(_answer(cell) for cell in row.cells)) for row in rows),
        ),
    )


def _answer(cell: MapCell) -> str:
    if cell.what is None:
        return "nothing meets every limit"
    seconds = "" if cell.latency_s is None else f", {format_seconds(cell.latency_s)}"
    size = "" if cell.payload_bytes is None else f", {format_bytes(cell.payload_bytes)}"
    gain = "" if cell.gain is None else f", {format_fraction(max(0.0, cell.gain))} better"
    return f"{cell.what}{seconds}{size}{gain}"
