"""Whether more evaluations still pay: how much the last ones added to the hypervolume of what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.search.pareto import hypervolume, pareto

__all__ = ["LEAST_GROWTH", "LOGARITHMIC", "order_by_gain", "reference_point", "share_gained"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
LEAST_GROWTH = 1e-3  # of the hypervolume by the last evaluations: less is a plateau
LOGARITHMIC = ("latency", "payload")  # objectives whose scale is log10 (`planner.limits.objectives`)
BEYOND = 1e-9  # of the worst point: a point on the reference has no volume
UNKNOWN = 1e300  # values above it are told in place of infinity, of a quantity that is not known


def reference_point(rows: Floats, needs: Requirements, objectives: Sequence[str]) -> Floats:
    """The corner below which volume counts, (d,): each objective's limit where one was asked for, else the worst row.

    `rows` (n, d) are values of `planner.limits.objectives`, to be minimised.
    """
    corner = rows.max(axis=0) + BEYOND
    for column, name in enumerate(objectives):
        bound = needs.value(name)
        if bound is not None and bound > 0:
            corner[column] = np.log10(bound) if name in LOGARITHMIC else bound
    return np.asarray(corner)


def share_gained(before: Floats, rows: Floats, reference: Floats) -> float:
    """Share of the hypervolume of `rows` (n, d) below `reference` that the rows `before` (m, d) do not have.

    1 where there is no volume yet: then every evaluation is needed. Objectives that are not known are left out.
    """
    known = (rows < UNKNOWN).all(axis=0)
    total = _volume(rows[:, known], reference[known])
    return 1.0 if total <= 0 else 1.0 - _volume(before[:, known], reference[known]) / total


def order_by_gain(candidates: Sequence[Floats], known: Floats, reference: Floats) -> list[int]:
    """The numbers of all `candidates`, each a matrix (n, d) of points that it may give, those that add most first.

    The next is always that which adds most hypervolume below `reference` (d,) to the rows `known` (m, d) and to what
    those before it may give; of equal ones the first. Whatever number of them is taken, they reach at least 63 % of the
    most that so many can add, since hypervolume is submodular (Nemhauser 1978). Objectives that are not known of all
    points are left out.
    """
    told = (np.vstack([known, *candidates]) < UNKNOWN).all(axis=0)
    front, corner = known[:, told], reference[told]
    left, order = list(range(len(candidates))), list[int]()
    while left:
        gains = [_volume(np.vstack([front, candidates[number][:, told]]), corner) for number in left]
        best = left.pop(int(np.argmax(gains)))
        front = np.vstack([front, candidates[best][:, told]])
        order.append(best)
    return order


def _volume(rows: Floats, reference: Floats) -> float:
    return hypervolume(rows[pareto(rows)], reference) if rows.size else 0.0
