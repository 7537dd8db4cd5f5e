"""Channel uses of bits and of symbols, seconds on air, energy and money, against sums by hand."""

from __future__ import annotations

import math

import msgspec
import pytest

from splitpoint.profiles.library.catalog import load_link
from splitpoint.profiles.link.energy import radio_j
from splitpoint.profiles.link.link import AwgnLink, Cqi, Link, RayleighBlockLink, Shannon
from splitpoint.profiles.link.symbols import (
    air_seconds,
    as_bits,
    channel_uses,
    coding_note,
    real_symbols_s,
    symbols_delay,
)
from splitpoint.profiles.link.types import Radio


def awgn(**changes: object) -> AwgnLink:
    link = AwgnLink(
        name="air", description="", downlink_bit_s=1e6, rtt_s=0.02, bandwidth_hz=5e5, snr_db=14.5, coding=Shannon()
    )
    return msgspec.structs.replace(link, **changes)


def test_a_use_carries_half_the_logarithm_of_one_plus_the_snr() -> None:
    """Jankowski et al., section 2.1: C = 1/2 log2(1 + P / sigma^2) = 2.42 bit at 14.5 dB."""
    capacity = 0.5 * math.log2(1 + 10**1.45)
    assert capacity == pytest.approx(2.4336, abs=1e-4)
    for bits in (1, 8, 800, 17_824):
        assert channel_uses(awgn(), bits) == math.ceil(bits / capacity)
    assert channel_uses(awgn(), 0) == 0


def test_a_whole_number_of_uses_is_not_one_more() -> None:
    link = awgn(snr_db=10 * math.log10(3))  # 1/2 log2(4) = 1 bit a use
    assert [channel_uses(link, bits) for bits in (1, 7, 1000, 1_000_001)] == [1, 7, 1000, 1_000_001]


def test_pilots_take_time_and_no_uses() -> None:
    assert channel_uses(awgn(overhead=0.5), 800) == channel_uses(awgn(), 800)
    assert air_seconds(awgn(overhead=0.5), 100) == 2 * air_seconds(awgn(), 100)


def test_a_modulation_and_coding_scheme_carries_what_its_table_says() -> None:
    """14.5 dB is CQI 12 of the thresholds of RaPlaT: 3.9023 bit a complex symbol, one block in ten sent again."""
    assert channel_uses(awgn(coding=Cqi()), 10_000) == math.ceil(10_000 / (3.9023 * 0.9 / 2))
    assert channel_uses(awgn(coding=Cqi(), snr_db=-8), 8) == math.inf


def test_fading_carries_the_rate_of_its_outage() -> None:
    link = RayleighBlockLink(
        name="fade", description="", downlink_bit_s=1e6, rtt_s=0.02, bandwidth_hz=5e5, mean_snr_db=10.0,
        coherence_s=0.01, policy="outage", outage=0.1,
    )  # fmt: skip
    reached = math.log2(1 - 10 * math.log(0.9)) / 2  # bit a real symbol; one block in ten is lost and sent again
    assert channel_uses(link, 1000) == math.ceil(1000 / (0.9 * reached))


def test_both_codings_are_named_with_what_a_use_carries() -> None:
    note = coding_note(awgn())
    assert note == "a channel use of air carries 2.43 bit (capacity), and 1.76 by CQI, thresholds 'raplat'"
    note = coding_note(awgn(coding=Cqi(), snr_db=-8))
    assert note == "a channel use of air carries 0 bit (CQI, thresholds 'raplat'), and 0.106 by capacity"
    assert coding_note(load_link("wifi-5")) is None


@pytest.mark.parametrize("name", ["wifi-5", "lte-cat1"])
def test_a_link_that_is_known_by_its_rate_has_no_uses(name: str) -> None:
    link: Link = load_link(name)
    assert real_symbols_s(link) is None
    assert channel_uses(link, 800) is None
    with pytest.raises(ValueError, match="carries no channel symbols"):
        air_seconds(link, 8)


def test_symbols_take_half_of_the_round_trip_and_their_time_on_air() -> None:
    assert real_symbols_s(awgn()) == 1e6
    delay = symbols_delay(awgn(), 500)
    assert delay.mean_s == delay.quantile_s(0.99) == pytest.approx(0.01 + 500e-6)
    cold = symbols_delay(awgn(connection="cold", radio=RADIO), 500)
    assert cold.mean_s == pytest.approx(0.01 + 500e-6 + 0.02 + RADIO.promotion_s)


def test_a_lost_message_of_symbols_is_sent_again() -> None:
    delay = symbols_delay(awgn(loss=0.2), 500)
    assert delay.mean_s == pytest.approx(0.01 + 500e-6 / 0.8 + 0.02 * (1 / 0.8 - 1))
    assert air_seconds(awgn(loss=0.2), 500) == pytest.approx(500e-6 / 0.8)


def test_a_duty_cycle_bounds_symbols() -> None:
    assert symbols_delay(awgn(duty_cycle=0.01), 1000).infeasible is None
    reason = symbols_delay(awgn(duty_cycle=0.01), 50_000_000).infeasible
    assert reason == "50 s on air, and a duty cycle of 1 % allows 36 s an hour on air"


RADIO = Radio(tx_base_w=0.5, tx_j_per_bit=1e-7, promotion_s=0.1, promotion_w=0.2, tail_s=0.0, tail_w=0.0)


def test_symbols_cost_the_energy_of_their_time_on_air() -> None:
    link = awgn(radio=RADIO)
    bits = 500 * 0.5 * math.log2(1 + 10**1.45)
    assert as_bits(link, 500) == pytest.approx(bits)
    assert radio_j(link, 12345.0, symbols=500, isolated=False) == pytest.approx(0.5 * 500e-6 + 1e-7 * bits)
    assert radio_j(link, 0.0, symbols=500) == pytest.approx(0.5 * 500e-6 + 1e-7 * bits + 0.1 * 0.2)
