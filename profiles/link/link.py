"""The seconds a message takes on a link, as a mean and as a distribution.

    seconds = [promotion + handshake + slow start] + RTT / 2 + air time + repeated packets

Air time is the message's bits and the headers of its packets over the rate; the answer pays the other half of the
RTT. What stands in brackets is paid by a cold connection only.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link import delay as link_delay
from splitpoint.profiles.link import rate as link_rate
from splitpoint.profiles.link.delay import Delay
from splitpoint.profiles.link.trace import trace_seconds
from splitpoint.profiles.link.types import (
    AwgnLink,
    Coding,
    Cqi,
    FixedLink,
    Link,
    LinkBase,
    Radio,
    RayleighBlockLink,
    Shannon,
    TraceLink,
)
from splitpoint.profiles.units import format_bytes, format_fraction, format_rate, format_seconds

__all__ = [
    "DRAWS",
    "LEAST_BIT_S",
    "AwgnLink",
    "Coding",
    "Cqi",
    "Delay",
    "FixedLink",
    "Link",
    "LinkBase",
    "Radio",
    "RayleighBlockLink",
    "Shannon",
    "TraceLink",
    "describe",
    "downlink_s",
    "duty_reason",
    "infeasible",
    "mean_rate_bit_s",
    "mean_rounds",
    "packets",
    "slow_start_s",
    "uplink_delay",
    "wire_bit",
]


def __dir__() -> list[str]:
    return __all__


DRAWS = 4000  # of a Monte Carlo: its 99 % quantile is at 98.7 to 99.3 % of the distribution (two standard errors)
INITIAL_WINDOW_PACKETS = 10  # TCP's first flight, RFC 6928
LEAST_BIT_S = 1e-3  # the least rate of a link's file; a channel whose mean rate is not above it carries nothing
DUTY_WINDOW_S = 3600.0  # duty cycles of radio bands are counted over an hour


def downlink_s(link: Link, bits: float) -> float:
    """Mean seconds of the answer, from the server to the device, over the connection that brought the message."""
    return _sent_s(link, bits, link.downlink_bit_s) if bits > 0 else 0.0


def uplink_delay(link: Link, bits: float, *, seed: int = 0, n_draws: int = DRAWS) -> Delay:
    """The distribution of the uplink's seconds: equal seeds give equal draws.

    A deadline is met by 99 % of the messages when `delay.quantile_s(0.99)` is at most the deadline.
    """
    if bits <= 0:
        return link_delay.point(0.0)  # no message
    reason = infeasible(link, bits)
    if reason is not None:
        return link_delay.point(math.inf, reason)
    mean_bit_s = mean_rate_bit_s(link)
    n, air_bit = packets(link, bits), wire_bit(link, bits)
    fixed_s = link.rtt_s / 2 + _cold_s(link, n, air_bit / mean_bit_s) + _silence_s(link, n, air_bit / mean_bit_s)
    return link_delay.shifted(_air(link, air_bit, n, seed, n_draws), fixed_s)


def infeasible(link: Link, bits: float) -> str | None:
    """Why a message can never be sent, or None."""
    n_bytes = math.ceil(bits / 8)
    if link.max_payload_bytes is not None and n_bytes > link.max_payload_bytes:
        limit = format_bytes(link.max_payload_bytes)
        return f"a message of {format_bytes(n_bytes)} is over the {limit} that {link.name} carries"
    rate_bit_s = mean_rate_bit_s(link)
    if rate_bit_s <= LEAST_BIT_S:
        return f"{link.name} carries nothing: {_why_nothing(link)}"
    return duty_reason(link, wire_bit(link, bits) / rate_bit_s)


def duty_reason(link: Link, air_s: float) -> str | None:
    """Why the link's duty cycle does not allow a message of so many seconds on air, or None."""
    allowed_s = link.duty_cycle * DUTY_WINDOW_S
    if link.duty_cycle < 1 and air_s > allowed_s:
        share, allowed = format_fraction(link.duty_cycle), format_seconds(allowed_s)
        return f"{format_seconds(air_s)} on air, and a duty cycle of {share} allows {allowed} an hour on {link.name}"
    return None


def mean_rate_bit_s(link: Link) -> float:
    """Bits a second on air in the long run; for a sender that does not know the channel, its rate less the outages."""
    if isinstance(link, FixedLink):
        return link.uplink_bit_s
    if isinstance(link, AwgnLink):
        return link_rate.awgn_bit_s(link)
    if isinstance(link, RayleighBlockLink):
        if link.policy == "adaptive":
            return link_rate.ergodic_bit_s(link)
        return link_rate.outage_bit_s(link) * (1 - link.outage)
    return float(np.dot(link.durations_s, link.rates_bit_s) / sum(link.durations_s)) if link.durations_s else 0.0


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
    """How a user recognizes the link: "wifi-5 (60 Mbit/s, 4 ms)"; radio links name their coding and table."""
    parts = [format_rate(mean_rate_bit_s(link)), format_seconds(link.rtt_s)]
    if isinstance(link, AwgnLink):
        parts.insert(0, f"{link.snr_db:g} dB, {link_rate.describe_coding(link.coding)}")
    elif isinstance(link, RayleighBlockLink):
        parts.insert(0, f"Rayleigh, mean {link.mean_snr_db:g} dB, {link_rate.describe_coding(link.coding)}")
        parts[1] += " ergodic" if link.policy == "adaptive" else f" at {format_fraction(link.outage)} outage"
    elif isinstance(link, TraceLink):
        parts[0] = f"trace of {format_seconds(sum(link.durations_s))}, mean {parts[0]}"
    return f"{link.name} ({', '.join(parts)})"


def mean_rounds(n: int, loss: float) -> float:
    """Expected rounds until n packets have all arrived when each round repeats the lost ones, one RTT a round.

    The largest of n geometric variables: sum over k >= 0 of 1 - (1 - loss^k)^n.
    """
    if loss == 0 or n == 0:
        return 1.0
    total, k = 1.0, 1
    while True:
        term = -math.expm1(n * math.log1p(-(loss**k)))
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


def _air(link: Link, air_bit: float, n: int, seed: int, n_draws: int) -> Delay:
    """Seconds on air and of repeated packets."""
    if isinstance(link, FixedLink | AwgnLink):
        once_s = air_bit / mean_rate_bit_s(link)
        if link.loss == 0:
            return link_delay.point(once_s)
        rng = np.random.default_rng(seed)
        mean_s = once_s / (1 - link.loss) + link.rtt_s * (mean_rounds(n, link.loss) - 1)
        return link_delay.lost(n, once_s / n, link.loss, link.rtt_s, mean_s, rng, n_draws)
    # Where the rate varies, a lost packet costs its share of the message's air time and the round trip, on average.
    rng = np.random.default_rng(seed)
    again_s = link.rtt_s * (mean_rounds(n, link.loss) - 1)
    repeated_bit = air_bit / (1 - link.loss)
    if isinstance(link, TraceLink):
        # One start in each of n_draws equal parts of the trace.
        starts = (np.arange(n_draws) + rng.random(n_draws)) / n_draws * sum(link.durations_s)
        return link_delay.draws(again_s + trace_seconds(link.durations_s, link.rates_bit_s, repeated_bit, starts))
    return link_delay.shifted(_faded(link, repeated_bit, rng, n_draws), again_s)


def _faded(link: RayleighBlockLink, bits: float, rng: np.random.Generator, n_draws: int) -> Delay:
    symbols, mean_snr = link_rate.symbols_s(link), math.pow(10.0, link.mean_snr_db / 10)
    if link.policy == "outage":
        rate_bit_s = link_rate.outage_bit_s(link)
        blocks = math.ceil(bits / (rate_bit_s * link.coherence_s))
        last_s = bits / rate_bit_s - (blocks - 1) * link.coherence_s
        return link_delay.outage_attempts(blocks, _fails(link, rate_bit_s), link.coherence_s, last_s, link.rtt_s)

    def survival(rate_bit_s: float) -> float:
        return math.exp(-link_rate.snr_needed(link.coding, rate_bit_s / symbols) / mean_snr)

    def inverse(p: float) -> float:
        return symbols * link_rate.bit_per_symbol(link.coding, -mean_snr * math.log(p))

    def rate(share: NDArray[np.float64]) -> NDArray[np.float64]:
        return symbols * _efficiency(link.coding, -mean_snr * np.log(share))

    blocks_rate = link_delay.BlockRate(
        reached=rate,
        carrying=link_rate.carrying_share(link.coding, mean_snr),
        mean_bit_s=link_rate.ergodic_bit_s(link),
        coherence_s=link.coherence_s,
    )
    return link_delay.adaptive(bits, blocks_rate, survival, inverse, rng, n_draws)


def _fails(link: RayleighBlockLink, rate_bit_s: float) -> float:
    """A rate from a table is below the one asked for, so it fails less often than `outage`."""
    least = link_rate.snr_needed(link.coding, rate_bit_s / link_rate.symbols_s(link))
    return -math.expm1(-least / math.pow(10.0, link.mean_snr_db / 10))


def _efficiency(coding: Coding, snr: NDArray[np.float64]) -> NDArray[np.float64]:
    """`link_rate.bit_per_symbol` for many SNRs."""
    if isinstance(coding, Shannon):
        efficiency: NDArray[np.float64] = np.log1p(snr / math.pow(10.0, coding.gap_db / 10)) / math.log(2)
        return efficiency
    steps = np.concatenate([[0.0], link_rate.CQI_BIT_PER_SYMBOL]) * (1 - coding.target_bler)
    least = 10.0 ** (np.array(link_rate.CQI_THRESHOLDS_DB[coding.thresholds]) / 10)
    reached: NDArray[np.float64] = steps[np.searchsorted(least, snr, side="right")]
    return reached


def _sent_s(link: Link, bits: float, rate_bit_s: float) -> float:
    n, once_s = packets(link, bits), wire_bit(link, bits) / rate_bit_s
    return link.rtt_s / 2 + once_s / (1 - link.loss) + link.rtt_s * (mean_rounds(n, link.loss) - 1)


def _cold_s(link: Link, n: int, once_s: float) -> float:
    """Radio promotion, TCP's handshake and its slow start."""
    if link.connection == "warm":
        return 0.0
    promotion_s = 0.0 if link.radio is None else link.radio.promotion_s
    return promotion_s + link.rtt_s + slow_start_s(n, once_s / n, link.rtt_s)


def _silence_s(link: Link, n: int, once_s: float) -> float:
    """After each packet a duty-cycled radio is silent; the silence after the last one delays nothing."""
    return once_s * (n - 1) / n * (1 / link.duty_cycle - 1)


def _why_nothing(link: Link) -> str:
    if isinstance(link, AwgnLink) and isinstance(link.coding, Cqi):
        floor_db = link_rate.CQI_THRESHOLDS_DB[link.coding.thresholds][0]
        return f"{link.snr_db:g} dB is below {floor_db:g} dB, where {link_rate.describe_coding(link.coding)} begins"
    if isinstance(link, RayleighBlockLink):
        return f"no rate of {link_rate.describe_coding(link.coding)} fails as rarely as {format_fraction(link.outage)}"
    return "no rate is left"
