"""How much the network's answer moves when a channel of a cut tensor does: the weight of a task-aware transform.

The sensitivity is M = E over inputs of the sum over positions p of J_p^T J_p, with J_p = d(top K logits) / d(channels
at p), (K, C).
Quantization noise of covariance S, (C, C), independent between positions, moves the logits by E|dy|^2 = tr(M S).
The top K logits are taken relative to their mean: a shift common to all of them changes no answer.

`planner.coding.gradients` has the rows of J themselves, through torch. Where torch cannot run the network the diagonal
of M alone is estimated here, from one random-sign perturbation a channel and input: its expectation over signs is the
diagonal, its standard error over 16 inputs at most about sqrt(2 / 16) = 35 % of an entry (a tail that averages all
positions).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.runtime import open_session

__all__ = ["INPUTS", "TOP", "sensitivity_diagonal", "top_logits"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
Floats = NDArray[np.float64]
TOP = 5  # logits that can become the answer
INPUTS = 16  # as DESIGN's static tables: more move the ranking of channels little
STEP = 0.1  # perturbation in standard deviations of the channel: the size of 5-bit quantization noise


def sensitivity_diagonal(
    tail: bytes,
    activations: Array,
    *,
    axis: int = 1,
    top: int = TOP,
    count: int = INPUTS,
    seed: int = 0,
    threads: int | None = None,
) -> Floats:
    """(C,): the estimated diagonal of M from `tail` (serialized ONNX, one input), `activations` (N, C, ...) float32.

    Runs the tail (1 + C) times for each of the first `count` activations. `axis` is the channels' (batch axis 0).
    Raises `ProfileError` when the tail takes more than one tensor.
    """
    session = open_session(tail, level="all", threads=threads)
    if len(session.inputs) != 1:
        names = ", ".join(spec.name for spec in session.inputs)
        raise ProfileError(f"the diagonal needs a cut of one tensor, this tail takes {len(session.inputs)}: {names}")
    entry, result = session.inputs[0].name, session.outputs[0].name
    chosen = np.asarray(activations[:count])
    channels = chosen.shape[axis]
    other = tuple(i for i in range(chosen.ndim) if i != axis)
    deviation = chosen.std(axis=other, dtype=np.float64)
    scale = float(deviation.max()) or 1.0
    steps = STEP * np.where(deviation > 1e-3 * scale, deviation, scale)  # a channel that never moved here still may
    rng = np.random.default_rng(seed)
    total = np.zeros(channels)
    for row in chosen:
        base = np.ascontiguousarray(row[None])
        answer = session.run({entry: base})[result].astype(np.float64).ravel()
        best = top_logits(answer, top)
        for channel in range(channels):
            place = [slice(None)] * base.ndim
            place[axis] = slice(channel, channel + 1)
            moved = base.copy()
            view = moved[tuple(place)]
            view += (steps[channel] * rng.choice((-1.0, 1.0), size=view.shape)).astype(base.dtype)
            change = session.run({entry: moved})[result].astype(np.float64).ravel()[best] - answer[best]
            total[channel] += np.square(_relative(change)).sum() / steps[channel] ** 2
    return total / len(chosen)


def top_logits(answer: Floats, top: int) -> NDArray[np.int64]:
    """Indices of the `top` largest of the answers (K,), equal ones in order."""
    return np.argsort(-answer, kind="stable")[:top].astype(np.int64)


def _relative(change: Floats) -> Floats:
    return change - change.mean() if change.size > 1 else change
