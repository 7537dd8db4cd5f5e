"""Channels of a torch network that are removed together, found through torch-pruning's dependency graph.

torch and torch-pruning are imported inside functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "WIDE",
    "WIDTH_STEP",
    "ChannelGroup",
    "Member",
    "channel_groups",
    "check_runs",
    "dependencies",
    "dependents",
    "has_filters",
    "remove_channels",
    "remove_group",
]


def __dir__() -> list[str]:
    return __all__


# Finer widths are no faster in ONNX Runtime: five 3x3 convolutions over 32x32 positions take .37 ms with 12 channels
# and .34 with 16, .57 with 20 and 24, .92 with 28 and 32, but 1.17 with 29 (AVX2, one thread). A width that is not
# faster would lose accuracy for nothing.
WIDTH_STEP: Final = 8
WIDE: Final = 16  # a layer of fewer filters is pruned to the filter
# What torch-pruning raises at operators that it cannot follow (ShuffleNet's channel shuffle: a division by 0).
_UNFOLLOWED: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_INSTALL: Final = "python -m pip install 'splitpoint[plan]'"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Member:
    """A layer of a group: place i of its channels `own` belongs to channel `shared[i]` of the group."""

    layer: str
    own: NDArray[np.int64]  # of its outputs where it writes the channels, of its inputs where it reads them
    shared: NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ChannelGroup:
    """Channels that are removed together: those of `name`, of layers whose outputs are added to them, and readers'."""

    name: str  # the first convolution of the group in execution order
    channels: int
    writers: tuple[Member, ...]  # convolutions and linear layers that lose filters, `name` among them
    readers: tuple[Member, ...]  # convolutions, transposed ones and linear layers that lose inputs


def channel_groups(module: nn.Module, layers: Sequence[str], example: torch.Tensor) -> list[ChannelGroup]:
    """The groups to which the convolutions `layers` belong, each once, in the order of `layers`.

    `example` is an input of the module. Raises `ProfileError` when torch-pruning is missing or cannot follow the
    network.
    """
    pruning, graph = dependencies(module, example)
    names = {layer: name for name, layer in module.named_modules()}
    groups: list[ChannelGroup] = []
    for name in layers:
        if any(name == writer.layer for group in groups for writer in group.writers):
            continue
        root: Any = module.get_submodule(name)
        channels = int(root.weight.shape[0])
        items = list(dependents(pruning, graph, root, range(channels)))
        members = [
            (dep, Member(layer=names.get(dep.target.module, ""), own=_indices(idxs), shared=_indices(item.root_idxs)))
            for item in items
            for dep, idxs in [item]
        ]
        writers = tuple(
            m for dep, m in members if graph.is_out_channel_pruning_fn(dep.handler) and has_filters(dep.target.module)
        )
        readers = tuple(
            m for dep, m in members if graph.is_in_channel_pruning_fn(dep.handler) and _mixes_inputs(dep.target.module)
        )
        groups.append(ChannelGroup(name=name, channels=channels, writers=writers, readers=readers))
    return groups


def remove_channels(
    module: nn.Module, chosen: Mapping[str, Sequence[int]], example: torch.Tensor
) -> tuple[dict[str, list[int]], list[str]]:
    """Remove the output channels `chosen` of convolutions, in place, with all that depends on them.

    Returns the output channels that were removed of each layer, also of layers that share them, and the layers that
    were not pruned with the reason. Raises `ProfileError` when torch-pruning is missing or cannot follow the network,
    and when the network contains a constant number of channels.
    """
    pruning, graph = dependencies(module, example)
    names = {layer: name for name, layer in module.named_modules()}
    removed: dict[str, list[int]] = {}
    left: list[str] = []
    for name, channels in chosen.items():
        if name not in removed and len(channels) > 0:
            remove_group(pruning, graph, names, module.get_submodule(name), channels, removed, left)
    check_runs(module, example)
    return removed, left


def remove_group(
    pruning: ModuleType,
    graph: Any,
    names: Mapping[Any, str],
    layer: nn.Module,
    channels: Sequence[int],
    removed: dict[str, list[int]],
    left: list[str],
) -> None:
    """Remove output `channels` of a convolution with all that depends on them; adds to `removed` and `left`.

    `names` are those of the network's modules. Raises `ProfileError` where gradients do not reach the layer.
    """
    group = dependents(pruning, graph, layer, sorted(map(int, channels)))
    if not graph.check_pruning_group(group):
        left.append(f"{names[layer]}: a layer that depends on it would lose all its channels")
        return
    members = [
        (names[dep.target.module], list(map(int, idxs)))
        for dep, idxs in group
        if graph.is_out_channel_pruning_fn(dep.handler) and has_filters(dep.target.module)
    ]
    group.prune()
    for member, idxs in members:
        removed.setdefault(member, []).extend(idxs)


def check_runs(module: nn.Module, example: torch.Tensor) -> None:
    """Raise `ProfileError` when a network does not run after channels were removed: it contains their number."""
    try:
        module(example)
    except _UNFOLLOWED as error:
        raise ProfileError(f"the network does not run with fewer channels: {error}") from error


def dependencies(module: nn.Module, example: torch.Tensor) -> tuple[ModuleType, Any]:
    """torch-pruning and its dependency graph of `module`, whose parameters then require gradients.

    Raises `ProfileError` when torch-pruning is missing or cannot follow the network.
    """
    try:
        import torch_pruning
    except ModuleNotFoundError as error:
        raise ProfileError("pruning needs torch-pruning", fix=_INSTALL) from error
    for parameter in module.parameters():
        parameter.requires_grad_(True)  # the dependency graph is built from that of autograd
    try:
        graph = torch_pruning.DependencyGraph().build_dependency(module, example_inputs=example, verbose=False)
    except _UNFOLLOWED as error:
        raise ProfileError(f"torch-pruning cannot follow this network's channels: {error!r}") from error
    return torch_pruning, graph


def dependents(pruning: ModuleType, graph: Any, layer: nn.Module, channels: Sequence[int]) -> Any:
    """torch-pruning's group of what goes with output `channels` of a convolution."""
    if layer not in graph.module2node:
        raise ProfileError(
            "gradients of the network's answer do not reach a convolution, and torch-pruning finds by them what"
            " depends on its channels",
            fix="let the network answer with scores, not with classes, or remove prune:",
        )
    return graph.get_pruning_group(layer, pruning.prune_conv_out_channels, list(channels))


def _indices(values: Sequence[int]) -> NDArray[np.int64]:
    return np.asarray(list(map(int, values)), np.int64)


def has_filters(layer: object) -> bool:
    """Whether a module is a convolution or a linear layer."""
    import torch

    return isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)


def _mixes_inputs(layer: Any) -> bool:
    """Whether a layer's outputs are sums over its inputs; a depthwise convolution has one input an output."""
    import torch

    if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
        return layer.groups == 1 or layer.groups < layer.in_channels
    return isinstance(layer, torch.nn.Linear)
