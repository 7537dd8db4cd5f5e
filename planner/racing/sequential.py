"""Anytime-valid tests and bounds for the mean of a finite set whose members are looked at in random order.

A gambler starts with 1 and bets, before each member, that the mean lies above a value m. If the mean is at most m, no
bets make the capital reach 1 / error at any time with a probability above `error` (Ville 1939), so that one may look
after every member and stop whenever one likes. An interval for a fixed number of members does not allow that: looked at
again and again it misses far more often than it says.

The members are drawn without replacement, so that after t of N the mean of the others is known under the hypothesis,
and the bounds close at t = N. The capital is the mean over a few constant bets, each a share of the most that may be
bet. References: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS B 86 (2024) 1,
sections 4 and 5 (betting, and without replacement). docs/notes/search.md says where it is used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lower_bounds", "surely_above"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]

BETS = np.array([0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])  # shares of the most that may be bet
HALVINGS = 30  # of the interval in which a bound is sought: 1e-9 of the range


def surely_above(values: Floats, mean: float, *, total: int, low: float, high: float, error: float) -> bool:
    """Whether the mean of all `total` members is above `mean`, by the `values` (n,) seen so far, in random order.

    Every member lies in `low`..`high`. Where the mean is not above, this is True at some n with a probability of at
    most `error`. Raises `ValueError` for values outside of the range, or more of them than members.
    """
    if len(values) > total or (len(values) and not low <= values.min() <= values.max() <= high):
        raise ValueError(f"expected at most {total} values in {low}..{high}, got {len(values)}: {values}")
    if mean < low:
        return True
    wealth = _log_capital((values - low) / (high - low), (mean - low) / (high - low), total)
    return bool((wealth >= -np.log(error)).any())


def lower_bounds(values: Floats, *, total: int, low: float, high: float, error: float) -> Floats:
    """(n,): a lower bound of the mean after each value; with probability 1 - `error` all of them hold at once."""
    scaled = (values - low) / (high - low)
    below, above = np.zeros(len(values)), np.ones(len(values))
    for _ in range(HALVINGS):  # the capital falls as the mean rises
        middle = (below + above) / 2
        wealth = np.array([_log_capital(scaled[: n + 1], m, total)[-1] for n, m in enumerate(middle)])
        rejected = wealth >= -np.log(error)
        below, above = np.where(rejected, middle, below), np.where(rejected, above, middle)
    bounds: Floats = low + (high - low) * np.maximum.accumulate(below)
    return bounds


def _log_capital(values: Floats, mean: float, total: int) -> Floats:
    """(n,): log of the capital after each of the `values` in 0..1 when it is bet that their mean is above `mean`."""
    seen = np.concatenate([[0.0], np.cumsum(values)])
    left = np.arange(total, total - len(values), -1)
    # What the others have in the mean when the mean of all is `mean`; below 0 the hypothesis is refuted.
    expected = (total * mean - seen[:-1]) / left
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = np.where(expected > 0, values / expected - 1, np.where(values > 0, np.inf, 0.0))
        wealth = np.log1p(BETS[:, None] * gains).cumsum(axis=1)
    refuted = np.maximum.accumulate((seen[1:] > total * mean * (1 + 1e-12)).astype(float)) > 0
    capital: Floats = np.where(refuted, np.inf, np.logaddexp.reduce(wealth, axis=0) - np.log(len(BETS)))
    return capital
