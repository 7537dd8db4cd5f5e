"""Which inputs a step takes, and how pictures are moved and mirrored: a function of seed and step alone.

So a training that is continued takes the batches that it would have taken. Pictures stay uint8 until they are used.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batches", "augmented"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """Batches of `size` of `inputs` rows, every row at most once an epoch: an incomplete batch is left out."""

    inputs: int
    size: int
    seed: int

    def __post_init__(self) -> None:
        """Raise `ValueError` where there is no batch."""
        if not 1 <= self.size <= self.inputs:
            raise ValueError(f"batches of {self.size} from {self.inputs} inputs")

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch."""
        return self.inputs // self.size

    def rows(self, step: int) -> NDArray[np.intp]:
        """(size,) rows of batch number `step`, 0, 1, ..."""
        epoch, place = divmod(step, self.per_epoch)
        return _order(self.inputs, self.seed, epoch)[place * self.size : (place + 1) * self.size]

    def generator(self, step: int) -> np.random.Generator:
        """Random numbers that belong to this batch: another stream than the order's."""
        return np.random.default_rng([self.seed, step, 1])


@functools.lru_cache(maxsize=2)
def _order(inputs: int, seed: int, epoch: int) -> NDArray[np.intp]:
    return np.random.default_rng([seed, epoch]).permutation(inputs)


def augmented(pictures: Array, generator: np.random.Generator, *, share: float = 1 / 8, mirror: bool = True) -> Array:
    """Pictures (N, H, W, C), each moved by up to `share` of its sides, and every second mirrored.

    What comes in from beyond an edge is black, as in the usual training on CIFAR (4 of 32; He 2016, section 4.2).
    """
    count, height, width = pictures.shape[:3]
    down, across = round(share * height), round(share * width)
    padded = np.pad(pictures, ((0, 0), (down, down), (across, across), (0, 0)))
    rows = generator.integers(0, 2 * down + 1, (count, 1)) + np.arange(height)
    columns = np.where(
        (generator.random((count, 1)) < 0.5) & mirror, np.arange(width)[::-1], np.arange(width)
    ) + generator.integers(0, 2 * across + 1, (count, 1))
    return np.asarray(padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]])
