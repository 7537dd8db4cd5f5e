"""Symbols at the rate that the sender chooses, made of one set of fine symbols with integers: rANS, tables a rate.

The encoder graph gives each coefficient in fine steps, the same for every rate. A rate's step of coefficient channel n
is 2^20 / multipliers[rate, n] fine steps: its symbol is sign(f) * floor((|f| * multiplier + offset) / 2^20), with an
offset below half a step, so that the bin around zero is the widest. A multiplier of 0 leaves the channel out.
A payload is one byte with the rate's index, then rANS (`codecs/coders/rans.py`) of all symbols with that rate's tables.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.layout import as_bytes, check_tensors
from splitpoint.codecs.coders.rans import Rans, RansCoder
from splitpoint.codecs.contract.protocol import Array, CodecError, TensorSpec
from splitpoint.codecs.learned.multirate import checked_rate, rate_of

__all__ = ["SHIFT", "BottleneckCode", "BottleneckCoder"]


def __dir__() -> list[str]:
    return __all__


SHIFT: Final = 20  # a multiplier of 2^20 is a step of one fine step, the finest that there is
MOST_RATES: Final = 16  # each has tables of its own
TABLES: Final = ("first", "rows", "table")  # arrays of a rate's tables


class BottleneckCoder:
    """Steps and tables of all rates; a `MultiRateCoder`."""

    name = "bottleneck"

    def __init__(
        self,
        *,
        specs: tuple[TensorSpec, ...],
        multipliers: NDArray[np.int32],
        offset: int,
        rate: int,
        tables: Sequence[RansCoder],
    ) -> None:
        """`specs` are symbols (1, N, ...) and the rate; `multipliers` are (rates, N); `tables` code a rate each."""
        self.specs = specs
        self.multipliers = multipliers
        self.offset = offset
        self.rate = rate
        self._tables = tables

    @property
    def encoded(self) -> tuple[TensorSpec, ...]:
        """The fine symbols alone."""
        return self.specs[:1]

    @property
    def rates(self) -> int:
        """How many rates there are."""
        return len(self.multipliers)

    @property
    def symbols(self) -> int:
        """All of them, at every rate."""
        return self.specs[0].elements

    def at(self, rate: int) -> BottleneckCoder:
        """The same steps and tables, written at another rate; raises `CodecError`."""
        other = copy.copy(self)
        other.rate = checked_rate(rate, self.rates)
        return other

    def kept(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The symbols of this rate, that fine symbols become."""
        name = self.specs[0].name
        return {name: coarse(tensors[name], self.multipliers[self.rate], self.offset)}

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code fine symbols at this rate; raises `CodecError`."""
        check_tensors(self.encoded, tensors)
        return bytes([self.rate]) + self._tables[self.rate].encode(self.kept(tensors))

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the symbols of the payload's rate, and the rate; raises `PayloadError`."""
        rate, of_rate = self.rate_of(payload), self.specs[1]
        symbols = self._tables[rate].decode(as_bytes(payload)[1:])
        return {**symbols, of_rate.name: np.full(of_rate.shape, rate, of_rate.dtype)}

    def rate_of(self, payload: bytes) -> int:
        """The first byte; raises `PayloadError`."""
        return rate_of(payload, self.rates, name=self.name)

    def arrays(self) -> dict[str, Array]:
        """The rate, the steps, and the tables of every rate."""
        pairs = [(i, *pair) for i, coder in enumerate(self._tables) for pair in coder.arrays().items()]
        tables = {f"{name}.{i}": array for i, name, array in pairs}
        return {
            "rate": np.array([self.rate], np.uint8),
            "multipliers": self.multipliers,
            "offset": np.array([self.offset], np.int32),
            **tables,
        }

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> BottleneckCoder:
        """Rebuild; raises `CodecError`."""
        rate, multipliers, offset = arrays["rate"], arrays["multipliers"], arrays["offset"]
        if multipliers.ndim != 2 or multipliers.dtype != np.int32 or not 1 <= len(multipliers) <= MOST_RATES:
            got = f"{multipliers.dtype}{multipliers.shape}"
            raise CodecError(f"bottleneck coder: expected int32 multipliers of 1..{MOST_RATES} rates, got {got}")
        rates = len(multipliers)
        if rate.shape != (1,) or rate.dtype != np.uint8 or int(rate[0]) >= rates:
            raise CodecError(f"bottleneck coder: expected a rate of 0..{rates - 1}, got {rate.dtype}{rate.shape}")
        _check_specs(specs, rates=rates)
        channels = specs[0].shape[1]
        if multipliers.shape[1] != channels or int(multipliers.min()) < 0 or int(multipliers.max()) > 1 << SHIFT:
            wanted = f"0..{1 << SHIFT} for each of {channels} channels"
            raise CodecError(f"bottleneck coder: expected multipliers of {wanted}")
        if offset.shape != (1,) or offset.dtype != np.int32 or not 0 <= int(offset[0]) < 1 << SHIFT:
            raise CodecError(f"bottleneck coder: expected an offset of 0..{(1 << SHIFT) - 1}, got {offset.tolist()}")
        tables = [
            RansCoder.from_arrays(specs[:1], {name: arrays[f"{name}.{i}"] for name in TABLES}) for i in range(rates)
        ]
        return cls(specs=specs, multipliers=multipliers, offset=int(offset[0]), rate=int(rate[0]), tables=tables)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BottleneckCode:
    """The coder as part of a codec: steps of each rate, and the rate to write at."""

    multipliers: NDArray[np.int32]  # (rates, N)
    offset: int
    rate: int

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> BottleneckCoder:
        """Count the symbols that the fine calibration symbols (N, ...) become at each rate."""
        fine = samples[specs[0].name]
        name = specs[0].name
        tables = [Rans().fit(specs[:1], {name: coarse(fine, row, self.offset)}) for row in self.multipliers]
        return BottleneckCoder(
            specs=tuple(specs), multipliers=self.multipliers, offset=self.offset, rate=self.rate, tables=tables
        )


def coarse(fine: Array, multipliers: NDArray[np.int32], offset: int) -> Array:
    """Symbols (n, N, ...) of a rate's steps from fine ones; magnitudes never grow, so they stay in range."""
    along = multipliers.astype(np.int64).reshape(1, -1, *(1,) * (fine.ndim - 2))
    magnitudes = (np.abs(fine.astype(np.int64)) * along + offset) >> SHIFT
    return np.asarray((np.sign(fine) * magnitudes).astype(fine.dtype))


def _check_specs(specs: Sequence[TensorSpec], *, rates: int) -> None:
    """Symbols (1, N, ...) of a symmetric range, and one bounded rate; raises `CodecError`."""
    if len(specs) != 2 or specs[0].side or not specs[1].side:
        raise CodecError("bottleneck coder: expected the tensors symbols and rate")
    symbols, rate = specs
    if len(symbols.shape) < 2 or symbols.shape[0] != 1 or symbols.channel_axis != 1:
        raise CodecError(f"bottleneck coder: expected symbols (1, channels, ...), got {symbols.shape}")
    if symbols.low is None or symbols.high is None or symbols.low != -symbols.high:
        raise CodecError(f"bottleneck coder: expected a range around 0, got {symbols.low}..{symbols.high}")
    if (rate.shape, rate.dtype, rate.low, rate.high) != ((1,), "int64", 0, rates - 1):
        raise CodecError(f"bottleneck coder: expected a rate int64(1,) of 0..{rates - 1}, got {rate.dtype}{rate.shape}")
