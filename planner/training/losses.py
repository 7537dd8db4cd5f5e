"""Terms of a training loss, each the mean over a batch; what a rate costs comes from the codec that is trained.

torch is imported inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["charbonnier", "cross_entropy", "distillation", "l1", "mse"]


def __dir__() -> list[str]:
    return __all__


WIDTH: Final = 1e-3  # of the Charbonnier loss, as a share of the target's deviation: nearly L1


def cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (N, K) with classes (N,) int64; `smoothing` of it with the uniform distribution."""
    import torch

    return torch.nn.functional.cross_entropy(logits.flatten(1), labels, label_smoothing=smoothing)


def distillation(logits: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(logits / T)) of logits (N, K) (Hinton 2015, section 2).

    The factor keeps the size of the gradients whatever the temperature.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    ours, theirs = (F.log_softmax(each.flatten(1) / temperature, dim=1) for each in (logits, teacher))
    divergence: Tensor = torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def mse(y: Tensor, target: Tensor) -> Tensor:
    """Mean squared error as a share of the target's variance, so that its weight does not depend on the layer."""
    return (y - target).square().mean() / _spread(target) ** 2


def l1(y: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error as a share of the target's deviation."""
    return (y - target).abs().mean() / _spread(target)


def charbonnier(y: Tensor, target: Tensor) -> Tensor:
    """Mean of sqrt(e^2 + w^2) - w with errors e as a share of the target's deviation (Charbonnier 1994)."""
    error = (y - target) / _spread(target)
    return ((error.square() + WIDTH**2).sqrt() - WIDTH).mean()


def _spread(target: Tensor) -> Tensor:
    """The standard deviation of the batch's targets; a constant target has 1."""
    deviation = target.detach().std(unbiased=False)
    return deviation.where(deviation > 0, deviation.new_ones(()))
