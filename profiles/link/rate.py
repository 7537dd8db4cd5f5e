"""Bits a second of a radio channel: Shannon with a gap, CQI tables, outage and ergodic rates under Rayleigh fading.

References: Shannon 1949; Tse and Viswanath 2005, sections 5.4.1 (outage) and 5.4.5 (ergodic capacity).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from splitpoint.profiles.link.types import AwgnLink, Coding, Cqi, RadioLink, RayleighBlockLink

__all__ = [
    "CQI_BIT_PER_SYMBOL",
    "CQI_THRESHOLDS_DB",
    "awgn_bit_s",
    "bit_per_symbol",
    "carrying_share",
    "describe_coding",
    "ergodic_bit_s",
    "outage_bit_s",
    "scaled_e1",
    "snr_needed",
    "symbols_s",
]


def __dir__() -> list[str]:
    return __all__


# TS 38.214 table 5.2.2.1-2 (and 36.213 table 7.2.3-1): information bits per complex symbol of CQI 1 to 15.
CQI_BIT_PER_SYMBOL = (
    0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152,
    5.5547,
)  # fmt: skip

# SNR in dB from which a CQI's blocks fail at most one time in ten. Public tables differ by up to 16 dB at CQI 15,
# because some contain a fading margin, so the table's name is always printed with a rate.
CQI_THRESHOLDS_DB: Mapping[str, tuple[float, ...]] = {
    # HyperplaneOrg/RaPlaT, r.MaxPower/LTE_RaPlaT_Fun.h: AWGN; the last three go on in its uniform step of 1.9286 dB.
    "raplat": (
        -7.0, -5.07, -3.14, -1.21, 0.71, 2.64, 4.57, 6.50, 8.43, 10.36, 12.29, 14.21, 16.14, 18.07, 20.00,
    ),
    # LTE-Sim, SINRForCQIIndex: with fading margin.
    "lte-sim": (
        -4.63, -2.6, -0.12, 2.26, 4.73, 7.53, 8.67, 11.32, 14.24, 15.21, 18.63, 21.32, 23.47, 28.49, 34.6,
    ),
    # No code does better: 10 log10(2^rate - 1).
    "shannon": tuple(10 * math.log10(2**rate - 1) for rate in CQI_BIT_PER_SYMBOL),
}  # fmt: skip


def bit_per_symbol(coding: Coding, snr: float) -> float:
    """Information bits per complex symbol at a (linear) SNR; zero below a table's lowest threshold."""
    if isinstance(coding, Cqi):
        usable = [r for r, least in zip(CQI_BIT_PER_SYMBOL, _thresholds(coding), strict=True) if snr >= least]
        return usable[-1] * (1 - coding.target_bler) if usable else 0.0
    # Shannon 1949, theorem 2 (C = W log2(1 + P/N)), for one symbol a hertz and second: twice the capacity of a real
    # symbol, 1/2 log2(1 + SNR). A practical code needs `gap_db` more SNR for the same rate.
    return math.log1p(snr / _linear(coding.gap_db)) / math.log(2)


def snr_needed(coding: Coding, wanted: float) -> float:
    """The least (linear) SNR that carries `wanted` bits per complex symbol; inf when no rate of the table does."""
    if isinstance(coding, Cqi):
        enough = (
            least
            for rate, least in zip(CQI_BIT_PER_SYMBOL, _thresholds(coding), strict=True)
            if rate * (1 - coding.target_bler)
            >= wanted * (1 - 1e-12)  # a rate of the table, times and over a bandwidth
        )
        return 0.0 if wanted <= 0 else next(enough, math.inf)
    return math.inf if wanted > 1000 else _linear(coding.gap_db) * math.expm1(wanted * math.log(2))


def carrying_share(coding: Coding, mean_snr: float) -> float:
    """The share of Rayleigh blocks whose rate is above 0, for a mean (linear) SNR: a table begins at its threshold."""
    return math.exp(-_thresholds(coding)[0] / mean_snr) if isinstance(coding, Cqi) else 1.0


def symbols_s(link: RadioLink) -> float:
    """Complex symbols a second that carry data."""
    return link.bandwidth_hz * (1 - link.overhead)


def awgn_bit_s(link: AwgnLink) -> float:
    """Rate at the link's SNR; zero below a table's lowest threshold."""
    return symbols_s(link) * bit_per_symbol(link.coding, _linear(link.snr_db))


def outage_bit_s(link: RayleighBlockLink) -> float:
    """The rate that a block's SNR fails to carry with probability `outage`."""
    # Tse and Viswanath, section 5.4.1.
    # The SNR of a block is exponential, so P(snr < x) = 1 - exp(-x / mean) = outage at x = -mean ln(1 - outage).
    snr = -_linear(link.mean_snr_db) * math.log1p(-link.outage)
    return symbols_s(link) * bit_per_symbol(link.coding, snr)


def ergodic_bit_s(link: RayleighBlockLink) -> float:
    """The mean rate over many blocks when the sender's rate follows each."""
    mean = _linear(link.mean_snr_db)
    if isinstance(link.coding, Cqi):
        reached = [math.exp(-least / mean) for least in _thresholds(link.coding)] + [0.0]
        bits = sum(r * (p - q) for r, p, q in zip(CQI_BIT_PER_SYMBOL, reached, reached[1:], strict=False))
        return symbols_s(link) * bits * (1 - link.coding.target_bler)
    # Tse and Viswanath, section 5.4.5, integrated:
    # E log2(1 + snr) = log2(e) exp(1/m) E1(1/m) for an exponential snr of mean m, here mean / gap.
    return symbols_s(link) * scaled_e1(_linear(link.coding.gap_db) / mean) / math.log(2)


def describe_coding(coding: Coding) -> str:
    """How a rate was computed, with the name of the threshold table."""
    if isinstance(coding, Cqi):
        return f"CQI, thresholds {coding.thresholds!r}"
    return "capacity" if coding.gap_db == 0 else f"capacity less {coding.gap_db:g} dB"


def scaled_e1(x: float) -> float:
    """exp(x) times the exponential integral E1(x), for x > 0."""
    if x < 1:  # DLMF 6.6.2: E1(x) = -gamma - ln x + sum of (-1)^(k+1) x^k / (k k!)
        term, total = 1.0, -0.57721566490153286061 - math.log(x)
        for k in range(1, 40):
            term *= -x / k
            total -= term / k
        return math.exp(x) * total
    # Press et al., "Numerical Recipes", eq. (6.3.5): exp(x) E1(x) = 1/(x+1- 1/(x+3- 4/(x+5- ...))). Lentz's method
    # evaluates it from the left: c and d are the ratios of successive numerators and denominators.
    b, c = x + 1, math.inf
    d = 1 / b
    fraction = d
    for k in range(1, 200):
        a, b = -k * k, b + 2
        d = 1 / (a * d + b)
        c = b + a / c
        fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return fraction


def _thresholds(coding: Cqi) -> tuple[float, ...]:
    return tuple(_linear(least_db) for least_db in CQI_THRESHOLDS_DB[coding.thresholds])


def _linear(decibel: float) -> float:
    return math.pow(10.0, decibel / 10)
