"""Pareto fronts against their definition, hypervolumes against staircases, knees by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.search.pareto import hypervolume, knee, pareto

rows = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=0, max_size=14)


@given(rows)
def test_the_front_is_what_its_definition_says(points: list[tuple[int, int, int]]) -> None:
    matrix = np.array(points, np.float64).reshape(-1, 3)
    expected = []
    for i, p in enumerate(points):
        dominated = any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)
        expected.append(not dominated and p not in points[:i])
    assert pareto(matrix).tolist() == expected


@given(rows)
def test_the_front_has_the_hypervolume_of_all_points(points: list[tuple[int, int, int]]) -> None:
    matrix = np.array(points, np.float64).reshape(-1, 3)
    corner = np.array([4.0, 4.0, 4.0])
    cells = {(x, y, z) for a, b, c in points for x in range(a, 4) for y in range(b, 4) for z in range(c, 4)}
    assert hypervolume(matrix, corner) == pytest.approx(len(cells))
    assert hypervolume(matrix[pareto(matrix)], corner) == pytest.approx(len(cells))


def test_hypervolume_of_a_staircase() -> None:
    stairs = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])
    assert hypervolume(stairs, np.array([3.0, 3.0])) == 6.0
    assert hypervolume(stairs, np.array([2.0, 3.0])) == 3.0  # a point on the border adds nothing
    assert hypervolume(np.array([[1.0], [2.0]]), np.array([4.0])) == 3.0


def test_the_knee_needs_three_points_and_two_columns_that_vary() -> None:
    bend = np.array([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]])
    assert knee(bend) == 1
    assert knee(bend[:2]) is None
    assert knee(np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])) is None
    flat = np.column_stack([bend, np.full(3, 7.0)])
    assert knee(flat) == 1
    assert knee(np.array([[0.0, 10.0], [9.0, 9.0], [1.0, 2.0], [10.0, 0.0]])) == 2
    assert knee(1000 * bend[:, ::-1]) == 1  # the units of a column do not matter
