"""Small scatters and bars drawn by hand."""

from __future__ import annotations

import pytest

from splitpoint.planner.output.plot import bar, columns, scatter

WIDTH, HEIGHT, LEFT = 52, 7, 12  # 40 columns behind the labels and the axis


def draw(points: list[tuple[float, float, str]], deadline_s: float | None = None) -> list[str]:
    return scatter(points, deadline_s=deadline_s, width=WIDTH, height=HEIGHT)


def where(lines: list[str], mark: str) -> tuple[int, int]:
    (found,) = [(y, line.index(mark, LEFT) - LEFT) for y, line in enumerate(lines[:HEIGHT]) if mark in line[LEFT:]]
    return found


def test_nothing_to_draw() -> None:
    assert scatter([], deadline_s=0.1) == []


def test_places_are_linear_in_seconds_and_logarithmic_in_bytes() -> None:
    # the axis ends at 1.05 x 100 ms, so 40 columns are 105 ms; 3 decades in 5 rows above the row of nothing
    lines = draw([(0.0, 1e6, "A"), (0.053, 1e3, "B"), (0.1, 0.0, "C"), (0.0, 1e5, "D")])
    assert where(lines, "A") == (0, 0)
    assert where(lines, "B") == (5, 20)
    assert where(lines, "C") == (6, 38)
    assert where(lines, "D") == (2, 0)  # two thirds of 5 rows above row 5
    assert len(lines) == HEIGHT + 2


def test_the_axis_is_labelled_with_the_largest_the_smallest_and_nothing() -> None:
    lines = draw([(0.1, 2000.0, "A"), (0.1, 50.0, "B")])
    assert [line[:LEFT] for line in lines] == [
        "      2 kB ┤",
        *["           │"] * 4,
        "      50 B ┤",
        "   nothing ┤",
        "           └",
        "            "[:LEFT],
    ]
    assert lines[HEIGHT] == " " * 11 + "└" + "─" * 40


def test_one_size_stands_at_the_bottom_of_half_a_decade_or_less() -> None:
    lines = draw([(0.1, 1000.0, "A")])
    assert where(lines, "A") == (HEIGHT - 2, 38)
    assert lines[0][:LEFT] == "      2 kB ┤"  # 10^0.3 times


def test_nothing_but_points_that_send_nothing() -> None:
    assert where(draw([(0.1, 0.0, "A")]), "A") == (HEIGHT - 1, 38)


def test_a_mark_that_would_hide_another_moves_right() -> None:
    lines = draw([(0.05, 100.0, "12"), (0.05, 100.0, "3"), (0.1, 100.0, "4")])
    assert where(lines, "12") == (5, 19)
    assert where(lines, "3") == (5, 21)


def test_a_mark_stays_inside() -> None:
    lines = draw([(0.1, 100.0, "A" * 9)])
    assert lines[HEIGHT - 2][LEFT:] == " " * 31 + "A" * 9


def test_the_deadline_is_a_line_that_marks_stand_on() -> None:
    lines = draw([(0.05, 100.0, "A"), (0.1, 1000.0, "B")], deadline_s=0.05)
    assert [line[LEFT + 19] for line in lines[:HEIGHT]] == ["┊"] * 5 + ["A", "┊"]
    assert "deadline 50 ms" in lines[-1]
    assert "┊" not in "".join(draw([(0.05, 100.0, "A")]))


def test_a_late_deadline_makes_the_axis_longer() -> None:
    lines = draw([(0.1, 100.0, "A")], deadline_s=0.2)
    assert lines[0].index("┊") - LEFT == 38
    assert where(lines, "A")[1] == 19


def test_ticks_stand_at_the_quarters_under_their_middle() -> None:
    ticks = draw([(0.4 / 1.05, 100.0, "A")])[-1]
    assert [ticks.index(text) - 11 for text in ("100 ms", "200 ms", "300 ms")] == [10 - 3, 20 - 3, 30 - 3]


def test_a_tick_that_touches_the_deadline_is_left_out() -> None:
    # 100 ms and 300 ms would end and begin at the text of the deadline, which goes first
    assert draw([(0.4 / 1.05, 100.0, "A")], deadline_s=0.2)[-1] == " " * 24 + "deadline 200 ms"


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
