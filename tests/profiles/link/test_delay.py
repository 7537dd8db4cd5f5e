"""Distributions of a message's seconds: closed forms compared with seeded draws."""

from __future__ import annotations

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitpoint.profiles.link import rate as link_rate
from splitpoint.profiles.link.delay import outage_attempts
from splitpoint.profiles.link.link import (
    AwgnLink,
    Cqi,
    FixedLink,
    Link,
    RayleighBlockLink,
    Shannon,
    TraceLink,
    describe,
    mean_rate_bit_s,
    mean_rounds,
    uplink_delay,
)

FADING = RayleighBlockLink(
    name="r",
    description="",
    downlink_bit_s=1e7,
    rtt_s=0.0,
    per_packet_overhead_bytes=0,
    bandwidth_hz=1e6,
    mean_snr_db=10.0,
    coherence_s=0.01,
)
LOSSY = FixedLink(name="l", description="", uplink_bit_s=1e6, downlink_bit_s=1e7, rtt_s=0.02, loss=0.1)
TRACE = TraceLink(
    name="t",
    description="",
    downlink_bit_s=1e7,
    rtt_s=0.0,
    per_packet_overhead_bytes=0,
    durations_s=(1.0, 1.0),
    rates_bit_s=(1e6, 3e6),
)
AWGN = AwgnLink(name="a", description="", downlink_bit_s=1e7, rtt_s=0.01, bandwidth_hz=1e6, snr_db=10.0)
EVERY = (
    FADING,
    msgspec.structs.replace(FADING, policy="outage", outage=0.1, rtt_s=0.004),
    msgspec.structs.replace(FADING, coding=Cqi(), loss=0.02, rtt_s=0.01),
    LOSSY,
    TRACE,
    msgspec.structs.replace(TRACE, loss=0.05, rtt_s=0.1, connection="cold"),
    AWGN,
    msgspec.structs.replace(AWGN, coding=Cqi(), connection="cold"),
)
DRAWS = 4000


def faded_by_hand(link: RayleighBlockLink, bits: float, n: int, seed: int) -> NDArray[np.float64]:
    """The slow, obvious simulation of a sender that knows the channel."""
    rng = np.random.default_rng(seed)
    mean = 10 ** (link.mean_snr_db / 10)
    out = np.zeros(n)
    for i in range(n):
        missing = bits
        while True:
            rate = link_rate.symbols_s(link) * link_rate.bit_per_symbol(link.coding, rng.exponential(mean))
            if rate * link.coherence_s >= missing:
                out[i] += missing / rate
                break
            missing -= rate * link.coherence_s
            out[i] += link.coherence_s
    return out


def test_blocks_that_carry_nothing_are_passed_in_one_draw() -> None:
    """A table of rates whose threshold one block in a million reaches; its block carries the whole message."""
    share = 1e-6
    mean_db = -7.0 - 10 * math.log10(-math.log(share))  # exp(-threshold / mean) = share
    link = msgspec.structs.replace(FADING, coding=Cqi(), mean_snr_db=mean_db, bandwidth_hz=1e9)
    delay = uplink_delay(link, 8.0)
    # Geometric: the mean is 1 / share blocks before it, and P(none in n blocks) = (1 - share)^n.
    mean_s = link.coherence_s / share
    assert delay.mean_s == pytest.approx(mean_s, rel=5 / math.sqrt(DRAWS))  # five standard errors
    assert delay.quantile_s(0.5) == pytest.approx(mean_s * math.log(2), rel=0.1)


def test_failures_too_rare_for_a_power_of_their_complement() -> None:
    """1 - 1e-19 is 1 in floating point, and 1e28 blocks still fail a billion times."""
    delay = outage_attempts(10**28, 1e-19, 1e-15, 1e-15, 1.0)
    assert delay.mean_s == pytest.approx(1e28 * 1e-15 + 1e9, rel=1e-9)
    assert delay.quantile_s(0.5) == pytest.approx(delay.mean_s, rel=1e-9)
    assert delay.probability(math.inf) == 1


@pytest.mark.parametrize("thresholds", ["raplat", "lte-sim", "shannon"])
def test_a_rate_of_the_table_is_reached_whatever_the_bandwidth(thresholds: Any) -> None:
    """Rate times and over a bandwidth may be an ulp above the table's."""
    coding = Cqi(thresholds=thresholds, target_bler=0.53)
    for bandwidth_hz in np.linspace(1e5, 1e9, 200):
        link = msgspec.structs.replace(
            FADING, coding=coding, bandwidth_hz=float(bandwidth_hz), policy="outage", outage=0.5, mean_snr_db=200.0
        )
        assert math.isfinite(uplink_delay(link, 1e4).mean_s)


def outage_by_hand(link: RayleighBlockLink, bits: float, n: int, seed: int) -> NDArray[np.float64]:
    """The slow, obvious simulation of a sender that does not."""
    rng = np.random.default_rng(seed)
    mean = 10 ** (link.mean_snr_db / 10)
    rate = link_rate.outage_bit_s(link)
    out = np.zeros(n)
    for i in range(n):
        missing = bits / rate  # seconds of successful sending
        while missing > 0:
            sent = min(missing, link.coherence_s)
            if link_rate.symbols_s(link) * link_rate.bit_per_symbol(link.coding, rng.exponential(mean)) < rate:
                out[i] += link.coherence_s + link.rtt_s
                continue
            out[i] += sent
            missing = missing - sent if missing > link.coherence_s else 0.0
    return out


def agree(delay_share: float, simulated_share: float, n: int) -> bool:
    """Two shares, of which the second (at least) is drawn: five standard errors of their difference."""
    spread = max(simulated_share * (1 - simulated_share), 1 / n)
    return abs(delay_share - simulated_share) <= 5 * math.sqrt(2 * spread / n)


@pytest.mark.parametrize("coding", [Shannon(), Shannon(gap_db=3.0), Cqi(), Cqi(thresholds="lte-sim")])
@pytest.mark.parametrize("bits", [5_000.0, 30_000.0, 200_000.0])
def test_fading_with_a_known_channel_against_simulation(coding: Shannon | Cqi, bits: float) -> None:
    link = msgspec.structs.replace(FADING, coding=coding)
    simulated = faded_by_hand(link, bits, DRAWS, seed=1)
    delay = uplink_delay(link, bits, seed=2)
    assert delay.mean_s == pytest.approx(simulated.mean(), abs=7 * simulated.std() / math.sqrt(DRAWS))
    for deadline_s in np.quantile(simulated, [0.05, 0.3, 0.7, 0.95]) * (1 + 1e-9):
        assert agree(delay.probability(float(deadline_s)), float(np.mean(simulated <= deadline_s)), DRAWS)


def test_within_the_first_block_the_closed_form_holds_exactly() -> None:
    # P(T <= t) = P(log2(1 + snr) >= bits / (B t)) = exp(-(2^(bits / (B t)) - 1) / mean) for t <= coherence.
    bits = 10_000.0
    delay = uplink_delay(FADING, bits)
    for deadline_s in (0.002, 0.004, 0.01):
        assert delay.probability(deadline_s) == pytest.approx(
            math.exp(-(2 ** (bits / (1e6 * deadline_s)) - 1) / 10.0), rel=1e-12
        )
    # Its inverse: the slowest rate that a share p of the blocks reaches.
    assert delay.quantile_s(0.5) == pytest.approx(bits / (1e6 * math.log2(1 + 10 * math.log(2))))


def test_many_blocks_come_to_the_ergodic_rate() -> None:
    bits = 1e8
    ergodic_s = bits / link_rate.ergodic_bit_s(FADING)
    delay = uplink_delay(FADING, bits)
    assert delay.mean_s == pytest.approx(ergodic_s, rel=0.01)
    assert delay.quantile_s(0.99) == pytest.approx(ergodic_s, rel=0.05)
    assert uplink_delay(FADING, 1e12).mean_s == pytest.approx(1e12 / link_rate.ergodic_bit_s(FADING))


@pytest.mark.parametrize("coding", [Shannon(), Cqi()])
@pytest.mark.parametrize("blocks", [0.4, 1.0, 7.3])
def test_outages_are_negative_binomial(coding: Shannon | Cqi, blocks: float) -> None:
    link = msgspec.structs.replace(FADING, policy="outage", outage=0.2, rtt_s=0.004, coding=coding)
    bits = blocks * link_rate.outage_bit_s(link) * link.coherence_s
    simulated = outage_by_hand(link, bits, DRAWS, seed=3) + link.rtt_s / 2
    delay = uplink_delay(link, bits)
    assert delay.how == "exact"
    assert delay.mean_s == pytest.approx(simulated.mean(), abs=5 * simulated.std() / math.sqrt(DRAWS))
    for p in (0.5, 0.9, 0.99):
        seconds = delay.quantile_s(p)
        assert delay.probability(seconds) >= p
        assert agree(delay.probability(seconds), float(np.mean(simulated <= seconds * (1 + 1e-9))), DRAWS)
        assert delay.probability(seconds - 1e-4) < p


def test_very_many_blocks_with_outages_stay_computable() -> None:
    link = msgspec.structs.replace(FADING, policy="outage", outage=0.5)
    delay = uplink_delay(link, 5000 * link_rate.outage_bit_s(link) * link.coherence_s)
    assert delay.mean_s == pytest.approx(100.0, rel=1e-6)
    assert delay.probability(100.0) == pytest.approx(0.5, abs=0.01)
    assert delay.probability(delay.quantile_s(0.99)) == pytest.approx(0.99, abs=1e-3)


@pytest.mark.parametrize("bits", [8_000.0, 400_000.0])
def test_the_mean_with_lost_packets_is_exact_and_its_draws_agree(bits: float) -> None:
    delay = uplink_delay(LOSSY, bits, n_draws=20_000)
    n = math.ceil(bits / 8 / 1460)
    once_s = (bits + 320 * n) / 1e6
    assert delay.mean_s == pytest.approx(0.01 + once_s / 0.9 + 0.02 * (mean_rounds(n, 0.1) - 1))
    shares = (np.arange(1, 2000) - 0.5) / 2000
    drawn_mean = np.mean([delay.quantile_s(float(p)) for p in shares])
    assert drawn_mean == pytest.approx(delay.mean_s, rel=0.01)
    if n == 1:  # the number of rounds is geometric
        for rounds in (1, 2, 3):
            deadline_s = 0.01 + rounds * once_s + (rounds - 1) * 0.02
            assert agree(1 - 0.1**rounds, delay.probability(deadline_s + 1e-9), 20_000)


def test_a_trace_by_hand() -> None:
    # 1 Mbit in the first second, 3 in the second, over and over; 1.5 Mbit from a random moment on.
    delay = uplink_delay(TRACE, 1.5e6, n_draws=100_000)
    # s of the first second left: s + (1.5 - s) / 3. r of the second left: 0.5 where r >= 0.5; r + (1.5 - 3 r) where
    # that fits into the next second, r >= 1/6; else r + 1 + (0.5 - 3 r) / 3. Integrated over s and r from 0 to 1:
    first, second = 0.5 + 1 / 3, 0.25 + (0.5 - (0.25 - 1 / 36)) + 7 / 36
    expected = (first + second) / 2
    assert delay.mean_s == pytest.approx(expected, rel=1e-3)
    assert describe(TRACE) == "t (trace of 2 s, mean 2 Mbit/s, 0 s)"


def test_a_constant_trace_is_a_fixed_link() -> None:
    trace = msgspec.structs.replace(TRACE, rates_bit_s=(2e6, 2e6), rtt_s=0.03)
    fixed = FixedLink(
        name="f", description="", uplink_bit_s=2e6, downlink_bit_s=1e7, rtt_s=0.03, per_packet_overhead_bytes=0
    )
    for bits in (1.0, 1e6, 4e6, 1e8):
        assert uplink_delay(trace, bits).quantile_s(0.5) == pytest.approx(uplink_delay(fixed, bits).mean_s)


@given(st.sampled_from(EVERY), st.floats(1, 1e7), st.integers(0, 3))
def test_quantiles_rise_and_are_the_inverse_of_probabilities(link: Link, bits: float, seed: int) -> None:
    delay = uplink_delay(link, bits, seed=seed, n_draws=200)
    quantiles = [delay.quantile_s(p) for p in (0.01, 0.25, 0.5, 0.75, 0.99)]
    assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(quantiles))
    assert all(math.isfinite(q) and q > 0 for q in quantiles)
    assert delay.probability(delay.quantile_s(0.75) * (1 + 1e-9)) >= 0.75 - 1e-6
    assert delay.probability(0.0) == 0.0
    repeated = uplink_delay(link, bits, seed=seed, n_draws=200)
    assert [repeated.quantile_s(p) for p in (0.01, 0.25, 0.5, 0.75, 0.99)] == quantiles


def test_a_message_that_cannot_be_sent_says_why() -> None:
    delay = uplink_delay(msgspec.structs.replace(LOSSY, max_payload_bytes=100), 1e6)
    assert delay.infeasible == "a message of 125 kB is over the 100 B that l carries"
    assert delay.mean_s == delay.quantile_s(0.5) == math.inf
    assert delay.probability(1e9) == 0
    strict = msgspec.structs.replace(FADING, policy="outage", outage=0.001, coding=Cqi(), mean_snr_db=0.0)
    assert "fails as rarely as 0.1 %" in (uplink_delay(strict, 8).infeasible or "")
    for p in (0.0, 1.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            delay.quantile_s(p)
    assert uplink_delay(LOSSY, 0).mean_s == 0


def test_a_channel_without_a_rate_to_speak_of_carries_nothing() -> None:
    link = msgspec.structs.replace(FADING, coding=Cqi(), mean_snr_db=-24.0)  # exp(-50) of the blocks reach the table
    assert 0 < mean_rate_bit_s(link) < 1e-3
    delay = uplink_delay(link, 8.0)
    assert delay.infeasible is not None
    assert "carries nothing" in delay.infeasible
