"""The first K_i channels of a switch by rANS: one set of tables for all rates, the rate in front of each payload.

A payload is one byte with the rate's index, then rANS of the first K_i channels (`codecs/coders/rans.py`) with the same
tables at every rate; other channels come back as symbol 0, which the decoder graph does not use.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.coders.layout import as_bytes, check_tensors
from splitpoint.codecs.coders.rans import Rans, RansCoder
from splitpoint.codecs.contract.protocol import Array, CodecError, TensorSpec
from splitpoint.codecs.learned.multirate import checked_rate, rate_of

__all__ = ["SwitchCode", "SwitchCoder"]


def __dir__() -> list[str]:
    return __all__


MOST_RATES = 255  # an index is a byte


class SwitchCoder:
    """Tables of all channels, and which of them a rate codes; a `MultiRateCoder`."""

    name = "switch"

    def __init__(self, *, specs: tuple[TensorSpec, ...], widths: tuple[int, ...], rate: int, tables: RansCoder) -> None:
        """`specs` are symbols (1, K, H, W) and the rate; `tables` codes all K channels."""
        self.specs = specs
        self.widths = widths
        self.rate = rate
        self._tables = tables
        self._coders = [_of_first(tables, width) for width in widths]

    @property
    def encoded(self) -> tuple[TensorSpec, ...]:
        """The symbols alone."""
        return self.specs[:1]

    @property
    def rates(self) -> int:
        """How many rates there are."""
        return len(self.widths)

    @property
    def symbols(self) -> int:
        """Those of the rate's channels."""
        return self._coders[self.rate].specs[0].elements

    def at(self, rate: int) -> SwitchCoder:
        """The same tables, written at another rate; raises `CodecError`."""
        other = copy.copy(self)
        other.rate = checked_rate(rate, self.rates)
        return other

    def kept(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """The symbols with zeros behind the rate's channels."""
        name, width = self.specs[0].name, self.widths[self.rate]
        symbols = np.zeros_like(tensors[name])
        symbols[:, :width] = tensors[name][:, :width]
        return {name: symbols}

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the channels of this rate; raises `CodecError`."""
        check_tensors(self.encoded, tensors)
        name = self.specs[0].name
        coded = tensors[name][:, : self.widths[self.rate]]
        return bytes([self.rate]) + self._coders[self.rate].encode({name: coded})

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give symbols, zeros behind the rate's channels, and the rate; raises `PayloadError`."""
        rate = self.rate_of(payload)
        of_symbols, of_rate = self.specs
        coded = self._coders[rate].decode(as_bytes(payload)[1:])[of_symbols.name]
        symbols = np.zeros(of_symbols.shape, of_symbols.dtype)
        symbols[:, : self.widths[rate]] = coded
        return {of_symbols.name: symbols, of_rate.name: np.full(of_rate.shape, rate, of_rate.dtype)}

    def rate_of(self, payload: bytes) -> int:
        """The first byte; raises `PayloadError`."""
        return rate_of(payload, self.rates, name=self.name)

    def arrays(self) -> dict[str, Array]:
        """The rate, the widths and the tables."""
        return {
            "rate": np.array([self.rate], np.uint8),
            "widths": np.array(self.widths, np.int32),
            **self._tables.arrays(),
        }

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> SwitchCoder:
        """Rebuild; raises `CodecError`."""
        widths, rate = arrays["widths"], arrays["rate"]
        if widths.ndim != 1 or widths.dtype != np.int32 or not 1 <= len(widths) <= MOST_RATES:
            got = f"{widths.dtype}{widths.shape}"
            raise CodecError(f"switch coder: expected int32 widths of 1..{MOST_RATES} rates, got {got}")
        if rate.shape != (1,) or rate.dtype != np.uint8 or int(rate[0]) >= len(widths):
            raise CodecError(f"switch coder: expected a rate of 0..{len(widths) - 1}, got {rate.dtype}{rate.shape}")
        _check_specs(specs, rates=len(widths))
        kernels = specs[0].shape[1]
        if int(widths[0]) < 1 or int(widths[-1]) != kernels or (np.diff(widths) < 0).any():
            raise CodecError(f"switch coder: expected ascending widths up to {kernels} channels, got {widths.tolist()}")
        tables = RansCoder.from_arrays(specs[:1], arrays)
        return cls(specs=specs, widths=tuple(widths.tolist()), rate=int(rate[0]), tables=tables)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SwitchCode:
    """The coder as part of a codec: K_i of each rate, and the rate to write at."""

    widths: tuple[int, ...]
    rate: int

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> SwitchCoder:
        """Count the calibration symbols of each channel."""
        tables = Rans().fit(specs[:1], samples)
        return SwitchCoder(specs=tuple(specs), widths=self.widths, rate=self.rate, tables=tables)


def _of_first(tables: RansCoder, width: int) -> RansCoder:
    """The same tables for the first channels alone."""
    (spec,) = tables.specs
    first = dataclasses.replace(spec, shape=(1, width, *spec.shape[2:]))
    return RansCoder(specs=(first,), first=tables.first, rows=tables.rows[:width], table=tables.table)


def _check_specs(specs: Sequence[TensorSpec], *, rates: int) -> None:
    """Symbols (1, K, ...) with a zero, and one bounded rate; raises `CodecError`."""
    if len(specs) != 2 or specs[0].side or not specs[1].side:
        raise CodecError("switch coder: expected the tensors symbols and rate")
    symbols, rate = specs
    if len(symbols.shape) < 2 or symbols.shape[0] != 1 or symbols.channel_axis != 1:
        raise CodecError(f"switch coder: expected symbols (1, channels, ...), got {symbols.shape}")
    if symbols.low is None or symbols.high is None or not symbols.low <= 0 <= symbols.high:
        raise CodecError(f"switch coder: expected symbols around 0, got {symbols.low}..{symbols.high}")
    if (rate.shape, rate.dtype, rate.low, rate.high) != ((1,), "int64", 0, rates - 1):
        raise CodecError(f"switch coder: expected a rate int64(1,) of 0..{rates - 1}, got {rate.dtype}{rate.shape}")
