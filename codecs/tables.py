"""Symbol counts from calibration: what Huffman lengths and rANS frequencies are made of.

A table has one column a symbol from `first` upward and a last column for the escape, which codes every symbol that the
table does not hold by `raw_bits` further bits: any symbol of the tensor's range can be coded, whatever calibration saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from splitpoint.codecs.layout import symbol_spec, to_channels
from splitpoint.codecs.protocol import Array, CodecError, TensorSpec

__all__ = ["MAX_COLUMNS", "Counts", "check_counts", "count_symbols", "raw_bits"]


def __dir__() -> list[str]:
    return __all__


MAX_COLUMNS = 257  # 256 symbols and the escape


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Counts:
    """Counts (tables, symbols + 1): a row a channel and a last row for all channels, or that last row alone."""

    first: int  # the symbol of column 0
    values: NDArray[np.int64]


def raw_bits(spec: TensorSpec) -> int:
    """Bits behind an escape: enough for any symbol of the tensor's range."""
    assert spec.low is not None
    assert spec.high is not None
    return int(spec.high - spec.low).bit_length()


def count_symbols(specs: Sequence[TensorSpec], samples: Array, *, per_channel: bool) -> Counts:
    """Count the symbols of `samples`: (N, ...), N calibration tensors of the symbol spec's shape."""
    spec = symbol_spec(specs)
    assert spec.low is not None
    assert spec.high is not None
    n = len(samples)
    whole = dataclasses.replace(spec, shape=(n, *spec.shape[1:]))
    by_channel = to_channels(samples, whole)
    if by_channel.size == 0:
        raise CodecError(f"no calibration symbols for {spec.name!r}")
    first, last = int(by_channel.min()), int(by_channel.max())
    if last - first + 2 > MAX_COLUMNS:  # the tails of an unbounded grid go by escape
        first = max(first, min(-(MAX_COLUMNS // 2) + 1, last - MAX_COLUMNS + 2))
        last = min(last, first + MAX_COLUMNS - 2)
    columns = last - first + 2
    index = by_channel - first
    index[(index < 0) | (index >= columns - 1)] = columns - 1
    offsets = np.arange(len(index), dtype=np.int64)[:, None] * columns
    counts = np.bincount((index + offsets).ravel(), minlength=len(index) * columns).reshape(-1, columns)
    rows = np.concatenate([counts, counts.sum(axis=0, keepdims=True)]) if per_channel else counts.sum(axis=0)[None]
    rows = np.asarray(rows, np.int64)
    # Good and Turing: the chance of a symbol not seen before is about (symbols seen once) / (symbols seen).
    rows[:, -1] = np.maximum(rows[:, -1] + (rows[:, :-1] == 1).sum(axis=1), 1)
    return Counts(first=first, values=rows)


def check_counts(specs: Sequence[TensorSpec], first: Array, table: Array, dtype: str) -> int:
    """Check a stored table's type and shape against the specs and give its first symbol; raises `CodecError`."""
    spec = symbol_spec(specs)
    count = 1 if spec.channel_axis is None else spec.shape[spec.channel_axis]
    if first.shape != (1,) or first.dtype != np.int64:
        raise CodecError(f"coder table: 'first' must be one int64, got {first.dtype}{first.shape}")
    if table.dtype != np.dtype(dtype) or table.ndim != 2 or not 2 <= table.shape[1] <= MAX_COLUMNS:
        raise CodecError(f"coder table: expected {dtype} (tables, 2..{MAX_COLUMNS}), got {table.dtype}{table.shape}")
    if table.shape[0] not in (1, count + 1):
        raise CodecError(f"coder table: expected 1 or {count + 1} rows, got {table.shape[0]}")
    assert spec.low is not None
    assert spec.high is not None
    start = int(first[0])
    if start < spec.low or start + table.shape[1] - 2 > spec.high:
        raise CodecError(f"coder table: symbols {start}.. leave the tensor's range {spec.low}..{spec.high}")
    return start
