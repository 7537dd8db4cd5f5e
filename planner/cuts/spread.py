"""A few cuts over the depth of a network, for what takes minutes at each."""

from __future__ import annotations

from typing import Final

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["spread_cuts"]


def __dir__() -> list[str]:
    return __all__


SHARES: Final = (0.25, 0.5, 0.75)  # of the multiply-adds before the cuts that are chosen


def spread_cuts(graph: ModelGraph) -> list[Cut]:
    """At most three cuts, near each of `SHARES` of the multiply-adds: where to prune and train unless the user says so.

    Only cuts that are smaller than the input and than every earlier cut save bytes. A network without such cuts is
    cut to run faster on the device, and then all cuts are considered.
    """
    inside = [cut for cut in enumerate_cuts(graph).cuts if cut.head_macs]
    smaller, best = [], sum(tensor.elements for tensor in graph.inputs)
    for cut in inside:
        if cut.elements < best:
            smaller.append(cut)
            best = cut.elements
    if not any(cut.head_macs < graph.macs for cut in smaller):
        smaller = inside
    nearest = [min(smaller, key=lambda cut: abs(cut.head_macs / graph.macs - share)) for share in SHARES]
    return list(dict.fromkeys(nearest))
