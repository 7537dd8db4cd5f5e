"""Pixels of the picture files that our encoders write; what else a file may hold is refused before Pillow reads it.

Pillow warns of odd metadata and of large pictures, and the filters of warnings belong to the whole process. So a
payload must hold nothing that Pillow could warn of, and goes to the class of its format, not to `PIL.Image.open`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from splitpoint.codecs.contract.protocol import PayloadError

__all__ = ["read_pixels"]


def __dir__() -> list[str]:
    return __all__


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = frozenset({b"IHDR", b"IDAT", b"IEND"})
# JPEG segments before the first scan: baseline to progressive frames, tables, restart interval, JFIF, comment.
JPEG_MARKERS = frozenset({0xC0, 0xC1, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xFE})
JPEG_SCAN = 0xDA


def read_pixels(
    data: bytes, format_name: str, size: tuple[int, int], modes: tuple[str, ...], *, name: str
) -> NDArray[np.uint8]:
    """The pixels (H, W) or (H, W, 3) of a file of Pillow's format `format_name`.

    `size` = (H, W) and the modes that are expected are compared with the header before anything is decoded. Raises
    `PayloadError`, which begins with `name`.
    """
    if refusal := _CHECKS.get(format_name, _check_nothing)(data, size):
        raise PayloadError(f"{name}: {refusal}")
    try:
        with _reader(format_name)(io.BytesIO(data), "") as image:
            if (image.size[1], image.size[0]) != size or image.mode not in modes or getattr(image, "n_frames", 1) != 1:
                raise PayloadError(
                    f"{name}: expected one {' or '.join(modes)} picture of {size[1]}x{size[0]}, "
                    f"got {image.mode} {image.size[0]}x{image.size[1]}"
                )
            image.load()
            return np.asarray(image, np.uint8)
    except (PayloadError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise whatever damaged bytes lead them to
        raise PayloadError(f"{name}: {error}") from None


def _reader(format_name: str) -> Callable[[io.BytesIO, str], Any]:
    """What opens a file of the format."""
    if format_name not in Image.OPEN:
        Image.init()
    return Image.OPEN[format_name][0]


def _check_nothing(data: bytes, size: tuple[int, int]) -> str | None:
    return None


def _check_png(data: bytes, size: tuple[int, int]) -> str | None:
    """Only a header, pixels and an end: Pillow warns of some animations."""
    if not data.startswith(PNG_SIGNATURE):
        return "not a PNG file"
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        kind, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        if kind not in PNG_CHUNKS:
            return f"expected the chunks IHDR, IDAT and IEND, got {kind!r}" if kind else "truncated between chunks"
        at += 12 + length
    return None


def _check_jpeg(data: bytes, size: tuple[int, int]) -> str | None:
    """Only what a plain JFIF file has before its first scan: Pillow reads the metadata of cameras, and warns of it."""
    if not data.startswith(b"\xff\xd8"):
        return "not a JPEG file"
    at = 2
    while at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at] == 0xFF and marker == JPEG_SCAN:
            return None
        if data[at] != 0xFF or marker not in JPEG_MARKERS or length < 2:
            return f"expected a segment of a plain JFIF file, got {data[at : at + 2].hex()}"
        at += 2 + length
    return "truncated before the first scan"


def _check_webp(data: bytes, size: tuple[int, int]) -> str | None:
    """One picture without metadata, and its size: Pillow makes room for the picture before it tells the size."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return "not a WebP file"
    if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    elif data[12:16] == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        return f"expected a chunk VP8 or VP8L, got {data[12:16]!r}"
    return None if (height, width) == size else f"expected one picture of {size[1]}x{size[0]}, got {width}x{height}"


def _check_avif(data: bytes, size: tuple[int, int]) -> str | None:
    """No metadata of cameras: Pillow reads it on opening, and warns of damaged ones."""
    for kind, box in _boxes(data):
        if kind is None:
            return "a box is longer than the file"
        if kind != b"mdat" and b"Exif" in box:
            return "it holds metadata of a camera"
    return None


def _boxes(data: bytes) -> Iterator[tuple[bytes | None, bytes]]:
    """(kind, content) of the top-level boxes of an ISO base media file; a kind of None ends a damaged one."""
    at = 0
    while at < len(data):
        length, kind, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif length == 0:  # to the end of the file
            length = len(data) - at
        if length < header or at + length > len(data):
            yield None, b""
            return
        yield kind, data[at + header : at + length]
        at += length


_CHECKS: Mapping[str, Callable[[bytes, tuple[int, int]], str | None]] = {
    "PNG": _check_png,
    "JPEG": _check_jpeg,
    "WEBP": _check_webp,
    "AVIF": _check_avif,
}
