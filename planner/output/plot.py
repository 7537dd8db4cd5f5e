"""Plots in plain characters: a scatter of the Pareto front, columns of a histogram, bars in tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from splitpoint.profiles.units import format_bytes, format_seconds

__all__ = ["bar", "columns", "scatter"]


def __dir__() -> list[str]:
    return __all__


MARGIN = 11  # columns for the labels of the vertical axis


def scatter(
    points: Sequence[tuple[float, float, str]],
    *,
    deadline_s: float | None,
    width: int = 78,
    height: int = 10,
    show: Callable[[float], str] = format_bytes,
) -> list[str]:
    """Lines of text for `points` (seconds, size, mark): latency to the right, size upwards on a log scale.

    `show` is the text of a size. A mark that would hide another moves right. Nothing sent is drawn at the bottom,
    below the smallest size.
    """
    if not points:
        return []
    columns = width - MARGIN - 1
    sent = [size for _, size, _ in points if size > 0] or [1.0]
    low, high = math.log10(min(sent)), math.log10(max(sent))
    span = max(high - low, 0.3)
    longest = max([seconds for seconds, _, _ in points] + ([deadline_s] if deadline_s else [])) * 1.05
    grid = [[" "] * columns for _ in range(height)]
    if deadline_s is not None:
        x = min(columns - 1, int(deadline_s / longest * columns))
        for line in grid:
            line[x] = "┊"
    for seconds, size, mark in points:
        share = 0.0 if size <= 0 else (math.log10(size) - low) / span
        y = height - 1 if size <= 0 else height - 2 - round(share * (height - 2))
        x = min(columns - len(mark), int(seconds / longest * columns))
        while x < columns - len(mark) and any(c not in " ┊" for c in grid[y][x : x + len(mark)]):
            x += 1
        grid[y][x : x + len(mark)] = mark
    labels = {0: show(10 ** (low + span)), height - 2: show(10**low), height - 1: "nothing"}
    lines = [
        f"{labels.get(y, ''):>{MARGIN - 1}} {'┤' if y in labels else '│'}{''.join(line)}" for y, line in enumerate(grid)
    ]
    lines.append(" " * MARGIN + "└" + "─" * columns)
    ticks = [" "] * (columns + 1)
    marks = [(share * longest, format_seconds(share * longest)) for share in (0.25, 0.5, 0.75)]
    if deadline_s is not None:
        marks.append((deadline_s, f"deadline {format_seconds(deadline_s)}"))
    for seconds, text in reversed(marks):  # the deadline first: it may not be crowded out
        start = max(0, min(len(ticks) - len(text), int(seconds / longest * columns) - len(text) // 2))
        if all(c == " " for c in ticks[max(0, start - 1) : start + len(text) + 1]):
            ticks[start : start + len(text)] = text
    lines.append(" " * MARGIN + "".join(ticks).rstrip())
    return [line.rstrip() for line in lines]


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
