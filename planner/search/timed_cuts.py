"""The cuts that lead are exported and timed on this host, and every point priced again by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.timing import HostTimes
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.search.decide import decide
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.cut import Cut

__all__ = ["time_leading_cuts"]


def __dir__() -> list[str]:
    return __all__


TIMED_AT_ONCE = 3  # cuts of the best points whose halves are exported and timed, a pass
TIMING_PASSES = 3


def time_leading_cuts(
    problem: Problem, measurers: Mapping[str, Measurer], points: list[Evaluated], aim: Aim | None = None
) -> tuple[list[Evaluated], int]:
    """Time the cuts of the best points until those that lead were timed; gives points as they cost now, and how many.

    Every timed cut corrects the prediction of the others, so that after each pass others may lead.
    """
    timed = 0
    for _ in range(TIMING_PASSES):
        decision = decide(points, problem.needs, problem.config.objectives, aim)
        others = [other.point for other in decision.instead]  # a split that is as good as the simple answer, or nearly
        leading = (decision.recommended, *others, decision.knee, *decision.nearest, *decision.front)
        best = [point for point in leading if point is not None]
        untimed = _untimed(measurers, best)[:TIMED_AT_ONCE]
        for times, cut in untimed:
            times.time(cut)
        if not untimed:
            break
        timed += len(untimed)
        points = [measurers[point.candidate.variant].reprice(point) for point in points]
    return points, timed


def _untimed(measurers: Mapping[str, Measurer], points: Sequence[Evaluated]) -> list[tuple[HostTimes, Cut]]:
    """Cuts of `points` that this host runs at least one half of and that were not timed, in order."""
    found: dict[tuple[str, str], tuple[HostTimes, Cut]] = {}
    for point in points:
        measurer, name = measurers[point.candidate.variant], point.candidate.cut
        if point.candidate.placement == "split" and measurer.pricer.times is not None:
            cut = measurer.network.cut(name)
            if cut not in measurer.pricer.times:
                found[measurer.network.name, name] = measurer.pricer.times, cut
    return list(found.values())
