"""The cuts of one network in another that has the same operators: with fewer channels, or other weights."""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["counterparts"]


def __dir__() -> list[str]:
    return __all__


def counterparts(graph: ModelGraph, other: ModelGraph, cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """For each of `cuts` of `graph` the cut of `other` with the same nodes before it.

    Raises `ProfileError` where `other` has not the same operators in the same order.
    """
    types, theirs = ([node.op_type for node in g.nodes] for g in (graph, other))
    if types != theirs:
        raise ProfileError(
            f"the changed network has {len(theirs)} operators, the given one {len(types)}", at=other.name
        )
    found = {tuple(cut.head): cut for cut in enumerate_cuts(other).cuts}
    return tuple(found[tuple(cut.head)] for cut in cuts)
