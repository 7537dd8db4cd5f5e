"""Lossy coding of tiled channels: 8 bits with per-input fp16 ranges, then JPEG, WebP, AVIF or HEVC at a quality."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.layout import as_bytes, channels, check_tensors, text_of
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import (
    Array,
    CodecError,
    Coder,
    Context,
    FitError,
    PayloadError,
    Rate,
    TensorSpec,
)
from splitpoint.codecs.pictures.hevc import SMALLEST_SIDE
from splitpoint.codecs.pictures.tiles import (
    Format,
    check_tiles,
    decode_picture,
    encode_picture,
    map_shape,
    missing,
    picture_size,
    tile,
    untile,
)
from splitpoint.codecs.quantizers.range import HALF_MAX, check_half

__all__ = ["LossyTileCoder", "LossyTiles", "outward"]


def __dir__() -> list[str]:
    return __all__


QUALITIES = (10, 20, 35, 50, 65, 80, 90, 95)
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "jpeg": {},
    "webp": {"method": 4},
    "avif": {"speed": 8, "max_threads": 1},
    "hevc": {},
}
LEVELS = 255


def outward(low: Array, high: Array) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """fp16 bounds around [low, high], within the finite fp16."""
    down, up = low.astype(np.float16), high.astype(np.float16)
    with np.errstate(over="ignore"):  # of the neighbours that are not taken
        down = np.where(down > low, np.nextafter(down, np.float16(-np.inf)), down)
        up = np.where(up < high, np.nextafter(up, np.float16(np.inf)), up)
    return down, up


class LossyTileCoder:
    """Ranges as side information, then one lossy picture."""

    def __init__(self, *, specs: tuple[TensorSpec, ...], kind: Format, quality: int) -> None:
        self.specs = specs
        self.kind = kind
        self.quality = quality

    @property
    def name(self) -> str:
        """ "lossy-tile-" and the format."""
        return f"lossy-tile-{self.kind}"

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Quantize and code."""
        check_tensors(self.specs, tensors)
        [spec] = self.specs
        x = tensors[spec.name]
        moved = np.moveaxis(x, spec.channel_axis, 0) if spec.channel_axis is not None else x
        rows = np.clip(np.ascontiguousarray(moved, np.float32), -HALF_MAX, HALF_MAX).reshape(channels(spec))
        low16, high16 = outward(rows.min(axis=1), rows.max(axis=1))
        low, width = low16.astype(np.float32)[:, None], (high16.astype(np.float32) - low16.astype(np.float32))[:, None]
        ratio = np.divide(rows - low, width, out=np.zeros_like(rows), where=width > 0)
        pixels = np.clip(np.rint(ratio * LEVELS), 0, LEVELS).astype(np.uint8).reshape(map_shape(spec))
        picture = encode_picture(tile(pixels), self.kind, {**OPTIONS[self.kind], "quality": self.quality})
        return low16.astype("<f2").tobytes() + high16.astype("<f2").tobytes() + picture

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the coded tensor; raises `PayloadError`."""
        [spec] = self.specs
        payload = as_bytes(payload)
        count, _ = channels(spec)
        if len(payload) < 4 * count:
            raise PayloadError(f"truncated: {4 * count} bytes of ranges expected, got {len(payload)}")
        bounds = np.frombuffer(payload[: 4 * count], "<f2").astype(np.float32).reshape(2, count)
        if not np.isfinite(bounds).all() or (bounds[0] > bounds[1]).any():
            raise PayloadError("a range is not finite or upside down")
        picture = decode_picture(payload[4 * count :], self.kind, picture_size(spec))
        pixels = untile(picture, map_shape(spec)).reshape(channels(spec)).astype(np.float32)
        rows = pixels * np.float32(1 / LEVELS) * (bounds[1] - bounds[0])[:, None] + bounds[0][:, None]
        if spec.channel_axis is None:
            return {spec.name: rows.reshape(spec.shape)}
        axis = spec.channel_axis
        moved = (spec.shape[axis], *spec.shape[:axis], *spec.shape[axis + 1 :])
        return {spec.name: np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))}

    def arrays(self) -> dict[str, Array]:
        """Format and quality."""
        return {"kind": np.frombuffer(self.kind.encode(), np.uint8), "quality": np.array([self.quality], np.int64)}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> LossyTileCoder:
        """Rebuild; raises `CodecError`."""
        kind, quality = arrays["kind"], arrays["quality"]
        text = text_of(kind)
        if text not in OPTIONS or quality.shape != (1,) or quality.dtype != np.int64 or not 0 <= quality[0] <= 100:
            raise CodecError(f"lossy tile coder: unknown format {text!r} or quality")
        if len(specs) != 1 or specs[0].dtype != "float32":
            raise CodecError("lossy tile coder: one float32 tensor expected")
        check_tiles(specs[0])
        return cls(specs=specs, kind=text, quality=int(quality[0]))  # type: ignore[arg-type]  # one of OPTIONS


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LossyTiles:
    """Lossy image coding as the coder of a preset."""

    kind: Format

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a quality."""
        return tuple(Rate(label=f"q {quality}", value=quality) for quality in QUALITIES)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Maps only, and the format must be there."""
        return missing(self.kind) if len(shape) == 4 else f"tiles need maps, not {shape}"

    def fit(self, spec: TensorSpec, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> Coder:
        """Nothing to fit; raises `FitError` for what fp16 ranges or the format cannot hold."""
        check_half(coefficients, layout.axis)
        check_tiles(spec)
        if self.kind == "hevc" and min(picture_size(spec)) < SMALLEST_SIDE:
            raise FitError(
                f"hevc takes pictures from {SMALLEST_SIDE} pixels a side, the tiles make {picture_size(spec)}"
            )
        return LossyTileCoder(specs=(spec,), kind=self.kind, quality=int(rate.value))
