"""How much each channel before a cut matters: first-order estimates from gradients of a loss.

Removing a channel takes it from the layers that read it, which is the same as setting their weights for it to zero. To
first order that changes the loss by the sum of weight times gradient over these weights, and this sum equals that of
activation times gradient over the channel's positions (Molchanov 2017, eq. 7, with activations where they are read:
behind batch normalization, ReLU and additions). The other form, squares of the sums over a filter's own weights
(Molchanov 2019, eq. 8), knows nothing of the normalization behind it: without training, a third of the filters before
pool 4 of the VGG16 of benchmarks/pruning.py leaves 18.3 % top-1 at 53 % of the head's multiply-adds with it and 52.0 %
at 70 % with the form here; a seventh leaves 46.2 % at 78 % and 58.2 % at 84 % (256 training pictures, 1,000 of
validation; unpruned 61.0 %; layers behind the cut corrected).
torch is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.networks.channel_groups import ChannelGroup
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["InputLoss", "label_loss", "output_loss", "taylor_importance"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
InputLoss = Callable[[Any, int], "torch.Tensor"]  # the network's answer to input number n, and n -> scalar loss


def taylor_importance(
    module: nn.Module, groups: Sequence[ChannelGroup], inputs: torch.Tensor, loss: InputLoss
) -> dict[str, Floats]:
    """Name of each group -> (channels,): mean over inputs (N, ...) of the absolute first-order change of the loss.

    The inputs go through the network one at a time in the mode that it is in (eval: each is independent of the
    others). Gradients that parameters have are not changed. Raises `ProfileError` when there are no gradients.
    """
    layers: dict[str, Any] = {m.layer: module.get_submodule(m.layer) for group in groups for m in group.readers}
    for layer in layers.values():
        layer.weight.requires_grad_(True)
    totals = {group.name: np.zeros(group.channels) for group in groups}
    for number in range(len(inputs)):
        gradients = _gradients(module, list(layers.values()), inputs[number : number + 1], number, loss)
        products = {
            name: _input_sums(layer, gradient)
            for (name, layer), gradient in zip(layers.items(), gradients, strict=True)
            if gradient is not None
        }
        for group in groups:
            totals[group.name] += abs(_change(group, products))
    if not all(np.isfinite(total).all() for total in totals.values()):
        raise ProfileError("the loss has gradients that are not finite", fix="method: magnitude")
    return {name: total / len(inputs) for name, total in totals.items()}


def _gradients(
    module: nn.Module, layers: Sequence[Any], one: torch.Tensor, number: int, loss: InputLoss
) -> tuple[torch.Tensor | None, ...]:
    """Of the loss of one input, with respect to each layer's weights; None where the loss does not depend on them."""
    import torch

    if not layers:
        return ()
    try:
        value = loss(module(one), number)
        return torch.autograd.grad(value, [layer.weight for layer in layers], allow_unused=True)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ProfileError(f"gradients of this network cannot be computed: {error}", fix="method: magnitude") from error


def _change(group: ChannelGroup, products: Mapping[str, Floats]) -> Floats:
    """(channels,): first-order change of the loss, with its sign, when all readers of a channel lose it."""
    change = np.zeros(group.channels)
    for member in group.readers:
        if member.layer in products:
            np.add.at(change, member.shared, products[member.layer][member.own])
    return change


def _input_sums(layer: Any, gradient: torch.Tensor) -> Floats:
    """(inputs,): sum of weight times gradient over everything but the layer's input channels."""
    import torch

    product = (layer.weight.detach() * gradient).double()
    if isinstance(layer, torch.nn.ConvTranspose2d):  # (inputs, outputs of a group, ...)
        return np.asarray(product.flatten(1).sum(1).numpy())
    parts = getattr(layer, "groups", 1)  # (outputs, inputs of a group, ...)
    return np.asarray(product.reshape(parts, len(product) // parts, product.shape[1], -1).sum((1, 3)).flatten().numpy())


def label_loss(labels: NDArray[np.int64]) -> InputLoss:
    """Cross-entropy of one answer, logits (1, K), with its label; `labels` is (N,)."""

    def loss(answer: Any, number: int) -> torch.Tensor:
        import torch

        target = torch.tensor([int(labels[number])])
        return torch.nn.functional.cross_entropy(answer.reshape(1, -1), target)

    return loss


def output_loss(*, seed: int = 0) -> InputLoss:
    """A random direction of all outputs of one answer, signs drawn anew for each input: needs no labels.

    A loss that compares with the network's own answers has no gradient at the network itself: its first change is of
    second order, the squared change of the outputs. The change along a random direction has that square as its mean.
    """

    def loss(answer: Any, number: int) -> torch.Tensor:
        import torch

        generator = torch.Generator().manual_seed(seed * 2**32 + number)
        outputs = [value.flatten() for value in _tensors(answer) if value.is_floating_point()]
        joined = torch.cat(outputs)
        signs = torch.randint(0, 2, joined.shape, generator=generator) * 2 - 1
        return (joined * signs).sum()

    return loss


def _tensors(answer: Any) -> list[torch.Tensor]:
    """The tensors of an answer: itself, or those of a list, tuple or mapping."""
    import torch

    if isinstance(answer, torch.Tensor):
        return [answer]
    values = answer.values() if hasattr(answer, "values") else answer
    return [tensor for value in values for tensor in _tensors(value)]
