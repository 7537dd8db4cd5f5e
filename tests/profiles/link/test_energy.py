"""Joules and money against sums by hand."""

from __future__ import annotations

import msgspec
import pytest

from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.link.energy import compute_j, link_usd, radio_j, server_usd, wait_j
from splitpoint.profiles.link.link import FixedLink, Radio
from splitpoint.profiles.machine.device import Price

RADIO = Radio(
    tx_base_w=1.2,
    tx_j_per_bit=4e-7,
    rx_base_w=1.0,
    rx_j_per_bit=5e-8,
    promotion_s=0.25,
    promotion_w=1.2,
    tail_s=10.0,
    tail_w=1.0,
)
LINK = FixedLink(
    name="l",
    description="",
    uplink_bit_s=5e6,
    downlink_bit_s=1e7,
    rtt_s=0.05,
    per_packet_overhead_bytes=0,
    radio=RADIO,
)


def test_radio_energy_is_power_by_rate_and_the_tail_of_an_isolated_message() -> None:
    # 1 Mbit at 5 Mbit/s: 0.2 s at 1.2 W + 0.4 W per Mbit/s x 5.
    assert radio_j(LINK, 1e6, isolated=False) == pytest.approx(0.2 * (1.2 + 2.0))
    assert radio_j(LINK, 1e6) == pytest.approx(0.2 * 3.2 + 0.25 * 1.2 + 10.0)
    both = radio_j(LINK, 1e6, 1e6, isolated=False)
    assert both == pytest.approx(0.2 * 3.2 + 0.1 * (1.0 + 0.5))
    assert radio_j(LINK, 0, 0) == 0
    lossy = msgspec.structs.replace(LINK, loss=0.5)
    assert radio_j(lossy, 1e6, isolated=False) == pytest.approx(0.4 * 3.2)


def test_unknown_power_and_prices_stay_unknown() -> None:
    assert radio_j(msgspec.structs.replace(LINK, radio=None), 1e6) is None
    assert radio_j(msgspec.structs.replace(LINK, max_payload_bytes=1), 1e6) is None
    assert link_usd(LINK, 100) is None
    pi = load_device("raspberry-pi-4")
    assert server_usd(pi, 1.0) is None
    assert compute_j(msgspec.structs.replace(pi, power=None), 1.0) is None
    assert wait_j(msgspec.structs.replace(pi, power=None), 1.0) is None


def test_compute_energy_is_marginal_and_waiting_is_not() -> None:
    pi = load_device("raspberry-pi-4")
    assert compute_j(pi, 2.0) == pytest.approx(2 * (5.0 - 1.6))
    assert wait_j(pi, 2.0) == pytest.approx(3.2)


def test_money() -> None:
    link = msgspec.structs.replace(LINK, usd_byte=2e-9, usd_message=1e-6, loss=0.5)
    assert link_usd(link, 1000) == pytest.approx(2e-9 * 2000 + 1e-6)
    server = msgspec.structs.replace(load_device("raspberry-pi-4"), price=Price(usd_s=0.36 / 3600, usd_request=1e-7))
    assert server_usd(server, 0.01) == pytest.approx(1e-6 + 1e-7)
