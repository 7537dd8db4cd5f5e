"""Which of the evaluated points are feasible, which is recommended and why, and what is nearest when none is.

Pure functions of evaluated points and requirements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import LIMITS, Limit
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.text import bound_text
from splitpoint.planner.search.pareto import knee, pareto
from splitpoint.planner.values.candidate import Evaluated

__all__ = [
    "CONSTRAINTS",
    "INFEASIBLE",
    "QUALITY",
    "ROUNDING",
    "Decision",
    "Violation",
    "decide",
    "misses_quality",
    "objective_rows",
    "recommend",
    "violations",
]


def __dir__() -> list[str]:
    return __all__


CONSTRAINTS = ("infeasible", *LIMITS)  # every name that a violation can have
INFEASIBLE = 1e3  # excess of what can never work: behind every near miss, and finite for the sampler
QUALITY = tuple(name for name, limit in LIMITS.items() if limit.of_quality)  # the quality floor
ROUNDING = 1e-12  # of a sum of shares: not a miss
LEAST_BOUND = 1e-9  # by which an excess is divided
UNKNOWN = 1.0  # excess of a limit on what is not known: twice the limit


class Violation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A requirement that a point misses; `excess` is relative, for ranking near misses."""

    name: str
    text: str  # "latency by 4.1 ms"
    excess: float


class Decision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The front, the recommended point and the knee, or the nearest misses where no point is feasible."""

    front: tuple[Evaluated, ...]  # feasible, not dominated, fewest bytes first
    recommended: Evaluated | None
    reason: str
    knee: Evaluated | None
    nearest: tuple[Evaluated, ...]  # when nothing is feasible: least missed first
    would_fit: tuple[str, ...]  # relaxed requirements under which something fits


def decide(points: Sequence[Evaluated], needs: Requirements, objectives: Sequence[str]) -> Decision:
    """Front, recommendation and knee, or the nearest misses."""
    feasible = [point for point in points if not violations(point, needs)]
    if not feasible:
        ranked = sorted(points, key=lambda point: sum(v.excess for v in violations(point, needs)))
        return Decision(
            front=(),
            recommended=None,
            reason="no candidate meets every requirement",
            knee=None,
            nearest=tuple(ranked[:3]),
            would_fit=_would_fit(points, needs),
        )
    rows = objective_rows(feasible, objectives)
    kept = [point for point, keep in zip(feasible, pareto(rows), strict=True) if keep]
    front = tuple(sorted(kept, key=lambda point: (point.cost.payload_bytes, point.cost.latency_s)))
    recommended, reason = recommend(front, needs)
    bend = knee(objective_rows(front, objectives))
    return Decision(
        front=front,
        recommended=recommended,
        reason=reason,
        knee=None if bend is None else front[bend],
        nearest=(),
        would_fit=(),
    )


def objective_rows(
    points: Sequence[Evaluated], objectives: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One row a point, one column an objective, all to be minimised; shape (points, objectives)."""
    return np.array([[OBJECTIVES[name].read(point) for name in objectives] for point in points], np.float64)


def recommend(front: Sequence[Evaluated], needs: Requirements) -> tuple[Evaluated, str]:
    """The point to deploy among feasible ones, and why.

    With a deadline the fewest bytes that meet it; else the least latency. Ties go to the higher quality.
    """
    floor = any(needs.value(name) is not None for name in QUALITY)
    if needs.value("latency") is not None:
        best = min(front, key=lambda p: (p.cost.payload_bytes, p.accuracy.drop, p.cost.latency_s))
        sends = "nothing, alone" if best.cost.payload_bytes == 0 else "the fewest bytes"
        return best, f"it sends {sends} of all that meet the deadline{' and the quality floor' if floor else ''}"
    best = min(front, key=lambda p: (p.cost.latency_s, p.accuracy.drop))
    return best, f"it is the fastest{' of all that meet the quality floor' if floor else ''}"


def violations(point: Evaluated, needs: Requirements) -> tuple[Violation, ...]:
    """Every requirement that `point` misses; constraints bind the estimate, with `confident` the 95 % bound."""
    found = []
    never = point.cost.infeasible
    if never is not None:
        found.append(Violation(name="infeasible", text=f"infeasible: {never}", excess=INFEASIBLE))
    for bound in needs.bounds:
        limit = LIMITS[bound.limit]
        if never is None or not limit.on_arrival:
            found += _missed(limit, bound, limit.read(point, needs.confident), point.accuracy.metric)
    return tuple(found)


def _missed(limit: Limit, bound: Bound, got: float | None, metric: str) -> list[Violation]:
    title = limit.title(metric)
    if got is None:
        return [Violation(name=limit.name, text=f"{title}, which is not known", excess=UNKNOWN)]
    gap = limit.exceeds(got, bound.value)
    if gap <= ROUNDING:
        return []
    show = limit.show_gap or limit.show
    whose = f" ({bound.device} has {limit.show(bound.value)})" if bound.device else ""
    excess = gap if limit.absolute else gap / max(bound.value, LEAST_BOUND)
    return [Violation(name=limit.name, text=f"{title} by {show(gap)}{whose}", excess=min(INFEASIBLE, excess))]


def misses_quality(point: Evaluated, needs: Requirements) -> bool:
    """Whether `point` misses the quality floor, whatever it costs."""
    return any(violation.name in QUALITY for violation in violations(point, needs))


def _would_fit(points: Sequence[Evaluated], needs: Requirements) -> tuple[str, ...]:
    """For each requirement alone: the value at which some point would meet all of them."""
    texts = []
    for bound in needs.bounds:
        limit = LIMITS[bound.limit]
        near = [p for p in points if all(violation.name == limit.name for violation in violations(p, needs))]
        read = [limit.read(point, needs.confident) for point in near]
        known = [value for value in read if value is not None]
        if known:
            best = _rounded(min(known), math.ceil) if limit.best == "least" else _rounded(max(known), math.floor)
            metric = near[0].accuracy.metric
            own = f"{limit.title(metric)} of {limit.show(best)}"  # of another device
            texts.append(own if bound.device else bound_text(limit.name, best, metric))
    return tuple(texts)


def _rounded(value: float, toward: Callable[[float], int]) -> float:
    """`value` to the three digits that are printed, never to where the point would miss it again."""
    if value == 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return toward(round(value / unit, 6)) * unit
