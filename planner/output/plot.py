"""Plots in plain characters: a scatter of the Pareto front, columns of a histogram, bars in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from splitpoint.profiles.units import format_seconds

__all__ = ["bar", "columns", "scatter"]


def __dir__() -> list[str]:
    return __all__


MARGIN = 9  # columns for the labels of the vertical axis
FEWEST = 2  # points: one alone shows no trade
NEAR = 0.5  # a deadline farther from the points than this share of their spread is an arrow
TICKS = 5  # of the horizontal axis, about
ROUND = (1, 2, 5)  # first digits of ticks
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


class _Axis(NamedTuple):
    """Ends and round ticks, in the unit of the values."""

    start: float
    stop: float
    ticks: tuple[float, ...]


def scatter(
    points: Sequence[tuple[float, float, str]],
    *,
    deadline_s: float | None,
    width: int = 78,
    height: int = 8,
    name: str = "payload",
    unit: str = "B",
) -> list[str]:
    """Lines of text for `points` (seconds, size, mark): latency to the right, size upwards on a log scale.

    Both axes span the points and end at round numbers; a deadline far from the points is an arrow. `name` and `unit`
    are those of the sizes. A mark that would hide another moves right. Nothing sent is drawn at the bottom, below the
    smallest size. One point makes no plot.
    """
    if len(points) < FEWEST:
        return []
    wide = width - MARGIN - 2
    latencies, sizes = [seconds for seconds, _, _ in points], [size for _, size, _ in points if size > 0] or [1.0]
    near = deadline_s is not None and _is_near(deadline_s, latencies)
    across = _linear_axis([*latencies, *([deadline_s] if near and deadline_s is not None else [])])
    up = _log_axis(min(sizes), max(sizes), rows=height)
    zero_row = [height] if any(size <= 0 for _, size, _ in points) else []
    grid = [[" "] * wide for _ in range(height + len(zero_row))]
    if near and deadline_s is not None:
        for line in grid:
            line[_column(deadline_s, across, wide)] = "┊"
    for seconds, size, mark in points:
        y = height if size <= 0 else _row(size, up, height)
        x = min(wide - len(mark), _column(seconds, across, wide))
        while x < wide - len(mark) and any(c not in " ┊" for c in grid[y][x : x + len(mark)]):
            x += 1
        grid[y][x : x + len(mark)] = mark
    factor, prefix = next((factor, prefix) for factor, prefix in PREFIXES if up.stop >= factor or factor == 1)
    labels = {_row(size, up, height): f"{size / factor:g}" for size in reversed(up.ticks)}
    labels |= dict.fromkeys(zero_row, "nothing")
    in_unit = f" ({prefix}{unit})" if prefix or unit else ""
    lines = [f"{name}{in_unit}"]
    lines += [f"{labels.get(y, ''):>{MARGIN}} {'┤' if y in labels else '│'}{''.join(r)}" for y, r in enumerate(grid)]
    return [line.rstrip() for line in [*lines, *_below(across, wide, deadline_s, near=near)]]


def _below(across: _Axis, wide: int, deadline_s: float | None, *, near: bool) -> list[str]:
    """The horizontal axis: its line, its ticks, and its name with the deadline."""
    factor, unit = next((pair for pair in SECONDS if across.stop >= pair[0]), SECONDS[-1])
    line, labels = ["─"] * wide, [" "] * wide
    for tick in across.ticks:
        x, text = _column(tick, across, wide), f"{tick / factor:g}"
        start = max(0, min(wide - len(text), x - len(text) // 2))
        if all(c == " " for c in labels[max(0, start - 1) : start + len(text) + 1]):
            line[x] = "┬"
            labels[start : start + len(text)] = text
    name = f"latency ({unit})"
    if deadline_s is not None:
        text = f"deadline {format_seconds(deadline_s)}"
        arrow = f"{text} →" if deadline_s > across.start else f"← {text}"
        name = f"{f'┊ {text}' if near else arrow}   {name}"
    edge = " " * (MARGIN + 1)
    return [f"{edge}└{''.join(line)}", f"{edge} {''.join(labels)}", f"{edge} {name:>{wide}}"]


def _is_near(deadline_s: float, latencies: Sequence[float]) -> bool:
    low, high = min(latencies), max(latencies)
    reach = NEAR * max(high - low, 0.1 * high)
    return low - reach <= deadline_s <= high + reach


def _linear_axis(values: Sequence[float]) -> _Axis:
    low, high = min(values), max(values)
    spread = max(high - low, 0.01 * abs(high)) or 1e-6
    decade = 10.0 ** math.floor(math.log10(spread / TICKS))
    step = decade * next((digit for digit in ROUND if digit * decade >= spread / TICKS), 10)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(float(f"{number * step:.12g}") for number in range(first, max(last, first + 1) + 1))
    return _Axis(ticks[0], ticks[-1], ticks)


def _log_axis(low: float, high: float, *, rows: int) -> _Axis:
    """Round numbers around `low` to `high`: every 1, 2 and 5 where there is room for them, powers of ten elsewhere."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 2)
    numbers = [digit * 10.0**power for power in powers for digit in ROUND]
    start = max((n for n in numbers if n <= low * (1 + 1e-9)), default=numbers[0])
    stop = min(n for n in numbers if n >= high * (1 - 1e-9) and n > start)
    ticks = [n for n in numbers if start <= n <= stop]
    if len(ticks) > rows // 2 + 1:
        ticks = [n for n in ticks if n in (start, stop) or f"{n:e}".startswith("1.0")]
    return _Axis(start, stop, tuple(ticks))


def _column(seconds: float, axis: _Axis, wide: int) -> int:
    return round((seconds - axis.start) / (axis.stop - axis.start) * (wide - 1))


def _row(size: float, axis: _Axis, height: int) -> int:
    """From the top."""
    share = math.log(size / axis.start) / math.log(axis.stop / axis.start)
    return height - 1 - round(share * (height - 1))


def columns(values: Sequence[float]) -> str:
    """One character for each value >= 0, as high as its square root against the largest's; nothing is a blank."""
    largest = max(values, default=0.0)
    eighths = [math.ceil(8 * math.sqrt(value / largest)) if largest > 0 else 0 for value in values]
    return "".join(" ▁▂▃▄▅▆▇█"[eighth] for eighth in eighths)


def bar(share: float, width: int = 10) -> str:
    """A bar of eighth blocks for a share of 0..1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("" if rest == 0 else " ▏▎▍▌▋▊▉"[rest])).ljust(width)
