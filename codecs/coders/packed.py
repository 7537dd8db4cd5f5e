"""zstd on packed symbols: as many whole symbols in a byte as fit, then a general-purpose compressor.

Fast, needs no tables, and finds repetitions that a memoryless coder cannot; frames are written without magic, size and
checksum, since the container around them has all three.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import zstandard
from numpy.typing import NDArray

from splitpoint.codecs.coders.layout import (
    check_tensors,
    from_channels,
    join_side,
    split_side,
    symbol_spec,
    to_channels,
)
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec

__all__ = ["ZSTD_OVERHEAD_BYTES", "Packed", "PackedCoder", "packed_bytes"]


def __dir__() -> list[str]:
    return __all__


ZSTD_OVERHEAD_BYTES = 16  # frame header and block headers of incompressible data, below 128 KiB; + 3 a further 128 KiB
ZSTD_MAX_WINDOW = 1 << 23  # bytes; a frame that asks for more memory is refused


def packed_bytes(spec: TensorSpec) -> int:
    """Length of the packed symbols before compression."""
    per_byte, itemsize = _packing(spec)
    return -(-spec.elements // per_byte) * itemsize


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PackedCoder:
    """zstd at one level on packed symbols."""

    specs: tuple[TensorSpec, ...]
    level: int
    name: str = "zstd"

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        spec = symbol_spec(self.specs)
        packed = _pack(to_channels(tensors[spec.name], spec).ravel(), spec)
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=False,
            write_checksum=False,
            write_dict_id=False,
        )
        return join_side(self.specs, tensors) + zstandard.ZstdCompressor(compression_params=parameters).compress(packed)

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`. Memory: at most one byte more than the packed symbols."""
        tensors, data = split_side(self.specs, payload)
        spec = symbol_spec(self.specs)
        need = packed_bytes(spec)
        engine = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=ZSTD_MAX_WINDOW)
        try:
            with engine.stream_reader(data, read_across_frames=False) as reader:
                packed = reader.read(need + 1)
        except zstandard.ZstdError as error:
            raise PayloadError(f"zstd frame: {error}") from None
        if len(packed) != need:
            raise PayloadError(f"zstd frame: expected {need} bytes of symbols, got {len(packed)} or more")
        tensors[spec.name] = from_channels(_unpack(packed, spec), spec)
        return tensors

    def arrays(self) -> dict[str, Array]:
        """The level."""
        return {"level": np.array([self.level], np.int64)}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> PackedCoder:
        """Rebuild; raises `CodecError`."""
        symbol_spec(specs)
        level = arrays["level"]
        if level.shape != (1,) or level.dtype != np.int64 or not 1 <= int(level[0]) <= 22:
            raise CodecError("zstd coder: the level must be one int64 in 1..22")
        return cls(specs=specs, level=int(level[0]))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """zstd on packed symbols as part of a preset."""

    level: int = 3

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> PackedCoder:
        """Nothing to fit."""
        symbol_spec(specs)
        return PackedCoder(specs=tuple(specs), level=self.level)


def _packing(spec: TensorSpec) -> tuple[int, int]:
    """(symbols a unit, bytes a unit)."""
    assert spec.low is not None
    assert spec.high is not None
    bits = max(int(spec.high - spec.low).bit_length(), 1)
    return (8 // bits, 1) if bits <= 8 else (1, 2 if bits <= 16 else 4)


def _pack(symbols: NDArray[np.int32], spec: TensorSpec) -> bytes:
    assert spec.low is not None
    per_byte, itemsize = _packing(spec)
    offset = symbols.astype(np.int64) - spec.low
    if itemsize > 1:
        return offset.astype(f"<u{itemsize}").tobytes()
    bits = 8 // per_byte
    padded = np.zeros(-(-len(offset) // per_byte) * per_byte, np.uint8)
    padded[: len(offset)] = offset
    units = padded.reshape(-1, per_byte)
    packed = np.zeros(len(units), np.uint8)
    for place in range(per_byte):
        packed |= units[:, place] << np.uint8(bits * place)
    return packed.tobytes()


def _unpack(data: bytes, spec: TensorSpec) -> NDArray[np.int32]:
    assert spec.low is not None
    per_byte, itemsize = _packing(spec)
    if itemsize > 1:
        return (np.frombuffer(data, f"<u{itemsize}").astype(np.int64) + spec.low).astype(np.int32)
    bits = 8 // per_byte
    packed = np.frombuffer(data, np.uint8)
    mask = np.uint8((1 << bits) - 1)
    units = np.stack([(packed >> np.uint8(bits * place)) & mask for place in range(per_byte)], axis=1)
    return units.ravel()[: spec.elements].astype(np.int32) + spec.low
