"""Seconds of a message from device to server and back: the mean, and the quantile that a deadline asks for.

The link and the queue at a shared server are random and independent. Where one of them is constant the quantile of
their sum is exact; where both vary it is computed on an equidistant grid of both distributions.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.planner.deploy.cost import Symbols
from splitpoint.profiles.link import delay as link_delay
from splitpoint.profiles.link.link import (
    AwgnLink,
    Delay,
    Link,
    RayleighBlockLink,
    downlink_s,
    mean_rate_bit_s,
    uplink_delay,
    wire_bit,
)
from splitpoint.profiles.link.queue import md1_mean_wait_s, md1_wait_quantile_s, md1_within
from splitpoint.profiles.link.rate import symbols_s
from splitpoint.profiles.link.symbols import air_seconds, channel_uses, symbols_delay
from splitpoint.profiles.units import format_fraction

__all__ = ["ANSWER_BYTES", "Channel", "Sent", "send", "symbol_channel"]


def __dir__() -> list[str]:
    return __all__


ANSWER_BYTES = 64  # what the server sends back: a class, a score, a few boxes; one packet on every link
GRID = 400  # probabilities at which two distributions are added: within 4 % of simulation in its tests
WAITS = 65  # waits at which M/D/1 is evaluated, log-linear between
FARTHEST = 1 - 0.25 / GRID  # of the wait's distribution


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Channel:
    """The link, the share of cases in which the deadline must hold, and the load of the server."""

    link: Link
    share: float | None = None  # of the cases in which the deadline must hold; None: on average
    server_load: float = 0.0  # requests per second that all devices together send to the server
    seed: int = 0  # of the Monte Carlo simulation, where no closed form exists


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """Seconds of one message to the server, its wait in the queue, and the answer to the device."""

    link_s: float  # mean; inf when infeasible
    wait_s: float  # mean, in the server's queue
    deadline_s: float | None  # quantile of link and wait together at `Channel.share`; None: there is no share
    air_s: float  # in which the message occupies the link
    channel_uses: float | None  # None: the link has none
    infeasible: str | None  # why it can never arrive


def symbol_channel(link: Link) -> SymbolChannel | None:
    """The channel that the link is for symbols; None where it is known by its rate alone."""
    if isinstance(link, AwgnLink):
        return SymbolChannel(kind="awgn", snr_db=link.snr_db)
    if isinstance(link, RayleighBlockLink):
        block = max(1, round(2 * symbols_s(link) * link.coherence_s))
        return SymbolChannel(kind="rayleigh", snr_db=link.mean_snr_db, block=block)
    return None


def send(channel: Channel, payload_bytes: float, service_s: float, symbols: Symbols | None = None) -> Sent:
    """Seconds of a message of `payload_bytes`, or of `symbols`, to a server that computes for `service_s`."""
    link, bits = channel.link, 8 * payload_bytes
    up = _up(link, bits, channel.seed) if symbols is None else _up_symbols(link, symbols, channel.seed)
    uses = channel_uses(link, bits)
    if symbols is not None and uses is not None:
        uses = symbols.count
    elif uses is not None and math.isinf(uses):
        uses = None  # the link has no rate for bits
    wait_s = _mean_wait_s(channel.server_load, service_s)
    reason = up.infeasible
    if reason is None and math.isinf(wait_s):
        busy = format_fraction(channel.server_load * service_s)
        reason = f"{channel.server_load:g} requests per second would keep the server busy {busy} of the time"
    if reason is not None:
        late = None if channel.share is None else math.inf
        return Sent(link_s=math.inf, wait_s=0.0, deadline_s=late, air_s=math.inf, channel_uses=uses, infeasible=reason)
    down_s = downlink_s(link, 8 * ANSWER_BYTES)
    late_s = None
    if channel.share is not None:
        late_s = down_s + _quantile_s(up, channel.server_load, service_s, channel.share)
    if symbols is not None:
        air_s = air_seconds(link, symbols.count)
    else:
        air_s = wire_bit(link, bits) / (1 - link.loss) / mean_rate_bit_s(link) if bits > 0 else 0.0
    return Sent(
        link_s=up.mean_s + down_s,
        wait_s=wait_s,
        deadline_s=late_s,
        air_s=air_s / link.duty_cycle,
        channel_uses=uses,
        infeasible=None,
    )


@functools.lru_cache(maxsize=256)
def _up(link: Link, bits: float, seed: int) -> Delay:
    return uplink_delay(link, bits, seed=seed)


def _up_symbols(link: Link, symbols: Symbols, seed: int) -> Delay:
    """Infeasible over another channel than that over which the quality was measured."""
    here, measured = symbol_channel(link), symbols.channel
    if here is None:
        return link_delay.point(math.inf, f"{link.name} carries bits, and this codec sends channel symbols")
    if not here.equals(measured, symbols.count):
        reason = f"its quality was measured over {measured}, and {link.name} has {here}: plan again"
        return link_delay.point(math.inf, reason)
    return symbols_delay(link, symbols.count, seed=seed)


def _mean_wait_s(load: float, service_s: float) -> float:
    return md1_mean_wait_s(load, service_s) if load > 0 and service_s > 0 else 0.0


def _quantile_s(up: Delay, load: float, service_s: float, share: float) -> float:
    """Quantile of the seconds of the uplink and the queue together at `share`."""
    if load == 0 or service_s == 0:
        return up.quantile_s(share)
    steady = up.how == "exact" and up.quantile_s(0.5 / GRID) == up.quantile_s(FARTHEST)
    if steady:
        return up.mean_s + md1_wait_quantile_s(load, service_s, share)
    shares = (np.arange(GRID) + 0.5) / GRID
    ways = np.array([up.quantile_s(float(p)) for p in shares])
    sums = (ways[:, None] + _waits(load, service_s)[None, :]).ravel()
    return float(np.quantile(sums, share, method="inverted_cdf"))


@functools.lru_cache(maxsize=64)
def _waits(load: float, service_s: float) -> NDArray[np.float64]:
    """Seconds of the M/D/1 wait at the middle of each of GRID equal shares of its distribution."""
    shares = (np.arange(GRID) + 0.5) / GRID
    farthest_s = md1_wait_quantile_s(load, service_s, FARTHEST)
    grid_s = np.linspace(0.0, farthest_s, WAITS)
    late = np.log([max(1e-12, 1 - md1_within(load, service_s, float(wait_s))) for wait_s in grid_s])
    # The survival is nearly exponential, so its logarithm is nearly linear; it falls, np.interp wants it to rise.
    waits_s: NDArray[np.float64] = np.interp(-np.log1p(-shares), -late, grid_s, left=0.0)
    return waits_s
