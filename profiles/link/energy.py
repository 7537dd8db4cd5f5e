"""Joules of the device's radio, joules of computing and waiting, and money: sums of measured figures, no I/O."""

from __future__ import annotations

from splitpoint.profiles.link.link import Link, infeasible, mean_rate_bit_s, wire_bit
from splitpoint.profiles.link.symbols import air_seconds, as_bits
from splitpoint.profiles.machine.device import Device

__all__ = ["compute_j", "link_usd", "radio_j", "server_usd", "wait_j"]


def __dir__() -> list[str]:
    return __all__


def radio_j(
    link: Link, up_bits: float, down_bits: float = 0.0, *, symbols: int = 0, isolated: bool = True
) -> float | None:
    """Joules of the device's radio for a message and its answer; None where the link has no power numbers.

    P = base + (joules per bit) x rate while sending and receiving (Huang et al. 2012). An isolated exchange pays
    the promotion before and the tail behind it; in a stream they are shared and left out. `symbols` are sent in place
    of bits, and count as the bits that take as long.
    """
    radio = link.radio
    if radio is None or (not symbols and infeasible(link, up_bits) is not None):
        return None
    joules = 0.0
    if symbols:
        joules += radio.tx_base_w * air_seconds(link, symbols) + radio.tx_j_per_bit * as_bits(link, symbols)
        up_bits = 0.0
    if up_bits > 0:
        air_bit = wire_bit(link, up_bits) / (1 - link.loss)
        joules += radio.tx_base_w * air_bit / mean_rate_bit_s(link) + radio.tx_j_per_bit * air_bit
    if down_bits > 0 and radio.rx_base_w is not None:
        air_bit = wire_bit(link, down_bits) / (1 - link.loss)
        joules += radio.rx_base_w * air_bit / link.downlink_bit_s + radio.rx_j_per_bit * air_bit
    if isolated and up_bits + down_bits + symbols > 0:
        joules += radio.promotion_s * radio.promotion_w + radio.tail_s * radio.tail_w
    return joules


def compute_j(device: Device, seconds: float) -> float | None:
    """Joules that computing adds to a device that is on anyway: (active - idle) x seconds."""
    return None if device.power is None else (device.power.active_w - device.power.idle_w) * seconds


def wait_j(device: Device, seconds: float) -> float | None:
    """Joules of a device that is on and waits."""
    return None if device.power is None else device.power.idle_w * seconds


def link_usd(link: Link, n_bytes: float) -> float | None:
    """Price of a message of `n_bytes`, headers and repetitions included; None where the link has no price."""
    if link.usd_byte is None and link.usd_message is None:
        return None
    billed = wire_bit(link, 8 * n_bytes) / 8 / (1 - link.loss)
    return (link.usd_byte or 0.0) * billed + (link.usd_message or 0.0)


def server_usd(server: Device, seconds: float) -> float | None:
    """Price of one request that keeps the server busy for `seconds`; None where it has no price."""
    return None if server.price is None else server.price.usd_s * seconds + server.price.usd_request
