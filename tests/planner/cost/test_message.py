"""Deadlines as probabilities: closed forms against Monte Carlo, alone and with the queue of a shared server."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from splitpoint.planner.cost.message import Channel, send
from splitpoint.profiles.library.catalog import load_link
from splitpoint.profiles.link.link import FixedLink, RayleighBlockLink, uplink_delay, wire_bit
from splitpoint.profiles.link.queue import md1_mean_wait_s

STEADY = FixedLink(name="steady", description="", uplink_bit_s=1e6, downlink_bit_s=1e9, rtt_s=0.0)
OUTAGE = RayleighBlockLink(
    name="fading",
    description="",
    downlink_bit_s=1e9,
    rtt_s=0.0,
    bandwidth_hz=1e6,
    mean_snr_db=10.0,
    coherence_s=0.005,
    policy="outage",
    outage=0.1,
)


def lindley(load: float, service_s: float, n: int, seed: int) -> np.ndarray:
    """Waits of a simulated M/D/1 queue."""
    rng = np.random.default_rng(seed)
    steps = service_s - rng.exponential(1 / load, n)
    walk = np.concatenate([[0.0], np.cumsum(steps)])
    return (walk - np.minimum.accumulate(walk))[1000:]


def test_the_share_asks_for_the_quantile_and_the_mean_stays() -> None:
    plain, asked = (send(Channel(link=OUTAGE, share=share), 2000, 0.01) for share in (None, 0.99))
    assert plain.deadline_s is None
    assert asked.link_s == plain.link_s
    assert asked.deadline_s is not None
    assert asked.deadline_s > asked.link_s
    # The closed form of the failures against drawn ones: blocks that fail with the probability of the outage.
    delay = uplink_delay(OUTAGE, 16000)
    assert delay.how == "exact"
    rng = np.random.default_rng(1)
    fails = 0.1
    blocks = next(k for k in range(1, 1000) if delay.quantile_s(1e-9) <= k * 0.005)
    first_s = delay.quantile_s(1e-9)
    drawn = first_s + 0.005 * rng.negative_binomial(blocks, 1 - fails, 200_000)
    assert delay.mean_s == pytest.approx(drawn.mean(), rel=0.01)
    for p in (0.5, 0.9, 0.99):
        assert delay.probability(delay.quantile_s(p)) >= p
        assert (drawn <= delay.quantile_s(p) + 1e-9).mean() == pytest.approx(
            delay.probability(delay.quantile_s(p)), abs=0.005
        )


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_the_wait_of_a_shared_server_is_added(rho: float) -> None:
    service_s = 0.01
    load = rho / service_s
    waits = lindley(load, service_s, 400_000, seed=2)
    alone = send(Channel(link=STEADY), 1000, service_s)
    shared = send(Channel(link=STEADY, server_load=load, share=0.95), 1000, service_s)
    assert alone.wait_s == 0.0
    assert shared.wait_s == pytest.approx(md1_mean_wait_s(load, service_s))
    assert shared.wait_s == pytest.approx(waits.mean(), rel=0.05)
    assert shared.deadline_s == pytest.approx(alone.link_s + np.quantile(waits, 0.95), rel=0.05)


def test_a_random_link_and_a_random_wait_add_as_in_simulation() -> None:
    service_s, load = 0.02, 35.0
    rng = np.random.default_rng(3)
    waits = rng.permutation(lindley(load, service_s, 300_000, seed=4))
    delay = uplink_delay(OUTAGE, 8 * 4000)
    delays = np.array([delay.quantile_s(p) for p in np.clip(rng.random(4000), 1e-6, 1 - 1e-6)])
    sums = rng.choice(delays, len(waits)) + waits
    for share in (0.5, 0.9, 0.99):
        sent = send(Channel(link=OUTAGE, server_load=load, share=share), 4000, service_s)
        down_s = send(Channel(link=OUTAGE), 4000, service_s).link_s - delay.mean_s
        assert sent.deadline_s == pytest.approx(np.quantile(sums, share) + down_s, rel=0.04)


def test_a_server_that_cannot_keep_up_is_infeasible_with_the_reason() -> None:
    sent = send(Channel(link=STEADY, server_load=200.0), 1000, 0.01)
    assert math.isinf(sent.link_s)
    assert sent.infeasible == "200 requests per second would keep the server busy 200 % of the time"


def test_equal_seeds_give_equal_quantiles() -> None:
    lossy = msgspec.structs.replace(STEADY, loss=0.2, rtt_s=0.05)
    first, repeated, other = (send(Channel(link=lossy, share=0.9, seed=s), 5000, 0.01).deadline_s for s in (0, 0, 1))
    assert first == repeated
    assert other == pytest.approx(first, rel=0.1)


def test_a_trace_has_a_quantile_above_its_median() -> None:
    link = load_link("trace-walk")
    half, most = (send(Channel(link=link, share=share), 20_000, 0.0).deadline_s for share in (0.5, 0.99))
    assert half is not None
    assert most is not None
    assert most > half


def test_silence_of_a_duty_cycle_counts_as_busy_air() -> None:
    duty = msgspec.structs.replace(STEADY, duty_cycle=0.1)
    assert send(Channel(link=duty), 500, 0.0).air_s == pytest.approx(10 * send(Channel(link=STEADY), 500, 0.0).air_s)


def test_time_on_air_counts_repeats_and_the_duty_cycle() -> None:
    link = msgspec.structs.replace(STEADY, loss=0.2, duty_cycle=0.25)
    sent = send(Channel(link=link), 1000, 0.0)
    once_s = send(Channel(link=STEADY), 1000, 0.0).air_s
    assert once_s == pytest.approx(wire_bit(STEADY, 8000) / 1e6)
    assert sent.air_s == pytest.approx(once_s / 0.8 / 0.25)
    assert send(Channel(link=STEADY), 0, 0.0).air_s == 0.0


def test_the_answer_comes_back_as_64_bytes() -> None:
    slow = msgspec.structs.replace(STEADY, downlink_bit_s=1e3)
    back_s = send(Channel(link=slow), 1000, 0.0).link_s - uplink_delay(slow, 8000).mean_s
    assert back_s == pytest.approx(wire_bit(slow, 8 * 64) / 1e3)
