"""Which limits a stored point misses: on the search set by its record, on report inputs by their interval."""

from __future__ import annotations

from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.search.contradiction import contradiction
from splitpoint.planner.search.decide import violations

__all__ = ["point_misses"]


def __dir__() -> list[str]:
    return __all__


def point_misses(
    record: PlanRecord | None, number: int, needs: Requirements, report: Accuracy | None
) -> tuple[str, ...]:
    """A text for each limit that point `number` of the front misses, and how `report` contradicts it.

    Nothing for a plan without a record, which says what was measured.
    """
    if record is None or not 0 < number <= len(record.front):
        return ()
    point = next((point for point in record.points if point.candidate == record.front[number - 1]), None)
    if point is None:
        return ()
    texts = [f"misses {violation.text}" for violation in violations(point, needs)]
    contradicted = None if report is None else contradiction(point, report, needs)
    return (*texts, *([] if contradicted is None else [f"contradicted: {contradicted}"]))
