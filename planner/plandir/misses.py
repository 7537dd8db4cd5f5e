"""Which limits a stored point misses or may miss: on the search set by its record, on report inputs by intervals."""

from __future__ import annotations

from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.choice.certainty import is_certain
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.search.contradiction import contradiction
from splitpoint.planner.search.decide import violations

__all__ = ["doubted_points", "point_misses"]


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


def doubted_points(record: PlanRecord | None) -> frozenset[int]:
    """Numbers of the front's points that are not certain to meet the plan's deadline; none without a record."""
    if record is None:
        return frozenset()
    doubted = {
        point.candidate for point in record.points if not is_certain(point.cost, record.asked, record.aim.errors)
    }
    return frozenset(number for number, candidate in enumerate(record.front, start=1) if candidate in doubted)
