"""Which of the evaluated points are feasible, which is recommended and why, and what is nearest when none is.

Pure functions of evaluated points and requirements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from splitpoint.planner.choice.answer import RunnerUp, find_runner_ups, reason_text
from splitpoint.planner.choice.certainty import Doubt, find_doubt, is_certain
from splitpoint.planner.choice.choose import Aim, choose, quantity
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import LIMITS, Limit
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.preferences import PREFERENCES, with_preferred
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
    """The front, the answer and the knee, or the nearest misses where no point is feasible."""

    front: tuple[Evaluated, ...]  # feasible, not dominated (or the answer), fewest bytes first
    recommended: Evaluated | None
    reason: str
    instead: tuple[RunnerUp, ...] = ()  # the best point of every other kind than the answer's
    doubt: Doubt | None = None  # that the answer meets its deadline
    knee: Evaluated | None
    nearest: tuple[Evaluated, ...]  # when nothing is feasible: least missed first
    would_fit: tuple[str, ...]  # relaxed requirements under which something fits


def decide(
    points: Sequence[Evaluated], needs: Requirements, objectives: Sequence[str], aim: Aim | None = None
) -> Decision:
    """Front, answer and knee, or the nearest misses; `aim` is what the answer is to be best in (default: latency).

    The answer stands on the front even where a point dominates it by less than is known.
    """
    aim = aim or Aim()
    judged = [(point, violations(point, needs)) for point in points]
    feasible = [point for point, missed in judged if not missed]
    ranked = sorted(
        ((point, missed) for point, missed in judged if missed),
        key=lambda pair: sum(violation.excess for violation in pair[1]),
    )
    if not feasible:
        return Decision(
            front=(),
            recommended=None,
            reason="no candidate meets every requirement",
            knee=None,
            nearest=tuple(point for point, _ in ranked[:3]),
            would_fit=_would_fit(points, needs),
        )
    objectives = with_preferred(objectives, aim.prefer)
    rows = objective_rows(feasible, objectives)
    kept = _sorted(point for point, keep in zip(feasible, pareto(rows), strict=True) if keep)
    read = quantity(aim.prefer, kept, objectives)
    answer = choose(feasible, read, aim.errors, _certain(needs, aim))
    bend = knee(objective_rows(kept, objectives))
    # What loses too much is the last resort: prices are compared at the quality that was asked for.
    ranked.sort(key=lambda pair: any(violation.name in QUALITY for violation in pair[1]))
    texts = [(point, tuple(violation.text for violation in missed)) for point, missed in ranked]
    instead = find_runner_ups(answer, feasible, texts, read, aim.errors)
    return Decision(
        front=tuple(kept if answer in kept else _sorted([*kept, answer])),
        recommended=answer,
        reason=reason_text(answer, instead, aim.prefer),
        instead=instead,
        doubt=find_doubt(answer.cost, needs, aim.errors),
        knee=None if bend is None else kept[bend],
        nearest=(),
        would_fit=(),
    )


def recommend(
    points: Sequence[Evaluated], needs: Requirements, objectives: Sequence[str], aim: Aim | None = None
) -> Evaluated | None:
    """The answer of `decide` alone, without its front and its reasons, which take most of the time."""
    aim = aim or Aim()
    feasible = [point for point in points if not violations(point, needs)]
    if not feasible:
        return None
    front: Sequence[Evaluated] = ()
    if PREFERENCES[aim.prefer].read is None:  # the knee is one of a front, and adds no objective to it
        front = [p for p, keep in zip(feasible, pareto(objective_rows(feasible, objectives)), strict=True) if keep]
    return choose(feasible, quantity(aim.prefer, front, objectives), aim.errors, _certain(needs, aim))


def _certain(needs: Requirements, aim: Aim) -> Callable[[Evaluated], bool]:
    return lambda point: is_certain(point.cost, needs, aim.errors)


def _sorted(points: Iterable[Evaluated]) -> list[Evaluated]:
    return sorted(points, key=lambda point: (point.cost.size, point.cost.latency_s))


def objective_rows(
    points: Sequence[Evaluated], objectives: Sequence[str]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """One row a point, one column an objective, all to be minimised; shape (points, objectives)."""
    return np.array([[OBJECTIVES[name].read(point) for name in objectives] for point in points], np.float64)


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
