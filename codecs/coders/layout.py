"""Between named tensors and a coder's loops: checks, side information as bytes, symbols as (channels, positions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec

__all__ = [
    "as_bytes",
    "channels",
    "check_tensors",
    "from_channels",
    "join_side",
    "raw_from_bytes",
    "raw_to_bytes",
    "side_bytes",
    "split_side",
    "symbol_spec",
    "text_of",
    "to_channels",
]


def __dir__() -> list[str]:
    return __all__


INT32 = np.iinfo(np.int32)  # symbols are coded as these


def as_bytes(payload: object) -> bytes:
    """A payload as bytes, also where it is a bytearray or a memoryview; raises `PayloadError` for anything else."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise PayloadError(f"a payload is bytes, got {type(payload).__name__}")
    return bytes(payload)


def text_of(array: Array) -> str:
    """A name that is stored as bytes; "" for what is none."""
    short = array.dtype == np.uint8 and array.size <= LONGEST_NAME
    return array.tobytes().decode("ascii", "replace") if short else ""


LONGEST_NAME = 64


def symbol_spec(specs: Sequence[TensorSpec]) -> TensorSpec:
    """The one tensor of bounded integers that an entropy coder codes; `CodecError` when there is not exactly one."""
    found = [spec for spec in specs if not spec.side]
    if len(found) != 1 or found[0].low is None or found[0].high is None:
        raise CodecError(f"an entropy coder needs one bounded symbol tensor, got {[spec.name for spec in found]}")
    low, high = found[0].low, found[0].high
    if low < INT32.min or high > INT32.max or high - low > INT32.max:
        raise CodecError(f"an entropy coder codes symbols of 31 bits, got {low}..{high} in {found[0].name!r}")
    return found[0]


def check_tensors(specs: Sequence[TensorSpec], tensors: Mapping[str, Array]) -> None:
    """Raise `CodecError` unless every tensor of `specs` is there with its shape, type and range."""
    if not isinstance(tensors, Mapping):
        raise CodecError(f"expected arrays by name ({[spec.name for spec in specs]}), got {type(tensors).__name__}")
    for spec in specs:
        if spec.name not in tensors:
            raise CodecError(f"tensor {spec.name!r} is missing, got {sorted(map(str, tensors))}")
        x = tensors[spec.name]
        if not isinstance(x, np.ndarray):
            raise CodecError(f"tensor {spec.name!r}: expected an array, got {type(x).__name__}")
        if x.shape != spec.shape or x.dtype != np.dtype(spec.dtype):
            raise CodecError(f"tensor {spec.name!r}: expected {spec.dtype}{spec.shape}, got {x.dtype}{x.shape}")
        if spec.low is not None and spec.high is not None and x.size:
            low, high = int(x.min()), int(x.max())
            if low < spec.low or high > spec.high:
                raise CodecError(f"tensor {spec.name!r}: expected {spec.low}..{spec.high}, got {low}..{high}")


def raw_to_bytes(x: Array) -> bytes:
    """Elements in C order, little-endian."""
    return np.ascontiguousarray(x).astype(x.dtype.newbyteorder("<"), copy=False).tobytes()


def raw_from_bytes(data: bytes, spec: TensorSpec) -> Array:
    """The inverse of `raw_to_bytes`; raises `PayloadError` for another length, values out of range or not finite."""
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    if len(data) != spec.elements * dtype.itemsize:
        raise PayloadError(f"{spec.name!r}: expected {spec.elements * dtype.itemsize} bytes, got {len(data)}")
    if dtype.kind == "b" and max(data, default=0) > 1:
        raise PayloadError(f"{spec.name!r}: a truth value is neither 0 nor 1")
    x = np.frombuffer(data, dtype).astype(spec.dtype).reshape(spec.shape)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise PayloadError(f"{spec.name!r}: a value is not finite")
    if spec.low is not None and spec.high is not None and x.size and (x.min() < spec.low or x.max() > spec.high):
        raise PayloadError(f"{spec.name!r}: a symbol is outside {spec.low}..{spec.high}")
    return x


def side_bytes(specs: Sequence[TensorSpec]) -> int:
    """Bytes of the side information, which stands first in a payload."""
    return sum(spec.elements * np.dtype(spec.dtype).itemsize for spec in specs if spec.side)


def join_side(specs: Sequence[TensorSpec], tensors: Mapping[str, Array]) -> bytes:
    """Side information as raw bytes, in the order of `specs`."""
    return b"".join(raw_to_bytes(tensors[spec.name]) for spec in specs if spec.side)


def split_side(specs: Sequence[TensorSpec], payload: bytes) -> tuple[dict[str, Array], bytes]:
    """Side tensors and the rest of the payload; raises `PayloadError`."""
    payload = as_bytes(payload)
    need = side_bytes(specs)
    if len(payload) < need:
        raise PayloadError(f"truncated: {need} bytes of side information expected, got {len(payload)}")
    tensors: dict[str, Array] = {}
    at = 0
    for spec in specs:
        if spec.side:
            size = spec.elements * np.dtype(spec.dtype).itemsize
            tensors[spec.name] = raw_from_bytes(payload[at : at + size], spec)
            at += size
    return tensors, payload[at:]


def channels(spec: TensorSpec) -> tuple[int, int]:
    """(channels, positions a channel) of a tensor; one channel when it has no channel axis."""
    count = 1 if spec.channel_axis is None else spec.shape[spec.channel_axis]
    return count, spec.elements // count if count else 0


def to_channels(x: Array, spec: TensorSpec) -> NDArray[np.int32]:
    """Symbols as contiguous int32 (channels, positions); positions in C order of the other axes."""
    if spec.channel_axis is not None:
        x = np.moveaxis(x, spec.channel_axis, 0)
    return np.ascontiguousarray(x, dtype=np.int32).reshape(channels(spec))


def from_channels(symbols: NDArray[np.int32], spec: TensorSpec) -> Array:
    """The inverse of `to_channels`; raises `PayloadError` when a symbol is out of range."""
    assert spec.low is not None
    assert spec.high is not None
    if symbols.size and (int(symbols.min()) < spec.low or int(symbols.max()) > spec.high):
        raise PayloadError(f"{spec.name!r}: a decoded symbol is outside {spec.low}..{spec.high}")
    if spec.channel_axis is None:
        return symbols.astype(spec.dtype).reshape(spec.shape)
    axis = spec.channel_axis
    moved = (spec.shape[axis], *spec.shape[:axis], *spec.shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(symbols.astype(spec.dtype).reshape(moved), 0, axis))
