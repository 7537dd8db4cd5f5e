"""Radio rates against closed forms, integration and draws."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import decode_yaml
from splitpoint.profiles.link import rate as link_rate
from splitpoint.profiles.link.link import (
    AwgnLink,
    Cqi,
    RayleighBlockLink,
    Shannon,
    describe,
    downlink_s,
    infeasible,
    mean_rate_bit_s,
    uplink_delay,
)

AWGN = AwgnLink(name="a", description="", downlink_bit_s=1e7, rtt_s=0.0, bandwidth_hz=1e6, snr_db=10.0)
FADING = RayleighBlockLink(
    name="r", description="", downlink_bit_s=1e7, rtt_s=0.0, bandwidth_hz=1e6, mean_snr_db=10.0, coherence_s=0.01
)


def mean_over_exponential(value: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """E value(u) for u exponential of mean 1: the trapezoid rule over ln u, whose error is far below 1e-10."""
    v = np.linspace(-60.0, 6.0, 20_001)
    u = np.exp(v)
    return float(np.trapezoid(value(u) * np.exp(-u) * u, v))


@given(st.floats(1e-6, 500))
def test_scaled_exponential_integral(x: float) -> None:
    # exp(x) E1(x) = integral of exp(-u) / (x + u) over u > 0
    assert link_rate.scaled_e1(x) == pytest.approx(mean_over_exponential(lambda u: 1 / (x + u)), rel=1e-9)


def test_capacity_of_a_band_is_two_real_symbols_a_hertz() -> None:
    # 1/2 log2(1 + SNR) bit per real symbol, 2 x bandwidth of them a second (Jankowski et al. 2020, section 3).
    assert link_rate.awgn_bit_s(AWGN) == pytest.approx(2e6 * 0.5 * math.log2(11))
    gap = msgspec.structs.replace(AWGN, coding=Shannon(gap_db=3.0), overhead=0.08)
    assert link_rate.awgn_bit_s(gap) == pytest.approx(0.92e6 * math.log2(1 + 10 / 10**0.3))


@pytest.mark.parametrize("table", sorted(link_rate.CQI_THRESHOLDS_DB))
def test_cqi_tables_rise_and_stay_below_capacity(table: str) -> None:
    thresholds = link_rate.CQI_THRESHOLDS_DB[table]
    assert len(thresholds) == len(link_rate.CQI_BIT_PER_SYMBOL) == 15
    assert list(thresholds) == sorted(thresholds)
    for least_db, rate in zip(thresholds, link_rate.CQI_BIT_PER_SYMBOL, strict=True):
        assert rate <= math.log2(1 + 10 ** (least_db / 10)) + 1e-9


def test_cqi_picks_the_highest_rate_and_names_its_table() -> None:
    link = msgspec.structs.replace(AWGN, coding=Cqi(thresholds="raplat"), snr_db=8.43)
    assert link_rate.awgn_bit_s(link) == pytest.approx(1e6 * 2.4063 * 0.9)
    assert "'raplat'" in describe(link)
    below = msgspec.structs.replace(link, snr_db=-8.0)
    assert infeasible(below, 8) == "a carries nothing: -8 dB is below -7 dB, where CQI, thresholds 'raplat' begins"
    assert uplink_delay(below, 8).mean_s == math.inf


codings = st.builds(Shannon, gap_db=st.floats(0, 10)) | st.builds(
    Cqi, thresholds=st.sampled_from(sorted(link_rate.CQI_THRESHOLDS_DB))
)


@given(codings, st.floats(-20, 40))
def test_the_least_snr_of_a_rate_carries_it_and_no_less_does(coding: Shannon | Cqi, snr_db: float) -> None:
    rate = link_rate.bit_per_symbol(coding, 10 ** (snr_db / 10))
    if rate == 0:
        return
    least = link_rate.snr_needed(coding, rate)
    assert link_rate.bit_per_symbol(coding, least * (1 + 1e-9)) >= rate * (1 - 1e-9)
    assert link_rate.bit_per_symbol(coding, least * (1 - 1e-6)) < rate


@pytest.mark.parametrize("gap_db", [0.0, 3.0])
@pytest.mark.parametrize("mean_snr_db", [-5.0, 10.0, 25.0])
def test_ergodic_capacity_is_the_mean_over_the_fading(gap_db: float, mean_snr_db: float) -> None:
    link = msgspec.structs.replace(FADING, coding=Shannon(gap_db=gap_db), mean_snr_db=mean_snr_db)
    mean, gap = 10 ** (mean_snr_db / 10), 10 ** (gap_db / 10)
    expected = 1e6 * mean_over_exponential(lambda u: np.log2(1 + mean * u / gap))
    assert link_rate.ergodic_bit_s(link) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("coding", [Cqi(), Cqi(thresholds="lte-sim"), Cqi(thresholds="shannon", target_bler=0.0)])
@pytest.mark.parametrize("mean_snr_db", [-5.0, 10.0, 25.0])
def test_ergodic_rate_of_a_table_against_draws(coding: Cqi, mean_snr_db: float) -> None:
    link = msgspec.structs.replace(FADING, coding=coding, mean_snr_db=mean_snr_db)
    snrs = np.random.default_rng(0).exponential(10 ** (mean_snr_db / 10), 20_000)
    rates = [1e6 * link_rate.bit_per_symbol(coding, snr) for snr in snrs.tolist()]
    spread = 5 * float(np.std(rates)) / math.sqrt(len(rates))
    assert link_rate.ergodic_bit_s(link) == pytest.approx(float(np.mean(rates)), abs=spread)


def test_outage_rate_fails_as_often_as_it_says() -> None:
    link = msgspec.structs.replace(FADING, policy="outage", outage=0.05)
    rate = link_rate.outage_bit_s(link)
    # P(log2(1 + snr) < R) = 1 - exp(-(2^R - 1) / mean)
    assert 1 - math.exp(-(2 ** (rate / 1e6) - 1) / 10) == pytest.approx(0.05)
    snr = np.random.default_rng(0).exponential(10.0, 400_000)
    failed = np.mean(1e6 * np.log2(1 + snr) < rate)
    assert abs(failed - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 400_000)
    assert mean_rate_bit_s(link) == pytest.approx(0.95 * rate)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("snr_db: -.inf", "not finite - at `$.snr_db`"),
        ("snr_db: 10 dBm", '"10 dBm" - at `$.snr_db`'),
        ("snr_db: 500", "at most 200"),
        ("bandwidth_hz: 0", "more than 0"),
        ("bandwidth_hz: -1 MHz", "more than 0"),
        (
            "coding: {kind: cqi, thresholds: vienna}",
            "expected one of lte-sim, raplat, shannon, got 'vienna' - at `$.coding.thresholds`",
        ),
        ("coding: {kind: turbo}", "unknown kind 'turbo' - at `$.coding.kind`"),
        ("overhead: 1", "at most 0.95"),
    ],
)
def test_bad_radio_numbers_are_refused_with_their_place(change: str, message: str) -> None:
    fields = {"snr_db": "10 dB", "bandwidth_hz": "1 MHz"}
    key, _, value = change.partition(": ")
    fields[key] = value
    text = "name: x\ndescription: y\ndownlink_bit_s: 1 Mbit/s\nrtt_s: 0\n"
    text += "".join(f"{name}: {field}\n" for name, field in fields.items())
    with pytest.raises(ProfileError) as caught:
        decode_yaml("kind: awgn\n" + text, AwgnLink, where="f.yaml")
    assert message in caught.value.message


def test_the_downlink_of_a_radio_link_has_its_own_rate() -> None:
    assert downlink_s(AWGN, 1e6) == pytest.approx((1e6 + 86 * 320) / 1e7)
