"""Head and tail seconds of every cut from one profile, corrected by a few cuts whose halves were timed.

The profile contains the seconds of nodes inside the whole network. An exported half is a network of its own: memory
layouts are converted back at its end, and operators that ORT fused across the cut are separate. Two timed cuts, called
anchors, measure how much that costs on this machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.planner.cost.price import Party, other_half
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Halves", "choose_anchors", "correct", "predict_halves"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Halves:
    """Seconds of head and tail of one cut."""

    head_s: float
    tail_s: float


def predict_halves(graph: ModelGraph, party: Party, cuts: Sequence[Cut]) -> list[Halves]:
    """Seconds of head and tail of every cut on the machine of `party`: its nodes plus the overhead of a run."""
    return [Halves(head_s=party.seconds(cut.head), tail_s=party.seconds(other_half(graph, cut))) for cut in cuts]


def correct(predicted: Sequence[Halves], measured: Mapping[int, Halves]) -> list[Halves]:
    """`predicted` halves, corrected by halves that were `measured`, by index.

    An anchor gives the ratio of measured to predicted seconds. Between anchors the ratio is interpolated over the share
    of the head in the seconds; it is 1 where a half is the whole network, because the whole network was profiled.
    """
    at = sorted(
        (i for i in measured if predicted[i].head_s > 0 and predicted[i].tail_s > 0), key=lambda i: _share(predicted[i])
    )
    if not at:
        return list(predicted)
    places = [_share(predicted[i]) for i in at]
    shares = [_share(half) for half in predicted]
    # np.interp holds the first ratio before the first place and the last one after the last.
    up = np.interp(shares, [*places, 1.0], [*(measured[i].head_s / predicted[i].head_s for i in at), 1.0])
    down = np.interp(shares, [0.0, *places], [1.0, *(measured[i].tail_s / predicted[i].tail_s for i in at)])
    return [
        Halves(head_s=float(half.head_s * head), tail_s=float(half.tail_s * tail))
        for half, head, tail in zip(predicted, up, down, strict=True)
    ]


def _share(half: Halves) -> float:
    return half.head_s / (half.head_s + half.tail_s)


def choose_anchors(party: Party, cuts: Sequence[Cut], count: int = 2) -> list[Cut]:
    """The cuts nearest to 1/(count+1), 2/(count+1), ... of the network's seconds, each once."""
    shares = np.array([party.node_s[list(cut.head)].sum() for cut in cuts]) / party.node_s.sum()
    chosen = [int(np.argmin(abs(shares - (i + 1) / (count + 1)))) for i in range(count)]
    return [cuts[index] for index in dict.fromkeys(chosen)]
