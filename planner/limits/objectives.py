"""One row an objective: what fronts are made of, every one of them to be minimised."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping

from splitpoint.planner.limits.limits import ENERGY_FIGURES, PRICE_FIGURES, Figure
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError

__all__ = ["OBJECTIVES", "Objective", "find_objective"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """A quantity of a point on the scale on which points are compared."""

    name: str  # in the configuration's `objectives`
    read: Callable[[Evaluated], float]
    figures: tuple[Figure, ...] = ()  # sections of profiles without which it is not known


def _known(value: float | None) -> float:
    return math.inf if value is None else value


OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(name="latency", read=lambda point: math.log10(point.cost.latency_s)),
        # Nothing sent is one byte, or one channel use, on the log scale: below every real payload, and finite.
        Objective(name="payload", read=lambda point: math.log10(max(1.0, point.cost.size))),
        Objective(name="drop", read=lambda point: point.accuracy.lost),
        Objective(name="energy", read=lambda point: _known(point.cost.energy_j), figures=ENERGY_FIGURES),
        Objective(name="cost", read=lambda point: _known(point.cost.usd), figures=PRICE_FIGURES),
    )
}


def find_objective(name: str, *, at: str) -> Objective:
    """The objective of that name; raises `ProfileError` with the nearest."""
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    near = difflib.get_close_matches(name, OBJECTIVES, n=1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    raise ProfileError(f"unknown objective {name!r}{hint}", at=at, fix=f"known: {', '.join(OBJECTIVES)}")
