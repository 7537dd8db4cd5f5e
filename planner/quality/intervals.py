"""Confidence intervals for a proportion, a paired drop and a mean, with inputs in groups.

Why score intervals: they hold near zero. With no discordant pair the Wald and bootstrap intervals of a drop are +-0,
and Newcombe's method 10 nearly so (its width there comes from its continuity correction). Tango's upper bound is
z^2 / (n + z^2), about 3.8 / n two-sided, which agrees with the rule of three (3 / n one-sided).

Why a floor for groups: inputs of one group (crops of a scene) are not independent. A percentile bootstrap over few
groups is far too narrow, and is +-0 when no group shows an error. The mean of a group varies no more than one input
does, however its inputs depend on each other (Jensen), so the score interval *at the number of groups* is wide enough
under any dependence. The printed interval is the hull of that interval and the bootstrap. It is wide for 3 scenes,
because 3 scenes contain little information.

docs/notes/accuracy.md derives all of it; "eq. (2)" in a comment is an equation of that note.

References: Wilson 1927; Tango, Statistics in Medicine 17 (1998) 891; Newcombe, ibid. 17 (1998) 857 and 2635;
Fagerland, Lydersen, Laake, BMC Medical Research Methodology 14 (2014) 1 (recommends Tango's for a paired difference).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Interval",
    "cluster_mean",
    "drop_of_sums",
    "of_sums",
    "paired_drop",
    "proportion",
    "student_quantile",
    "tango",
    "wilson",
]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 2000  # standard error of a 2.5 % quantile's level: 0.35 %


Groups = Sequence[object] | NDArray[Any]  # (N,): equal values are one group


class Interval(NamedTuple):
    """Both ends included."""

    low: float
    high: float


def wilson(successes: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for a proportion; counts may be fractional (an effective number of inputs)."""
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n and n > 0, got {successes} of {n}")
    z, p = _z(confidence), successes / n
    # The two roots of eq. (1), written as eq. (2). At 0 and n one root is exactly 0 or 1, which rounding would miss.
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(
        low=0.0 if successes == 0 else max(0.0, center - half), high=1.0 if successes == n else min(1.0, center + half)
    )


def tango(only_first: float, only_second: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Tango's score interval for (only_first - only_second) / n of n pairs; counts may be fractional.

    `only_first` pairs are right only the first time, `only_second` only the second time; the others agree.
    """
    if n <= 0 or min(only_first, only_second) < 0 or only_first + only_second > n * (1 + 1e-12):
        raise ValueError(f"expected discordant counts within n > 0, got {only_first} and {only_second} of {n}")
    z = _z(confidence)
    return Interval(low=-_tango_high(only_second, only_first, n, z), high=_tango_high(only_first, only_second, n, z))


def proportion(right: NDArray[np.bool_], groups: Groups, *, seed: int = 0) -> Interval:
    """95 % interval of the mean of `right` (N,), inputs in `groups` (N,): top-1 accuracy, agreement."""
    sums, sizes = _by_group(np.asarray(right, np.float64)[:, None], groups)
    if len(sizes) == len(right):  # every input is its own group
        return wilson(float(sums.sum()), len(right))
    # Eq. (9): the score interval at the effective number of groups, widened by the bootstrap.
    n = _effective_groups(sizes)
    floor = wilson(float(sums.sum()) / len(right) * n, n)
    return _hull(floor, _bootstrap(sums[:, 0], sizes, seed))


def paired_drop(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: Groups, *, seed: int = 0) -> Interval:
    """95 % interval of mean(before) - mean(after) over the same inputs (N,), in `groups` (N,): the accuracy lost."""
    lost, won = before & ~after, after & ~before
    sums, sizes = _by_group(np.stack([lost, won], axis=1).astype(np.float64), groups)
    b, c = (float(v) for v in sums.sum(axis=0))
    if len(sizes) == len(lost):
        return tango(b, c, len(lost))
    n = _effective_groups(sizes)  # eq. (9), as in `proportion`
    floor = tango(b / len(lost) * n, c / len(lost) * n, n)
    return _hull(floor, _bootstrap(sums[:, 0] - sums[:, 1], sizes, seed))


def cluster_mean(
    values: Floats,
    groups: Groups,
    *,
    within: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> Interval:
    """95 % interval of the mean of `values` (N,), in `groups` (N,), limited to the possible values `within`.

    The hull of Student's interval over the groups' residuals and the bootstrap; with one group it is all of `within`.
    Values that are all equal have no spread and give an interval of width 0: for right-or-wrong use `proportion`.
    """
    sums, sizes = _by_group(np.asarray(values, np.float64)[:, None], groups)
    count, total = len(sizes), float(sizes.sum())
    if count == 1:
        return Interval(low=within[0], high=within[1])
    mean = float(sums.sum()) / total
    # Eq. (11): sum / size is a ratio of two sums that both vary (Cochran, Sampling Techniques, eq. 6.13).
    residual = sums[:, 0] - mean * sizes
    error = math.sqrt(count / (count - 1) * float(residual @ residual)) / total
    half = student_quantile(count - 1) * error
    both = _hull(Interval(low=mean - half, high=mean + half), _bootstrap(sums[:, 0], sizes, seed))
    return Interval(low=max(within[0], both.low), high=min(within[1], both.high))


def _z(confidence: float) -> float:
    return statistics.NormalDist().inv_cdf((1 + confidence) / 2)


def of_sums(counts: Floats, groups: Groups, value: Callable[[Floats], Floats], *, seed: int = 0) -> Interval:
    """95 % interval of `value` in 0..1, a function of the sums of `counts` (N, F) and of N (such as F1 or mean IoU).

    Eq. (13): the hull of the bootstrap over groups and the score interval at the effective number of groups. The
    bootstrap alone has width 0 where no input shows an error.
    """
    sums, sizes = _by_group(np.asarray(counts, np.float64), groups)
    n = _effective_groups(sizes)
    total = float(value(np.append(sums.sum(axis=0), sizes.sum())))
    return _hull(wilson(min(max(total, 0.0), 1.0) * n, n), _bootstrap_of(sums, sizes, value, seed))


def drop_of_sums(
    before: Floats, after: Floats, groups: Groups, value: Callable[[Floats], Floats], *, seed: int = 0
) -> Interval:
    """95 % interval of value(before) - value(after) over the same inputs, as `of_sums`; both counts are (N, F).

    Eq. (14): the groups are resampled together, so what is common to both cancels. The score interval is Tango's, with
    no more discordance than the drop itself: what is lost, or what is won.
    """
    sums, sizes = _by_group(np.concatenate([before, after], axis=1), groups)
    drop = _drop_of(value, before.shape[1])
    n = _effective_groups(sizes)
    total = float(drop(np.append(sums.sum(axis=0), sizes.sum())))
    floor = tango(max(0.0, total) * n, max(0.0, -total) * n, n)
    return _hull(floor, _bootstrap_of(sums, sizes, drop, seed))


def _drop_of(value: Callable[[Floats], Floats], split: int) -> Callable[[Floats], Floats]:
    """`value` of the first `split` sums minus `value` of the others, but the last, which is N."""

    def drop(totals: Floats) -> Floats:
        first, second = totals[..., :split], totals[..., split:-1]
        n = totals[..., -1:]
        return value(np.concatenate([first, n], axis=-1)) - value(np.concatenate([second, n], axis=-1))

    return drop


def _tango_high(b: float, c: float, n: float, z: float) -> float:
    """Upper end for (b - c) / n: the d of eq. (6), T(d) = -z; T falls with d, so bisection finds it."""
    if b >= n:
        return 1.0

    def beyond(d: float) -> bool:
        # Eq. (4) and (5), Tango 1998: q21 is the maximum-likelihood P(only second) under P(only first) = q21 + d.
        quadratic, linear = 2 * n, -b - c + (2 * n - b + c) * d
        root = math.sqrt(max(0.0, linear * linear + 4 * quadratic * c * d * (1 - d)))
        q21 = (root - linear) / (2 * quadratic)
        # Eq. (3) without its division: T(d) < -z. The root is 0 where no pair can be discordant.
        return n * d - b + c > z * math.sqrt(max(0.0, n * (2 * q21 + d * (1 - d))))

    return _bisect(beyond, (b - c) / n, 1.0)


def _bisect(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """The point in [low, high] from which on `beyond` holds."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return high


def _by_group(values: Floats, groups: Groups) -> tuple[Floats, Floats]:
    """Sums (G, K) of values (N, K) and the number of inputs (G,) by group."""
    if len(values) != len(groups) or len(values) == 0:
        raise ValueError(f"expected one group for each input and at least one, got {len(values)} and {len(groups)}")
    _, code = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(code, weights=column) for column in values.T], axis=1)
    return sums.astype(np.float64), np.bincount(code).astype(np.float64)


def _effective_groups(sizes: Floats) -> float:
    """Eq. (10), Kish: how many groups of equal size give a mean the same variance; G when all are of one size."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _bootstrap(sums: Floats, sizes: Floats, seed: int) -> Interval:
    """Percentile interval of sum / size over resampled groups."""
    return _bootstrap_of(sums[:, None], sizes, lambda totals: totals[..., 0] / totals[..., 1], seed)


def _bootstrap_of(sums: Floats, sizes: Floats, value: Callable[[Floats], Floats], seed: int) -> Interval:
    """Percentile interval of `value` of the sums (G, F) and the sizes (G,) over resampled groups."""
    values = _resampled(sums, sizes, value, seed)
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(low=float(low), high=float(high))


def _resampled(sums: Floats, sizes: Floats, value: Callable[[Floats], Floats], seed: int) -> Floats:
    """`value` (RESAMPLES,) of as many groups, drawn with replacement."""
    rng = np.random.default_rng(seed)
    count = len(sizes)
    table = np.concatenate([sums, sizes[:, None]], axis=1)
    at_once = max(1, 1_000_000 // (count + table.shape[1]))  # bounds the memory
    values = []
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        chosen = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count)  # each group was drawn
        values.append(value(times @ table))
    return np.concatenate(values)


def _hull(a: Interval, b: Interval) -> Interval:
    return Interval(low=min(a.low, b.low), high=max(a.high, b.high))


def student_quantile(degrees: int) -> float:
    """Student's two-sided 95 % quantile.

    Eq. (12): with t = sqrt(v) tan(a), P(|T| <= t) is the integral of cos(a)^(v - 1) from 0 to a over the integral from
    0 to pi / 2.
    """
    if degrees > 1000:
        return _z(CONFIDENCE)  # the difference is below 0.2 %
    angle = np.linspace(0, math.pi / 2, 20_001)
    density = np.cos(angle) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return math.sqrt(degrees) * math.tan(float(np.interp(CONFIDENCE, mass / mass[-1], angle)))
