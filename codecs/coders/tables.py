"""Symbol counts from calibration: what Huffman lengths and rANS frequencies are made of.

A table has one column a symbol from `first` upward and a last column for the escape, which codes every symbol that the
table does not hold by `raw_bits` further bits: any symbol of the tensor's range can be coded, whatever calibration saw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.layout import channels, symbol_spec, to_channels
from splitpoint.codecs.contract.protocol import Array, CodecError, TensorSpec

__all__ = ["MAX_COLUMNS", "Counts", "check_counts", "count_symbols", "raw_bits"]


def __dir__() -> list[str]:
    return __all__


MAX_COLUMNS = 1025  # 1024 symbols and the escape
GRID_COLUMNS = 257  # of an alphabet too large for that: its tails go by escape
MAX_TABLES = 256  # of channels with a table each
SHARED_TABLES = 64  # of more channels than that: 256 cost 0.1 % fewer bytes and four times the file


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Counts:
    """Counts (tables, symbols + 1), the last row over all channels; `rows` (channels,): each channel's table."""

    first: int  # the symbol of column 0
    values: NDArray[np.int64]
    rows: NDArray[np.int64]


def raw_bits(spec: TensorSpec) -> int:
    """Bits behind an escape: enough for any symbol of the tensor's range."""
    assert spec.low is not None
    assert spec.high is not None
    return int(spec.high - spec.low).bit_length()


def count_symbols(specs: Sequence[TensorSpec], samples: Array, *, per_channel: bool) -> Counts:
    """Count the symbols of `samples`: (N, ...), N calibration tensors of the symbol spec's shape."""
    spec = symbol_spec(specs)
    by_channel = to_channels(samples, dataclasses.replace(spec, shape=(len(samples), *spec.shape[1:])))
    if by_channel.size == 0:
        raise CodecError(f"no calibration symbols for {spec.name!r}")
    first, last = int(by_channel.min()), int(by_channel.max())
    if last - first + 2 > MAX_COLUMNS:
        first = max(first, min(-(GRID_COLUMNS // 2) + 1, last - GRID_COLUMNS + 2))
        last = min(last, first + GRID_COLUMNS - 2)
    columns = last - first + 2
    rows = _cluster(by_channel, spec) if per_channel else np.zeros(len(by_channel), np.int64)
    index = by_channel - first
    index[(index < 0) | (index >= columns - 1)] = columns - 1
    tables = int(rows.max()) + 1
    counts = np.bincount((index + (rows * columns)[:, None]).ravel(), minlength=tables * columns)
    counts = np.asarray(counts.reshape(tables, columns), np.int64)
    if per_channel:
        counts = np.concatenate([counts, counts.sum(axis=0, keepdims=True)])
    # Good and Turing: the chance of a symbol not seen before is about (symbols seen once) / (symbols seen).
    counts[:, -1] = np.maximum(counts[:, -1] + (counts[:, :-1] == 1).sum(axis=1), 1)
    return Counts(first=first, values=counts, rows=rows)


def check_counts(specs: Sequence[TensorSpec], arrays: Mapping[str, Array], table: str, dtype: str) -> Counts:
    """Check the stored arrays "first", "rows" and `table` against the specs; raises `CodecError`."""
    spec = symbol_spec(specs)
    first, rows, values = arrays["first"], arrays["rows"], arrays[table]
    if first.shape != (1,) or first.dtype != np.int64:
        raise CodecError(f"coder table: 'first' must be one int64, got {first.dtype}{first.shape}")
    if (
        values.dtype != np.dtype(dtype)
        or values.ndim != 2
        or not 2 <= values.shape[1] <= MAX_COLUMNS
        or not 1 <= len(values) <= MAX_TABLES + 1
    ):
        raise CodecError(
            f"coder table: expected {dtype} (1..{MAX_TABLES + 1} tables, 2..{MAX_COLUMNS} columns), "
            f"got {values.dtype}{values.shape}"
        )
    count, _ = channels(spec)
    if rows.shape != (count,) or rows.dtype != np.uint16 or int(rows.max()) >= len(values):
        raise CodecError(f"coder table: expected a table below {len(values)} for each of {count} channels")
    assert spec.low is not None
    assert spec.high is not None  # symbol_spec gave it for having both
    start = int(first[0])
    if start < spec.low or start + values.shape[1] - 2 > spec.high:
        raise CodecError(f"coder table: symbols {start}.. leave the tensor's range {spec.low}..{spec.high}")
    return Counts(first=start, values=values, rows=rows.astype(np.int64))


def _cluster(by_channel: NDArray[np.int32], spec: TensorSpec) -> NDArray[np.int64]:
    """A table for each channel: its own when channels are few, else shared by channels of like statistics."""
    count = len(by_channel)
    if count <= MAX_TABLES:
        return np.arange(count, dtype=np.int64)
    assert spec.low is not None
    if spec.low < 0:  # symbols around zero: their spread says nearly everything
        return _ranks(np.abs(by_channel).mean(axis=1), SHARED_TABLES)
    side = int(SHARED_TABLES**0.5)
    joint = _ranks(by_channel.mean(axis=1), side) * side + _ranks(by_channel.std(axis=1), side)
    return np.asarray(np.unique(joint, return_inverse=True)[1], np.int64)


def _ranks(values: Array, classes: int) -> NDArray[np.int64]:
    """Class of each value, classes of equal size in ascending order."""
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(len(values)) * classes // len(values)
    return ranks
