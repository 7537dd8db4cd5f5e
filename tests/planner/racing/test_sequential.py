"""Bounds that hold at every look at once, against simulation, exhaustion and what must be known at the end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.racing.sequential import lower_bounds, surely_above

ERROR = 0.05
TRIALS = 2000
LOOKS = (10, 20, 40, 80, 140, 200)
FALSE = ERROR + 3 * (ERROR * (1 - ERROR) / TRIALS) ** 0.5  # three standard errors of a share of the trials


def population(rng: np.random.Generator, kind: str, n: int = 200) -> np.ndarray:
    """Paired differences within -1..1: few of three values, a skewed cloud, or two clumps."""
    if kind == "counts":
        return rng.choice([-1.0, 0.0, 1.0], n, p=[0.03, 0.9, 0.07])
    if kind == "skewed":
        return np.clip(rng.exponential(0.1, n) - 0.05, -1, 1)
    return rng.choice([-0.3, 0.5], n) + rng.uniform(-0.1, 0.1, n)


@pytest.mark.parametrize("kind", ["counts", "skewed", "clumps"])
def test_the_test_is_wrong_at_some_look_no_more_often_than_it_says(kind: str) -> None:
    """Against the truth itself, which is the hardest hypothesis that is not above it, with a look after every input."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(TRIALS):
        values = rng.permutation(population(rng, kind))
        wrong += surely_above(values, float(values.mean()) + 1e-9, total=200, low=-1, high=1, error=ERROR)
    assert wrong / TRIALS <= FALSE


def test_an_interval_for_a_fixed_number_is_wrong_at_some_look_far_more_often() -> None:
    """The fault that the module is there for: the paired score interval's lower end at each of a few looks."""
    rng = np.random.default_rng(2)
    wrong, trials = 0, 400
    for _ in range(trials):
        lost = rng.choice([-1, 0, 1], 2000, p=[0.1, 0.8, 0.1])  # of a large set: looks are nearly independent draws
        drop = 0.0
        ends = [
            paired_drop(lost[:n] >= 0, lost[:n] <= 0, np.arange(n)).low for n in (10, 20, 40, 80, 160, 320, 640, 1280)
        ]
        wrong += any(low > drop for low in ends)
    nominal = 0.025  # one side of 95 %
    assert wrong / trials > nominal + 3 * (nominal * (1 - nominal) / trials) ** 0.5
    again = 0
    for _ in range(trials):
        lost = rng.choice([-1.0, 0.0, 1.0], 2000, p=[0.1, 0.8, 0.1])
        again += surely_above(lost[:1280], max(0.0, float(lost.mean())), total=2000, low=-1, high=1, error=nominal)
    assert again / trials <= nominal + 3 * (nominal * (1 - nominal) / trials) ** 0.5


def test_all_orders_of_a_small_set_are_counted() -> None:
    """Exact: of all 5,040 orders of seven values the share that is ever called above the mean is below the error."""
    values = np.array([0.0, 0.0, 0.1, 0.2, 0.5, 0.9, 1.0])
    orders = list(itertools.permutations(values))
    mean = float(values.mean())
    wrong = sum(surely_above(np.array(o), mean + 1e-12, total=7, low=0, high=1, error=0.2) for o in orders)
    assert wrong / len(orders) <= 0.2


@pytest.mark.parametrize(("gap", "within"), [(0.3, 40), (0.1, 150)])
def test_it_settles(gap: float, within: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(gap, 0.2, 200).clip(-1, 1)
    assert surely_above(values[:within], 0.0, total=200, low=-1, high=1, error=0.005)
    assert not surely_above(values[:5], 0.0, total=200, low=-1, high=1, error=0.005)


def test_bounds_rise_to_the_mean_and_agree_with_the_test() -> None:
    rng = np.random.default_rng(4)
    values = rng.permutation(population(rng, "clumps", 60))
    bounds = lower_bounds(values, total=60, low=-1, high=1, error=ERROR)
    assert (np.diff(bounds) >= 0).all()
    assert bounds[-1] == pytest.approx(values.mean(), abs=1e-6)  # everything is seen
    for n in (10, 30, 50):
        assert surely_above(values[:n], bounds[n - 1] - 1e-6, total=60, low=-1, high=1, error=ERROR)
        assert not surely_above(values[:n], bounds[n - 1] + 1e-6, total=60, low=-1, high=1, error=ERROR)


def test_nothing_seen_settles_nothing_and_a_mean_below_the_range_is_settled() -> None:
    assert not surely_above(np.empty(0), 0.0, total=9, low=-1, high=1, error=ERROR)
    assert surely_above(np.empty(0), -1.5, total=9, low=-1, high=1, error=ERROR)


@pytest.mark.parametrize("values", [[0.0, 1.2], [-1.5], [0.0] * 5])
def test_values_that_cannot_be_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"expected at most 4 values in -1\.\.1"):
        surely_above(np.array(values), 0.0, total=4, low=-1, high=1, error=ERROR)
