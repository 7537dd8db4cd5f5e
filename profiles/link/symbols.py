"""Channel uses: real symbols of a radio link, which carry bits at its rate, or are sent as they are.

A band of B hertz carries 2 B real symbols a second; a real symbol carries half of what a complex one does, at capacity
1/2 log2(1 + SNR) (Jankowski et al., section 2.1).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from splitpoint.profiles.link import delay as link_delay
from splitpoint.profiles.link.delay import Delay
from splitpoint.profiles.link.link import (
    DRAWS,
    LEAST_BIT_S,
    AwgnLink,
    Cqi,
    Link,
    RayleighBlockLink,
    Shannon,
    duty_reason,
    mean_rate_bit_s,
    mean_rounds,
)
from splitpoint.profiles.link.rate import describe_coding, symbols_s

__all__ = ["air_seconds", "as_bits", "channel_uses", "coding_note", "real_symbols_s", "symbols_delay"]


def __dir__() -> list[str]:
    return __all__


def real_symbols_s(link: Link) -> float | None:
    """Channel uses a second; None for a link that is known by its rate alone."""
    return 2 * symbols_s(link) if isinstance(link, AwgnLink | RayleighBlockLink) else None


def channel_uses(link: Link, bits: float) -> float | None:
    """Whole channel uses of a message of `bits`, headers of packets left out; inf where the link has no rate for bits.

    None for a link without channel uses.
    """
    uses_s = real_symbols_s(link)
    if uses_s is None or bits <= 0:
        return None if uses_s is None else 0.0
    rate_bit_s = mean_rate_bit_s(link)
    return math.inf if rate_bit_s <= LEAST_BIT_S else math.ceil(bits * uses_s / rate_bit_s * (1 - 1e-12))


def coding_note(link: Link) -> str | None:
    """What a channel use carries of bits, at the link's coding and at the other kind; None without channel uses."""
    if not isinstance(link, AwgnLink | RayleighBlockLink):
        return None
    other = Shannon() if isinstance(link.coding, Cqi) else Cqi()
    here, there = (_bit_per_use(msgspec.structs.replace(link, coding=coding)) for coding in (link.coding, other))
    return (
        f"a channel use of {link.name} carries {here:.3g} bit ({describe_coding(link.coding)}), and {there:.3g} by"
        f" {describe_coding(other)}"
    )


def _bit_per_use(link: Link) -> float:
    return mean_rate_bit_s(link) / (real_symbols_s(link) or math.inf)


def air_seconds(link: Link, symbols: int) -> float:
    """Seconds of `symbols` on air, lost ones sent again; raises `ValueError` for a link without channel uses."""
    uses_s = real_symbols_s(link)
    if uses_s is None:
        raise ValueError(f"{link.name} carries no channel symbols")
    return symbols / uses_s / (1 - link.loss)


def as_bits(link: Link, symbols: int) -> float:
    """The bits that take as long on air as `symbols`: what a price or a radio's energy by the bit counts."""
    return air_seconds(link, symbols) * mean_rate_bit_s(link)


def symbols_delay(link: Link, symbols: int, *, seed: int = 0, n_draws: int = DRAWS) -> Delay:
    """The distribution of the uplink's seconds of channel symbols, one packet without headers.

    A fade changes what arrives, not when. A cold connection pays promotion and handshake.
    """
    air_s = symbols / (real_symbols_s(link) or math.inf)
    reason = duty_reason(link, air_s)
    if reason is not None:
        return link_delay.point(math.inf, reason)
    promotion_s = 0.0 if link.radio is None else link.radio.promotion_s
    fixed_s = link.rtt_s / 2 + (0.0 if link.connection == "warm" else promotion_s + link.rtt_s)
    if link.loss == 0:
        return link_delay.point(fixed_s + air_s)
    mean_s = air_seconds(link, symbols) + link.rtt_s * (mean_rounds(1, link.loss) - 1)
    rng = np.random.default_rng(seed)
    return link_delay.shifted(link_delay.lost(1, air_s, link.loss, link.rtt_s, mean_s, rng, n_draws), fixed_s)
