"""Small scatters and bars drawn by hand."""

from __future__ import annotations

from typing import Any

import pytest

from splitpoint.planner.output.plot import bar, columns, scatter

WIDTH, HEIGHT, LEFT = 52, 7, 11  # 41 columns behind the labels and the axis


def draw(points: list[tuple[float, float, str]], deadline_s: float | None = None, **options: Any) -> list[str]:
    return scatter(points, deadline_s=deadline_s, width=WIDTH, height=HEIGHT, **options)


def where(lines: list[str], mark: str) -> tuple[int, int]:
    (found,) = [(y, line.index(mark, LEFT) - LEFT) for y, line in enumerate(lines[1:-3]) if mark in line[LEFT:]]
    return found


def labels(lines: list[str]) -> list[str]:
    return [line[:LEFT].strip() for line in lines[1:-3]]


def test_one_point_makes_no_plot() -> None:
    assert scatter([], deadline_s=0.1) == []
    assert scatter([(0.1, 100.0, "A")], deadline_s=0.1) == []


def test_places_are_linear_in_seconds_and_logarithmic_in_bytes_between_round_numbers() -> None:
    # 100 to 150 ms in 41 columns; 1 kB to 1 MB, three decades, in 7 rows
    lines = draw([(0.1, 1e6, "A"), (0.125, 1e3, "B"), (0.15, 1e5, "C")])
    assert where(lines, "A") == (0, 0)
    assert where(lines, "B") == (6, 20)
    assert where(lines, "C") == (2, 40)
    assert lines[0] == "payload (MB)"
    assert labels(lines) == ["1 ┤", "│", "0.1 ┤", "│", "0.01 ┤", "│", "0.001 ┤"]
    assert lines[-2].split() == ["100", "110", "120", "130", "140", "150"]
    assert [lines[-3].index("┬"), lines[-3].rindex("┬")] == [LEFT, LEFT + 40]
    assert lines[-1].strip() == "latency (ms)"


def test_the_ends_of_the_axes_are_round_and_enclose_the_points() -> None:
    lines = draw([(0.0471, 18_200.0, "A"), (0.021, 46_200.0, "B")])
    assert [labels(lines)[0], labels(lines)[-1]] == ["50 ┤", "10 ┤"]
    assert lines[-2].split() == ["20", "30", "40", "50"]
    assert lines[0] == "payload (kB)"


def test_nothing_sent_is_below_the_smallest_size() -> None:
    lines = draw([(0.1, 0.0, "A"), (0.2, 1000.0, "B"), (0.2, 2000.0, "C")])
    assert where(lines, "A") == (HEIGHT, 0)
    assert labels(lines)[-2:] == ["1 ┤", "nothing ┤"]


def test_equal_points_have_axes_too() -> None:
    lines = draw([(0.1, 1000.0, "A"), (0.1, 1000.0, "B")])
    assert where(lines, "A")[0] == where(lines, "B")[0] == HEIGHT - 1
    assert where(lines, "B")[1] == where(lines, "A")[1] + 1


def test_a_mark_that_would_hide_another_moves_right_and_stays_inside() -> None:
    lines = draw([(0.125, 100.0, "12"), (0.125, 100.0, "3"), (0.1, 100.0, "4"), (0.15, 100.0, "A" * 9)])
    assert where(lines, "12") == (6, 20)
    assert where(lines, "3") == (6, 22)
    assert where(lines, "A" * 9) == (6, 32)


def test_a_deadline_near_the_points_is_a_line_that_marks_stand_on() -> None:
    lines = draw([(0.1, 100.0, "A"), (0.15, 1000.0, "B")], deadline_s=0.15)
    assert [line[LEFT + 40] for line in lines[1:-3]] == ["B", *["┊"] * 6]
    assert lines[-1].strip() == "┊ deadline 150 ms   latency (ms)"


def test_a_deadline_far_from_the_points_is_an_arrow() -> None:
    points = [(0.1, 100.0, "A"), (0.15, 1000.0, "B")]
    late, early = draw(points, deadline_s=3.0), draw(points, deadline_s=0.01)
    assert late[-1].strip() == "deadline 3 s →   latency (ms)"
    assert early[-1].strip() == "← deadline 10 ms   latency (ms)"
    assert late[:-1] == early[:-1] == draw(points)[:-1]  # the points have all of the plot


def test_other_sizes_have_their_own_name_and_unit() -> None:
    lines = draw([(1.0, 20_000.0, "A"), (1.5, 50_000.0, "B")], name="channel uses", unit="")
    assert lines[0] == "channel uses (k)"
    assert lines[-1].strip() == "latency (s)"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([0.0, 0.0], "  "),
        ([64.0], "█"),
        ([0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0, 49.0, 64.0], " ▁▂▃▄▅▆▇█"),
        ([1e-9, 1.0], "▁█"),
    ],
)
def test_columns_are_as_high_as_the_square_root(values: list[float], text: str) -> None:
    assert columns(values) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-1.0, "    "),
        (0.0, "    "),
        (1 / 32, "▏   "),
        (0.25, "█   "),
        (0.375, "█▌  "),
        (31 / 32, "███▉"),
        (1.0, "████"),
        (2.0, "████"),
    ],
)
def test_a_bar_counts_eighths_and_stays_in_its_width(share: float, text: str) -> None:
    assert bar(share, width=4) == text
