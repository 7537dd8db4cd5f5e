"""What candidates lose, estimated from all of them together: a smooth loss, a curve that corrects it, their own counts.

Pure functions; docs/notes/selection.md derives them, "eq. (4)" in a comment is an equation of that note.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARP", "Estimates", "estimate_drops", "smooth_losses"]


def __dir__() -> list[str]:
    return __all__


SHARP = 0.35  # width of a smoothed answer, of the median margin
TRUSTED = 0.25  # standard deviation of (drop / smooth loss) over networks and levels, before anything is measured
WIDTH = 1.0  # of the kernel over log(distance)
LEAST, MOST = 1e-9, 1e9  # distances that are told apart
NO_DROP = 1e-6
STEPS = 64  # of log(distance), at which the curve is computed
MOST_OWN = 1.0  # of the curve: the most by which one candidate is taken to differ from its neighbours
TYPICAL_OWN = 0.1  # squared: what it is near a limit of 1 point on both recorded networks; weighs candidates only

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
    lost: Floats,
    smooth: Floats,
    distance: Floats,
    *,
    groups: NDArray[np.integer[Any]] | None = None,
) -> Estimates:
    """What C candidates lose, from the losses of N inputs; NaN where an input was not measured.

    `lost` (C, N) are the losses by the metric (for top-1: -1, 0 or 1); `smooth` (C, N) a finer measure of the same
    scale, or `lost` itself where there is none; `distance` (C, N) how far the outputs are from the unsplit network's,
    on any scale: candidates of like distance are neighbours. `groups` (N,) numbers inputs that belong together, which
    are one unit of the errors.
    """
    known = np.isfinite(lost) & np.isfinite(smooth) & np.isfinite(distance)
    count = np.maximum(known.sum(axis=1), 1)
    shares = known / count[:, None]  # of each input in its candidate's mean
    lost, smooth, distance = (np.where(known, each, 0.0) * shares for each in (lost, smooth, distance))
    if groups is not None:
        lost, smooth = (_summed(each, groups) for each in (lost, smooth))
    rest = lost - smooth  # what is lost beyond what the smooth measure says
    far = np.log(np.clip(distance.sum(axis=1), LEAST, MOST))
    grid = np.linspace(far.min(), far.max() + WIDTH, STEPS)
    at = (far - grid[0]) / (grid[1] - grid[0])
    near = np.exp(-0.5 * ((grid[:, None] - far) / WIDTH) ** 2) * (count * _first_of_equals(lost, smooth))
    mass = np.maximum(near.sum(axis=1), np.finfo(np.float64).tiny)
    level, beyond = ((near / mass[:, None]) @ each for each in (smooth, rest))  # eq. (2), (STEPS, N)
    prior = (TRUSTED * level.sum(axis=1)) ** 2
    trust = prior / np.maximum(prior + _variance(beyond), np.finfo(np.float64).tiny)  # eq. (3)
    steps = _monotone(level.sum(axis=1) + trust * beyond.sum(axis=1), mass)
    i = np.rint(at).astype(int)  # the nearest step
    curve = np.interp(at, np.arange(STEPS), steps)
    drop, told, left = curve.copy(), level[i] + trust[i, None] * beyond[i], (prior * (1 - trust))[i]
    weights = []
    for values, shared in ((smooth, level), (rest, beyond)):
        own = values - shared[i]  # what a candidate has beyond its neighbours
        mean = values.sum(axis=1) - np.interp(at, np.arange(STEPS), shared.sum(axis=1))
        noise = _variance(own)
        spread = _own_spread(mean, noise, curve, near)[i] * curve**2
        weights.append(spread / np.maximum(spread + noise, np.finfo(np.float64).tiny))  # eq. (4)
        drop += weights[-1] * mean
        told += weights[-1][:, None] * own
        left += spread * (1 - weights[-1])
    return Estimates(drop=drop, error=np.sqrt(_variance(told) + left), curve=curve, own_weight=weights[0])  # eq. (5)


def _own_spread(mean: Floats, noise: Floats, curve: Floats, near: Floats) -> Floats:
    """(STEPS,) variance of what a candidate truly has beyond its neighbours, in units of the curve squared.

    By moments, from candidates that are `near` (STEPS, C) each step: those that lose 30 points differ more from each
    other, in proportion, than those that lose 1. A candidate whose own noise is large says little, and weighs little.
    """
    size = np.maximum(np.square(curve), NO_DROP**2)
    excess, relative_noise = (mean**2 - noise) / size, noise / size
    weights = near / (TYPICAL_OWN + relative_noise) ** 2  # the inverse of the variance of `excess`, but for a factor
    return np.asarray(
        np.clip((weights @ excess) / np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny), 0.0, MOST_OWN**2)
    )


def _summed(values: Floats, groups: NDArray[np.integer[Any]]) -> Floats:
    """(C, N) -> (C, G): sums over the inputs of each group."""
    _, places = np.unique(groups, return_inverse=True)
    sums = np.zeros((values.shape[0], int(places.max()) + 1))
    np.add.at(sums.T, places, values.T)
    return sums


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


def _monotone(curve: Floats, mass: Floats) -> Floats:
    """The nearest curve (STEPS,) that never falls, and is not below 0; steps count by their `mass`."""
    from scipy.optimize import isotonic_regression

    return np.asarray(np.maximum(isotonic_regression(curve, weights=mass).x, 0.0))
