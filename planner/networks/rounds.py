"""Remove filters in rounds: all layers before a cut compete, and what is left may be trained between rounds.

torch and torch-pruning are imported inside functions.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.networks.channel_groups import (
    WIDE,
    WIDTH_STEP,
    ChannelGroup,
    channel_groups,
    remove_channels,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Importance", "RatioOf", "choose_channels", "layer_costs", "prune_in_rounds", "weight_origins"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
RatioOf = Literal["filters", "macs"]  # of the convolutions before the cut
Importance = Callable[["nn.Module", Sequence[ChannelGroup]], Mapping[str, Floats]]  # by group: (channels,)


def prune_in_rounds(
    module: nn.Module,
    layers: Sequence[str],
    ratio: float,
    example: torch.Tensor,
    *,
    rounds: int,
    importance: Importance,
    ratio_of: RatioOf = "filters",
    tune: Callable[[nn.Module, int], None] = lambda module, round_number: None,
) -> tuple[dict[str, list[int]], list[str]]:
    """Remove about `ratio` of all filters of the convolutions `layers`, or of their MACs, in `rounds` parts, in place.

    Each round computes the importance anew, removes its part, and calls `tune(module, round_number)`, 0 first. The
    least important channels of all layers go first, not an equal share of each. Returns as `remove_channels`, with the
    channels numbered as before the first round. Raises `ProfileError` as `remove_channels`.
    """
    steps = {name: WIDTH_STEP if _width(module, name) >= WIDE else 1 for name in layers}
    total = sum(layer_costs(module, layers, example, ratio_of).values())
    kept = {name: np.arange(_width(module, name)) for name in _writers(module, layers, example)}
    removed: dict[str, list[int]] = {}
    left: list[str] = []
    for number in range(rounds):
        every = channel_groups(module, layers, example)
        groups = [group for group in every if group.readers]
        costs = layer_costs(module, layers, example, ratio_of)
        saved = {group.name: _channel_cost(module, group, costs, ratio_of) for group in groups}
        target = total * ratio * (number + 1) / rounds - (total - sum(costs.values()))
        chosen = choose_channels(groups, importance(module, groups), target, steps, saved)
        now, reasons = remove_channels(module, chosen, example)
        for name, channels in now.items():
            removed.setdefault(name, []).extend(kept[name][channels].tolist())
            kept[name] = np.delete(kept[name], channels)
        reasons += [f"{group.name}: no layer reads its channels" for group in every if not group.readers]
        left += [reason for reason in reasons if reason not in left]
        tune(module, number)
    return removed, left


def choose_channels(
    groups: Sequence[ChannelGroup],
    importance: Mapping[str, Floats],
    target: float,
    steps: Mapping[str, int],
    saved: Mapping[str, float],
) -> dict[str, list[int]]:
    """Name of each group -> channels to remove, so that they save about `target`; `saved` says what each saves.

    The importance of each group's channels is divided by its l2 norm over the group (Molchanov 2017, eq. 8). Blocks of
    channels go whole, by their mean importance, so that a layer keeps a multiple of its step; a block that leads away
    from the target is left.
    """
    # Dividing by the multiply-adds that a filter saves does not help: with the correction the VGG16 of
    # benchmarks/pruning.py before pool 4 has 39.6 % at 58 % and 55.7 % at 76 % of the head's multiply-adds (not
    # normalized; normalized 4.0 % at 37 %), and 53.5 % at 70 % without (1,000 pictures; unpruned 61.0 %).
    blocks = []
    for order, group in enumerate(groups):
        values = importance[group.name]
        values = values / (float(np.linalg.norm(values)) or 1.0)
        ranked = np.argsort(values, kind="stable")
        for start, end in _blocks(group.channels, steps[group.name]):
            channels = ranked[start:end]
            blocks.append((float(values[channels].mean()), order, start, len(channels) * saved[group.name], channels))
    chosen: dict[str, list[int]] = {}
    closed, gone = set(), 0.0
    for _, order, _, cost, channels in sorted(blocks, key=lambda block: block[:3]):
        if order in closed or abs(gone + cost - target) >= abs(gone - target):
            closed.add(order)  # later channels of a group matter more than its earlier ones
            continue
        chosen.setdefault(groups[order].name, []).extend(channels.tolist())
        gone += cost
    return chosen


def layer_costs(module: nn.Module, layers: Sequence[str], example: torch.Tensor, ratio_of: RatioOf) -> dict[str, float]:
    """Name of each convolution -> its filters, or its multiply-adds for `example`."""
    if ratio_of == "filters":
        return {name: float(_width(module, name)) for name in layers}
    import torch

    costs = dict.fromkeys(layers, 0.0)
    hooks = [
        module.get_submodule(name).register_forward_hook(functools.partial(_add_macs, costs, name)) for name in layers
    ]
    try:
        with torch.no_grad():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()
    return costs


def _add_macs(costs: dict[str, float], name: str, layer: Any, given: object, output: torch.Tensor) -> None:
    costs[name] += output.numel() * layer.weight[0].numel()


def _channel_cost(module: nn.Module, group: ChannelGroup, costs: Mapping[str, float], ratio_of: RatioOf) -> float:
    """What removing one channel of the group saves of `costs`: of MACs also in the layers that read it."""
    whole = sum(
        costs.get(member.layer, 0.0) * len(member.own) / _width(module, member.layer) for member in group.writers
    )
    if ratio_of == "macs":
        whole += sum(
            costs.get(member.layer, 0.0) * len(member.own) / _inputs(module, member.layer) for member in group.readers
        )
    return whole / group.channels


def weight_origins(
    module: nn.Module, removed: Mapping[str, Sequence[int]], example: torch.Tensor
) -> dict[str, NDArray[np.int64]]:
    """Name of each tensor of the pruned network's state -> the place of each value in the flattened given tensor.

    `module` is the network before pruning, `removed` what `prune_in_rounds` returns for it.
    """
    import torch

    marked: Any = copy.deepcopy(module).double()  # exact for tensors of less than 2^53 values
    with torch.no_grad():
        for tensor in marked.state_dict().values():
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
    remove_channels(marked, removed, example.double())
    return {name: tensor.long().numpy() for name, tensor in marked.state_dict().items()}


def _blocks(width: int, step: int) -> list[tuple[int, int]]:
    """Ranges of a layer's channels, least important first, that go together; the last `step` of them stay."""
    first = width % step or step
    ends = list(range(first, width - step + 1, step))
    return list(zip([0, *ends], ends, strict=False))


def _width(module: nn.Module, name: str) -> int:
    layer: Any = module.get_submodule(name)
    return int(layer.weight.shape[0])


def _inputs(module: nn.Module, name: str) -> int:
    layer: Any = module.get_submodule(name)
    return int(layer.in_channels if hasattr(layer, "in_channels") else layer.in_features)


def _writers(module: nn.Module, layers: Sequence[str], example: torch.Tensor) -> list[str]:
    """All layers that lose filters with those of `layers`."""
    return [writer.layer for group in channel_groups(module, layers, example) for writer in group.writers]
