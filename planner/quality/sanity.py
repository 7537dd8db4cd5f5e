"""Whether the unsplit network fits its labels: pure functions of predictions and labels.

A network that is no better than chance has the wrong labels or the wrong input, and every figure of a plan would be a
figure of that mistake.

References: Cohen, A coefficient of agreement for nominal scales, 1960 (kappa); the exact sign test is McNemar's test on
the discordant pairs, with the binomial distribution in place of its normal approximation.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["Fit", "Flags", "Indices", "is_much_better", "measure_fit"]


def __dir__() -> list[str]:
    return __all__


Indices = NDArray[np.int64]  # (N,): an output of the network for each input
Flags = NDArray[np.bool_]  # (N,)

LEAST_KAPPA = 0.05  # of what can be gained over chance; a wrong order of labels or of channels gives about 0
LEAST_GAIN = 0.1  # of all inputs that another reading must win to be named
LEVEL = 0.001  # of the sign test, which is made for some 10 readings


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How many labelled inputs a network is right on, and how many it would be by chance."""

    right: int
    inputs: int
    chance: float  # expected share when predictions and labels have nothing to do with each other

    @property
    def share(self) -> float:
        """Top-1 accuracy."""
        return self.right / self.inputs

    @property
    def near_chance(self) -> bool:
        """Whether Cohen's kappa is about 0 or below."""
        return self.share - self.chance <= LEAST_KAPPA * (1 - self.chance)


def measure_fit(predicted: Indices, labels: Indices, classes: int) -> Fit:
    """The fit of predictions (N,) to labels (N,).

    Chance is the sum over classes of (share of predictions) x (share of labels), so that a network that always gives
    the commonest class is at chance; with labels of one class alone it is 1 / `classes`.
    """
    counts = [np.bincount(indices, minlength=classes) / len(labels) for indices in (predicted, labels)]
    one_class = len(np.unique(labels)) == 1
    chance = 1 / classes if one_class else float((counts[0] * counts[1]).sum())
    return Fit(right=int((predicted == labels).sum()), inputs=len(labels), chance=chance)


def is_much_better(other: Flags, given: Flags) -> bool:
    """Whether the inputs that `other` is right on are many more than those of `given`, and not by luck."""
    won, lost = int((other & ~given).sum()), int((given & ~other).sum())
    return won - lost >= LEAST_GAIN * len(given) and _sign_test(won, lost) <= LEVEL


def _sign_test(won: int, lost: int) -> float:
    """Probability of at least `won` wins among `won + lost` fair draws."""
    draws = won + lost
    return float(sum(math.comb(draws, k) for k in range(won, draws + 1)) / 2**draws)
