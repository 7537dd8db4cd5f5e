"""Range asymmetric numeral systems (Duda 2013) with static tables, one a channel with a global fallback.

A payload is the final 31-bit state (its top bit the flag: 1 = the fallback codes every channel) and the renormalization
bytes; symbols are coded last to first, so that decoding runs forward. Decoding ends in the initial state with no byte
left over, or the payload is refused. Length: at least the sum of -log2 of the table's own probabilities, at most 32
bits more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.coders.layout import (
    channels,
    check_tensors,
    from_channels,
    join_side,
    split_side,
    symbol_spec,
    to_channels,
)
from splitpoint.codecs.coders.tables import check_counts, count_symbols, raw_bits
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec

__all__ = ["Rans", "RansCoder", "frequencies"]


def __dir__() -> list[str]:
    return __all__


SCALE = 14  # bits: frequencies of a table sum to 2^14
LOWER = 1 << 23  # the state lives in [2^23, 2^31) between symbols
COARSE = 6  # bits dropped from a slot to look up where its search starts


def frequencies(counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Integer frequencies that sum to 2^14 in each row of `counts` (tables, symbols); 0 only where the count is 0."""
    used = counts > 0
    share = counts * ((1 << SCALE) / counts.sum(axis=1, keepdims=True))
    table = np.where(used, np.maximum(np.floor(share), 1), 0).astype(np.int64)
    for row in range(len(table)):
        while (missing := (1 << SCALE) - int(table[row].sum())) != 0:
            # The change that costs least: add where p is most under its share, take where it is most over.
            ratio = np.where(used[row], share[row] / np.maximum(table[row], 1), 0)
            if missing > 0:
                table[row, np.argsort(-ratio, kind="stable")[: min(missing, int(used[row].sum()))]] += 1
            else:
                ratio = np.where(table[row] > 1, ratio, np.inf)
                table[row, np.argsort(ratio, kind="stable")[: min(-missing, int((table[row] > 1).sum()))]] -= 1
    return table.astype(np.uint16)


class RansCoder:
    """rANS with `table` (tables, symbols + 1) of frequencies; the last column is the escape."""

    name = "rans"

    def __init__(
        self, *, specs: tuple[TensorSpec, ...], first: int, rows: NDArray[np.int64], table: NDArray[np.uint16]
    ) -> None:
        self.specs = specs
        self.first = first
        self.rows = rows
        self.table = table
        self._spec = symbol_spec(specs)
        self._start = np.zeros((table.shape[0], table.shape[1] + 1), np.int32)
        self._start[:, 1:] = np.cumsum(table, axis=1)
        slots = np.arange(0, 1 << SCALE, 1 << COARSE)
        self._coarse = np.stack([np.searchsorted(row[1:], slots, side="right") for row in self._start]).astype(np.int32)
        # Costs in 1/256 bit, for the choice of the table only: never read when decoding.
        with np.errstate(divide="ignore"):
            exact = np.where(table > 0, 256 * (SCALE - np.log2(table.astype(np.float64))), 0)
        self._cost256 = np.rint(exact).astype(np.int64)

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        spec = self._spec
        symbols = to_channels(tensors[spec.name], spec)
        width = raw_bits(spec)
        fallback = False
        if len(self.table) > 1:
            own, shared = _costs(symbols, self.rows, self.first, self.table, self._cost256, 256 * width)
            fallback = bool(shared < own)
        rows = self._rows(fallback)
        assert spec.low is not None
        out = np.zeros(symbols.size * 6 + 8, np.uint8)  # a symbol or half an escape gives at most two bytes
        begin = _encode(symbols, rows, self.first, self.table, self._start, spec.low, width, int(fallback), out)
        return join_side(self.specs, tensors) + out[begin:].tobytes()

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        tensors, data = split_side(self.specs, payload)
        spec = self._spec
        if len(data) < 4:
            raise PayloadError(f"rans payload: expected at least 4 bytes, got {len(data)}")
        rows = self._rows(bool(data[0] >> 7))
        symbols = np.empty(channels(spec), np.int32)
        assert spec.low is not None
        left = _decode(
            np.frombuffer(data, np.uint8), rows, self.first, self.table, self._start, self._coarse, spec.low,
            raw_bits(spec), symbols,
        )  # fmt: skip
        if left != 0:
            raise PayloadError(f"rans payload of {len(data)} bytes is not that of {spec.elements} symbols")
        tensors[spec.name] = from_channels(symbols, spec)
        return tensors

    def bits(self, symbols: NDArray[np.int32], *, fallback: bool) -> float:
        """Sum of -log2 of the table's own probabilities of `symbols` (channels, positions), to 1/256 bit a symbol."""
        costs = _costs(symbols, self.rows, self.first, self.table, self._cost256, 256 * raw_bits(self._spec))
        return float(costs[int(fallback)]) / 256

    def arrays(self) -> dict[str, Array]:
        """First symbol and frequencies."""
        first = np.array([self.first], np.int64)
        return {"first": first, "rows": self.rows.astype(np.uint16), "table": self.table}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> RansCoder:
        """Rebuild; raises `CodecError` unless every row sums to 2^14 and has an escape."""
        table = arrays["table"]
        counts = check_counts(specs, arrays, "table", "uint16")
        if not (table.sum(axis=1, dtype=np.int64) == 1 << SCALE).all() or not (table[:, -1] > 0).all():
            raise CodecError(f"rans coder: the stored frequencies do not sum to {1 << SCALE} with an escape")
        return cls(specs=specs, first=counts.first, rows=counts.rows, table=table)

    def _rows(self, fallback: bool) -> NDArray[np.int64]:
        return np.full_like(self.rows, len(self.table) - 1) if fallback else self.rows


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rans:
    """rANS as part of a preset."""

    per_channel: bool = True

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> RansCoder:
        """Count the calibration symbols and quantize their probabilities."""
        counts = count_symbols(specs, samples[symbol_spec(specs).name], per_channel=self.per_channel)
        return RansCoder(specs=tuple(specs), first=counts.first, rows=counts.rows, table=frequencies(counts.values))


@Kernel
def _costs(symbols: Array, rows: Array, first: int, table: Array, cost: Array, raw: int) -> Array:
    """Bits / 256 by each channel's own table, and by the last one."""
    escape, last = table.shape[1] - 1, len(table) - 1
    total = np.zeros(2, np.int64)
    for channel in range(symbols.shape[0]):
        row = rows[channel]
        own, shared = np.int64(0), np.int64(0)
        for position in range(symbols.shape[1]):
            index = symbols[channel, position] - first
            if index < 0 or index > escape:
                index = escape
            if index != escape and table[row, index] > 0:
                own += cost[row, index]
            else:
                own += cost[row, escape] + raw
            if index != escape and table[last, index] > 0:
                shared += cost[last, index]
            else:
                shared += cost[last, escape] + raw
        total[0] += own
        total[1] += shared
    return total


@Kernel
def _encode(
    symbols: Array, rows: Array, first: int, table: Array, start: Array, low: int, width: int, flag: int, out: Array
) -> int:
    """Write backwards into `out`; gives the index of the first byte."""
    escape = table.shape[1] - 1
    positions = symbols.shape[1]
    state = np.int64(LOWER)
    at = len(out)
    for item in range(symbols.size - 1, -1, -1):
        channel = item // positions
        row = rows[channel]
        symbol = np.int64(symbols[channel, item - channel * positions])
        index = symbol - first
        if index < 0 or index >= escape or table[row, index] == 0:
            index = escape
            raw = symbol - low
            done = 0
            while done < width:  # low bits first, at most 8 at a time, each with probability 2^-bits
                bits = min(8, width - done)
                if state >= np.int64(1) << (31 - bits):
                    at -= 1
                    out[at] = state & 255
                    state >>= 8
                state = (state << bits) | ((raw >> done) & ((1 << bits) - 1))
                done += bits
        frequency = np.int64(table[row, index])
        while state >= frequency << (31 - SCALE):
            at -= 1
            out[at] = state & 255
            state >>= 8
        state = ((state // frequency) << SCALE) + state % frequency + start[row, index]
    for _ in range(4):
        at -= 1
        out[at] = state & 255
        state >>= 8
    out[at] |= flag << 7
    return at


@Kernel
def _decode(
    data: Array,
    rows: Array,
    first: int,
    table: Array,
    start: Array,
    coarse: Array,
    low: int,
    width: int,
    symbols: Array,
) -> int:
    """Fill `symbols`; gives 0 when the payload ended where it should."""
    escape = table.shape[1] - 1
    size = len(data)
    state = np.int64(data[0] & 127) << 24 | np.int64(data[1]) << 16 | np.int64(data[2]) << 8 | np.int64(data[3])
    at = 4
    if state < LOWER:
        return 1
    for channel in range(symbols.shape[0]):
        row = rows[channel]
        for position in range(symbols.shape[1]):
            slot = state & ((1 << SCALE) - 1)
            index = np.int64(coarse[row, slot >> COARSE])
            while start[row, index + 1] <= slot:
                index += 1
            state = np.int64(table[row, index]) * (state >> SCALE) + slot - start[row, index]
            while state < LOWER:
                if at >= size:
                    return 1
                state = state << 8 | np.int64(data[at])
                at += 1
            if index == escape:
                raw = 0
                done = (width - 1) // 8 * 8
                while done >= 0:
                    bits = min(8, width - done)
                    raw |= (state & ((1 << bits) - 1)) << done
                    state >>= bits
                    if state < LOWER:
                        if at >= size:
                            return 1
                        state = state << 8 | np.int64(data[at])
                        at += 1
                    done -= 8
                symbols[channel, position] = low + raw
            else:
                symbols[channel, position] = first + index
    return 0 if at == size and state == LOWER else 1
