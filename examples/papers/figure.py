"""Figures as SVG, written by hand: curves, and bars side by side. A figure has the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 820, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 36, 52
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#7a4988", "#b8860b", "#2f4858", "#d1495b", "#5c9ead", "#666666")
DASHES = ("", ' stroke-dasharray="7 3"')
TICKS = 5  # about so many an axis


def curves(
    series: Mapping[str, Points], *, title: str, x: str, y: str, logarithmic: bool = False, connected: bool = True
) -> str:
    """Points joined in the order of x, one colour a series; `logarithmic` is the x axis."""
    across = [a for points in series.values() for a, _ in points]
    upwards = [b for points in series.values() for _, b in points]
    left, right = (math.log10(edge) if logarithmic else edge for edge in (min(across), max(across)))
    low, high = _edges(min(upwards), max(upwards))

    def place(a: float, b: float) -> tuple[float, float]:
        share = ((math.log10(a) if logarithmic else a) - left) / max(right - left, 1e-12)
        return (
            LEFT + share * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (b - low) / (high - low) * (HEIGHT - TOP - BOTTOM),
        )

    parts = _frame(title, x, y)
    for tick in _powers(min(across), max(across)) if logarithmic else _ticks(left, right):
        at, foot = place(tick, low)
        parts.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{foot:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{at:.1f}" y="{foot + 16:.1f}" text-anchor="middle">{tick:,g}</text>')
    for tick in _ticks(low, high):
        at = place(min(across), tick)[1]
        parts.append(f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{tick:,g}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        inside = [place(a, b) for a, b in sorted(points)]
        if connected and len(inside) > 1:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in inside)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in inside]
        at = TOP + 10 + 18 * number
        parts.append(f'<circle cx="{WIDTH - RIGHT + 18}" cy="{at}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 28}" y="{at + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def histograms(panels: Mapping[str, Sequence[float]], *, title: str, x: str, columns: int = 3) -> str:
    """Shares (adding up to 1) as bars from left to right, a panel each; heights are logarithmic from 1e-4 to 1."""
    rows = -(-len(panels) // columns)
    wide, tall = (WIDTH - 40) / columns, 130
    height = TOP + rows * (tall + 34) + 24
    parts = _frame(title, x, "", height=height)
    for number, (name, shares) in enumerate(panels.items()):
        left, foot = 24 + number % columns * wide, TOP + 20 + (number // columns) * (tall + 34) + tall
        parts.append(f'<text x="{left:.1f}" y="{foot - tall - 4:.1f}">{escape(name)}</text>')
        parts.append(f'<line x1="{left:.1f}" y1="{foot}" x2="{left + wide - 20:.1f}" y2="{foot}" stroke="#888"/>')
        step = (wide - 20) / len(shares)
        for place, share in enumerate(shares):
            up = tall * max(0.0, 1 + math.log10(share) / 4) if share > 0 else 0.0
            if up > 0:
                box = f'x="{left + place * step:.1f}" y="{foot - up:.1f}" width="{step:.2f}" height="{up:.1f}"'
                parts.append(f'<rect {box} fill="{COLOURS[0]}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(title: str, x: str, y: str, height: float = HEIGHT) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height:g}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>',
        f'<text x="{LEFT}" y="{height - 10:g}">{escape(x)}</text>',
        *([f'<text transform="translate(14 {height - BOTTOM:g}) rotate(-90)">{escape(y)}</text>'] if y else []),
    ]


def _edges(low: float, high: float) -> tuple[float, float]:
    """Round edges around the values."""
    step = _step(high - low)
    return step * math.floor(low / step), step * math.ceil(high / step) or step


def _step(span: float) -> float:
    """1, 2 or 5 times a power of ten, about a fifth of `span`."""
    if span <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    return next(power * mantissa for mantissa in (1, 2, 5, 10) if power * mantissa * TICKS >= span)


def _ticks(low: float, high: float) -> list[float]:
    step = _step(high - low)
    return [round(step * i, 10) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the two."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**e for e in exponents for m in (1, 2, 5) if low <= m * 10.0**e <= high]
