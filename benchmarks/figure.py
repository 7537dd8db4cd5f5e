"""Curves as SVG, written by hand: bytes, multiply-adds or decibels to the right, a value upwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    logarithmic: bool = True,
) -> str:
    """An SVG document of (x, value) points; values outside `y_range` are cut off."""
    sizes = [x for points in series.values() for x, y in points if y_range[0] <= y <= y_range[1]]
    scale: Callable[[float], float] = math.log10 if logarithmic else float
    low, high = scale(min(sizes)), scale(max(sizes))
    height = max(LEAST_HEIGHT, TOP + LEGEND_ROW * len(series) + BOTTOM)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (scale(x) - low) / max(high - low, 1e-9)
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
    for tick in _ticks(min(sizes), max(sizes), logarithmic=logarithmic):
        x, y = place(tick, y_range[0])
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{tick:,g}</text>')
    for step in range(6):
        value = y_range[0] + step * (y_range[1] - y_range[0]) / 5
        x, y = place(min(sizes), value)
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


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`; multiples of five on an even axis."""
    if not logarithmic:
        return [float(tick) for tick in range(5 * math.ceil(low / 5), math.floor(high) + 1, 5)]
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [mantissa * 10.0**exponent for exponent in exponents for mantissa in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]
