"""JPEG with optimized Huffman tables wherever libjpeg can make them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["jpeg_bytes"]


def __dir__() -> list[str]:
    return __all__


BUFFER_BYTES = 65536  # the least that Pillow gives libjpeg
GRAINY = 16.0  # mean step between neighbours of 0..255: photographs have 3 to 12, noise 85
ROWS = 8  # one row of so many is looked at


def jpeg_bytes(image: Image.Image, *, quality: int = -1, **options: Any) -> bytes:
    """The file of an 8-bit picture (grey or RGB) at `quality` 1..95, or with the option `qtables` of those steps.

    libjpeg optimizes its tables only when the whole file fits one buffer, whose size Pillow derives from the picture's.
    The file of a grainy picture may not fit; it has the standard tables, which are about a tenth longer.
    """
    if _is_grainy(image):
        plain = _save(image, quality=quality, optimize=False, **options)
        pixels = image.size[0] * image.size[1]
        if len(plain) > max(BUFFER_BYTES, pixels * (2 if quality >= 95 else 1)):
            return plain  # trying would make libjpeg complain on standard error
    try:
        return _save(image, quality=quality, optimize=True, **options)
    except OSError:  # what does not fit after all
        return _save(image, quality=quality, optimize=False, **options)


def _save(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", progressive=False, **options)
    return buffer.getvalue()


def _is_grainy(image: Image.Image) -> bool:
    steps = np.abs(np.diff(np.asarray(image)[::ROWS].astype(np.int16), axis=1))
    return bool(steps.size) and float(steps.mean()) > GRAINY
