"""Gradients of the top logits at cut tensors, through torch: what a task-aware transform weights its noise with.

One forward run of an input and one backward run for each of its top logits give the gradients at every cut at once.
A cut is found in the module by comparing activations, so any module that computes the same network serves: the one
that the user gave, or `planner.coding.torch_graph`'s of an ONNX graph.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.coding.sensitivity import INPUTS, TOP, top_logits
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.torch_model import evaluating

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["MOST_ELEMENTS", "Gradients", "gradients_torch"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
INPUT = -1  # the "call" whose result is the network's first input; of the others -2, -3, ...
SAME = 1e-3  # relative error up to which a tensor of the module is the cut's: ORT fuses and reorders sums
COMPARED = 2  # inputs on which a tensor must equal the cut's
MOST_ELEMENTS = 4_000_000  # of the gradients kept at one cut: a large map has enough positions in few inputs


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gradients:
    """By cut tensor: gradients (M, ...) float32, a row for an input and logit; or why there are none."""

    found: Mapping[str, Array]
    missing: Mapping[str, str]


def gradients_torch(
    module: nn.Module,
    inputs: Sequence[Array | tuple[Array, ...]],
    targets: Mapping[str, Array],
    *,
    answers: Array | None = None,
    top: int = TOP,
    count: int = INPUTS,
) -> Gradients:
    """Gradients at each of `targets`: tensor name -> its activations (N, ...) at the first of `inputs`, each (1, ...)
    or one array for each input of the module.

    A tensor is the module's input or the first result of any torch function that equals the activations.
    Raises `ProfileError` when the module's answers are not `answers` (N, ...): then it is another network.
    It runs on one thread: one input at a time gains little from more, and the sums do not depend on the cores.
    """

    used = inputs[:count]
    with _one_thread(), evaluating(module):
        calls, missing = _find(module, used, targets, answers)
        rows: dict[str, list[Array]] = {name: [] for name in calls}
        for x in used:
            wanted = {n: call for n, call in calls.items() if sum(row.size for row in rows[n]) < MOST_ELEMENTS}
            if not wanted:
                break
            for name, row in _rows(module, x, wanted, top):
                rows[name].append(row)
    return Gradients(found={name: np.concatenate(made) for name, made in rows.items() if made}, missing=missing)


_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread; the number is the process's: one caller at a time changes and restores it."""
    import torch

    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _rows(
    module: nn.Module, x: Array | tuple[Array, ...], calls: Mapping[str, int], top: int
) -> list[tuple[str, Array]]:
    """(name, (top, ...) gradients at its call) for one input."""
    import torch

    taken: dict[int, torch.Tensor] = {}
    indices = set(calls.values())

    def take(index: int, value: torch.Tensor) -> torch.Tensor:
        if index <= INPUT:
            value = value.clone().requires_grad_(value.is_floating_point())
        if index not in indices:
            return value
        taken[index] = value if value.requires_grad else value.detach().clone().requires_grad_()
        return taken[index].clone()  # an operator in place must not write into what the gradient is taken at

    with torch.enable_grad():
        answer = _first(_watch(module, x, take)).reshape(-1)
        best = top_logits(answer.detach().numpy().astype(np.float64), top)
        logits = answer[torch.from_numpy(best)]
        if len(best) > 1:
            logits = logits - logits.mean()
        order = sorted(taken)
        backward = [
            torch.autograd.grad(logit, [taken[i] for i in order], retain_graph=True, allow_unused=True)
            for logit in logits
        ]
    of_call = {
        call: torch.cat([torch.zeros_like(taken[call]) if row[i] is None else row[i] for row in backward])
        for i, call in enumerate(order)
    }
    return [(name, of_call[call].detach().numpy()) for name, call in calls.items()]


def _find(
    module: nn.Module,
    inputs: Sequence[Array | tuple[Array, ...]],
    targets: Mapping[str, Array],
    answers: Array | None,
) -> tuple[dict[str, int], dict[str, str]]:
    """For each target the number of the torch function call (or INPUT) that makes it, or why there is none."""
    import torch

    searches = [_Search(name, activations) for name, activations in targets.items()]
    for i, x in enumerate(inputs[:COMPARED]):
        for search in searches:
            search.aim(i)

        def compare(index: int, value: torch.Tensor) -> torch.Tensor:
            for search in searches:
                search.compare(index, value)
            return value

        with torch.no_grad():
            answer = _first(_watch(module, x, compare)).numpy().ravel()
        if answers is not None:
            _check_answer(answer, answers[i].ravel())
    calls = {search.name: min(search.candidates) for search in searches if search.candidates}
    return calls, {search.name: search.failure for search in searches if not search.candidates}


def _check_answer(answer: Array, expected: Array) -> None:
    if answer.size != expected.size:
        raise ProfileError(f"the torch module answers {answer.size} numbers, the network {expected.size}")
    error = float(np.linalg.norm(answer - expected)) / (float(np.linalg.norm(expected)) or 1.0)
    if not error <= SAME:
        raise ProfileError(f"the torch module's answer differs from the network's by {error:.2g} (relative)")


class _Search:
    """Calls whose result equals one cut's activations on every input so far."""

    def __init__(self, name: str, activations: Array) -> None:
        self.name = name
        self.candidates: set[int] = set()
        self._activations, self._closest = activations, np.inf

    def aim(self, i: int) -> None:
        """Compare with the `i`-th activation from now on."""
        import torch

        self._wanted = torch.from_numpy(np.ascontiguousarray(self._activations[i][None]))
        self._norm = float(self._wanted.norm()) or 1.0
        self._first, self._before = i == 0, self.candidates
        self.candidates = set()

    def compare(self, index: int, value: torch.Tensor) -> None:
        """Keep `index` when its result is the activation."""
        if value.shape != self._wanted.shape or not value.is_floating_point():
            return
        error = float((value - self._wanted).norm()) / self._norm
        self._closest = min(self._closest, error)
        if error <= SAME and (self._first or index in self._before):
            self.candidates.add(index)

    @property
    def failure(self) -> str:
        """Why nothing was found."""
        shape = tuple(self._activations.shape[1:])
        close = self._closest
        nearest = "none has its shape" if np.isinf(close) else f"the nearest differs by {close:.2g} (relative)"
        return f"no tensor of the torch module equals the cut's {shape}: {nearest}"


def _watch(module: nn.Module, x: Array | tuple[Array, ...], visit: Callable[[int, torch.Tensor], torch.Tensor]) -> Any:
    """Run the module; `visit` sees, and may replace, its inputs and what every torch function called by it gives."""
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

    arrays = x if isinstance(x, tuple) else (x,)
    entries = [visit(INPUT - i, torch.from_numpy(np.ascontiguousarray(array))) for i, array in enumerate(arrays)]
    with Watch():
        return module(*entries)


def _first(output: Any) -> torch.Tensor:
    import torch

    while not isinstance(output, torch.Tensor):
        values = list(output.values()) if isinstance(output, dict) else list(output)
        if not values:
            raise ProfileError("the module gives no tensor")
        output = values[0]
    return output
