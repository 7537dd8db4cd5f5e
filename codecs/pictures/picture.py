"""Picture codecs of the input: PNG, JPEG, WebP and AVIF of a uint8 picture, also at reduced size.

Not tensor codecs: they are what "send the picture" costs. Sizes in a payload are checked before anything is decoded.
One has tables that a plan fits to its network; they are in the file, so any decoder of JPEG reads it.
A gray picture has one channel: in PNG and JPEG a file of one plane; WebP and AVIF have three equal ones.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from splitpoint.codecs.coders.layout import as_bytes
from splitpoint.codecs.contract.protocol import CodecError, Rate
from splitpoint.codecs.pictures.files import read_pixels
from splitpoint.codecs.pictures.jpeg import jpeg_bytes
from splitpoint.codecs.pictures.quant_tables import STANDARD, QuantTables, scale_tables

__all__ = ["PICTURES", "Picture", "PictureCodec"]


def __dir__() -> list[str]:
    return __all__


Picture = NDArray[np.uint8]  # (H, W, 3), RGB, or (H, W, 1), gray

QUALITIES = (20, 35, 50, 65, 75, 82, 88, 92, 95)
# Pixels: WebP's 14 bits, libjpeg's JPEG_MAX_DIMENSION, libavif's default imageDimensionLimit, PNG's 31 bits.
LARGEST_SIDE: Mapping[str, int] = {"WEBP": 16383, "JPEG": 65500, "AVIF": 32768, "PNG": 2**31 - 1}
WEBP_METHOD = 4  # Pillow's default: 6 is 2 % smaller and takes twice the time
GRAY_FORMATS = frozenset({"PNG", "JPEG"})  # formats that have files of one plane
AVIF_SPEED = 8  # 6, the default, is 1-2 % smaller and takes twice the time


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PictureCodec:
    """One picture format at one scale; rates are its qualities."""

    name: str
    format: str  # Pillow's name
    scale: Fraction
    rates: tuple[Rate, ...]
    options: tuple[tuple[str, bool | int | str], ...] = ()
    tables: QuantTables | None = None  # of a codec that is fitted to a network; in `PICTURES` those of the standard

    def with_tables(self, tables: QuantTables) -> PictureCodec:
        """This codec fitted to a network, which is `weighted`."""
        return dataclasses.replace(self, tables=tables)

    @property
    def weighted(self) -> bool:
        """Whether its tables are fitted to a network."""
        return self.tables is not None

    def refuses(self, size: tuple[int, int] | None = None) -> str | None:
        """Why this machine's Pillow cannot do it, or a picture of `size` = (H, W) is too large; None otherwise."""
        needed = {"AVIF": "avif", "WEBP": "webp", "JPEG": "jpg", "PNG": "zlib"}[self.format]
        if not features.check(needed):
            return f"{self.name}: this Pillow was built without {needed}"
        longest = 0 if size is None else max(self._coded_size(*size))
        if longest > LARGEST_SIDE[self.format]:
            return f"{self.name}: {longest} pixels a side, the format takes {LARGEST_SIDE[self.format]}"
        return None

    def encode(self, picture: Picture, rate: int) -> bytes:
        """Code a picture (H, W, 3) or (H, W, 1) at rate index `rate`; raises `CodecError`."""
        expected = f"{self.name}: expected a uint8 picture (H, W, 3), or (H, W, 1) of a gray one"
        if not isinstance(picture, np.ndarray):
            raise CodecError(f"{expected}, got {type(picture).__name__}")
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
            raise CodecError(f"{expected}, got {picture.dtype}{picture.shape}")
        refusal = self.refuses((picture.shape[0], picture.shape[1]))
        if refusal is not None:
            raise CodecError(refusal)
        if not isinstance(rate, int | np.integer) or not 0 <= rate < len(self.rates):
            raise CodecError(f"{self.name} has rates 0..{len(self.rates) - 1}, not {rate!r}")
        image = Image.fromarray(np.ascontiguousarray(picture if picture.shape[2] == 3 else picture[:, :, 0]))
        if image.mode == "L" and self.format not in GRAY_FORMATS:
            image = image.convert("RGB")
        size = self._coded_size(picture.shape[0], picture.shape[1])
        if size != image.size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        options: dict[str, Any] = dict(self.options)
        if image.mode == "L":
            options.pop("subsampling", None)  # of colours
        if self.tables is not None:
            options["qtables"] = scale_tables(self.tables, int(self.rates[rate].value))[: len(image.getbands())]
        elif self.format != "PNG":
            options["quality"] = int(self.rates[rate].value)
        if self.format == "JPEG":
            return jpeg_bytes(image, **options)
        buffer = io.BytesIO()
        image.save(buffer, self.format, **options)
        return buffer.getvalue()

    def decode(self, data: bytes, size: tuple[int, int], *, channels: int = 3) -> Picture:
        """Give the picture (H, W, `channels`) of `size` = (H, W) back, upscaled when it was reduced.

        Raises `PayloadError` for what is no picture of that size and, where the format tells them apart, of as many
        channels: 3, or 1 of a gray one.
        """
        data = as_bytes(data)
        if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
            raise CodecError(f"{self.name}: expected the size (height, width) of a picture, got {size!r}")
        width, height = self._coded_size(*size)
        if channels not in (1, 3):
            raise CodecError(f"{self.name}: expected 3 channels, or 1 of a gray picture, got {channels!r}")
        mode = "L" if channels == 1 and self.format in GRAY_FORMATS else "RGB"
        image = Image.fromarray(read_pixels(data, self.format, (height, width), (mode,), name=self.name))
        if (height, width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
        return np.asarray(image if channels == 3 else image.convert("L")).reshape(*size, channels)

    def _coded_size(self, height: int, width: int) -> tuple[int, int]:
        """(width, height) of what is coded."""
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def _quality_rates() -> tuple[Rate, ...]:
    return tuple(Rate(label=f"q {quality}", value=quality) for quality in QUALITIES)


@functools.cache
def _pictures() -> dict[str, PictureCodec]:
    whole_chroma = (("subsampling", "4:4:4"),)
    formats: dict[str, tuple[str, tuple[tuple[str, bool | int | str], ...]]] = {
        "jpeg": ("JPEG", whole_chroma),
        "jpeg-420": ("JPEG", (("subsampling", "4:2:0"),)),
        "webp": ("WEBP", (("method", WEBP_METHOD),)),
        "avif": ("AVIF", (("speed", AVIF_SPEED), ("max_threads", 1))),
    }
    lossless = (Rate(label="lossless", value=100),)
    codecs = [PictureCodec(name="png", format="PNG", scale=Fraction(1), rates=lossless, options=(("optimize", True),))]
    rates = _quality_rates()
    codecs.append(
        PictureCodec(
            name="jpeg-task", format="JPEG", scale=Fraction(1), rates=rates, options=whole_chroma, tables=STANDARD
        )
    )
    for suffix, scale in (("", Fraction(1)), ("-3of4", Fraction(3, 4)), ("-1of2", Fraction(1, 2))):
        for name, (format_name, options) in formats.items():
            codec = PictureCodec(name=name + suffix, format=format_name, scale=scale, rates=rates, options=options)
            codecs.append(codec)
    return {codec.name: codec for codec in codecs}


PICTURES: Mapping[str, PictureCodec] = _pictures()
