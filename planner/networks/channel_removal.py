"""Remove filters from a torch network through its dependency graph, and correct the layers that read what is left.

Filters are ranked by the L1 norm of their weights (Li 2017), summed over the layers that share them: layers whose
outputs are added lose the same channels. Then the layers that read the pruned ones are corrected: the weights of each
are fitted by least squares to the original's outputs (He 2017, eq. 3).
torch and torch-pruning are imported inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.networks.channel_groups import (
    WIDE,
    WIDTH_STEP,
    check_runs,
    dependencies,
    dependents,
    has_filters,
    remove_group,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["correct_layers", "remove_filters"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
ROWS: Final = 20_000  # of a least-squares problem: 9 for each unknown of a 3x3 layer with 256 inputs
RIDGES: Final = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # tried, as shares of the mean power of the layer's inputs


def remove_filters(
    module: nn.Module, layers: Sequence[str], ratio: float, example: torch.Tensor
) -> tuple[dict[str, list[int]], list[str]]:
    """Remove about `ratio` of the filters of each convolution in `layers`, in place, with all that depends on them.

    Returns the output channels that were removed of each layer, also of layers outside `layers` that share them, and
    the layers that were not pruned with the reason. A shared group is pruned once. Raises `ProfileError` when
    torch-pruning is missing or cannot follow the network, and when the network contains a constant number of channels.
    """
    pruning, graph = dependencies(module, example)
    names = {layer: name for name, layer in module.named_modules()}
    removed: dict[str, list[int]] = {}
    left: list[str] = []
    for name in layers:
        root: Any = module.get_submodule(name)
        count = _filters_to_remove(int(root.weight.shape[0]), ratio)
        if name in removed or count == 0:
            continue
        norms = _l1_norms(pruning, graph, root)
        weakest = sorted(np.argsort(norms, kind="stable")[:count].tolist())
        remove_group(pruning, graph, names, root, weakest, removed, left)
    check_runs(module, example)
    return removed, left


def _filters_to_remove(width: int, ratio: float) -> int:
    """Number of `width` filters to remove; a wide layer keeps a multiple of WIDTH_STEP."""
    if width < WIDE:
        return round(ratio * width)
    return width - max(WIDTH_STEP, WIDTH_STEP * round((1 - ratio) * width / WIDTH_STEP))


def correct_layers(
    pruned: nn.Module,
    original: nn.Module,
    layers: Sequence[str],
    removed: Mapping[str, Sequence[int]],
    inputs: torch.Tensor,
) -> dict[str, float]:
    """Fit each of `layers` (convolutions without groups, linear layers), in order, to the original's outputs, in place.

    `inputs` (N, ...) are calibration inputs. Returns, for each layer, the relative error of its outputs on inputs that
    it was not fitted to. A ridge term keeps the fit near the sliced weights where the inputs determine little; the
    strength of the ridge is chosen on every second input.
    """
    errors = {}
    for name in layers:
        layer = pruned.get_submodule(name)
        gone = set(removed.get(name, ()))
        x, y, even = _samples(pruned, original, name, inputs)
        y = y[:, [i for i in range(y.shape[1]) if i not in gone]]
        errors[name] = _refit(layer, x, y, even)
    return errors


def _refit(layer: Any, x: Floats, y: Floats, even: NDArray[np.bool_]) -> float:
    """Fit the weights of `layer` in place; returns the relative error that is left on the odd inputs.

    `x` (rows, inputs) has a last column of ones, `y` is (rows, outputs), `even` tells which rows are of even inputs.
    """
    import torch

    weight = layer.weight.detach().double().numpy()
    bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().double().numpy()
    start = np.concatenate([weight.reshape(len(weight), -1), bias[:, None]], axis=1).T  # (inputs + 1, outputs)
    rest = y - x @ start
    grams = [(x[half].T @ x[half], x[half].T @ rest[half]) for half in (even, ~even)]
    losses = {ridge: float(((rest[~even] - x[~even] @ _ridge(*grams[0], ridge)) ** 2).sum()) for ridge in RIDGES}
    best = min(losses, key=lambda ridge: losses[ridge])
    unchanged = float((rest[~even] ** 2).sum())
    power = float((y[~even] ** 2).sum()) or 1.0
    if losses[best] >= unchanged:
        return float(np.sqrt(unchanged / power))
    fitted = start + _ridge(grams[0][0] + grams[1][0], grams[0][1] + grams[1][1], best)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(fitted[:-1].T.reshape(weight.shape)))
        constant = torch.from_numpy(fitted[-1].copy()).to(layer.weight.dtype)
        layer.bias = torch.nn.Parameter(constant)
    return float(np.sqrt(losses[best] / power))


def _ridge(gram: Floats, product: Floats, ridge: float) -> Floats:
    """argmin_D ||y - x D||^2 + ridge * mean diagonal of x'x * ||D||^2, from gram = x'x and product = x'y."""
    penalty = ridge * np.trace(gram) / len(gram)
    return np.asarray(np.linalg.solve(gram + penalty * np.eye(len(gram)), product))


def _samples(
    pruned: nn.Module, original: nn.Module, name: str, inputs: torch.Tensor
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Inputs of the layer in the pruned network, its outputs in the original one, and which rows are of even inputs."""
    import torch

    layer = pruned.get_submodule(name)
    share = max(1, ROWS // len(inputs))
    xs, ys, even = [], [], []
    with torch.no_grad(), _Tap(layer) as reads, _Tap(original.get_submodule(name)) as gives:
        for number in range(len(inputs)):
            one = inputs[number : number + 1]  # a network may contain a constant batch of 1
            pruned(one)
            original(one)
            x, y = _rows(layer, reads.input), _outputs(gives.output)  # (1, positions, inputs), (1, positions, outputs)
            picks = np.unique(np.linspace(0, x.shape[1] - 1, min(share, x.shape[1])).round().astype(int))
            xs.append(np.concatenate([x[0, picks].double().numpy(), np.ones((len(picks), 1))], axis=1))
            ys.append(y[0, picks].double().numpy())
            even.append(np.full(len(picks), number % 2 == 0))
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(even)


def _rows(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """(B, positions, inputs): the values of which each output of the layer is a weighted sum."""
    import torch

    if isinstance(layer, torch.nn.Conv2d):
        columns = torch.nn.functional.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]  # a padding given as text is refused by unfold
        return columns.transpose(1, 2)
    return x.reshape(len(x), -1, x.shape[-1])


def _outputs(y: torch.Tensor) -> torch.Tensor:
    """(B, positions, outputs)."""
    return y.flatten(2).transpose(1, 2) if y.ndim == 4 else y.reshape(len(y), -1, y.shape[-1])


class _Tap:
    """The last input and output of a layer."""

    input: torch.Tensor
    output: torch.Tensor

    def __init__(self, layer: nn.Module) -> None:
        self._layer = layer

    def __enter__(self) -> _Tap:
        self._handle = self._layer.register_forward_hook(self._note)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _note(self, layer: nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
        self.input, self.output = given[0], result


def _l1_norms(pruning: ModuleType, graph: Any, root: Any) -> Floats:
    """(channels,): L1 norm of each filter of `root` plus those of the filters that are removed with it."""
    channels = int(root.weight.shape[0])
    norms = np.zeros(channels)
    whole = dependents(pruning, graph, root, range(channels))
    for item in whole:
        dep, idxs = item
        layer = dep.target.module
        if graph.is_out_channel_pruning_fn(dep.handler) and has_filters(layer):
            weights = layer.weight.detach().abs().double().flatten(1).sum(1).numpy()
            np.add.at(norms, list(map(int, item.root_idxs)), weights[list(map(int, idxs))])
    return norms
