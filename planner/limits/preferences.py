"""One row a preference: the quantity in which the answer must be best, among points that meet every limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from splitpoint.planner.limits.limits import ENERGY_FIGURES, PRICE_FIGURES, Figure
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.units import format_bytes, format_joules, format_seconds, format_usd, format_uses

__all__ = ["PREFERENCES", "Preference", "with_preferred"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """A quantity of a point that is to be small."""

    name: str  # in the configuration's `prefer`
    objective: str | None  # of `planner.limits.objectives`, which the front and the search then have too
    read: Callable[[Evaluated], float | None] | None  # None as a value: not known. None as a field: the knee
    show: Callable[[float], str]  # of a difference
    best: str  # what the answer is: "the fastest"
    less: str  # what a smaller value is: "faster"
    more: str
    help: str
    figures: tuple[Figure, ...] = ()  # sections of profiles without which it is not known
    show_uses: Callable[[float], str] | None = None  # of a difference in channel uses; None: it is the same
    best_uses: str = ""

    def text(self, value: float, point: Evaluated) -> str:
        """A difference in the unit that `point` has."""
        return (self.show_uses if self.show_uses and point.cost.channel_uses is not None else self.show)(value)

    def best_text(self, point: Evaluated) -> str:
        """What an answer is."""
        return self.best_uses if self.show_uses and point.cost.channel_uses is not None else self.best


def _points_text(value: float) -> str:
    return f"{100 * value:.1f} points"


PREFERENCES: Mapping[str, Preference] = {
    preference.name: preference
    for preference in (
        Preference(
            name="latency",
            objective="latency",
            read=lambda point: point.cost.latency_s,
            show=format_seconds,
            best="the fastest",
            less="faster",
            more="slower",
            help="the least mean latency",
        ),
        Preference(
            name="payload",
            objective="payload",
            read=lambda point: point.cost.size,
            show=format_bytes,
            best="the one that sends the fewest bytes",
            less="less",
            more="more",
            help="the fewest bytes sent; on a radio link known by its SNR, the fewest channel uses",
            show_uses=format_uses,
            best_uses="the one of the fewest channel uses",
        ),
        Preference(
            name="energy",
            objective="energy",
            read=lambda point: point.cost.energy_j,
            show=format_joules,
            best="the one of the least energy",
            less="less",
            more="more",
            help="the least energy of the device",
            figures=ENERGY_FIGURES,
        ),
        Preference(
            name="cost",
            objective="cost",
            read=lambda point: point.cost.usd,
            show=format_usd,
            best="the cheapest",
            less="cheaper",
            more="dearer",
            help="the least money a request",
            figures=PRICE_FIGURES,
        ),
        Preference(
            name="quality",
            objective="drop",
            read=lambda point: point.accuracy.lost,
            show=_points_text,
            best="the one of the highest quality",
            less="better",
            more="worse",
            help="the highest quality",
        ),
        Preference(
            name="knee",
            objective=None,
            read=None,
            show=lambda value: f"{value:.2g}",
            best="the best compromise of the objectives",
            less="closer to the ideal",
            more="farther from the ideal",
            help="the best compromise of the objectives",
        ),
    )
}


def with_preferred(objectives: Sequence[str], prefer: str) -> tuple[str, ...]:
    """`objectives` with that of the preference, so that the front and the search look for it."""
    objective = PREFERENCES[prefer].objective
    return (*objectives, *([objective] if objective is not None and objective not in objectives else []))
