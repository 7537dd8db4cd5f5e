"""Canonical Huffman coding with static tables, one a tensor or one a channel with a global fallback.

A payload is one flag bit (1: the fallback codes every channel), the codes, zero bits to the next byte; its length is
exactly the sum of its code lengths. A code is read by a table of 8 bits, longer ones by their canonical limits.
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

__all__ = ["Huffman", "HuffmanCoder", "code_lengths"]


def __dir__() -> list[str]:
    return __all__


MAX_LENGTH = 30  # bits; counts are scaled to a sum of at most 2^20 < Fibonacci(31), so no code is longer
MAX_SUM = 1 << 20
PEEK = 8  # bits of the first look-up: longer tables leave the cache when there is one a channel


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Optimal code lengths, bits, of each row of `counts` (tables, symbols); 0 where the count is 0."""
    scaled = counts.astype(np.int64)
    total = scaled.sum(axis=1, keepdims=True)
    over = total > MAX_SUM - counts.shape[1]
    scaled = np.where(
        over, np.maximum(scaled * (MAX_SUM - counts.shape[1]) // np.maximum(total, 1), scaled > 0), scaled
    )
    lengths = np.zeros(counts.shape, np.uint8)
    _lengths(np.ascontiguousarray(scaled), np.argsort(scaled, axis=1, kind="stable"), lengths)
    return lengths


class HuffmanCoder:
    """Huffman codes from `lengths` (tables, symbols + 1); the last column is the escape."""

    name = "huffman"

    def __init__(
        self, *, specs: tuple[TensorSpec, ...], first: int, rows: NDArray[np.int64], lengths: NDArray[np.uint8]
    ) -> None:
        self.specs = specs
        self.first = first
        self.rows = rows
        self.lengths = lengths
        self._spec = symbol_spec(specs)
        self._codes, self._lookup, self._limit, self._base, self._order = _canonical(lengths)

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        spec = self._spec
        symbols = to_channels(tensors[spec.name], spec)
        width = raw_bits(spec)
        fallback = False
        if len(self.lengths) > 1:
            own, shared = _costs(symbols, self.rows, self.first, self.lengths, width)
            fallback = bool(shared < own)
        rows = self._rows(fallback)
        out = np.zeros((symbols.size * (MAX_LENGTH + width) + 31) // 32 + 2, np.uint32)
        assert spec.low is not None
        bits = _encode(symbols, rows, self.first, self._codes, spec.low, width, int(fallback), out)
        return join_side(self.specs, tensors) + out[: (bits + 31) // 32].astype(">u4").tobytes()[: (bits + 7) // 8]

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        tensors, data = split_side(self.specs, payload)
        spec = self._spec
        if not data:
            raise PayloadError("huffman payload is empty")
        words = np.frombuffer(data + bytes(8 + -len(data) % 4), ">u4").astype(np.uint32)
        rows = self._rows(bool(data[0] >> 7))
        symbols = np.empty(channels(spec), np.int32)
        assert spec.low is not None
        bits = _decode(
            words, 8 * len(data), rows, self.first, self.lengths, self._lookup, self._limit, self._base, self._order,
            spec.low, raw_bits(spec), symbols,
        )  # fmt: skip
        if bits < 0:
            raise PayloadError(f"huffman payload of {len(data)} bytes ends inside the symbols")
        if (bits + 7) // 8 != len(data):
            raise PayloadError(f"huffman payload: symbols end after {(bits + 7) // 8} of {len(data)} bytes")
        tensors[spec.name] = from_channels(symbols, spec)
        return tensors

    def bits(self, symbols: NDArray[np.int32], *, fallback: bool) -> int:
        """Sum of code lengths of `symbols` (channels, positions), escapes and their raw bits included."""
        return int(_costs(symbols, self.rows, self.first, self.lengths, raw_bits(self._spec))[int(fallback)])

    def arrays(self) -> dict[str, Array]:
        """First symbol and code lengths."""
        first = np.array([self.first], np.int64)
        return {"first": first, "rows": self.rows.astype(np.uint16), "lengths": self.lengths}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> HuffmanCoder:
        """Rebuild; raises `CodecError` unless every row is a complete prefix code."""
        lengths = arrays["lengths"]
        counts = check_counts(specs, arrays, "lengths", "uint8")
        used = lengths > 0
        kraft = np.where(used, 2.0 ** -lengths.astype(np.float64), 0).sum(axis=1)
        if int(lengths.max()) > MAX_LENGTH or not used[:, -1].all() or not (kraft == 1).all():
            raise CodecError("huffman coder: the stored lengths are no complete prefix code with an escape")
        return cls(specs=specs, first=counts.first, rows=counts.rows, lengths=lengths)

    def _rows(self, fallback: bool) -> NDArray[np.int64]:
        return np.full_like(self.rows, len(self.lengths) - 1) if fallback else self.rows


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Huffman:
    """Huffman coding as part of a preset."""

    per_channel: bool = True

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> HuffmanCoder:
        """Count the calibration symbols and build the codes."""
        counts = count_symbols(specs, samples[symbol_spec(specs).name], per_channel=self.per_channel)
        return HuffmanCoder(
            specs=tuple(specs), first=counts.first, rows=counts.rows, lengths=code_lengths(counts.values)
        )


def _canonical(lengths: NDArray[np.uint8]) -> tuple[Array, Array, Array, Array, Array]:
    """What encoding and decoding look up.

    Code << 5 | length (T, A); the first look-up (T, 2^PEEK), symbol << 5 | length; per length the end of its codes,
    left-aligned to 32 bits, and (rank - code) (T, 33); symbols by (length, symbol) (T, A).
    """
    tables, columns = lengths.shape
    codes = np.zeros((tables, columns), np.int64)
    lookup = np.zeros((tables, 1 << PEEK), np.uint16)
    limit = np.zeros((tables, 33), np.int64)
    base = np.zeros((tables, 33), np.int64)
    order = np.zeros((tables, columns), np.int32)
    _fill(lengths, codes, lookup, limit, base, order)
    return codes, lookup, limit, base, order


@Kernel
def _lengths(counts: Array, order: Array, lengths: Array) -> None:
    """Two-queue Huffman over symbols sorted by count; `lengths` is filled in place."""
    tables, columns = counts.shape
    weight = np.zeros(2 * columns, np.int64)
    parent = np.zeros(2 * columns, np.int64)
    depth = np.zeros(2 * columns, np.int64)
    for t in range(tables):
        start = 0
        while start < columns and counts[t, order[t, start]] == 0:
            start += 1
        leaves = columns - start
        if leaves == 1:
            lengths[t, order[t, start]] = 1
            continue
        for i in range(leaves):
            weight[i] = counts[t, order[t, start + i]]
        leaf, node, end = 0, leaves, leaves
        while end < 2 * leaves - 1:
            total = 0
            for _ in range(2):
                if leaf < leaves and (node >= end or weight[leaf] <= weight[node]):
                    total += weight[leaf]
                    parent[leaf] = end
                    leaf += 1
                else:
                    total += weight[node]
                    parent[node] = end
                    node += 1
            weight[end] = total
            end += 1
        depth[end - 1] = 0
        for i in range(end - 2, -1, -1):
            depth[i] = depth[parent[i]] + 1
        for i in range(leaves):
            lengths[t, order[t, start + i]] = depth[i]


@Kernel
def _fill(lengths: Array, codes: Array, lookup: Array, limit: Array, base: Array, order: Array) -> None:
    tables, columns = lengths.shape
    for t in range(tables):
        code, rank = 0, 0
        for length in range(1, 33):
            base[t, length] = rank - code
            for symbol in range(columns):
                if lengths[t, symbol] == length:
                    codes[t, symbol] = code << 5 | length
                    order[t, rank] = symbol
                    if length <= PEEK:
                        start = code << (PEEK - length)
                        for slot in range(start, start + (1 << (PEEK - length))):
                            lookup[t, slot] = symbol << 5 | length
                    code += 1
                    rank += 1
            limit[t, length] = code << (32 - length)
            code <<= 1


@Kernel
def _costs(symbols: Array, rows: Array, first: int, lengths: Array, width: int) -> Array:
    """Bits by each channel's own table, and by the last one."""
    escape, last = lengths.shape[1] - 1, len(lengths) - 1
    total = np.zeros(2, np.int64)
    for channel in range(symbols.shape[0]):
        row = rows[channel]
        own, shared = np.int64(0), np.int64(0)
        for position in range(symbols.shape[1]):
            index = symbols[channel, position] - first
            if index < 0 or index > escape:
                index = escape
            a, b = np.int64(lengths[row, index]), np.int64(lengths[last, index])
            own += a if a > 0 and index != escape else lengths[row, escape] + width
            shared += b if b > 0 and index != escape else lengths[last, escape] + width
        total[0] += own
        total[1] += shared
    return total


@Kernel
def _encode(
    symbols: Array, rows: Array, first: int, codes: Array, low: int, width: int, flag: int, out: Array
) -> np.int64:
    """Write the flag and the codes into 32-bit words, first bit highest; gives the number of bits."""
    escape = codes.shape[1] - 1
    held, count, word = np.int64(flag), np.int64(1), 0  # `count` < 32 bits wait in `held`
    for channel in range(symbols.shape[0]):
        row = rows[channel]
        for position in range(symbols.shape[1]):
            index = symbols[channel, position] - first
            entry = np.int64(codes[row, index]) if 0 <= index < escape else np.int64(0)
            if entry == 0:
                entry = np.int64(codes[row, escape])
                held = held << (entry & 31) | entry >> 5
                count += entry & 31
                if count >= 32:
                    count -= 32
                    out[word] = (held >> count) & 0xFFFFFFFF
                    word += 1
                    held &= (1 << count) - 1
                held = (held << width) | (symbols[channel, position] - low)
                count += width
            else:
                held = held << (entry & 31) | entry >> 5
                count += entry & 31
            if count >= 32:
                count -= 32
                out[word] = (held >> count) & 0xFFFFFFFF
                word += 1
                held &= (1 << count) - 1
    out[word] = (held << (32 - count)) & 0xFFFFFFFF
    return np.int64(word * 32) + count


@Kernel
def _decode(
    words: Array, bits: int, rows: Array, first: int, lengths: Array, lookup: Array, limit: Array, base: Array,
    order: Array, low: int, width: int, symbols: Array,
) -> np.int64:  # fmt: skip
    """Fill `symbols`; gives the bits read, -1 when they run out. `words` has two zero words behind the data."""
    escape = lengths.shape[1] - 1
    held, count, word = np.int64(words[0]) & 0x7FFFFFFF, np.int64(31), 1  # `count` >= 32 bits wait at a code's start
    for channel in range(symbols.shape[0]):
        row = rows[channel]
        for position in range(symbols.shape[1]):
            if count < 32:
                if word >= len(words):
                    return np.int64(-1)
                held = held << 32 | np.int64(words[word])
                count += 32
                word += 1
            entry = np.int64(lookup[row, (held >> (count - PEEK)) & ((1 << PEEK) - 1)])
            if entry:
                index = entry >> 5
                count -= entry & 31
            else:
                window = (held >> (count - 32)) & 0xFFFFFFFF
                length = PEEK + 1
                while length < 32 and window >= limit[row, length]:
                    length += 1
                index = np.int64(order[row, (window >> (32 - length)) + base[row, length]])
                count -= length
            if index == escape:
                if count < 32:
                    if word >= len(words):
                        return np.int64(-1)
                    held = held << 32 | np.int64(words[word])
                    count += 32
                    word += 1
                symbols[channel, position] = low + ((held >> (count - width)) & ((1 << width) - 1))
                count -= width
            else:
                symbols[channel, position] = first + index
    at = 32 * word - count
    return at if at <= bits else np.int64(-1)
