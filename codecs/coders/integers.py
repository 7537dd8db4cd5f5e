"""Integers of any width without loss: token ids, masks, positions, lengths.

A payload begins with a byte that says how the numbers are coded; the encoder takes the shortest of

    0  plain bits: each number less the lowest that calibration saw, all of one width
    1  codes: a number is a frequent number of the calibration set, or a size class followed by plain bits
    2  codes of the differences of neighbours in C order, modulo 2^64

A code is coded by rANS with static frequencies. Size class 0 is the number 0; class c > 0 holds the numbers whose
zigzag form (0, -1, 1, -2, ... as 0, 1, 2, 3, ...) has c bits, and is followed by the c - 1 bits below the highest one:
Elias' gamma code (Elias 1975) with fitted lengths, so that any 64-bit integer can be coded, whatever calibration saw.
Behind the byte, payloads of kinds 1 and 2 have the length of the rANS bytes (7 bits a byte, low bits first, the top bit
set on all but the last byte), the rANS bytes, and the plain bits, highest first, with zero bits to the next byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.layout import as_bytes, check_tensors
from splitpoint.codecs.coders.rans import RansCoder, frequencies
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec

__all__ = ["IntegerCoder", "Integers"]


def __dir__() -> list[str]:
    return __all__


PLAIN, VALUES, DIFFERENCES = 0, 1, 2
CLASSES = 65  # bits of a zigzag number: 0 to 64
MOST_FREQUENT = 512  # numbers with a code of their own; more would make codec.npz larger than what they save
MOST_LENGTH_BYTES = 5
ROUNDS = 6  # of choosing the frequent numbers
RARE = 1 << 20  # a count in units of that of what was never seen

Words = NDArray[np.uint64]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Model:
    """Frequent numbers, ascending, and a rANS coder of codes: 0 to 64 the size classes, then the frequent numbers."""

    frequent: NDArray[np.int64]
    codes: RansCoder

    def encode(self, values: NDArray[np.int64]) -> bytes:
        code, extra, width = _split(values, self.frequent)
        packed = self.codes.encode({"codes": code[None]})
        return _length_bytes(len(packed)) + packed + _pack_bits(extra, width)

    def decode(self, data: bytes) -> NDArray[np.int64]:
        length, start = _read_length(data)
        if length > len(data) - start:
            raise PayloadError(f"integers: {length} bytes of codes expected, got {len(data) - start}")
        code = self.codes.decode(data[start : start + length])["codes"][0].astype(np.int64)
        width = np.where(code < CLASSES, np.maximum(code - 1, 0), 0)
        extra = _unpack_bits(data[start + length :], width)
        top = np.where(code > 0, np.uint64(1) << width.astype(np.uint64), np.uint64(0))
        values = _unzigzag(top | extra)
        known = code >= CLASSES
        values[known] = self.frequent[code[known] - CLASSES]
        return values


class IntegerCoder:
    """The coder of one tensor of integers; `low` and `width` are of the plain form."""

    name = "integers"

    def __init__(self, *, specs: tuple[TensorSpec, ...], low: int, width: int, models: tuple[_Model, _Model]) -> None:
        self.specs = specs
        self.low = low
        self.width = width
        self._models = models

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensor."""
        check_tensors(self.specs, tensors)
        values = tensors[self.specs[0].name].ravel().astype(np.int64)
        found = [
            bytes([VALUES]) + self._models[0].encode(values),
            bytes([DIFFERENCES]) + self._models[1].encode(_differences(values)),
        ]
        offset = values.view(np.uint64) - np.int64(self.low).view(np.uint64)
        if not (offset >> np.uint64(self.width)).any():
            found.append(bytes([PLAIN]) + _pack_bits(offset, np.full(len(offset), self.width, np.int64)))
        return min(found, key=len)

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensor back; raises `PayloadError`."""
        (spec,) = self.specs
        payload = as_bytes(payload)
        if not payload or payload[0] > DIFFERENCES:
            raise PayloadError("integers: the first byte must be 0, 1 or 2")
        if payload[0] == PLAIN:
            _check_length(payload[1:], spec.elements * self.width)
            offset = _unpack_bits(payload[1:], np.full(spec.elements, self.width, np.int64))
            values = (offset + np.int64(self.low).view(np.uint64)).view(np.int64)
        else:
            values = self._models[payload[0] - 1].decode(payload[1:])
            if payload[0] == DIFFERENCES:
                values = np.cumsum(values.view(np.uint64), dtype=np.uint64).view(np.int64)
        low, high = _limits(spec)
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise PayloadError(f"{spec.name!r}: a decoded number is outside {low}..{high}")
        return {spec.name: values.astype(spec.dtype).reshape(spec.shape)}

    def arrays(self) -> dict[str, Array]:
        """The plain form's lowest number and width; for numbers and differences the frequent ones and frequencies."""
        arrays: dict[str, Array] = {"plain": np.array([self.low, self.width], np.int64)}
        for kind, model in zip(("values", "differences"), self._models, strict=True):
            arrays |= {f"{kind}.frequent": model.frequent, f"{kind}.table": model.codes.table}
        return arrays

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> IntegerCoder:
        """Rebuild; raises `CodecError`."""
        _check_specs(specs)
        plain = arrays["plain"]
        if plain.shape != (2,) or plain.dtype != np.int64 or not 0 <= int(plain[1]) < 64:
            raise CodecError("integer coder: 'plain' must be two int64, the second in 0..63")
        models = tuple(
            _model(specs[0], arrays[f"{kind}.frequent"], arrays[f"{kind}.table"]) for kind in ("values", "differences")
        )
        return cls(specs=specs, low=int(plain[0]), width=int(plain[1]), models=(models[0], models[1]))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Integers:
    """The integer coder as part of a codec."""

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> IntegerCoder:
        """Count the numbers of `samples`, (N, ...), and their differences."""
        given = tuple(specs)
        _check_specs(given)
        rows = samples[given[0].name].reshape(len(samples[given[0].name]), -1).astype(np.int64)
        if rows.size == 0:
            raise CodecError(f"no calibration numbers for {given[0].name!r}")
        width = (int(rows.max()) - int(rows.min())).bit_length()
        differences = np.concatenate([_differences(row) for row in rows])
        models = tuple(_fit_model(given[0], counted) for counted in (rows.ravel(), differences))
        # 64 bits of plain form are no gain over the codes, and 63 are what the decoder shifts by.
        return IntegerCoder(specs=given, low=int(rows.min()), width=min(width, 63), models=(models[0], models[1]))


def _fit_model(spec: TensorSpec, values: NDArray[np.int64]) -> _Model:
    """Give a code to each number that is cheaper by its own code than by its class, then count the codes.

    A number seen c times among N is taken to have the probability (c - 1) / N (absolute discounting, Ney et al. 1994):
    what one occurrence less would have shown. The rest goes to the size classes, so that numbers that calibration did
    not see stay cheap; a number seen once never has a code. As numbers leave their class, its code becomes longer and
    more of them are worth a code: a few rounds reach the end.
    """
    unique, counts = np.unique(values, return_counts=True)
    classes = _bits(_zigzag(unique))
    chosen = np.zeros(len(unique), bool)
    for _ in range(ROUNDS):
        left = np.bincount(classes, weights=np.where(chosen, 1, counts), minlength=CLASSES)
        by_class = np.log2(len(values) / left[classes]) + np.maximum(classes - 1, 0)
        with np.errstate(divide="ignore"):
            saved = counts * (by_class - np.log2(len(values) / (counts - 1)))
        best = np.argsort(-saved, kind="stable")[:MOST_FREQUENT]
        chosen = np.zeros(len(unique), bool)
        chosen[best[saved[best] > 0]] = True
    left = np.bincount(classes, weights=np.where(chosen, 1, counts), minlength=CLASSES).astype(np.int64)
    # Every class can be coded: the least frequency, 2^-14, for each of the 65 costs 0.4 % at most. The last is rANS'
    # own escape, which is never used.
    table = frequencies(np.concatenate([left * RARE + 1, (counts[chosen] - 1) * RARE, [1]]).astype(np.int64)[None])
    return _model(spec, unique[chosen].astype(np.int64), table)


def _model(spec: TensorSpec, frequent: Array, table: Array) -> _Model:
    """Check the arrays; raises `CodecError`."""
    if frequent.dtype != np.int64 or frequent.ndim != 1 or len(frequent) > MOST_FREQUENT:
        raise CodecError(f"integer coder: expected at most {MOST_FREQUENT} frequent int64 numbers")
    if table.shape != (1, CLASSES + len(frequent) + 1):
        raise CodecError(f"integer coder: a table of shape {table.shape} for {len(frequent)} frequent numbers")
    codes = TensorSpec(
        name="codes",
        shape=(1, spec.elements),
        dtype="int32",
        low=0,
        high=CLASSES + len(frequent) - 1,
        channel_axis=None,
    )
    stored: dict[str, Array] = {"first": np.zeros(1, np.int64), "rows": np.zeros(1, np.uint16), "table": table}
    return _Model(frequent=frequent, codes=RansCoder.from_arrays((codes,), stored))


def _check_specs(specs: Sequence[TensorSpec]) -> None:
    if len(specs) != 1 or np.dtype(specs[0].dtype).kind not in "iub" or specs[0].dtype == "uint64":
        raise CodecError(f"the integer coder takes one tensor of integers, got {[spec.dtype for spec in specs]}")


def _limits(spec: TensorSpec) -> tuple[int, int]:
    """The least and the largest number of the tensor: those that are given, else those of its type."""
    if spec.low is not None and spec.high is not None:
        return spec.low, spec.high
    if spec.dtype == "bool":
        return 0, 1
    limits = np.iinfo(spec.dtype)
    return int(limits.min), int(limits.max)


def _differences(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number less the one before, the first less 0, modulo 2^64."""
    words = values.view(np.uint64)
    before = np.concatenate([np.zeros(1, np.uint64), words[:-1]])
    return np.asarray((words - before).view(np.int64))


def _zigzag(values: NDArray[np.int64]) -> Words:
    words: Words = np.asarray((values << np.int64(1)) ^ (values >> np.int64(63))).view(np.uint64)
    return words


def _unzigzag(words: Words) -> NDArray[np.int64]:
    return ((words >> np.uint64(1)) ^ (np.uint64(0) - (words & np.uint64(1)))).view(np.int64)


def _bits(words: Words) -> NDArray[np.int64]:
    """Number of bits of each word, 0 for 0: by halving, in integers."""
    left, count = words.copy(), np.zeros(len(words), np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        large = left >> np.uint64(step) > 0
        count[large] += step
        left[large] >>= np.uint64(step)
    return count + (left > 0)


def _split(
    values: NDArray[np.int64], frequent: NDArray[np.int64]
) -> tuple[NDArray[np.int32], Words, NDArray[np.int64]]:
    """For each number its code, and the bits behind the code with their width."""
    words = _zigzag(values)
    code = _bits(words)
    width = np.maximum(code - 1, 0)
    if len(frequent):
        place = np.minimum(np.searchsorted(frequent, values), len(frequent) - 1)
        known = frequent[place] == values
        code = np.where(known, CLASSES + place, code)
        width = np.where(known, 0, width)
    return code.astype(np.int32), words, width


def _pack_bits(words: Words, width: NDArray[np.int64]) -> bytes:
    """The lowest `width` bits of each word, highest first, one behind the other."""
    start = np.concatenate([[0], np.cumsum(width)])
    bits = np.zeros(int(start[-1]), np.uint8)
    for place in range(int(width.max(initial=0))):  # the bit that has `place` bits of its word behind it
        has = width > place
        bits[(start[1:] - 1 - place)[has]] = (words[has] >> np.uint64(place)) & np.uint64(1)
    return np.packbits(bits).tobytes()


def _unpack_bits(data: bytes, width: NDArray[np.int64]) -> Words:
    """The inverse of `_pack_bits`; raises `PayloadError` for another length or bits set behind the last one."""
    start = np.concatenate([[0], np.cumsum(width)])
    total = int(start[-1])
    _check_length(data, total)
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    if bits[total:].any():
        raise PayloadError("integers: bits are set behind the last number")
    words = np.zeros(len(width), np.uint64)
    for place in range(int(width.max(initial=0))):
        has = width > place
        words[has] |= bits[(start[1:] - 1 - place)[has]].astype(np.uint64) << np.uint64(place)
    return words


def _check_length(data: bytes, bits: int) -> None:
    if len(data) != (bits + 7) // 8:
        raise PayloadError(f"integers: expected {(bits + 7) // 8} bytes of plain bits, got {len(data)}")


def _length_bytes(length: int) -> bytes:
    out = bytearray()
    while length >= 128:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)


def _read_length(data: bytes) -> tuple[int, int]:
    """A length and the number of bytes it took; raises `PayloadError`."""
    length = 0
    for at, byte in enumerate(data[:MOST_LENGTH_BYTES]):
        length |= (byte & 127) << (7 * at)
        if byte < 128:
            return length, at + 1
    raise PayloadError("integers: the length of the codes is cut short")
