"""The knee of fronts whose columns have units of very different size."""

from __future__ import annotations

import numpy as np
import pytest

from splitpoint.planner.search.pareto import knee


@pytest.mark.parametrize("units", [(1.0, 1000.0), (1000.0, 1.0), (1e-3, 1e6)])
def test_the_knee_is_where_it_is_whatever_the_unit_of_one_column(units: tuple[float, float]) -> None:
    front = np.array([[0.0, 10.0], [1.0, 1.0], [10.0, 0.0]])
    assert knee(front * units) == 1
    assert knee(front * units + 5.0) == 1
