"""How much the network's answer moves when a channel of a cut tensor does: the weight of a task-aware transform.

The sensitivity is M = E over inputs of the sum over positions p of J_p^T J_p, with J_p = d(top K logits) / d(channels
at p), (K, C).
Quantization noise of covariance S, (C, C), independent between positions, moves the logits by E|dy|^2 = tr(M S).
The top K logits are taken relative to their mean: a shift common to all of them changes no answer.

With a torch module M is exact (`sensitivity_torch`); for an ONNX-only model the diagonal alone is estimated from one
random-sign perturbation a channel and input (`sensitivity_diagonal`): its expectation over signs is M's diagonal, its
standard error over 16 inputs at most about sqrt(2 / 16) = 35 % of an entry (a tail that averages all positions).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.types import PlannerError
from splitpoint.profiles.runtime import open_session

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["INPUTS", "TOP", "sensitivity_diagonal", "sensitivity_torch"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
Floats = NDArray[np.float64]
TOP = 5  # logits that can become the answer
INPUTS = 16  # as DESIGN's static tables: more move the ranking of channels little
STEP = 0.1  # perturbation in standard deviations of the channel: the size of 5-bit quantization noise
INPUT = -1  # the "call" whose result is the network's input
SAME = 1e-3  # relative error up to which a tensor of the module is the cut's: ORT fuses and reorders sums


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
    Raises `PlannerError` when the tail takes more than one tensor.
    """
    session = open_session(tail, level="all", threads=threads)
    if len(session.inputs) != 1:
        names = ", ".join(spec.name for spec in session.inputs)
        raise PlannerError(f"the diagonal needs a cut of one tensor, this tail takes {len(session.inputs)}: {names}")
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
        best = _top(answer, top)
        for channel in range(channels):
            place = [slice(None)] * base.ndim
            place[axis] = slice(channel, channel + 1)
            moved = base.copy()
            view = moved[tuple(place)]
            view += (steps[channel] * rng.choice((-1.0, 1.0), size=view.shape)).astype(base.dtype)
            change = session.run({entry: moved})[result].astype(np.float64).ravel()[best] - answer[best]
            total[channel] += np.square(_relative(change)).sum() / steps[channel] ** 2
    return total / len(chosen)


def sensitivity_torch(
    module: nn.Module,
    inputs: Sequence[Array],
    activations: Array,
    *,
    axis: int = 1,
    top: int = TOP,
    count: int = INPUTS,
) -> Floats:
    """(C, C): M of the cut whose tensor is `activations` (N, C, ...) for the network's `inputs`, (1, ...) each.

    The cut is found in the module as its input or the first result of any torch function that equals the activations.
    Raises `PlannerError` when none does: the exporter made the tensor otherwise, and only the diagonal can be had.
    It runs on one thread: one input at a time gains little from more, and the sums do not depend on the cores.
    """
    import torch

    channels = activations.shape[axis]
    total = np.zeros((channels, channels))
    used = min(len(inputs), count)
    was_training, threads = module.training, torch.get_num_threads()
    module.eval()
    torch.set_num_threads(1)
    try:
        call = _find(module, inputs, activations)
        for x in inputs[:used]:
            taken: list[torch.Tensor] = []

            def take(index: int, value: torch.Tensor, taken: list[torch.Tensor] = taken) -> torch.Tensor:
                if index != call:
                    return value
                leaf = value.detach().clone().requires_grad_()
                taken.append(leaf)
                return leaf.clone()  # an operator in place must not write into the leaf

            with torch.enable_grad():
                answer = _first(_watch(module, x, take)).reshape(-1)
                best = _top(answer.detach().numpy().astype(np.float64), top)
                logits = answer[torch.from_numpy(best)]
                if len(best) > 1:
                    logits = logits - logits.mean()
                rows = [
                    torch.autograd.grad(logit, taken[0], retain_graph=True, allow_unused=True)[0] for logit in logits
                ]
            for row in rows:
                if row is None:
                    continue
                jacobian = np.moveaxis(row.numpy().astype(np.float64), axis, 0).reshape(channels, -1)  # (C, positions)
                total += jacobian @ jacobian.T
    finally:
        module.train(was_training)
        torch.set_num_threads(threads)
    return total / used


def _top(answer: Floats, top: int) -> NDArray[np.int64]:
    return np.argsort(-answer, kind="stable")[:top].astype(np.int64)


def _relative(change: Floats) -> Floats:
    return change - change.mean() if change.size > 1 else change


def _find(module: nn.Module, inputs: Sequence[Array], activations: Array) -> int:
    """Number of the torch function call (or INPUT) whose result equals the activations on the first two inputs."""
    import torch

    candidates: set[int] | None = None
    order: list[int] = []
    closest = np.inf
    for x, target in zip(inputs[:2], activations[:2], strict=False):
        wanted = torch.from_numpy(np.ascontiguousarray(target[None]))
        norm = float(wanted.norm()) or 1.0
        found: list[int] = []

        def compare(
            index: int,
            value: torch.Tensor,
            wanted: torch.Tensor = wanted,
            norm: float = norm,
            found: list[int] = found,
        ) -> torch.Tensor:
            nonlocal closest
            if value.shape == wanted.shape and value.is_floating_point():
                error = float((value - wanted).norm()) / norm
                closest = min(closest, error)
                if error <= SAME:
                    found.append(index)
            return value

        with torch.no_grad():
            _watch(module, x, compare)
        order = found
        candidates = set(found) if candidates is None else candidates & set(found)
    matching = [index for index in order if index in (candidates or ())]
    if not matching:
        nearest = "none has its shape" if np.isinf(closest) else f"the nearest differs by {closest:.2g} (relative)"
        raise PlannerError(
            f"no tensor of the torch module equals the cut's {tuple(activations.shape[1:])}: {nearest}",
            fix="use the diagonal, which needs only the tail's ONNX model",
        )
    return matching[0]  # the first: a later copy may feed only some of its readers


def _watch(module: nn.Module, x: Array, visit: Callable[[int, torch.Tensor], torch.Tensor]) -> Any:
    """Run the module; `visit` sees, and may replace, its input and what every torch function called by it gives."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        """Counts results; what `visit` itself calls is not seen, as the mode is off inside it."""

        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return self._visited(func(*args, **(kwargs or {})))

        def _visited(self, value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                index, self.count = self.count, self.count + 1
                return visit(index, value)
            if type(value) in (tuple, list):  # split, chunk
                return type(value)(self._visited(item) for item in value)
            return value

    entry = visit(INPUT, torch.from_numpy(np.ascontiguousarray(x)))
    with Watch():
        return module(entry)


def _first(output: Any) -> torch.Tensor:
    import torch

    while not isinstance(output, torch.Tensor):
        values = list(output.values()) if isinstance(output, dict) else list(output)
        if not values:
            raise PlannerError("the module gives no tensor")
        output = values[0]
    return output
