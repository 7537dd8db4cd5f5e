"""Curves as SVG, written by hand: bytes or multiply-adds on a logarithmic axis to the right, a value upwards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["curves"]

WIDTH, LEAST_HEIGHT, LEGEND_ROW = 900, 520, 16
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 40, 60
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a4988", "#b8860b", "#2f4858", "#d1495b", "#5c9ead", "#8d6a9f", "#666666")
DASHES = ("", ' stroke-dasharray="7 3"', ' stroke-dasharray="2 2"', ' stroke-dasharray="9 3 2 3"')  # of each ten curves


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_label: str = "bytes an image (logarithmic), container included",
    y_label: str,
    y_range: tuple[float, float],
) -> str:
    """An SVG document of (bytes, value) points, x logarithmic; values outside `y_range` are cut off."""
    sizes = [x for points in series.values() for x, y in points if y_range[0] <= y <= y_range[1]]
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    height = max(LEAST_HEIGHT, TOP + LEGEND_ROW * len(series) + BOTTOM)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / max(high - low, 1e-9)
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), height - BOTTOM - up * (height - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{height - 14}">{escape(x_label)}</text>',
        f'<text transform="translate(18 {height - BOTTOM}) rotate(-90)">{escape(y_label)}</text>',
    ]
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for mantissa in (1, 2, 5):
            tick = mantissa * 10**exponent
            if 10**low <= tick <= 10**high:
                x, y = place(tick, y_range[0])
                parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
                parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{tick:,}</text>')
    for step in range(6):
        value = y_range[0] + step * (y_range[1] - y_range[0]) / 5
        x, y = place(10**low, value)
        parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number // len(COLOURS) % len(DASHES)]
        inside = [place(x, y) for x, y in sorted(points) if y_range[0] <= y <= y_range[1]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in inside)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in inside]
        y, x = TOP + LEGEND_ROW * number, WIDTH - RIGHT + 14
        stroke = f'stroke="{colour}" stroke-width="2"{dash}'
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 26}" y2="{y}" {stroke}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 46}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
