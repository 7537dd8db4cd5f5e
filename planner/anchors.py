"""Head and tail seconds of every cut from one profile, corrected by a few cuts whose halves were really timed.

The profile knows nodes inside the whole network; an exported half is a network of its own: layouts are converted back
at its end, and what ORT fused across the cut is not. Two timed cuts (anchors) tell how much that costs here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from splitpoint.planner.types import Cut
from splitpoint.profiles.model import ModelGraph, ModelProfile

__all__ = ["Anchor", "Halves", "choose_anchors", "predict_halves"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Halves:
    """Seconds of head and tail of one cut."""

    head_s: float
    tail_s: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Anchor:
    """A cut whose exported halves were timed."""

    cut: Cut
    measured: Halves


def predict_halves(
    graph: ModelGraph, profile: ModelProfile, cuts: Sequence[Cut], anchors: Sequence[Anchor] = ()
) -> list[Halves]:
    """Seconds of head and tail of every cut on the profile's machine.

    Without anchors a half takes its nodes' share of the whole. An anchor gives the ratio of measured to predicted
    seconds at its place; between places the ratio is interpolated over the head's share, and it is 1 where a half is
    the whole network, since that is what was profiled.
    """
    node_s = np.array([timing.seconds for timing in profile.nodes])
    total_s = float(node_s.sum())
    heads = [float(node_s[list(cut.head)].sum()) for cut in cuts]
    places = sorted(((float(node_s[list(anchor.cut.head)].sum()), anchor.measured) for anchor in anchors), key=_first)
    known = [(head_s, half) for head_s, half in places if 0 < head_s < total_s]
    if not known:
        return [Halves(head_s=head_s, tail_s=total_s - head_s) for head_s in heads]
    at = [head_s for head_s, _ in known]
    # np.interp holds the first ratio before the first place and the last one after the last.
    head_ratio = np.interp(heads, [*at, total_s], [*(half.head_s / head_s for head_s, half in known), 1.0])
    tail_ratio = np.interp(heads, [0.0, *at], [1.0, *(half.tail_s / (total_s - head_s) for head_s, half in known)])
    return [
        Halves(head_s=float(head_s * up), tail_s=float((total_s - head_s) * down))
        for head_s, up, down in zip(heads, head_ratio, tail_ratio, strict=True)
    ]


def choose_anchors(graph: ModelGraph, profile: ModelProfile, cuts: Sequence[Cut], count: int = 2) -> list[Cut]:
    """The cuts nearest to 1/(count+1), 2/(count+1), ... of the network's seconds, each once."""
    node_s = np.array([timing.seconds for timing in profile.nodes])
    shares = np.array([node_s[list(cut.head)].sum() for cut in cuts]) / node_s.sum()
    chosen = [int(np.argmin(abs(shares - (i + 1) / (count + 1)))) for i in range(count)]
    return [cuts[index] for index in dict.fromkeys(chosen)]


def _first(pair: tuple[float, Halves]) -> float:
    return pair[0]
