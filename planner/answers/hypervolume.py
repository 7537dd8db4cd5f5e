"""How the front grew: the hypervolume that the first measured points reach, as a share of what all of them reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.answers.question import Question
from splitpoint.planner.limits.preferences import with_preferred
from splitpoint.planner.search.decide import objective_rows
from splitpoint.planner.search.decide import violations as missed
from splitpoint.planner.search.pareto import hypervolume, pareto

__all__ = ["hypervolume_series", "shares_reached"]


def __dir__() -> list[str]:
    return __all__


MARGIN = 0.1  # of each objective's span, by which the reference point lies behind the worst feasible point


def hypervolume_series(question: Question) -> tuple[float, ...]:
    """After each measured point, in their order: the share of the final hypervolume; () where it is not defined.

    The hypervolume is that of the points that meet every limit, in the objectives of the plan, each scaled to 0..1 over
    these points, below a reference point `MARGIN` behind the worst. Objectives that are not known of all are left out.
    """
    feasible = [not missed(point, question.needs) for point in question.points]
    if not any(feasible):
        return ()
    names = with_preferred(question.objectives, question.aim.prefer)
    kept = [point for point, fits in zip(question.points, feasible, strict=True) if fits]
    rows = objective_rows(kept, names)
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    rows = rows[:, np.ptp(rows, axis=0) > 0]
    if not rows.shape[1]:
        return ()
    scaled = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0)
    volumes = iter(_volumes(scaled))
    series, now = [], 0.0
    for fits in feasible:
        now = next(volumes) if fits else now
        series.append(now)
    return tuple(value / series[-1] for value in series)


def shares_reached(series: Sequence[float], shares: Sequence[float] = (0.25, 0.5, 0.75)) -> tuple[float, ...]:
    """The values of a series after these shares of the points, rounded to whole points."""
    return tuple(series[max(0, round(share * len(series)) - 1)] for share in shares)


def _volumes(rows: NDArray[np.float64]) -> list[float]:
    """The hypervolume of the first 1, 2, ... rows below the reference point; computed anew where the front changes."""
    reference = np.full(rows.shape[1], 1 + MARGIN)
    front = np.empty((0, rows.shape[1]))
    volumes: list[float] = []
    for row in rows:
        if not (front <= row).all(axis=1).any():
            joined = np.vstack([front, row])
            front = joined[pareto(joined)]
            volumes.append(hypervolume(front, reference))
        else:
            volumes.append(volumes[-1])
    return volumes
