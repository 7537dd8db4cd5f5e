"""Coders to codec.npz and back: plain arrays in a zip with fixed dates, no pickles, every field checked."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, TensorSpec
from splitpoint.codecs.lossless import LOSSLESS
from splitpoint.codecs.lossy.tiles import LossyTileCoder
from splitpoint.codecs.lossy.trellis import TrellisCoder

__all__ = ["CODERS", "load_coders", "npz_bytes", "save_coders"]


def __dir__() -> list[str]:
    return __all__


FORMAT = 1
DATE = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold: the same coders give the same bytes
MAX_ENTRY_BYTES = 1 << 28
MAX_ELEMENTS = 1 << 30
DTYPES = frozenset(
    {"bool", "uint8", "int8", "uint16", "int16", "int32", "int64", "uint32", "float16", "float32", "float64"}
)


CODERS: Mapping[str, Any] = {
    **LOSSLESS,
    "trellis": TrellisCoder,
    "lossy-tile-jpeg": LossyTileCoder,
    "lossy-tile-webp": LossyTileCoder,
    "lossy-tile-avif": LossyTileCoder,
    "lossy-tile-hevc": LossyTileCoder,
}


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an npz file; the same arrays give the same bytes (np.savez writes the time of day)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


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
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
        entries = _read(data)
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CodecError(f"codec file cannot be read: {error}") from None
    groups: dict[int, dict[str, Array]] = {}
    for name, array in entries.items():
        place, _, field = name.removesuffix(".npy").partition(".")
        if not place.isdigit() or not field:
            raise CodecError(f"codec file: unexpected entry {name!r}")
        groups.setdefault(int(place), {})[field] = array
    if sorted(groups) != list(range(len(groups))) or not groups:
        raise CodecError(f"codec file: coders 0..n expected, got {sorted(groups)}")
    return [_coder(groups[place]) for place in range(len(groups))]


def _read(data: bytes) -> dict[str, Array]:
    entries: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.file_size > MAX_ENTRY_BYTES or info.filename in entries:
                raise CodecError(f"codec file: entry {info.filename!r} is too large or there twice")
            with archive.open(info) as stream:
                content = stream.read(MAX_ENTRY_BYTES)
            entries[info.filename] = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    return entries


def _coder(arrays: dict[str, Array]) -> Coder:
    about = arrays.pop("about", None)
    if about is None or about.dtype != np.uint8 or about.ndim != 1:
        raise CodecError("codec file: a coder has no description")
    try:
        description = json.loads(about.tobytes())
    except ValueError as error:
        raise CodecError(f"codec file: {error}") from None
    if not isinstance(description, dict) or set(description) != {"format", "coder", "specs"}:
        raise CodecError("codec file: a description has format, coder and specs")
    if description["format"] != FORMAT:
        raise CodecError(f"codec file: format {description['format']}, expected {FORMAT}")
    kind = CODERS.get(description["coder"]) if isinstance(description["coder"], str) else None
    if kind is None:
        raise CodecError(f"codec file: unknown coder {description['coder']!r}; known: {', '.join(sorted(CODERS))}")
    if not isinstance(description["specs"], list) or not description["specs"]:
        raise CodecError("codec file: specs must be a list")
    specs = tuple(_spec(item) for item in description["specs"])
    try:
        coder: Coder = kind.from_arrays(specs, arrays)
    except KeyError as error:
        raise CodecError(f"codec file: coder {description['coder']!r} has no array {error}") from None
    if coder.name != description["coder"]:
        raise CodecError(f"codec file: coder {coder.name!r} under the name {description['coder']!r}")
    return coder


def _spec(item: object) -> TensorSpec:
    fields = {field.name for field in dataclasses.fields(TensorSpec)}
    if not isinstance(item, dict) or set(item) != fields:
        raise CodecError(f"codec file: a tensor has the fields {sorted(fields)}")
    shape, axis = item["shape"], item["channel_axis"]
    if not isinstance(shape, list) or not shape or not all(_whole(n, 1, MAX_ELEMENTS) for n in shape):
        raise CodecError(f"codec file: shape {shape!r}")
    if float(np.prod([float(n) for n in shape])) > MAX_ELEMENTS:
        raise CodecError(f"codec file: shape {shape} has more than {MAX_ELEMENTS} elements")
    if not isinstance(item["name"], str) or not isinstance(item["side"], bool) or item["dtype"] not in DTYPES:
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
