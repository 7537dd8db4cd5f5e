"""A channel that carries symbols instead of bits: what arrives of them, with a seed.

Symbols are real numbers of mean square 1 over a message (Jankowski et al., section 2.1: P = 1). Two of them make one
complex symbol, so that they have the SNR of the complex baseband.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array

__all__ = ["SymbolChannel", "gains", "received", "simulated"]


def __dir__() -> list[str]:
    return __all__


class SymbolChannel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """White Gaussian noise, behind a Rayleigh gain that stays for a block where there is fading."""

    kind: Literal["awgn", "rayleigh"]
    snr_db: Annotated[float, msgspec.Meta(ge=-200, le=200)]  # 10 log10(P / sigma^2) a real symbol; Rayleigh: its mean
    block: Annotated[int, msgspec.Meta(ge=1)] | None = None  # real symbols of one gain; None: all of a message

    def __str__(self) -> str:
        """As messages and tables name it."""
        return (
            f"{self.snr_db:g} dB of white noise" if self.kind == "awgn" else f"Rayleigh fading, mean {self.snr_db:g} dB"
        )

    def equals(self, other: SymbolChannel, symbols: int) -> bool:
        """Whether `symbols` of a message fare alike over both."""
        return (self.kind, self.snr_db, self._blocks(symbols)) == (other.kind, other.snr_db, other._blocks(symbols))

    def _blocks(self, symbols: int) -> int:
        """Symbols of a message that share a gain."""
        return symbols if self.block is None or self.kind == "awgn" else min(self.block, symbols)


def simulated(channel: SymbolChannel, symbols: Array, *, seed: int, draw: int) -> Array:
    """What the receiver has of `symbols` (any shape), in their type; equal seeds and draws give equal noise.

    `draw` is the number of the message: the noise is its own, whatever codec sends it.
    """
    generator = np.random.default_rng([seed, draw])
    flat = np.asarray(symbols, np.float64).ravel()
    noise = generator.normal(size=flat.size)
    gain = gains(channel, generator.exponential(size=flat.size), flat.size)
    return received(flat, noise, gain, channel.snr_db).astype(symbols.dtype).reshape(symbols.shape)


def gains(channel: SymbolChannel, powers: Array, symbols: int) -> Array:
    """|h| of each symbol (B,) from independent exponential `powers` (B,), one of which counts in each block."""
    if channel.kind == "awgn":
        return np.ones(symbols)
    block = min(channel.block or symbols, symbols)
    return np.asarray(np.sqrt(powers[np.arange(symbols) // block]))


def received(symbols: Array, noise: Array, gain: Array, snr_db: float) -> Array:
    """y = |h| x + z (section 2.1), equalized by a receiver that knows h.

    Without fading y itself, as in the paper; with it the estimate of x of least squared error, |h| y / (|h|^2 +
    sigma^2), which stays small in deep fades.
    """
    sigma = 10.0 ** (-snr_db / 20)
    y = gain * symbols + sigma * noise
    return np.asarray(y if (gain == 1).all() else gain * y / (gain**2 + sigma**2))
