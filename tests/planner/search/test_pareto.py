import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.search.pareto import hypervolume, knee, pareto

points = st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=25)


@given(points)
def test_front_equals_the_definition(rows):
    table = np.array(rows, float)
    kept = {tuple(row) for row in table[pareto(table)]}
    dominated = {tuple(a) for a in table if any((np.array(b) <= a).all() and (np.array(b) < a).any() for b in table)}
    assert kept == {tuple(row) for row in table} - dominated
    assert len(table[pareto(table)]) == len(kept)  # of equal rows one stays


@given(points)
def test_hypervolume_equals_counting_unit_cells(rows):
    cells = np.stack(np.meshgrid(*[np.arange(7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    covered = np.zeros(len(cells), bool)
    for row in rows:
        covered |= (cells >= row).all(axis=1)
    assert hypervolume(np.array(rows, float), np.full(3, 7.0)) == pytest.approx(covered.sum())


def test_hypervolume_of_a_staircase():
    assert hypervolume(np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]), np.array([4.0, 4.0])) == pytest.approx(6.0)
    assert hypervolume(np.array([[5.0, 1.0]]), np.array([4.0, 4.0])) == 0.0


def test_knee_is_the_corner():
    assert knee(np.array([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]])) == 1
    assert knee(np.array([[0.0, 1.0], [1.0, 0.0]])) is None
    assert knee(np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])) is None
