"""What candidates lose, estimated from all of them together: a smooth loss, a curve that corrects it, their own counts.

Pure functions; docs/notes/selection.md derives them, "eq. (4)" in a comment is an equation of that note.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARP", "Estimates", "estimate_drops", "smooth_losses"]


def __dir__() -> list[str]:
    return __all__


SHARP = 0.35  # width of a smoothed answer, of the median margin
TRUSTED = 0.25  # standard deviation of (drop / smooth loss) over networks and levels, before anything is measured
WIDTH = 0.5  # of the kernel over log(smooth loss): candidates within a factor of 1.6
LEAST, MOST, STEPS = 1e-4, 1.0, 64  # smooth losses between which the curve is computed
MOST_OWN = 0.5  # of the smooth loss: the most by which one candidate is taken to differ from its neighbours

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Estimates:
    """One row a candidate, in shares of the metric (0.01: a point)."""

    drop: Floats  # (C,)
    error: Floats  # (C,) standard error of `drop`
    curve: Floats  # (C,) what the curve alone says
    own_weight: Floats  # (C,) 0: the neighbours decide; 1: the candidate's own losses decide


def smooth_losses(margins: Floats, unsplit: Floats) -> Floats:
    """The probability of a right answer that is lost, (..., N), when margins (..., N) are blurred.

    `unsplit` (N,) are the margins of the unsplit network: the score of the true class above the best other, above 0
    where the answer is right. Its mean over inputs has the scale of the drop, and much less noise than the count: an
    input counts by how near it came to another answer. Eq. (1).
    """
    from scipy.special import ndtr  # SciPy comes with the extra `plan`

    width = SHARP * max(float(np.median(np.abs(unsplit))), np.finfo(np.float64).tiny)
    return np.asarray(ndtr(unsplit / width) - ndtr(margins / width), np.float64)


def estimate_drops(
    lost: Floats, smooth: Floats, *, groups: NDArray[np.integer[Any]] | None = None, scaled: bool = True
) -> Estimates:
    """What C candidates lose, from the losses of N inputs; NaN where an input was not measured.

    `lost` (C, N) are the losses by the metric (for top-1: -1, 0 or 1), `smooth` (C, N) those of a finer measure, not
    negative in the mean for a candidate that is worse. `scaled`: both have the same scale. `groups` (N,) numbers inputs
    that belong together, which are one unit of the errors.
    """
    known = np.isfinite(lost) & np.isfinite(smooth)
    count = np.maximum(known.sum(axis=1), 1)
    shares = known / count[:, None]  # of each input in its candidate's mean
    with np.errstate(invalid="ignore"):
        lost, smooth = (np.where(known, each, 0.0) * shares for each in (lost, smooth))
    if groups is not None:
        lost, smooth = (_summed(each, groups) for each in (lost, smooth))
    if not scaled:
        smooth = _monotone_blocks(lost, smooth.sum(axis=1), count)
    level = smooth.sum(axis=1)
    place = np.log(np.clip(level, LEAST, MOST))
    grid = np.linspace(np.log(LEAST), np.log(MOST), STEPS)
    rest = lost - smooth  # what the smooth loss does not say
    near = np.exp(-0.5 * ((grid[:, None] - place) / WIDTH) ** 2) * (count * _first_of_equals(lost, smooth))
    near /= np.maximum(near.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)  # eq. (2)
    shared = near @ rest  # (STEPS, N)
    spread = (TRUSTED * np.exp(grid)) ** 2
    weight = spread / (spread + _variance(shared))  # eq. (3)
    at = np.rint((place - grid[0]) / (grid[1] - grid[0])).astype(int)
    curve = level * _monotone(1 + weight * shared.sum(axis=1) / np.exp(grid), grid)[at]
    apart = rest - shared[at]
    noise, own = _variance(apart), _own_spread(apart, level, count)
    own_weight = own / np.maximum(own + noise, np.finfo(np.float64).tiny)  # eq. (4)
    drop = curve + own_weight * apart.sum(axis=1)
    told = smooth + weight[at, None] * shared[at] + own_weight[:, None] * apart
    left = spread[at] * (1 - weight[at]) + own * (1 - own_weight)  # eq. (5)
    return Estimates(drop=drop, error=np.sqrt(_variance(told) + left), curve=curve, own_weight=own_weight)


def _summed(values: Floats, groups: NDArray[np.integer[Any]]) -> Floats:
    """(C, N) -> (C, G): sums over the inputs of each group."""
    _, places = np.unique(groups, return_inverse=True)
    sums = np.zeros((values.shape[0], int(places.max()) + 1))
    np.add.at(sums.T, places, values.T)
    return sums


def _monotone_blocks(lost: Floats, level: Floats, count: Floats) -> Floats:
    """(C, N): the losses of each candidate's block of the isotonic regression of its loss on `level`.

    A block is averaged input by input, so that what its candidates share of the inputs' luck stays known.
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(level, kind="stable")
    blocks = isotonic_regression(lost.sum(axis=1)[order], weights=count[order].astype(np.float64)).blocks
    made = np.empty_like(lost)
    for start, end in itertools.pairwise(blocks):
        rows = order[start:end]
        made[rows] = np.average(lost[rows], axis=0, weights=count[rows])
    return made


def _first_of_equals(lost: Floats, smooth: Floats) -> NDArray[np.bool_]:
    """(C,) False for candidates of which another with a lower number has equal losses: coders of one quantizer."""
    rows = np.stack([lost.sum(axis=1), smooth.sum(axis=1), (smooth**2).sum(axis=1)], axis=1)
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.isin(np.arange(len(rows)), first)


def _variance(parts: Floats) -> Floats:
    """(..., N) -> (...): the variance of the sums of N independent parts."""
    count = parts.shape[-1]
    centred = parts - parts.mean(axis=-1, keepdims=True)
    return np.asarray((centred**2).sum(axis=-1) * count / max(count - 1, 1))


def _own_spread(apart: Floats, level: Floats, count: Floats) -> Floats:
    """(C,) variance of what a candidate loses beyond its neighbours: in proportion to its level, by moments."""
    size = np.maximum(level, LEAST) ** 2
    excess = float((count * (apart.sum(axis=1) ** 2 - _variance(apart))).sum())
    share = np.clip(excess / float((count * size).sum()), 0.0, MOST_OWN**2)
    return np.asarray(share * size)


def _monotone(ratio: Floats, grid: Floats) -> Floats:
    """The ratio of drop to smooth loss, (STEPS,), such that the drop rises with the loss and is never below 0."""
    from scipy.optimize import isotonic_regression

    level = np.exp(grid)
    return np.asarray(isotonic_regression(np.maximum(ratio, 0.0) * level).x / level)
