"""Estimated drops against networks whose truth is known: synthetic margins under noise, any number of fresh inputs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from splitpoint.planner.quality.drop_curve import SHARP, estimate_drops, smooth_losses

Floats = NDArray[np.float64]
LIMIT = 0.01


def network(seed: int, inputs: int, candidates: int = 120) -> tuple[Floats, Floats, Floats]:
    """Margins (C, N), unsplit margins (N,) and bytes (C,): noise of many strengths, shared in part by neighbours."""
    rng = np.random.default_rng(seed)
    unsplit = rng.gamma(2.0, 1.5, inputs) - 0.6  # a tenth of the answers is wrong
    strength = np.geomspace(0.05, 2.0, candidates)
    common = rng.normal(size=(8, inputs))
    noise = common[np.arange(candidates) % 8] + 0.5 * rng.normal(size=(candidates, inputs))
    return unsplit + strength[:, None] * (noise - 0.2 * np.abs(unsplit)), unsplit, 1000 / strength


def losses(margins: Floats, unsplit: Floats) -> tuple[Floats, Floats, Floats]:
    """By the count, by the margins, and how far the outputs are."""
    return (unsplit > 0).astype(float) - (margins > 0), smooth_losses(margins, unsplit), (margins - unsplit) ** 2


def test_a_smooth_loss_is_the_probability_that_is_lost() -> None:
    unsplit = np.array([1.0, -2.0, 3.0, 0.5])
    width = SHARP * 1.5  # the median margin
    margins = np.array([[1.0, -2.0, 3.0, 0.5], [-1.0, 2.0, 3.0, -np.inf]])
    found = smooth_losses(margins, unsplit)
    assert (found[0] == 0).all()
    cdf = stats.norm.cdf
    expected = [cdf(1 / width) - cdf(-1 / width), cdf(-2 / width) - cdf(2 / width), 0.0, cdf(0.5 / width)]
    assert found[1] == pytest.approx(expected)
    far = smooth_losses(100 * margins, unsplit)
    assert far[1] == pytest.approx(
        [cdf(1 / width), cdf(-2 / width) - 1, cdf(3 / width) - 1, cdf(0.5 / width)], abs=1e-12
    )


def test_the_recommended_point_loses_what_was_said() -> None:
    """Selection makes raw counts optimistic and leaves the estimate honest; its intervals cover after the choice."""
    misses: dict[str, list[float]] = {"raw": [], "estimate": []}
    covered = []
    for seed in range(60):
        margins, unsplit, size = network(seed, 4000)
        lost, smooth, far = losses(margins, unsplit)
        n = 200
        found = estimate_drops(lost[:, :n], smooth[:, :n], far[:, :n])
        truth = lost[:, n:].mean(axis=1)
        for name, drop in (("raw", lost[:, :n].mean(axis=1)), ("estimate", found.drop)):
            chosen = min((i for i in range(len(drop)) if drop[i] <= LIMIT), key=lambda i: size[i])
            misses[name].append(float(truth[chosen] - drop[chosen]))
        error = np.hypot(found.error[chosen], lost[chosen, n:].std() / np.sqrt(4000 - n))
        covered.append(abs(misses["estimate"][-1]) <= 1.96 * error)
    assert np.mean(misses["raw"]) > 0.015  # points of luck
    assert abs(np.mean(misses["estimate"])) < 0.003
    assert np.mean(covered) >= 0.93


def test_estimates_do_not_depend_on_the_order() -> None:
    margins, unsplit, _ = network(1, 150, 30)
    lost, smooth, far = losses(margins, unsplit)
    found = estimate_drops(lost, smooth, far)
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(30), rng.permutation(150)
    again = estimate_drops(*(each[rows][:, columns] for each in (lost, smooth, far)))
    for name in ("drop", "error", "curve", "own_weight"):
        assert getattr(again, name) == pytest.approx(getattr(found, name)[rows], abs=1e-12)


def test_what_loses_nothing_is_known_to_lose_nothing() -> None:
    margins, unsplit, _ = network(2, 200, 30)
    margins[0] = unsplit
    found = estimate_drops(*losses(margins, unsplit))
    assert found.drop[0] == pytest.approx(0, abs=1e-4)
    assert found.error[0] < 1e-3 < found.error[10]


def test_coders_of_one_quantizer_count_once_and_lose_the_same() -> None:
    margins, unsplit, _ = network(3, 200, 30)
    lost, smooth, far = losses(margins, unsplit)
    found = estimate_drops(lost, smooth, far)
    twice = [*range(30), *[12] * 50]
    again = estimate_drops(lost[twice], smooth[twice], far[twice])
    assert again.curve[:30] == pytest.approx(found.curve)
    assert np.ptp(again.drop[[12, 30, 79]]) < 1e-12


def test_the_curve_rises_with_the_distance() -> None:
    for seed in range(5):
        margins, unsplit, _ = network(seed, 60, 50)
        lost, smooth, far = losses(margins, unsplit)
        for finer in (smooth, lost):
            found = estimate_drops(lost, finer, far)
            order = np.argsort(far.mean(axis=1))
            assert (np.diff(found.curve[order]) >= 0).all()
            assert found.curve.min() >= 0
            assert found.curve.max() > 0.05


def test_inputs_that_were_not_measured_do_not_count() -> None:
    margins, unsplit, _ = network(4, 400, 60)
    lost, smooth, far = losses(margins, unsplit)
    whole = estimate_drops(lost, smooth, far)
    few = lost.copy()
    few[:, 40:] = np.nan
    found, first = estimate_drops(few, smooth, far), estimate_drops(*(each[:, :40] for each in (lost, smooth, far)))
    assert found.drop == pytest.approx(first.drop, abs=3e-3, rel=0.05)
    assert found.error == pytest.approx(first.error, rel=0.2)
    assert np.median(found.error / whole.error) > 1.8
    few = lost.copy()
    few[::2, 40:] = np.nan  # of every second candidate: its neighbours know
    found = estimate_drops(few, smooth, far)
    assert found.drop[:45] == pytest.approx(whole.drop[:45], abs=0.03)


def test_inputs_of_one_group_are_one_unit() -> None:
    margins, unsplit, _ = network(5, 200, 30)
    lost, smooth, far = losses(margins, unsplit)
    found = estimate_drops(lost, smooth, far)
    doubled = estimate_drops(
        *(np.repeat(each, 2, axis=1) for each in (lost, smooth, far)), groups=np.repeat(np.arange(200), 2)
    )
    assert doubled.drop == pytest.approx(found.drop)
    assert doubled.error == pytest.approx(found.error)


def test_a_candidate_that_differs_from_its_neighbours_is_believed_where_many_inputs_say_so() -> None:
    weights, drops = {}, {}
    for n in (100, 20_000):
        margins, unsplit, _ = network(6, n, 40)
        rng = np.random.default_rng(7)
        for i in range(0, 40, 4):  # these fail on few inputs, and wholly: a smooth loss says half of it
            margins[i, rng.random(n) < 0.02] = -0.05
        found = estimate_drops(*losses(margins, unsplit))
        weights[n], drops[n] = found.own_weight[20], (found.drop[20], (unsplit > 0).mean() - (margins[20] > 0).mean())
    assert weights[100] < 0.3 < 0.8 < weights[20_000]
    assert drops[20_000][0] == pytest.approx(drops[20_000][1], abs=0.002)


def test_candidates_that_lose_much_say_nothing_of_those_that_lose_little() -> None:
    """Half of the candidates are alike in what they lose, those that lose most differ by a factor of three."""
    rng = np.random.default_rng(0)
    levels = np.concatenate([np.full(40, 0.01), np.full(40, 0.4)])
    own = np.where(levels < 0.1, 1.0, rng.choice([0.5, 1.5], 80))  # of the level
    smooth = (levels * own)[:, None] * rng.gamma(0.2, 5.0, (80, 400))  # candidates do not share their luck
    distance = np.broadcast_to(levels[:, None], smooth.shape)
    found = estimate_drops(smooth, smooth, distance)
    assert np.median(found.own_weight[:40]) < 0.3 < 0.8 < np.median(found.own_weight[40:])
    errors = [np.sqrt(np.mean((each[:40] - 0.01) ** 2)) for each in (found.drop, smooth.mean(axis=1))]
    assert errors[0] < 0.5 * errors[1]


def test_the_scale_of_the_distance_does_not_matter() -> None:
    margins, unsplit, _ = network(8, 200, 40)
    lost, smooth, far = losses(margins, unsplit)
    found, scaled = estimate_drops(lost, smooth, far), estimate_drops(lost, smooth, 17 * far)
    assert scaled.drop == pytest.approx(found.drop)
