"""A link as numbers, and the seconds it predicts for a message.

    seconds = RTT / 2 + bits on the wire / rate        (up; the answer pays the other half of the RTT)

Bits on the wire are the message's bits and the headers of its packets, each sent 1 / (1 - loss) times on average.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.units import (
    BitRate,
    ByteCount,
    JoulesPerBit,
    NonNegativeSeconds,
    UsdPerByte,
    Watts,
    format_bytes,
    format_fraction,
    format_rate,
    format_seconds,
)

__all__ = [
    "FixedLink",
    "Link",
    "LinkBase",
    "Radio",
    "describe",
    "downlink_s",
    "infeasible",
    "packets",
    "uplink_s",
    "wire_bit",
]


def __dir__() -> list[str]:
    return __all__


INITIAL_WINDOW_PACKETS = 10  # TCP's first flight, RFC 6928
DUTY_WINDOW_S = 3600.0  # duty cycles of radio bands are counted over an hour

LossFraction = Annotated[float, msgspec.Meta(ge=0, lt=1, extra={"kind": "fraction"})]
DutyFraction = Annotated[float, msgspec.Meta(gt=0, le=1, extra={"kind": "fraction"})]
PacketBytes = Annotated[int, msgspec.Meta(gt=0, extra={"kind": "bytes"})]


class Radio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watts of the device's radio: idle, sending at a rate, waking up (promotion) and staying awake (tail)."""

    idle_w: Watts = 0.0
    tx_base_w: Watts
    tx_j_per_bit: JoulesPerBit = 0.0  # watts for each bit/s sent
    rx_base_w: Watts | None = None
    rx_j_per_bit: JoulesPerBit = 0.0
    promotion_s: NonNegativeSeconds = 0.0
    promotion_w: Watts = 0.0
    tail_s: NonNegativeSeconds = 0.0
    tail_w: Watts = 0.0


class LinkBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind of link has; the uplink's rate is the kind's own."""

    name: str
    description: str
    downlink_bit_s: BitRate
    rtt_s: NonNegativeSeconds
    mtu_bytes: PacketBytes = 1500  # a packet with its headers
    per_packet_overhead_bytes: ByteCount = 40  # its headers: IPv4 and TCP without options
    loss: LossFraction = 0.0  # of packets, after what the link itself repairs; lost ones are sent again
    connection: Literal["warm", "cold"] = "warm"  # cold: handshake, slow start and radio promotion come first
    duty_cycle: DutyFraction = 1.0
    max_payload_bytes: ByteCount | None = None  # of one message
    radio: Radio | None = None
    usd_byte: UsdPerByte | None = None


class FixedLink(LinkBase, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="fixed"):
    """A link of constant rate."""

    uplink_bit_s: BitRate


Link = FixedLink


def uplink_s(link: Link, bits: float) -> float:
    """Mean seconds from the first bit sent by the device to the last bit at the server; inf when infeasible."""
    if infeasible(link, bits) is not None:
        return math.inf
    return _message_s(link, bits, link.uplink_bit_s)


def downlink_s(link: Link, bits: float) -> float:
    """Mean seconds of the answer, from the server to the device."""
    return _message_s(link, bits, link.downlink_bit_s)


def infeasible(link: Link, bits: float) -> str | None:
    """Why a message cannot be sent at all, or None."""
    n_bytes = math.ceil(bits / 8)
    if link.max_payload_bytes is not None and n_bytes > link.max_payload_bytes:
        limit = format_bytes(link.max_payload_bytes)
        return f"a message of {format_bytes(n_bytes)} is over the {limit} that {link.name} carries"
    air_s = wire_bit(link, bits) / link.uplink_bit_s
    allowed_s = link.duty_cycle * DUTY_WINDOW_S
    if link.duty_cycle < 1 and air_s > allowed_s:
        share = format_fraction(link.duty_cycle)
        allowed = format_seconds(allowed_s)
        return f"{format_seconds(air_s)} on air, and a duty cycle of {share} allows {allowed} an hour on {link.name}"
    return None


def packets(link: Link, bits: float) -> int:
    """How many packets a message takes."""
    room_bytes = link.mtu_bytes - link.per_packet_overhead_bytes
    if room_bytes <= 0:
        raise ProfileError(
            f"{link.name}: packets of {link.mtu_bytes} bytes have no room behind {link.per_packet_overhead_bytes} "
            "bytes of headers",
            at="$.mtu_bytes",
        )
    return math.ceil(bits / (8 * room_bytes))


def wire_bit(link: Link, bits: float) -> float:
    """Bits of a message with the headers of its packets, each sent once."""
    return bits + 8 * link.per_packet_overhead_bytes * packets(link, bits)


def describe(link: Link) -> str:
    """What a person knows the link by: "wifi-5 (60 Mbit/s, 4 ms)"."""
    return f"{link.name} ({format_rate(link.uplink_bit_s)}, {format_seconds(link.rtt_s)})"


def _message_s(link: Link, bits: float, rate_bit_s: float) -> float:
    if bits <= 0:
        return 0.0  # no message
    n = packets(link, bits)
    once_s = wire_bit(link, bits) / rate_bit_s
    seconds = link.rtt_s / 2 + once_s / (1 - link.loss) + link.rtt_s * (mean_rounds(n, link.loss) - 1)
    if link.connection == "cold":
        promotion_s = 0.0 if link.radio is None else link.radio.promotion_s
        seconds += promotion_s + link.rtt_s + slow_start_s(n, once_s / n, link.rtt_s)
    # After each packet a duty-cycled radio is silent; nobody waits for the silence behind the last one.
    return seconds + once_s * (n - 1) / n * (1 / link.duty_cycle - 1)


def mean_rounds(n: int, loss: float) -> float:
    """Expected rounds until n packets have all arrived when each round repeats the lost ones, one RTT a round.

    The largest of n geometric variables: sum over k >= 0 of 1 - (1 - loss^k)^n.
    """
    if loss == 0 or n == 0:
        return 1.0
    total, k = 0.0, 0
    while True:
        term = -math.expm1(n * math.log1p(-(loss**k))) if k else 1.0
        total += term
        if term < 1e-12:
            return total
        k += 1


def slow_start_s(n: int, packet_s: float, rtt_s: float) -> float:
    """Seconds a sender idles while TCP's window doubles from 10 packets to what fills the link or ends the message."""
    idle_s, window, sent = 0.0, INITIAL_WINDOW_PACKETS, INITIAL_WINDOW_PACKETS
    while sent < n and window * packet_s < rtt_s:
        idle_s += rtt_s - window * packet_s
        window *= 2
        sent += window
    return idle_s
