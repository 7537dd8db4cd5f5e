"""A changed network that learns to answer as the unsplit one does: what pruning and other cuts into it cost, won back.

torch is imported inside functions.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final

from splitpoint.planner.training.loop import Loss
from splitpoint.planner.training.losses import cross_entropy, distillation, mse
from splitpoint.planner.training.precision import fast_products, training_device
from splitpoint.planner.training.recipe import Recipe
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["BETWEEN_ROUNDS", "RECIPE", "distill", "distillation_loss"]


def __dir__() -> list[str]:
    return __all__


# The VGG16 of benchmarks/pruning.py without a third of the filters before pool 4 loses 1.9 points after 30,000
# pictures, and 4.1 with Adam and a peak of 1e-3 (of 2,500 pictures; 64 % of the multiply-adds left).
RECIPE: Final = Recipe(steps=0, batch=128, optimizer="sgd", peak=0.05, warmup=0.1)
# A network that is pruned again soon need not come to rest. Without half of the filters 4.3 points are lost with it and
# 5.8 with a cycle between rounds, too (of 2,500 pictures, which tell about a point; after 30,000, half of them last).
BETWEEN_ROUNDS: Final = dataclasses.replace(RECIPE, schedule="constant")
LABELS: Final = 0.1  # weight of the cross-entropy beside the distillation, where there are labels


def distill(
    student: nn.Module,
    teacher: nn.Module,
    trainer: Trainer,
    *,
    key: str,
    stage: str,
    share: float = 1.0,
    recipe: Recipe = RECIPE,
    learning: Collection[str] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Spent:
    """Train all parameters of `student` that require gradients for `share` of the trainer's minutes, in place.

    Both modules map the network's input (N, ...) to one tensor. Batch normalization normalizes by the batch's
    statistics and keeps the running ones; afterwards the student is in eval mode. With `learning`, names of submodules,
    all other ones stay as they are, statistics too. The teacher stays as it is. Raises `ProfileError` for networks of
    another answer, and as `Trainer.train`.
    """
    import torch

    student.train()
    if learning is not None:
        _hold(student, learning)
    _lay_out(student, torch.channels_last)
    try:
        return trainer.train(
            student,
            distillation_loss(student, teacher, trainer, recipe),
            recipe,
            key=key,
            stage=stage,
            share=share,
            report=report,
        )
    finally:
        student.eval().to("cpu")
        _lay_out(student, torch.contiguous_format)


def distillation_loss(student: nn.Module, teacher: nn.Module, trainer: Trainer, recipe: Recipe) -> Loss:
    """The loss of a step, against the teacher's answers to the same varied inputs.

    Of logits (N, K) it is their divergence, and the labels' cross-entropy where there are any; of other answers, boxes
    or maps (N, ...), the mean squared error.
    """
    import torch

    data, batches, device = trainer.data, trainer.batches(recipe), training_device()
    teacher = copy.deepcopy(teacher).eval().to(device)
    _lay_out(teacher, torch.channels_last)

    def loss(step: int) -> dict[str, Tensor]:
        rows = batches.rows(step)
        x = data.inputs(rows, batches.generator(step)).to(device)
        x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        with fast_products():
            with torch.no_grad():
                target = _tensor(teacher(x))
            answer = _tensor(student(x))
        if answer.numel() > answer.shape[0] * answer.shape[1]:
            return {"mse": mse(answer, target)}
        terms = {"distillation": distillation(answer, target)}
        if data.labels is not None:
            terms["cross-entropy"] = LABELS * cross_entropy(answer, torch.from_numpy(data.labels[rows]).to(device))
        return terms

    return loss


def _hold(module: nn.Module, learning: Collection[str]) -> None:
    """Leave what does not belong to the submodules `learning` as it is; nothing of it is trained later either."""
    for name, part in module.named_modules():
        if name not in learning:
            part.training = False
            for parameter in part.parameters(recurse=False):
                parameter.requires_grad_(False)


def _tensor(answer: object) -> Tensor:
    import torch

    if not isinstance(answer, torch.Tensor):
        raise ProfileError(
            f"a network that is trained after pruning gives one tensor, this one a {type(answer).__name__}",
            fix="remove train:, or prune by method: magnitude",
        )
    return answer.float()


def _lay_out(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay out the kernels of two-dimensional convolutions; with channels last they are nearly twice as fast here."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
