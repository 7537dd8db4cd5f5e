"""Pipelines and the shared server: M/D/1 against a simulation of the queue."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from splitpoint.profiles.link import queue
from splitpoint.profiles.link.queue import bottleneck, md1_mean_wait_s, md1_wait_quantile_s, md1_within, throughput_s


def simulated_waits(rate_s: float, service_s: float, n: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Lindley's recursion: wait' = max(0, wait + service - gap), as a running maximum of a random walk."""
    rng = np.random.default_rng(seed)
    walk = np.concatenate([[0.0], np.cumsum(service_s - rng.exponential(1 / rate_s, n))])
    return walk - np.minimum.accumulate(walk)


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.8, 0.9])
def test_md1_against_simulation(rho: float) -> None:
    service_s = 0.02
    rate_s = rho / service_s
    batches = [simulated_waits(rate_s, service_s, 100_000, seed)[1000:] for seed in range(20)]
    means = np.array([batch.mean() for batch in batches])
    assert md1_mean_wait_s(rate_s, service_s) == pytest.approx(means.mean(), abs=5 * means.std() / math.sqrt(20))
    for wait_s in (0.0, 0.3 * service_s, service_s, 3.7 * service_s):
        shares = np.array([(batch <= wait_s + 1e-12).mean() for batch in batches])
        spread = 5 * shares.std() / math.sqrt(20) + 1e-6
        assert md1_within(rate_s, service_s, wait_s) == pytest.approx(shares.mean(), abs=spread)


@pytest.mark.parametrize("rho", [0.2, 0.7, 0.95])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99, 0.9999])
def test_the_quantile_is_the_inverse(rho: float, p: float) -> None:
    wait_s = md1_wait_quantile_s(rho / 0.01, 0.01, p)
    assert md1_within(rho / 0.01, 0.01, wait_s) >= p - 1e-9
    if wait_s > 0:
        assert md1_within(rho / 0.01, 0.01, wait_s * (1 - 1e-6)) < p


def test_the_wait_integrates_to_its_mean() -> None:
    rate_s, service_s = 70.0, 0.01
    grid = np.linspace(0, 30 * service_s, 1501)  # the survival has kinks at multiples of the service time
    survival = [1 - md1_within(rate_s, service_s, float(t)) for t in grid]
    assert np.trapezoid(survival, grid) == pytest.approx(md1_mean_wait_s(rate_s, service_s), rel=1e-3)


@pytest.mark.parametrize("rho", [1e-20, 0.01, 0.5, 0.95, 0.999, 1 - 1e-9])
def test_behind_a_hundred_service_times_the_tail_goes_on_as_the_sum_would(
    rho: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [100.5, 117.0, 150.3]
    by_tail = [md1_within(rho, 1.0, wait) for wait in waits]
    assert md1_within(rho, 1.0, 1e12) <= 1  # in no time; the sum would have 1e24 terms
    monkeypatch.setattr(queue, "_EXACT", 1000)
    assert by_tail == pytest.approx([md1_within(rho, 1.0, wait) for wait in waits], abs=1e-12)


def periodic_mean_wait_s(
    devices: int, rho: float, draws: int, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean waits in service times of cameras of one fixed frame rate and random phases: one queue, event by event.

    The queue repeats with the period from the second period on, as it has emptied once when rho < 1.
    """
    rng = np.random.default_rng(seed)
    period = devices / rho  # in service times
    means = []
    for phases in np.sort(rng.uniform(0, period, (draws, devices)), axis=1):
        idle_from, waits = 0.0, []
        for arrival in np.concatenate([phases, phases + period]):
            waits.append(max(0.0, idle_from - arrival))
            idle_from = max(arrival, idle_from) + 1.0
        means.append(np.mean(waits[devices:]))
    return np.array(means)


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_devices_of_a_fixed_frame_rate_wait_no_longer_than_the_formula_says(rho: float) -> None:
    formula = md1_mean_wait_s(rho, 1.0)
    means = {n: periodic_mean_wait_s(n, rho, draws, seed=n) for n, draws in ((1, 5), (10, 400), (100, 100))}
    assert not means[1].any()  # its own frames are a period apart
    for n in (10, 100):
        assert means[n].mean() < formula + 4 * means[n].std() / math.sqrt(len(means[n]))
    # They approach it from below as devices become many.
    assert means[10].mean() < means[100].mean()
    if rho == 0.3:
        assert means[100].mean() == pytest.approx(formula, rel=0.15)


@pytest.mark.parametrize("service_s", [1e-3, 0.4])
def test_the_wait_grows_with_the_load_and_is_unbounded(service_s: float) -> None:
    waits = [md1_mean_wait_s(rho / service_s, service_s) for rho in np.linspace(0, 0.999, 200)]
    assert all(one < other for one, other in itertools.pairwise(waits))
    assert md1_mean_wait_s(0.5 / service_s, service_s) == pytest.approx(0.5 * service_s / (2 * 0.5))
    assert md1_mean_wait_s((1 - 1e-9) / service_s, service_s) > 1e8 * service_s


def test_limits() -> None:
    assert md1_mean_wait_s(0.0, 0.01) == 0
    assert md1_within(0.0, 0.01, 0.0) == 1
    assert md1_within(50.0, 0.01, 0.0) == pytest.approx(0.5)  # finds the server idle: 1 - rho
    assert md1_mean_wait_s(100.0, 0.01) == math.inf
    assert md1_wait_quantile_s(100.0, 0.01, 0.5) == math.inf
    assert md1_within(100.0, 0.01, 1.0) == 0
    for rate_s, service_s in ((-1.0, 0.01), (1.0, 0.0), (math.nan, 0.01), (1.0, math.inf)):
        with pytest.raises(ValueError, match="expected a rate"):
            md1_mean_wait_s(rate_s, service_s)
    with pytest.raises(ValueError, match="between 0 and 1"):
        md1_wait_quantile_s(1.0, 0.01, 1.0)


def test_a_pipeline_runs_at_its_slowest_stage() -> None:
    stages = {"device": 0.04, "link": 0.05, "server": 0.005}
    assert throughput_s(stages) == pytest.approx(20)
    assert bottleneck(stages) == "link"
    assert throughput_s({"device": 0.0}) == math.inf
