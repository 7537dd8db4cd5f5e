"""Halves that were exported and really timed on this host, and what they say of the halves that were not.

The others are corrected by these as by anchors (planner.anchors): every timed cut is one. Halves are timed in turn with
the whole network, and stated for the speed that the host had when the whole was profiled, so that a host that is busier
now does not make one cut look slower than another.
"""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.planner.anchors import Halves, correct
from splitpoint.planner.cost import Party, other_half
from splitpoint.planner.export import split, whole_bytes
from splitpoint.planner.types import Cut, Timed
from splitpoint.profiles.measure import PairTiming, measure_pair
from splitpoint.profiles.model import ModelGraph, Samples

__all__ = ["HostTimes"]


def __dir__() -> list[str]:
    return __all__


class HostTimes:
    """Seconds of the halves of one network on this host; empty until a cut is timed."""

    def __init__(self, graph: ModelGraph, cuts: Sequence[Cut], party: Party, *, threads: int) -> None:
        """`party` is this host as its profile has it; `cuts` are all that will be asked for."""
        self._graph, self._cuts, self._party, self._threads = graph, cuts, party, threads
        self._place = {cut: index for index, cut in enumerate(cuts)}
        self._timed: dict[int, tuple[Timed, Timed]] = {}
        self._corrected: list[Halves] = []

    def __contains__(self, cut: Cut) -> bool:
        """Whether `cut` was timed."""
        return self._place[cut] in self._timed

    def time(self, cut: Cut) -> PairTiming:
        """Export and time the halves of `cut`, in turn with the whole network."""
        head, tail = split(self._graph, cut)
        timing = measure_pair(head if cut.head else None, tail, whole_bytes(self._graph), threads=self._threads)
        scale = self._party.seconds([node.index for node in self._graph.nodes]) / timing.whole.min_s
        self._timed[self._place[cut]] = _measured(timing.head, scale), _measured(timing.tail, scale)
        predicted = [
            Halves(head_s=self._party.seconds(c.head), tail_s=self._party.seconds(other_half(self._graph, c)))
            for c in self._cuts
        ]
        anchors = {
            place: Halves(head_s=head.seconds, tail_s=tail.seconds) for place, (head, tail) in self._timed.items()
        }
        self._corrected = correct(predicted, anchors)
        return timing

    def halves(self, cut: Cut) -> tuple[Timed, Timed] | None:
        """Head and tail of `cut`: measured, or profiled and corrected; None before anything was timed."""
        if not self._timed:
            return None
        place = self._place[cut]
        if place in self._timed:
            return self._timed[place]
        half, error = self._corrected[place], self._party.retest_error or 0.0
        return (
            Timed(seconds=half.head_s, how="profiled", spread_s=error * half.head_s if cut.head else None),
            Timed(seconds=half.tail_s, how="profiled", spread_s=error * half.tail_s),
        )


def _measured(samples: Samples | None, scale: float) -> Timed:
    """The least of the samples, as profiles have it; a half that is not there takes no time."""
    if samples is None:
        return Timed(seconds=0.0, how="measured", spread_s=None)
    return Timed(seconds=scale * samples.min_s, how="measured", spread_s=scale * samples.mad_s)
