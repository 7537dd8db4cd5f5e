"""The answer among feasible points: the best in the preferred quantity, unless a simpler kind of answer is as good.

Simple first: all on the device, then the input sent, then a split. A point of a less simple kind is the answer only
when it beats the best point of every simpler kind by more than the standard uncertainty of their difference, as in the
one-standard-error rule of Breiman et al. (1984) for trees. Within a kind, a point that is certain to meet its deadline
goes before one that is not, unless that is better by more than the uncertainty. Quality need only meet its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.uncertainty import Difference, compare
from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import KINDS, kind_of

__all__ = ["Aim", "Read", "best_of_kinds", "choose", "difference", "quantity"]


def __dir__() -> list[str]:
    return __all__


Read = Callable[[Evaluated], float]


class Aim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the answer is to be best in, and how well the seconds of both sides are known."""

    prefer: str = "latency"  # a name of `planner.limits.preferences`
    errors: SpeedErrors = SpeedErrors()


def choose(
    points: Sequence[Evaluated],
    read: Read,
    errors: SpeedErrors,
    certain: Callable[[Evaluated], bool] = lambda point: True,
) -> Evaluated:
    """The answer among feasible `points`, at least one; `read` is their quantity, to be small.

    `certain` says whether a point is certain to meet the limits that it meets.
    """
    best = best_of_kinds(points, read)
    for kind in reversed(KINDS):
        simpler = [best[other] for other in KINDS[: KINDS.index(kind)] if other in best]
        bar = min((read(other) for other in simpler), default=math.inf)
        ranked = sorted((point for point in points if kind_of(point) == kind), key=lambda point: _rank(point, read))
        better: list[Evaluated] = []  # than every simpler kind, the best first
        for point in ranked:  # the best first: those behind one that is not better are not, either
            if simpler and read(point) >= bar:
                break
            if better and (not certain(point) or difference(better[0], point, read, errors).sure):
                continue
            if all(difference(point, other, read, errors).sure for other in simpler):
                better.append(point)
                if certain(point):
                    return point
        if better:
            return better[0]
    raise ValueError("no points to choose from")


def best_of_kinds(points: Sequence[Evaluated], read: Read) -> dict[Kind, Evaluated]:
    """The best point of every kind that `points` have; ties go to quality, then to fewer bytes, then to latency."""
    kinds: dict[Kind, list[Evaluated]] = {}
    for point in points:
        kinds.setdefault(kind_of(point), []).append(point)
    return {kind: min(kinds[kind], key=lambda point: _rank(point, read)) for kind in KINDS if kind in kinds}


def difference(point: Evaluated, other: Evaluated, read: Read, errors: SpeedErrors) -> Difference:
    """By how much `point` is better than `other`; what is not known of either is no gain."""
    here, there = read(point), read(other)
    if not (math.isfinite(here) and math.isfinite(there)):
        return Difference(gain=math.inf if math.isfinite(here) else 0.0, uncertainty=0.0)
    return compare(point, other, read, errors)


def quantity(prefer: str, front: Sequence[Evaluated], objectives: Sequence[str]) -> Read:
    """What is preferred, as a number to be small; infinity where it is not known.

    The knee is the smallest sum of the objectives, each scaled to 0..1 over the front, as `planner.search.pareto.knee`
    has it; an objective that does not vary, or is not known of every point, is left out.
    """
    read = PREFERENCES[prefer].read
    if read is not None:
        known = read
        return lambda point: math.inf if (value := known(point)) is None else value
    scales: Mapping[str, tuple[float, float]] = _scales(front, objectives)
    return lambda point: sum((OBJECTIVES[name].read(point) - low) / span for name, (low, span) in scales.items())


def _scales(front: Sequence[Evaluated], objectives: Sequence[str]) -> dict[str, tuple[float, float]]:
    scales = {}
    for name in objectives:
        values = np.array([OBJECTIVES[name].read(point) for point in front], np.float64)
        if np.isfinite(values).all() and np.ptp(values) > 0:
            scales[name] = float(values.min()), float(np.ptp(values))
    return scales


def _rank(point: Evaluated, read: Read) -> tuple[float, float, float, float]:
    return read(point), point.accuracy.lost, point.cost.payload_bytes, point.cost.latency_s
