"""A changed network that learns to answer as the unsplit one does: what pruning and other cuts into it cost, won back.

torch is imported inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from splitpoint.planner.training.loop import Loss
from splitpoint.planner.training.losses import cross_entropy, distillation
from splitpoint.planner.training.recipe import Recipe
from splitpoint.planner.training.trainer import Spent, Trainer

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["distill", "distillation_loss"]


def __dir__() -> list[str]:
    return __all__


RECIPE: Final = Recipe(steps=0, batch=128, peak=1e-3, warmup=0.1)
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
    report: Callable[[str], None] = lambda text: None,
) -> Spent:
    """Train all parameters of `student` that require gradients for `share` of the trainer's minutes, in place.

    Both modules map the network's input (N, ...) to logits (N, K). Batch normalization normalizes by the batch's
    statistics and keeps the running ones; afterwards the student is in eval mode.
    """
    student.train()
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
        student.eval()


def distillation_loss(
    student: Callable[[Tensor], Tensor], teacher: Callable[[Tensor], Tensor], trainer: Trainer, recipe: Recipe
) -> Loss:
    """The loss of a step: the divergence from the teacher's answers to the same varied inputs, and the labels'."""
    import torch

    data, batches = trainer.data, trainer.batches(recipe)

    def loss(step: int) -> dict[str, Tensor]:
        rows = batches.rows(step)
        x = data.inputs(rows, batches.generator(step))
        with torch.no_grad():
            target = teacher(x)
        answer = student(x)
        terms = {"distillation": distillation(answer, target)}
        if data.labels is not None:
            terms["cross-entropy"] = LABELS * cross_entropy(answer, torch.from_numpy(data.labels[rows]))
        return terms

    return loss
