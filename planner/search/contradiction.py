"""What the report set says against the point that the search chose, and the next safer point of the front."""

from __future__ import annotations

import msgspec

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.search.decide import QUALITY, Decision, violations
from splitpoint.planner.values.candidate import Evaluated

__all__ = ["contradiction", "safer_point"]


def __dir__() -> list[str]:
    return __all__


def contradiction(point: Evaluated, report: Accuracy, needs: Requirements) -> str | None:
    """How `point` misses on the report set the quality floor that it met on the search set, or None."""
    judged = msgspec.structs.replace(point, accuracy=report)
    missed = [violation.name for violation in violations(judged, needs) if violation.name in QUALITY]
    for bound in needs.bounds:
        if bound.limit in missed:
            limit = LIMITS[bound.limit]
            got = limit.read(judged, needs.confident)
            assert got is not None  # quality is always measured
            title, most = limit.title(report.metric), "at most" if limit.best == "least" else "at least"
            return f"{title} {limit.show(got)} on the report set, {most} {limit.show(bound.value)} was asked"
    return None


def safer_point(decision: Decision) -> int | None:
    """Number (from 1) of the front's next point of higher quality on the search set, or None.

    Of equal quality the one of fewest bytes.
    """
    chosen = decision.recommended
    if chosen is None:
        return None
    better = [point for point in decision.front if point.accuracy.value > chosen.accuracy.value]
    if not better:
        return None
    best = min(better, key=lambda point: (point.accuracy.value, point.cost.payload_bytes))
    return decision.front.index(best) + 1
