"""A fixed link: the formula by hand, its monotony, packets, loss, slow start, duty cycle and refusals."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.link import (
    FixedLink,
    describe,
    downlink_s,
    infeasible,
    mean_rounds,
    packets,
    slow_start_s,
    uplink_delay,
    wire_bit,
)

LINK = FixedLink(name="l", description="", uplink_bit_s=1e6, downlink_bit_s=1e7, rtt_s=0.02)


def changed(**fields: object) -> FixedLink:
    return msgspec.structs.replace(LINK, **fields)


def test_a_message_is_half_a_round_trip_and_its_bits_with_headers() -> None:
    bits = 8 * 3000  # three packets of 1460 bytes and their headers
    assert packets(LINK, bits) == 3
    assert wire_bit(LINK, bits) == bits + 3 * 320
    assert uplink_delay(LINK, bits).mean_s == pytest.approx(0.01 + (bits + 960) / 1e6)
    assert downlink_s(LINK, bits) == pytest.approx(0.01 + (bits + 960) / 1e7)
    assert uplink_delay(LINK, 0).mean_s == 0
    assert describe(LINK) == "l (1 Mbit/s, 20 ms)"


@given(st.floats(1, 1e8), st.floats(1, 10), st.floats(0, 0.5))
def test_more_bits_less_rate_or_more_loss_never_take_less_time(bits: float, factor: float, loss: float) -> None:
    assert uplink_delay(LINK, bits * factor).mean_s >= uplink_delay(LINK, bits).mean_s
    assert uplink_delay(changed(uplink_bit_s=1e6 * factor), bits).mean_s <= uplink_delay(LINK, bits).mean_s
    assert uplink_delay(changed(loss=loss), bits).mean_s >= uplink_delay(LINK, bits).mean_s
    cold_s = uplink_delay(changed(connection="cold"), bits).mean_s
    assert cold_s >= (uplink_delay(LINK, bits).mean_s + LINK.rtt_s) * (1 - 1e-12)  # rounding


def test_rounds_of_retransmission_against_simulation() -> None:
    rng = np.random.default_rng(0)
    draws = rng.geometric(1 - 0.3, size=(200_000, 20)).max(axis=1)
    error = draws.std() / math.sqrt(len(draws))
    assert abs(mean_rounds(20, 0.3) - draws.mean()) < 4 * error
    assert mean_rounds(1, 0.25) == pytest.approx(1 / 0.75)
    assert mean_rounds(5, 0.0) == 1


def test_slow_start_idles_until_the_window_fills_the_link() -> None:
    # Windows of 10, 20, 40 packets of 1 ms in 50 ms: idle 40, 30, 10 ms, then the link is full.
    assert slow_start_s(10, 1e-3, 0.05) == 0
    assert slow_start_s(11, 1e-3, 0.05) == pytest.approx(0.04)
    assert slow_start_s(31, 1e-3, 0.05) == pytest.approx(0.07)
    assert slow_start_s(100_000, 1e-3, 0.05) == pytest.approx(0.08)
    assert slow_start_s(100_000, 1e-3, 0.01) == 0


def test_a_duty_cycle_spaces_packets_and_a_limit_refuses() -> None:
    duty = changed(duty_cycle=0.01, mtu_bytes=100, per_packet_overhead_bytes=0, rtt_s=0.0)
    assert uplink_delay(duty, 800).mean_s == pytest.approx(800 / 1e6)
    assert uplink_delay(duty, 1600).mean_s == pytest.approx(1600 / 1e6 + 800 / 1e6 * 99)
    slow = changed(duty_cycle=0.01, uplink_bit_s=250.0)
    assert "duty cycle of 1 % allows 36 s an hour" in (infeasible(slow, 80_000) or "")
    assert uplink_delay(slow, 80_000).mean_s == math.inf
    small = changed(max_payload_bytes=59)
    assert infeasible(small, 59 * 8) is None
    assert infeasible(small, 60 * 8) == "a message of 60 B is over the 59 B that l carries"


def test_packets_need_room_behind_their_headers() -> None:
    with pytest.raises(ProfileError, match="no room"):
        packets(changed(mtu_bytes=40), 8)
