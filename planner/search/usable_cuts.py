"""Cuts whose tensors can be sent for every input of the data: finite numbers, and of the shape that was planned.

A mask of minus infinity before a Softmax, or a Loop that makes more trips for one picture than for another, ends at
some cut, not in the network's outputs; such a cut is left out with a note and the others are searched.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import Tensor

__all__ = ["Unusable", "choose_usable"]


def __dir__() -> list[str]:
    return __all__


Unusable = dict[str, str]  # tensor -> why it cannot be sent


def choose_usable(
    runs: NetworkRuns,
    cuts: Sequence[Cut],
    choose: Callable[[Sequence[Cut]], list[Cut]],
    *,
    sets: Sequence[Sequence[Array]],
    probes: int,
) -> tuple[list[Cut], Unusable]:
    """What `choose` takes of the usable `cuts`, and the tensors that are not.

    All cuts are tried with the first `probes` inputs, since this reads every tensor of the network; those that are
    chosen with all inputs of the `sets`.
    """
    unusable = _find_unusable(runs, cuts, itertools.islice(sets[0], probes))
    tried: set[str] = set()
    while True:
        usable = [cut for cut in cuts if not unusable.keys() & set(cut.tensors)]
        chosen = choose(usable) if usable else []
        new = [cut for cut in chosen if not tried >= set(cut.tensors)]
        tried.update(name for cut in new for name in cut.tensors)
        found = _find_unusable(runs, new, itertools.chain(*sets)) if new else {}
        if not found:
            return chosen, unusable
        unusable |= found


def _find_unusable(runs: NetworkRuns, cuts: Sequence[Cut], inputs: Iterable[Array]) -> Unusable:
    tensors = runs.graph.tensors
    found: Unusable = {}
    for row in runs.sweep_inputs(cuts, inputs):
        for name in row:
            if name in tensors and name not in found and (reason := _why_not(tensors[name], row[name])) is not None:
                found[name] = reason
    return found


def _why_not(tensor: Tensor, value: Array) -> str | None:
    if value.shape != tensor.shape:
        return f"{tensor.name!r} was planned as {list(tensor.shape)} and is {list(value.shape)} for some input"
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return None
    return f"{tensor.name!r} holds {'NaN' if np.isnan(value).any() else 'infinity'} for some input"
