"""Halves that were exported and timed on a host, and the seconds of the other halves corrected by them.

Every timed cut is an anchor (planner.cost.anchors) for the cuts that were not timed. Halves are timed alternately with
the whole network, and their seconds are scaled to the speed that the host had when the whole network was profiled. So a
host that is busier now does not make one cut look slower than another.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splitpoint.planner.cost.anchors import Halves, choose_anchors, correct, predict_halves
from splitpoint.planner.cost.price import Party, party
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.measurement.measure import measure_pair
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile, Samples
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.wire import PROTOBUF_LIMIT

__all__ = ["HostTimes", "time_halves", "with_anchors"]


def __dir__() -> list[str]:
    return __all__


TIMES = 2  # runs of the timing of a cut: one slow minute would otherwise affect every cut near it
ANCHORS = 2  # of a profile


def with_anchors(graph: ModelGraph, profile: ModelProfile) -> ModelProfile:
    """`profile` with the halves of two cuts, timed now; unchanged for a network above 2 GB or without cuts inside."""
    if sum(node.weight_bytes for node in graph.nodes) > PROTOBUF_LIMIT:
        return profile  # `split` builds halves in memory, and a protobuf message cannot be larger
    cuts = [cut for cut in enumerate_cuts(graph).cuts if cut.head]
    chosen = choose_anchors(party(profile.host, graph, profile), cuts, ANCHORS) if cuts else []
    timed = [time_halves(graph, cut, profile.whole.min_s, threads=profile.machine.threads) for cut in chosen]
    return msgspec.structs.replace(profile, halves=tuple(timed))


def time_halves(graph: ModelGraph, cut: Cut, whole_s: float, *, threads: int) -> HalvesTiming:
    """Timings of the exported halves of `cut` (its head not empty), the faster of `TIMES`.

    They are scaled as if the whole network took `whole_s`, the seconds in its profile.
    """
    head, tail = split(graph, cut)
    heads, tails = [], []
    for _ in range(TIMES):
        timing = measure_pair(head, tail, whole_bytes(graph), threads=threads)
        assert timing.head is not None
        assert timing.tail is not None
        scale = whole_s / timing.whole.min_s
        heads.append(_scaled(timing.head, scale))
        tails.append(_scaled(timing.tail, scale))
    return HalvesTiming(tensors=cut.tensors, head=min(heads, key=_least), tail=min(tails, key=_least))


class HostTimes:
    """Seconds of the halves of one network on one host: timed, or corrected by those that were timed."""

    def __init__(
        self,
        graph: ModelGraph,
        cuts: Sequence[Cut],
        here: Party,
        *,
        threads: int,
        known: Sequence[HalvesTiming] = (),
    ) -> None:
        """`here` is the host by its profile, `known` the timings in that profile, `cuts` all that will be asked for."""
        self._graph, self._party, self._threads = graph, here, threads
        self._cuts = list(cuts)
        self._place = {cut: index for index, cut in enumerate(cuts)}
        self._predicted = predict_halves(graph, here, cuts)
        places = {cut.tensors: place for cut, place in self._place.items()}
        self._timed = {places[halves.tensors]: halves for halves in known if halves.tensors in places}
        self._correct()

    def __contains__(self, cut: Cut) -> bool:
        """Whether the halves of `cut` were timed, or the head is empty and the tail is the whole network."""
        return not cut.head or self._place[cut] in self._timed

    def time(self, cut: Cut) -> None:
        """Export and time the halves of `cut`."""
        whole_s = self._party.seconds([node.index for node in self._graph.nodes])
        self._timed[self._place[cut]] = time_halves(self._graph, cut, whole_s, threads=self._threads)
        self._correct()

    @property
    def timed(self) -> tuple[HalvesTiming, ...]:
        """The halves that were timed, in the order of their cuts."""
        return tuple(self._timed[place] for place in sorted(self._timed))

    def halves(self, cut: Cut) -> tuple[Timed, Timed] | None:
        """Head and tail of `cut`, measured or profiled and corrected; None without a head or without any timed cut."""
        if not self._timed or not cut.head:
            return None
        place = self._place[cut]
        if place in self._timed:
            halves = self._timed[place]
            return _measured(halves.head), _measured(halves.tail)
        half, error = self._corrected[place], self._party.retest_error or 0.0
        return (
            Timed(seconds=half.head_s, how="profiled", spread_s=error * half.head_s),
            Timed(seconds=half.tail_s, how="profiled", spread_s=error * half.tail_s),
        )

    def _correct(self) -> None:
        anchors = {
            place: Halves(head_s=halves.head.min_s, tail_s=halves.tail.min_s) for place, halves in self._timed.items()
        }
        self._corrected = correct(self._predicted, anchors)


def _scaled(samples: Samples, scale: float) -> Samples:
    return Samples(
        n=samples.n,
        min_s=scale * samples.min_s,
        median_s=scale * samples.median_s,
        mad_s=scale * samples.mad_s,
    )


def _least(samples: Samples) -> float:
    return samples.min_s


def _measured(samples: Samples) -> Timed:
    return Timed(seconds=samples.min_s, how="measured", spread_s=samples.mad_s)
