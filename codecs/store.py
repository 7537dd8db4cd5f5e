"""Coders to codec.npz and back: plain arrays, no pickles, every field and every size checked."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, TensorSpec
from splitpoint.codecs.learned.bottleneck_coder import BottleneckCoder
from splitpoint.codecs.learned.switch_coder import SwitchCoder
from splitpoint.codecs.lossless import LOSSLESS, rebuild
from splitpoint.codecs.lossy.tiles import LossyTileCoder
from splitpoint.codecs.lossy.trellis import TrellisCoder
from splitpoint.codecs.npz import npz_bytes, read_npz

__all__ = ["CODERS", "load_coders", "save_coders"]


def __dir__() -> list[str]:
    return __all__


FORMAT = 1
MAX_BYTES = 1 << 28  # of codec.npz, and of all arrays in it together
MAX_ABOUT_BYTES = 1 << 20  # of the description of a coder
MAX_SPECS = 64  # tensors of a coder
MAX_ELEMENTS = 1 << 28  # of a coder's tensors together
MAX_AXES = 32  # that every numpy takes
FIELD = re.compile(r"(0|[1-9][0-9]{0,3})\.([\w.]{1,64})", re.ASCII)
DTYPES = frozenset(
    {"bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "uint32", "float16", "float32", "float64"}
)


CODERS: Mapping[str, Any] = {
    **LOSSLESS,
    "switch": SwitchCoder,
    "bottleneck": BottleneckCoder,
    "trellis": TrellisCoder,
    "lossy-tile-jpeg": LossyTileCoder,
    "lossy-tile-webp": LossyTileCoder,
    "lossy-tile-avif": LossyTileCoder,
    "lossy-tile-hevc": LossyTileCoder,
}


def save_coders(coders: Sequence[Coder]) -> bytes:
    """The bytes of codec.npz: for each coder its name and specs as JSON, and its arrays."""
    entries: dict[str, Array] = {}
    for place, coder in enumerate(coders):
        about = {"format": FORMAT, "coder": coder.name, "specs": [dataclasses.asdict(s) for s in coder.specs]}
        text = json.dumps(about, sort_keys=True, separators=(",", ":")).encode()
        entries[f"{place}.about"] = np.frombuffer(text, np.uint8)
        entries |= {f"{place}.{name}": array for name, array in coder.arrays().items()}
    return npz_bytes(entries)


def load_coders(source: bytes | Path) -> list[Coder]:
    """Rebuild the coders of a codec.npz; raises `CodecError` for anything that is not one."""
    entries = read_npz(_bytes_of(source), limit_bytes=MAX_BYTES)
    groups: dict[int, dict[str, Array]] = {}
    for name, array in entries.items():
        found = FIELD.fullmatch(name)
        if found is None:
            raise CodecError(f"codec file: unexpected entry {name!r}")
        groups.setdefault(int(found[1]), {})[found[2]] = array
    if sorted(groups) != list(range(len(groups))) or not groups:
        raise CodecError(f"codec file: coders 0..n expected, got {sorted(groups)}")
    return [_coder(groups[place]) for place in range(len(groups))]


def _bytes_of(source: object) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not isinstance(source, Path):
        raise CodecError(f"codec file: expected bytes or a Path, got {type(source).__name__}")
    try:
        with source.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise CodecError(f"codec file cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise CodecError(f"codec file: more than {MAX_BYTES} bytes: {source}")
    return data


def _coder(arrays: dict[str, Array]) -> Coder:
    about = arrays.pop("about", None)
    if about is None or about.dtype != np.uint8 or about.ndim != 1 or len(about) > MAX_ABOUT_BYTES:
        raise CodecError("codec file: a coder has no description")
    try:
        description = json.loads(about.tobytes())
    except (ValueError, RecursionError) as error:
        raise CodecError(f"codec file: {error}") from None
    if not isinstance(description, dict) or set(description) != {"format", "coder", "specs"}:
        raise CodecError("codec file: a description has format, coder and specs")
    if description["format"] != FORMAT:
        raise CodecError(f"codec file: format {description['format']}, expected {FORMAT}")
    specs = _specs(description["specs"])
    return rebuild(CODERS, description["coder"], specs, arrays)


def _specs(items: object) -> tuple[TensorSpec, ...]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_SPECS:
        raise CodecError(f"codec file: specs must be a list of 1 to {MAX_SPECS} tensors")
    specs = tuple(_spec(item) for item in items)
    if len({spec.name for spec in specs}) != len(specs):
        raise CodecError("codec file: two tensors of a coder have one name")
    if sum(spec.elements for spec in specs) > MAX_ELEMENTS:
        raise CodecError(f"codec file: the tensors of a coder together have more than {MAX_ELEMENTS} elements")
    return specs


def _spec(item: object) -> TensorSpec:
    fields = {field.name for field in dataclasses.fields(TensorSpec)}
    if not isinstance(item, dict) or set(item) != fields:
        raise CodecError(f"codec file: a tensor has the fields {sorted(fields)}")
    shape, axis = item["shape"], item["channel_axis"]
    if not isinstance(shape, list) or not 1 <= len(shape) <= MAX_AXES:
        raise CodecError(f"codec file: expected a shape of 1 to {MAX_AXES} numbers")
    if not all(_whole(n, 1, MAX_ELEMENTS) for n in shape):
        raise CodecError(f"codec file: shape {shape!r}")
    if float(np.prod([float(n) for n in shape])) > MAX_ELEMENTS:
        raise CodecError(f"codec file: shape {shape} has more than {MAX_ELEMENTS} elements")
    if not isinstance(item["name"], str) or not isinstance(item["side"], bool):
        raise CodecError(f"codec file: tensor {item['name']!r}, side {item['side']!r}")
    if not isinstance(item["dtype"], str) or item["dtype"] not in DTYPES:
        raise CodecError(f"codec file: tensor {item['name']!r} of type {item['dtype']!r}")
    bounds = item["low"], item["high"]
    if bounds != (None, None):
        limits = np.iinfo(item["dtype"]) if np.dtype(item["dtype"]).kind in "iu" else None
        if (
            limits is None
            or not all(_whole(b, int(limits.min), int(limits.max)) for b in bounds)
            or bounds[0] > bounds[1]
        ):
            raise CodecError(f"codec file: range {bounds} of a {item['dtype']} tensor")
    if item["group"] is not None and not _whole(item["group"], 1, MAX_ELEMENTS):
        raise CodecError(f"codec file: group {item['group']!r}")
    if axis is not None and not _whole(axis, 0, len(shape) - 1):
        raise CodecError(f"codec file: channel axis {axis!r} of shape {shape}")
    return TensorSpec(**{**item, "shape": tuple(shape)})


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
