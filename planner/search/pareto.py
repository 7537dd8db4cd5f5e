"""Pareto fronts: which evaluated points are not dominated, how good a front is, and where its knee lies.

Pure functions over a matrix of objectives, every column to be minimised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["hypervolume", "knee", "pareto"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]


def pareto(objectives: Floats) -> NDArray[np.bool_]:
    """Mark the rows of `objectives` (n, d) that no other row dominates.

    A row dominates another when it is nowhere worse and somewhere better; of equal rows the first is kept.
    """
    points = np.asarray(objectives, np.float64)
    keep = np.ones(len(points), bool)
    for i, point in enumerate(points):
        others = np.arange(len(points)) != i
        nowhere_worse = (points <= point).all(axis=1) & others
        dominated = (nowhere_worse & (points < point).any(axis=1)).any()
        repeated = nowhere_worse[:i].any()
        keep[i] = not (dominated or repeated)
    return keep


def hypervolume(objectives: Floats, reference: Floats) -> float:
    """Volume that the rows of `objectives` (n, d) dominate below `reference` (d,), by slicing along the last axis.

    Exact and O(n^(d-1)); meant for fronts of tens of points and d <= 3 (Zitzler and Thiele 1998).
    """
    points = np.asarray(objectives, np.float64)
    points = points[(points < reference).all(axis=1)]
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(reference[0] - points.min())
    points = points[np.argsort(points[:, -1], kind="stable")]
    levels = np.append(points[:, -1], reference[-1])
    slices = (
        (levels[i + 1] - levels[i]) * hypervolume(points[: i + 1, :-1], reference[:-1])
        for i in range(len(points))
        if levels[i + 1] > levels[i]
    )
    return float(sum(slices))


def knee(objectives: Floats) -> int | None:
    """Index of the row farthest below the hyperplane through the front's extremes (Das 1999), None below 3 rows.

    Columns are scaled to 0..1 over the rows; a column that does not vary is left out.
    """
    points = np.asarray(objectives, np.float64)
    if len(points) < 3:
        return None
    span = np.ptp(points, axis=0)
    varying = span > 0
    if varying.sum() < 2:
        return None
    scaled = (points[:, varying] - points[:, varying].min(axis=0)) / span[varying]
    # The extremes of a scaled front lie near the unit vectors, so the plane is sum = 1 and the distance 1 - sum.
    return int(np.argmin(scaled.sum(axis=1)))
