"""What the report set says against the point that the search chose, and the next safer point of the front."""

from __future__ import annotations

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.schema import Requirements
from splitpoint.planner.search.decide import Decision

__all__ = ["contradiction", "safer_point"]


def __dir__() -> list[str]:
    return __all__


def contradiction(report: Accuracy, needs: Requirements) -> str | None:
    """How the report set misses the floor that the search set met, or None."""
    drop = report.drop_high if needs.confident else report.drop
    value = report.low if needs.confident else report.value
    if needs.max_drop is not None and drop > needs.max_drop + 1e-12:
        return f"drop {100 * drop:.1f} % on the report set, at most {100 * needs.max_drop:.1f} % was asked"
    if needs.min_agreement is not None and value < needs.min_agreement - 1e-12:
        return f"{report.metric} {value:.3f} on the report set, at least {needs.min_agreement:.3f} was asked"
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
