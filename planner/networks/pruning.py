"""Variants whose layers before a cut are pruned: filters of the torch module are removed, and it is exported again."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.cuts.counterparts import counterparts
from splitpoint.planner.cuts.enumeration import find_cut
from splitpoint.planner.cuts.spread import spread_cuts
from splitpoint.planner.networks.pruned_network import prune_network, trained_key
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.setup.config import PruneConfig
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import is_torch_spec, load_module

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Pruned", "Pruning", "layers_around", "pruned_graphs", "prunings"]


def __dir__() -> list[str]:
    return __all__


SAME_FILTER: Final = (
    1e-3  # of its norm: batch normalization scales a filter and rounds it, other filters point elsewhere
)
WEIGHTED: Final = frozenset({"Conv", "Gemm", "MatMul"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pruned:
    """A network whose layers before one place are pruned, and where it may be cut."""

    name: str  # "pruned .25 before features.16"
    ratio: float
    graph: ModelGraph
    after: tuple[str, ...]  # the nodes after which it is to be cut


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pruning:
    """A network that is to be pruned."""

    name: str
    ratio: float
    cuts: tuple[Cut, ...]  # of the given network, after which it is to be cut
    key: str | None  # under which the trainer keeps it; None: it is not trained
    # Takes a text after each step of its training, and gives notes on layers that were left; raises `ProfileError`.
    make: Callable[[Callable[[str], None]], tuple[Pruned, list[str]]]


def pruned_graphs(
    graph: ModelGraph,
    config: PruneConfig,
    calibration: Dataset,
    trainer: Trainer | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[list[Pruned], list[str]]:
    """The networks of `prunings`, each made, and notes on what was not pruned and why.

    `report` takes a text after each step of a training. Raises `ProfileError` as `prunings` does, and
    `CheckpointError` where checkpoints cannot be written.
    """
    wanted, notes = prunings(graph, config, calibration, trainer)
    pruned = []
    for pruning in wanted:
        try:
            made, left = pruning.make(report)
        except CheckpointError:
            raise  # a full disk is no property of the network
        except ProfileError as error:
            notes.append(f"left out: {pruning.name}: {error.message}" + (f" ({error.fix})" if error.fix else ""))
            continue
        pruned.append(made)
        notes += left
    return pruned, notes


def prunings(
    graph: ModelGraph, config: PruneConfig, calibration: Dataset, trainer: Trainer | None = None
) -> tuple[list[Pruning], list[str]]:
    """One network for each ratio and cut, none of them made yet, and notes on what is not pruned and why.

    Ratio 0 is the given network itself. Cuts with no layer between them share a network. With a `trainer` a network
    that is pruned by Taylor's order is trained between the rounds. Raises `ProfileError` for a cut that the network
    does not have.
    """
    ratios = [ratio for ratio in config.ratios if ratio > 0]
    if not is_torch_spec(graph.source):
        return [], [
            f"pruning ratios are {{0}}: {graph.source} is an ONNX file, and filters are removed through the dependency"
            " graph of a torch module; give the network as file.py:factory"
        ]
    if calibration.spec.kind == "tensors":
        return [], ["pruning ratios are {0}: filters are removed from networks of one input"]
    module = load_module(graph.source)
    places: dict[tuple[str, ...], list[Cut]] = {}
    around: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    notes = []
    if config.cuts:
        chosen = [find_cut(graph, text, at=f"$.prune.cuts[{number}]") for number, text in enumerate(config.cuts)]
    else:
        chosen = spread_cuts(graph)
    for cut in chosen:
        before, behind = layers_around(graph, module, cut)
        if not before:
            notes.append(f"pruning ratios are {{0}} after {cut.after}: there is no convolution before it")
            continue
        places.setdefault(tuple(before), []).append(cut)
        around[tuple(before)] = (before, behind)
    wanted = []
    for ratio in ratios:
        for key, cuts in places.items():
            before, behind = around[key]
            name = _name(config, ratio, behind)
            settings: Any = {"ratio": ratio, "config": config, "calibration": calibration, "trainer": trainer}
            make = functools.partial(_make, graph, name, cuts, module, before, behind, settings)
            asset = trained_key(graph, module, before, **settings)
            wanted.append(Pruning(name=name, ratio=ratio, cuts=tuple(cuts), key=asset, make=make))
    return wanted, notes


def _make(
    graph: ModelGraph,
    name: str,
    cuts: Sequence[Cut],
    module: nn.Module,
    before: Sequence[str],
    behind: Sequence[str],
    settings: Mapping[str, Any],  # of `prune_network`
    report: Callable[[str], None],
) -> tuple[Pruned, list[str]]:
    """The network of a `Pruning`, and notes on layers that were left; raises `ProfileError`."""
    made = prune_network(graph, module, before, behind, report=functools.partial(_report, report, name), **settings)
    exported = load_graph(made.model, name=f"{graph.name} {name}", source=graph.source)
    after = tuple(cut.after for cut in counterparts(graph, exported, cuts))
    pruned = Pruned(name=name, ratio=settings["ratio"], graph=exported, after=after)
    return pruned, [f"{name}: not pruned: {reason}" for reason in made.left]


def _name(config: PruneConfig, ratio: float, behind: Sequence[str]) -> str:
    """ "pruned .25 before features.16", "pruned .25 of the MACs by Taylor before the output"."""
    of = " of the MACs" if config.ratio_of == "macs" else ""
    by = " by Taylor" if config.method == "taylor" else ""
    return f"pruned {f'{ratio:g}'.removeprefix('0')}{of}{by} before {behind[0] if behind else 'the output'}"


def _report(report: Callable[[str], None], name: str, text: str) -> None:
    report(f"{text} · {name}")


def layers_around(graph: ModelGraph, module: nn.Module, cut: Cut) -> tuple[list[str], list[str]]:
    """Names of modules: the convolutions of the head of `cut`, and the first layers of its tail, in execution order.

    Modules and nodes are matched by their weights, since names do not survive the folding of batch normalization.
    """
    import torch

    modules = _modules(graph, module)
    layers = dict(module.named_modules())
    before = [modules[i] for i in sorted(cut.head) if i in modules]
    before = [name for name in before if isinstance(layers[name], torch.nn.Conv2d) and layers[name].groups == 1]
    alive, behind = set(cut.tensors), []
    for node in graph.nodes:
        if node.index in cut.head or alive.isdisjoint(node.inputs):
            continue
        if node.op_type not in WEIGHTED:
            alive.update(node.outputs)
        elif node.index in modules and getattr(layers[modules[node.index]], "groups", 1) == 1:
            behind.append(modules[node.index])
    return list(dict.fromkeys(before)), list(dict.fromkeys(behind))


def _modules(graph: ModelGraph, module: nn.Module) -> dict[int, str]:
    """Node index -> name of the module whose filters the node has, up to one factor per filter."""
    import torch

    weights = {
        name: layer.weight.detach().double().flatten(1).numpy()
        for name, layer in module.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    }
    kernels = {node.name: _kernel(node) for node in graph.model.graph if node.op_type in WEIGHTED}
    modules: dict[int, str] = {}
    for node in graph.nodes:
        kernel = kernels.get(node.name)
        if kernel is None:
            continue
        for name, weight in weights.items():
            if name not in modules.values() and (_scaled(kernel, weight) or _scaled(kernel.T, weight)):
                modules[node.index] = name
                break
    return modules


def _kernel(node: Any) -> NDArray[np.float64] | None:
    """(outputs, inputs) of a node with constant weights; a matrix may be transposed."""
    value = node.inputs[1].const_value
    if value is None or value.numpy().ndim < 2:
        return None
    array = np.asarray(value.numpy(), np.float64)
    return array.reshape(len(array), -1)


def _scaled(kernel: NDArray[np.float64], weight: NDArray[np.float64]) -> bool:
    """Whether each row of `kernel` is the row of `weight` times a number."""
    if kernel.shape != weight.shape:
        return False
    power = (weight**2).sum(axis=1)
    factor = (kernel * weight).sum(axis=1) / np.where(power > 0, power, 1.0)
    return float(np.linalg.norm(kernel - factor[:, None] * weight)) <= SAME_FILTER * float(np.linalg.norm(kernel))
