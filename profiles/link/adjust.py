"""A link at another rate or another signal-to-noise ratio, all else being the same."""

from __future__ import annotations

import msgspec

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.link import LEAST_BIT_S, mean_rate_bit_s
from splitpoint.profiles.link.types import AwgnLink, FixedLink, Link, RayleighBlockLink

__all__ = ["at_rate", "at_snr"]


def __dir__() -> list[str]:
    return __all__


def at_rate(link: Link, bit_s: float) -> Link:
    """`link` with a mean uplink rate of `bit_s`.

    A radio link gets another bandwidth, to which its rate is proportional, and keeps its SNR and its fading; the rates
    of a trace are scaled alike. Raises `ProfileError` for a link that carries nothing at any bandwidth.
    """
    if isinstance(link, FixedLink):
        return msgspec.structs.replace(link, uplink_bit_s=bit_s)
    mean_bit_s = mean_rate_bit_s(link)
    if mean_bit_s <= LEAST_BIT_S:
        raise ProfileError(
            f"{link.name} carries nothing, so no bandwidth gives it a rate",
            at=f"link {link.name}",
            fix="choose another link, or another SNR",
        )
    factor = bit_s / mean_bit_s
    if isinstance(link, AwgnLink | RayleighBlockLink):
        return msgspec.structs.replace(link, bandwidth_hz=factor * link.bandwidth_hz)
    return msgspec.structs.replace(link, rates_bit_s=tuple(factor * rate for rate in link.rates_bit_s))


def at_snr(link: Link, snr_db: float) -> Link:
    """A radio link at another SNR, of a fading one at another mean; raises `ProfileError` for links without one."""
    if isinstance(link, AwgnLink):
        return msgspec.structs.replace(link, snr_db=snr_db)
    if isinstance(link, RayleighBlockLink):
        return msgspec.structs.replace(link, mean_snr_db=snr_db)
    raise ProfileError(
        f"{link.name} has no signal-to-noise ratio", at=f"link {link.name}", fix="give a rate, or a radio link"
    )
