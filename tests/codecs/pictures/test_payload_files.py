"""What a picture file may hold beside pixels is refused before Pillow reads it: nothing warns, nothing is allocated."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, features

from splitpoint.codecs.contract.protocol import PayloadError
from splitpoint.codecs.pictures.files import read_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
SIZE = (24, 32)
KINDS = ("PNG", "JPEG", "WEBP", "AVIF")
HERE = [kind for kind in KINDS if features.check({"PNG": "zlib", "JPEG": "jpg"}.get(kind, kind.lower()))]


def saved(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, kind: str) -> np.ndarray:
    return read_pixels(data, kind, SIZE, ("RGB",), name="picture")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("kind", HERE)
def test_what_our_encoders_write_is_read(kind: str) -> None:
    pixels = read(saved(kind), kind)
    assert pixels.shape == PIXELS.shape
    assert pixels.dtype == np.uint8
    assert kind != "PNG" or np.array_equal(pixels, PIXELS)


@pytest.mark.parametrize("kind", HERE)
def test_metadata_of_cameras_is_refused_without_a_warning(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "maker", "model"
    good = exif.tobytes()[6:]  # without "Exif", which AVIF leaves out
    data = saved(kind, exif=exif.tobytes())
    assert good in data
    for damaged in (good, good[:12] + b"\xff" * (len(good) - 12)):
        with pytest.raises(PayloadError, match=r"expected (the chunks|a segment|a chunk)|metadata of a camera"):
            read(data.replace(good, damaged), kind)


def test_an_animation_that_pillow_warns_of_is_refused() -> None:
    data = saved("PNG")
    broken = data[:33] + chunk(b"acTL", bytes(8)) + data[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(broken)).load()
    with pytest.raises(PayloadError, match=r"got b'acTL'"):
        read(broken, "PNG")
    behind = data[:-12] + chunk(b"acTL", bytes(8)) + data[-12:]  # Pillow reads these after the pixels
    with pytest.raises(PayloadError, match=r"got b'acTL'"):
        read(behind, "PNG")


@pytest.mark.parametrize("shape", [b"VP8 ", b"VP8L", b"VP8X"])
def test_no_room_is_made_for_a_picture_of_another_size(shape: bytes) -> None:
    side = 12_000  # 0.6 GB for Pillow, which would not warn below 178 million pixels but fail above
    body = {
        b"VP8 ": b"\x00" * 3 + b"\x9d\x01\x2a" + struct.pack("<HH", side, side),
        b"VP8L": b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(5),
        b"VP8X": bytes(4) + struct.pack("<I", side - 1)[:3] * 2,
    }[shape]
    content = b"WEBP" + shape + struct.pack("<I", len(body)) + body
    data = b"RIFF" + struct.pack("<I", len(content)) + content
    tracemalloc.start()
    with pytest.raises(PayloadError, match="expected"):
        read(data, "WEBP")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"", lambda data: data[:1], lambda data: data[:14], lambda data: data[:40], lambda data: bytes(200)],
)
def test_the_start_of_a_file_is_no_picture(kind: str, damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(PayloadError, match=r"^picture: "):
        read(damage(saved(kind)), kind)


@pytest.mark.parametrize("kind", HERE)
def test_another_size_and_another_mode_are_refused(kind: str) -> None:
    with pytest.raises(PayloadError, match=r"expected one .*picture of 24x32, got .*32x24"):
        read_pixels(saved(kind), kind, (32, 24), ("RGB",), name="picture")
    with pytest.raises(PayloadError, match="expected one L picture"):
        read_pixels(saved(kind), kind, SIZE, ("L",), name="picture")
