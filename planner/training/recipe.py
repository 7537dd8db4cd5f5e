"""How weights are trained: a frozen description that is part of every trained asset's key. Pure functions."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

__all__ = ["Recipe", "learning_rate"]


def __dir__() -> list[str]:
    return __all__


FIRST, LAST = 1 / 25, 1e-4  # of the peak: learning rates at the beginning and at the end of one cycle


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Steps of gradient descent and what belongs to them; raises `ValueError` for what cannot be."""

    steps: int
    batch: int = 128  # inputs a step
    optimizer: Literal["adam", "sgd"] = "adam"  # sgd: Nesterov momentum of 0.9
    peak: float = 1e-3  # highest learning rate
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = 0.1  # share of the steps of one cycle in which the learning rate rises
    decay: float = 0.0  # weight decay of parameters of two axes and more
    clip: float | None = 1.0  # largest norm of all gradients together
    evaluate_every: int = 0  # steps; 0: never, and the last weights are the result
    patience: int = 0  # evaluations in a row without a gain that end the training; 0: any number
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        least = {"steps": 0, "batch": 1, "evaluate_every": 0, "patience": 0, "seed": 0}
        wrong = [f"{name} {getattr(self, name)}" for name, low in least.items() if getattr(self, name) < low]
        wrong += [] if 0 < self.peak < math.inf else [f"peak {self.peak}"]
        wrong += [] if 0 <= self.warmup < 1 else [f"warmup {self.warmup}"]
        wrong += [] if 0 <= self.decay < math.inf else [f"decay {self.decay}"]
        wrong += [] if self.clip is None or self.clip > 0 else [f"clip {self.clip}"]
        if wrong:
            raise ValueError(f"not a recipe: {', '.join(wrong)}")

    def is_evaluated(self, taken: int) -> bool:
        """Whether the search set is asked after so many steps were taken: every few, and at the end."""
        return self.evaluate_every > 0 and (taken % self.evaluate_every == 0 or taken == self.steps)


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of step number `step`, 0 to `recipe.steps` - 1.

    One cycle rises from 1/25 of the peak to it, then falls to 1e-4 of it, both as half a cosine (Smith and Topin 2018,
    with cosines as PyTorch has them); "cosine" only falls.
    """
    if recipe.schedule == "constant":
        return recipe.peak
    rising = recipe.warmup * recipe.steps if recipe.schedule == "one-cycle" else 0.0
    if step < rising:
        return recipe.peak * _between(FIRST, 1.0, step / rising)
    return recipe.peak * _between(1.0, LAST, (step - rising) / max(recipe.steps - 1 - rising, 1))


def _between(begin: float, end: float, share: float) -> float:
    return begin + (end - begin) * 0.5 * (1 - math.cos(math.pi * min(share, 1.0)))
