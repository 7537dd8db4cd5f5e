"""Channels tiled into one grey picture and coded by an image codec: Choi et al., section 3.2.

The grid is 2^ceil(log2(C)/2) tiles wide and 2^floor(log2(C)/2) high (the paper prints the exponents); channels up to
the next power of two are tiles of zeros. Lossless: PNG, WebP, and JPEG XL when the Pillow plugin is there (it stands in
for the paper's FLIF). Lossy, at 8 bits with per-input ranges: JPEG, WebP, AVIF and HEVC (PyAV).
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from splitpoint.codecs.coders.layout import (
    channels,
    check_tensors,
    from_channels,
    join_side,
    split_side,
    symbol_spec,
    text_of,
)
from splitpoint.codecs.contract.protocol import Array, CodecError, FitError, TensorSpec
from splitpoint.codecs.pictures.files import read_pixels
from splitpoint.codecs.pictures.hevc import decode_grey, encode_grey, missing_hevc
from splitpoint.codecs.pictures.jpeg import jpeg_bytes

__all__ = [
    "TILE_OVERHEAD_BYTES",
    "Format",
    "TileCoder",
    "Tiles",
    "check_tiles",
    "decode_picture",
    "encode_picture",
    "grid",
    "map_shape",
    "missing",
    "picture_size",
    "tile",
    "untile",
]


def __dir__() -> list[str]:
    return __all__


Format = Literal["png", "webp", "jxl", "jpeg", "avif", "hevc"]

PILLOW: Mapping[str, str] = {"png": "PNG", "webp": "WEBP", "jxl": "JXL", "jpeg": "JPEG", "avif": "AVIF"}
FEATURE: Mapping[str, str] = {"png": "zlib", "webp": "webp", "jpeg": "jpg", "avif": "avif"}
LARGEST_SIDE = 16383  # pixels, WebP's limit
LARGEST_PIXELS = 1 << 27  # Pillow refuses to read a WebP picture above 1.3 times that
TILE_OVERHEAD_BYTES = 512  # containers, headers and prefix codes around incompressible pixels; + 0.1 % of them
LOSSLESS_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "png": {"optimize": True},
    "webp": {"lossless": True, "quality": 100, "method": 4},
    "jxl": {"lossless": True},
}


def grid(count: int) -> tuple[int, int]:
    """Tiles down and across for `count` channels."""
    exponent = max(count - 1, 0).bit_length()
    return 1 << exponent // 2, 1 << (exponent + 1) // 2


def missing(kind: str) -> str | None:
    """Why this machine cannot code `kind`, or None."""
    if kind == "jxl":
        found = importlib.util.find_spec("pillow_jxl") is not None
        return None if found else "the JPEG XL plugin is not installed: pip install pillow-jxl-plugin"
    if kind == "hevc":
        return missing_hevc()
    return None if features.check(FEATURE[kind]) else f"this Pillow was built without {kind}"


def encode_picture(picture: NDArray[np.uint8], kind: str, options: Mapping[str, Any]) -> bytes:
    """A grey picture (H, W) as a file of `kind`; HEVC takes the one option "quality", 0..100 for crf 51..0."""
    if kind == "hevc":
        return encode_grey(picture, round(51 * (100 - int(options["quality"])) / 100))
    _plugin(kind)
    image = Image.fromarray(picture)
    if kind == "jpeg":
        return jpeg_bytes(image, **options)
    if kind in ("webp", "avif"):  # neither has a grey mode: equal channels cost next to nothing
        image = image.convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, PILLOW[kind], **options)
    return buffer.getvalue()


def decode_picture(data: bytes, kind: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The grey picture (H, W) of `size`; raises `PayloadError`, before decoding when the size inside is another."""
    if kind == "hevc":
        return decode_grey(data, size)
    _plugin(kind)
    pixels = read_pixels(data, PILLOW[kind], size, ("L", "RGB"), name=f"{kind} tiles")
    return np.asarray(pixels[..., 1] if pixels.ndim == 3 else pixels, np.uint8)


def tile(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Channels (C, H, W) as one picture."""
    count, height, width = maps.shape
    down, across = grid(count)
    full = np.zeros((down * across, height, width), np.uint8)
    full[:count] = maps
    return np.ascontiguousarray(
        full.reshape(down, across, height, width).transpose(0, 2, 1, 3).reshape(down * height, across * width)
    )


def untile(picture: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The inverse of `tile`."""
    count, height, width = shape
    down, across = grid(count)
    tiles = picture.reshape(down, height, across, width).transpose(0, 2, 1, 3).reshape(-1, height, width)
    return np.ascontiguousarray(tiles[:count])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TileCoder:
    """Lossless image coding of uint8 symbols."""

    specs: tuple[TensorSpec, ...]
    kind: Format

    @property
    def name(self) -> str:
        """ "tile-" and the format."""
        return f"tile-{self.kind}"

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        spec = symbol_spec(self.specs)
        x = tensors[spec.name]
        moved = np.moveaxis(x, spec.channel_axis, 0) if spec.channel_axis is not None else x
        picture = tile(np.ascontiguousarray(moved, np.uint8).reshape(map_shape(spec)))
        return join_side(self.specs, tensors) + encode_picture(picture, self.kind, LOSSLESS_OPTIONS[self.kind])

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        tensors, data = split_side(self.specs, payload)
        spec = symbol_spec(self.specs)
        picture = decode_picture(data, self.kind, picture_size(spec))
        symbols = untile(picture, map_shape(spec)).reshape(channels(spec))
        tensors[spec.name] = from_channels(symbols.astype(np.int32), spec)
        return tensors

    def arrays(self) -> dict[str, Array]:
        """The format's name."""
        return {"kind": np.frombuffer(self.kind.encode(), np.uint8)}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> TileCoder:
        """Rebuild; raises `CodecError`."""
        kind = arrays["kind"]
        text = text_of(kind)
        known: tuple[Format, ...] = ("png", "webp", "jxl")
        for name in known:
            if text == name:
                check_tiles(symbol_spec(specs))
                return cls(specs=specs, kind=name)
        raise CodecError(f"tile coder: unknown format {text!r}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tiles:
    """Lossless image coding as part of a preset."""

    kind: Format

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> TileCoder:
        """Nothing to fit; raises `FitError` for what the format cannot hold."""
        reason = missing(self.kind)
        if reason is not None:
            raise FitError(reason)
        check_tiles(symbol_spec(specs))
        return TileCoder(specs=tuple(specs), kind=self.kind)


def map_shape(spec: TensorSpec) -> tuple[int, int, int]:
    """(C, H, W) of a tensor: all axes but the channels' and the last one make the height."""
    count, positions = channels(spec)
    others = [n for axis, n in enumerate(spec.shape) if axis != spec.channel_axis]
    width = others[-1] if others else 1
    return count, positions // width, width


def picture_size(spec: TensorSpec) -> tuple[int, int]:
    """(height, width) of the tiled picture."""
    count, height, width = map_shape(spec)
    down, across = grid(count)
    return down * height, across * width


def check_tiles(spec: TensorSpec) -> None:
    """Raise `FitError` when the tiled picture is larger than the formats allow, or symbols are not bytes."""
    if spec.dtype not in ("uint8", "float32"):
        raise FitError(f"tiles hold bytes, not {spec.dtype}")
    height, width = picture_size(spec)
    if max(height, width) > LARGEST_SIDE or height * width > LARGEST_PIXELS:
        raise FitError(
            f"tiles of {spec.shape} make a picture of {height}x{width}, expected sides up to {LARGEST_SIDE} and "
            f"up to {LARGEST_PIXELS} pixels"
        )


def _plugin(kind: str) -> None:
    if kind == "jxl" and missing(kind) is None:
        importlib.import_module("pillow_jxl")
