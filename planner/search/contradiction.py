"""What the report set says against the point that the search chose, and the next safer point of the front."""

from __future__ import annotations

import msgspec

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.search.decide import ROUNDING, Decision
from splitpoint.planner.values.candidate import Evaluated

__all__ = ["contradiction", "safer_point"]


def __dir__() -> list[str]:
    return __all__


def contradiction(point: Evaluated, report: Accuracy, needs: Requirements) -> str | None:
    """How the report set contradicts the quality floor that `point` met on the search set, or None.

    It does when all of its 95 % interval misses the floor: a few inputs that are less lucky than others do not.
    """
    judged = msgspec.structs.replace(point, accuracy=report)
    for bound in needs.bounds:
        limit = LIMITS[bound.limit]
        best = None if limit.at_best is None else limit.at_best(judged)
        if best is not None and limit.exceeds(best, bound.value) > ROUNDING:
            got = limit.read(judged, False)
            assert got is not None  # what is known at best is known
            title, most = limit.title(report.metric), "at most" if limit.best == "least" else "at least"
            return (
                f"{title} {limit.show(got)} on the report set (95 %: {limit.show(best)} or worse),"
                f" {most} {limit.show(bound.value)} was asked"
            )
    return None


def safer_point(decision: Decision) -> int | None:
    """Number (from 1) of the front's next point that loses less by its estimate, or None.

    Of equal ones that of fewest bytes.
    """
    chosen = decision.recommended
    if chosen is None:
        return None
    better = [point for point in decision.front if point.accuracy.lost < chosen.accuracy.lost]
    if not better:
        return None
    best = min(better, key=lambda point: (-point.accuracy.lost, point.cost.payload_bytes))
    return decision.front.index(best) + 1
