"""The kinds of link as a YAML file describes them; `profiles.link.link` predicts seconds from them.

SNR is 10 log10(P / sigma^2) per real symbol, P = 1 on average, which is the complex-baseband SNR too; for fading it
is the mean. A band of `bandwidth_hz` carries 2 x bandwidth_hz real symbols, or bandwidth_hz complex ones, a second.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from splitpoint.profiles.units import (
    BitRate,
    ByteCount,
    Decibel,
    Hertz,
    JoulesPerBit,
    NonNegativeSeconds,
    PositiveSeconds,
    UsdPerByte,
    UsdPerRequest,
    Watts,
)

__all__ = [
    "AwgnLink",
    "Coding",
    "Cqi",
    "FixedLink",
    "Link",
    "LinkBase",
    "Radio",
    "RadioLink",
    "RayleighBlockLink",
    "Shannon",
    "TraceLink",
]


def __dir__() -> list[str]:
    return __all__


# The sums behind a link have about 1 / (1 - fraction) terms, and its seconds that factor: both stay small below 0.95.
LossFraction = Annotated[float, msgspec.Meta(ge=0, le=0.95, extra={"kind": "fraction"})]
ShareFraction = Annotated[float, msgspec.Meta(gt=1e-9, le=1, extra={"kind": "fraction"})]
OpenFraction = Annotated[float, msgspec.Meta(gt=1e-9, le=0.95, extra={"kind": "fraction"})]
PacketBytes = Annotated[int, msgspec.Meta(gt=0, le=2**30, extra={"kind": "bytes"})]
GapDecibel = Annotated[float, msgspec.Meta(ge=0, le=200, extra={"kind": "db"})]
MaybeZeroRate = Annotated[float, msgspec.Meta(ge=0, le=1e18, extra={"kind": "bit_s"})]


class Radio(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watts of the device's radio: idle, sending at a rate, waking up (promotion) and staying awake (tail)."""

    idle_w: Watts = 0.0  # waiting
    tx_base_w: Watts  # sending, before the rate's part
    tx_j_per_bit: JoulesPerBit = 0.0  # watts for each bit/s sent
    rx_base_w: Watts | None = None  # receiving; None: not known, and not counted
    rx_j_per_bit: JoulesPerBit = 0.0  # watts for each bit/s received
    promotion_s: NonNegativeSeconds = 0.0  # to wake up
    promotion_w: Watts = 0.0  # while it wakes up
    tail_s: NonNegativeSeconds = 0.0  # awake after a message
    tail_w: Watts = 0.0  # while it stays awake


class Shannon(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="shannon"):
    """Ideal adaptive coding at a distance from capacity: log2(1 + SNR / gap) bit per complex symbol."""

    gap_db: GapDecibel = 0.0  # distance from capacity


class Cqi(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="cqi"):
    """The 15 rates of LTE and NR (TS 38.214 table 5.2.2.1-2), each usable from a threshold of a named table on."""

    # The table of the SNRs from which on each rate can be used.
    thresholds: Literal["raplat", "lte-sim", "shannon"] = "raplat"
    target_bler: LossFraction = 0.1  # blocks that fail at the threshold and are sent again


Coding = Shannon | Cqi


class LinkBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind of link has; the uplink's rate is the kind's own."""

    name: str  # by which it is found and printed
    description: str  # one line for lists
    downlink_bit_s: BitRate  # from server to device
    rtt_s: NonNegativeSeconds  # a round trip of a small packet
    mtu_bytes: PacketBytes = 1500  # a packet with its headers
    per_packet_overhead_bytes: ByteCount = 40  # its headers: IPv4 and TCP without options
    loss: LossFraction = 0.0  # of packets, after what the link itself repairs; lost ones are sent again
    # Whether it is open; cold: promotion, handshake and slow start come first.
    connection: Literal["warm", "cold"] = "warm"
    duty_cycle: ShareFraction = 1.0  # largest share of the time in which the device may send
    max_payload_bytes: ByteCount | None = None  # of one message; None: no limit
    radio: Radio | None = None
    usd_byte: UsdPerByte | None = None  # price of what is sent; None: not known
    usd_message: UsdPerRequest | None = None  # price of a message; None: not known


class FixedLink(LinkBase, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="fixed"):
    """A link of constant rate."""

    uplink_bit_s: BitRate  # from device to server


class AwgnLink(LinkBase, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="awgn"):
    """White Gaussian noise at a known SNR."""

    bandwidth_hz: Hertz  # of the uplink's band
    snr_db: Decibel  # signal to noise of a symbol
    coding: Coding = Shannon()  # which rate an SNR allows
    overhead: LossFraction = 0.0  # share of the symbols that pilots and control take


class RayleighBlockLink(LinkBase, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="rayleigh_block"):
    """Rayleigh fading that stays for `coherence_s` and is then drawn anew, a message beginning with a block.

    adaptive: the sender knows each block's SNR and its rate follows it. outage: it does not; it sends at the rate
    that fails with probability `outage`, and a failed block is sent again a round trip later.
    """

    bandwidth_hz: Hertz  # of the uplink's band
    mean_snr_db: Decibel  # mean of signal to noise over blocks
    coherence_s: PositiveSeconds  # of a block
    policy: Literal["adaptive", "outage"] = "adaptive"  # what the sender does: see above
    outage: OpenFraction = 0.01  # share of the blocks that fail, with `policy: outage`
    coding: Coding = Shannon()  # which rate an SNR allows
    overhead: LossFraction = 0.0  # share of the symbols that pilots and control take


class TraceLink(LinkBase, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="trace"):
    """A recorded uplink: rates in turn, begun at a random moment and repeated."""

    file: str | None = None  # a recording, relative to the YAML file, in place of durations and rates
    format: Literal["mahimahi", "two-column", "ghent", "json"] | None = None  # of the recording, needed with `file`
    durations_s: tuple[PositiveSeconds, ...] = ()  # of each rate
    rates_bit_s: tuple[MaybeZeroRate, ...] = ()  # of the uplink, in turn


RadioLink = AwgnLink | RayleighBlockLink
Link = FixedLink | AwgnLink | RayleighBlockLink | TraceLink
