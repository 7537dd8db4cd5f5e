"""Intervals against published values, an independent construction, and coverage by simulation."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from splitpoint.planner.quality.intervals import Interval, cluster_mean, paired_drop, proportion, tango, wilson

WIDE = (-math.inf, math.inf)
Z = 1.959963984540054
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 200)).filter(lambda t: sum(t) > 0)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(k: int, n: int, low: float, high: float) -> None:
    got = wilson(k, n)
    assert (round(got.low, 4), round(got.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("b", "c", "n", "low", "high"),
    [
        (6, 16, 161, -0.1240, -0.0054),  # Cavo 2012, as in the R package contingencytables (Fagerland et al. 2017)
        (1, 7, 21, -0.517, -0.026),  # Bentur 2009, Fagerland et al. 2014, table 7
    ],
)
def test_tango_gives_the_published_intervals(b: int, c: int, n: int, low: float, high: float) -> None:
    got = tango(b, c, n)
    digits = 4 if n == 161 else 3
    assert (round(got.low, digits), round(got.high, digits)) == (low, high)


@pytest.mark.parametrize(("b", "c", "n"), [(5, 2, 60), (0, 3, 40), (12, 0, 50), (40, 20, 160), (1, 1, 30)])
def test_tango_solves_the_score_equation_of_a_numerical_likelihood(b: int, c: int, n: int) -> None:
    def statistic(d: float) -> float:
        """The score statistic with P(only second) from a bounded numerical maximisation, no closed form."""

        def loss(q: float) -> float:
            p = (q + d, q, 1 - 2 * q - d)
            return -sum(k * math.log(max(v, 1e-300)) for k, v in zip((b, c, n - b - c), p, strict=True))

        bounds = (max(0.0, -d), (1 - d) / 2)
        q = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return float((b - c - n * d) / math.sqrt(n * (2 * q + d * (1 - d))))

    got = tango(b, c, n)
    assert statistic(got.low) == pytest.approx(Z, abs=1e-3)
    assert statistic(got.high) == pytest.approx(-Z, abs=1e-3)


@given(n=st.integers(2, 5000))
def test_without_a_discordant_pair_the_bound_follows_the_rule_of_three(n: int) -> None:
    got = tango(0, 0, n)
    assert got.high == pytest.approx(Z**2 / (n + Z**2), rel=1e-6)
    assert got.low == pytest.approx(-got.high, rel=1e-6)
    exact_one_sided = 1 - 0.05 ** (1 / n)  # 3 / n for large n
    assert got.high >= exact_one_sided * 0.8
    assert got.high > 0


@given(counts=COUNTS)
def test_tango_is_antisymmetric_and_holds_the_estimate(counts: tuple[int, int, int]) -> None:
    b, c, rest = counts
    n = b + c + rest
    got, other = tango(b, c, n), tango(c, b, n)
    assert got.low == pytest.approx(-other.high)
    assert got.high == pytest.approx(-other.low)
    assert -1 <= got.low <= (b - c) / n + 1e-9
    assert (b - c) / n - 1e-9 <= got.high <= 1


@given(counts=COUNTS)
def test_one_more_lost_input_moves_both_ends_up(counts: tuple[int, int, int]) -> None:
    b, c, rest = counts
    n = b + c + rest + 1
    less, more = tango(b, c, n), tango(b + 1, c, n)
    assert more.low >= less.low - 1e-9
    assert more.high >= less.high - 1e-9


@given(k=st.integers(0, 60), extra=st.integers(0, 60), times=st.integers(2, 5))
def test_more_inputs_of_the_same_kind_narrow_the_interval(k: int, extra: int, times: int) -> None:
    n = k + extra + 1
    one, many = wilson(k, n), wilson(k * times, n * times)
    assert many.high - many.low < one.high - one.low
    one, many = tango(k, 1, n + 1), tango(k * times, times, (n + 1) * times)
    assert many.high - many.low < one.high - one.low


@pytest.mark.parametrize(
    ("p_lost", "p_won", "n"), [(0.02, 0.01, 100), (0.05, 0.05, 60), (0.01, 0.0, 200), (0.2, 0.1, 40)]
)
def test_tango_covers_the_truth(p_lost: float, p_won: float, n: int) -> None:
    rng = np.random.default_rng(0)
    draws = rng.multinomial(n, [p_lost, p_won, 1 - p_lost - p_won], size=4000)
    covers = functools.cache(lambda b, c: _within(tango(b, c, n), p_lost - p_won))
    assert np.mean([covers(int(b), int(c)) for b, c, _ in draws]) >= 0.93  # nominal 0.95; discrete counts


@pytest.mark.parametrize("scenes", [3, 8, 20])
@pytest.mark.parametrize("spread", [0.3, 3.0, 1000.0])  # of Beta: large = crops of a scene are almost independent
def test_scene_intervals_cover_the_truth_whatever_the_dependence(scenes: int, spread: float) -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(scenes), 12)
    p, held = 0.85, 0
    for trial in range(150):
        rate = rng.beta(p * spread, (1 - p) * spread, scenes)
        right = rng.random(len(groups)) < rate[groups]
        held += _within(proportion(right, groups, seed=trial), p)
    assert held / 150 >= 0.90


def test_few_scenes_are_never_surer_than_that_many_inputs() -> None:
    groups = np.repeat(np.arange(3), 12)
    right = np.ones(36, bool)
    assert proportion(right, groups) == wilson(3, 3)
    assert paired_drop(right, right, groups) == tango(0, 0, 3)
    after = right.copy()
    after[:6] = False
    got, floor = paired_drop(right, after, groups), tango(0.5, 0, 3)
    assert got.low <= floor.low
    assert got.high >= floor.high


def test_inputs_of_their_own_group_get_the_plain_interval() -> None:
    rng = np.random.default_rng(2)
    before, after = rng.random(80) < 0.9, rng.random(80) < 0.85
    order = np.arange(80)
    b, c = int((before & ~after).sum()), int((after & ~before).sum())
    assert paired_drop(before, after, order) == tango(b, c, 80)
    assert proportion(after, order) == wilson(int(after.sum()), 80)


def test_scenes_of_unequal_size_count_by_their_size() -> None:
    groups = np.array([0] * 30 + [1] * 3 + [2] * 3)
    got = proportion(np.ones(36, bool), groups)
    assert got.low < wilson(3, 3).low  # one scene dominates: fewer than 3 effective ones
    assert got == proportion(np.ones(36, bool), groups + 100)


def test_the_bootstrap_repeats_for_a_seed_and_takes_names() -> None:
    rng = np.random.default_rng(3)
    values, groups = rng.normal(size=60), np.repeat(np.arange(6), 10)
    named = [f"scene {g}" for g in groups]
    assert cluster_mean(values, named, within=WIDE, seed=4) == cluster_mean(values, groups, within=WIDE, seed=4)


def test_cluster_mean_is_students_for_equal_groups_and_bounded() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=10)
    got = cluster_mean(values, np.arange(10), within=WIDE)
    low, high = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    assert got.low == pytest.approx(low, rel=1e-4)
    assert got.high == pytest.approx(high, rel=1e-4)
    assert cluster_mean(values, np.zeros(10, np.int64)) == Interval(low=0.0, high=1.0)


@pytest.mark.parametrize("degrees", [1, 2, 5, 30, 400])
def test_students_quantile(degrees: int) -> None:
    values = np.arange(degrees + 1, dtype=np.float64)
    got = cluster_mean(values, np.arange(degrees + 1), within=WIDE)
    low = stats.t.interval(0.95, degrees, values.mean(), stats.sem(values))[0]
    assert got.low <= low + 1e-3 * abs(low)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="3 and 2 of 4"):
        tango(3, 2, 4)
    with pytest.raises(ValueError, match="one group for each input"):
        proportion(np.ones(3, bool), np.arange(2))


def _within(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high
