"""Picture codecs: sizes, scales, faults."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError
from splitpoint.codecs.pictures.jpeg import jpeg_bytes
from splitpoint.codecs.pictures.picture import PICTURES, Picture
from splitpoint.codecs.pictures.tiles import decode_picture, encode_picture
from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.speed import measure_pictures

HERE = [name for name, codec in PICTURES.items() if codec.refuses() is None]


def picture(height: int = 48, width: int = 67) -> Picture:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / 9 + c) + 50 * np.cos(y / 7 - c) for c in range(3)]
    return np.asarray(np.clip(np.stack(waves, axis=2), 0, 255), np.uint8)


@pytest.mark.parametrize("name", [name for name in HERE if name.startswith("jpeg")])
@pytest.mark.parametrize("shape", [(1, 1), (8, 9), (224, 224), (513, 700)])
def test_noise_is_coded_at_every_quality(name: str, shape: tuple[int, int], capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for x in (noise, np.where(noise > 127, 255, 0).astype(np.uint8)):
        for rate in range(len(PICTURES[name].rates)):
            assert PICTURES[name].decode(PICTURES[name].encode(x, rate), shape).shape == x.shape
    assert capfd.readouterr().err == ""  # where libjpeg complains


def test_tables_are_optimized_wherever_the_file_fits() -> None:
    image = Image.fromarray(picture(224, 224))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, optimize=True)
    assert jpeg_bytes(image, quality=95) == buffer.getvalue()


def test_tiles_of_noise_are_coded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), np.uint8)
    assert decode_picture(encode_picture(noise, "jpeg", {"quality": 95}), "jpeg", noise.shape).shape == noise.shape


@pytest.mark.parametrize("name", HERE)
def test_pictures_come_back_in_their_size_and_better_with_quality(name: str) -> None:
    codec = PICTURES[name]
    x = picture()
    errors, lengths = [], []
    for rate in range(len(codec.rates)):
        data = codec.encode(x, rate)
        assert data == codec.encode(np.asfortranarray(x), rate)
        y = codec.decode(data, (48, 67))
        assert y.shape == x.shape
        assert y.dtype == np.uint8
        errors.append(float(np.square(x.astype(float) - y).mean()))
        lengths.append(len(data))
    assert lengths == sorted(lengths)
    assert errors[-1] <= errors[0]
    assert errors[-1] < 60
    if name == "png":
        assert errors[-1] == 0


def test_names_have_ids_beyond_the_tensor_codecs() -> None:
    assert all(CODEC_IDS[name] >= 128 for name in PICTURES)
    assert {name for name, number in CODEC_IDS.items() if number >= 128} == set(PICTURES)


def test_chroma_is_kept_or_halved_as_the_name_says() -> None:
    lengths = {name: len(PICTURES[name].encode(picture(224, 224), 6)) for name in ("jpeg", "jpeg-420", "jpeg-420-1of2")}
    assert lengths["jpeg"] > lengths["jpeg-420"] > lengths["jpeg-420-1of2"]
    with Image.open(io.BytesIO(PICTURES["jpeg-420-1of2"].encode(picture(225, 101), 6))) as image:
        assert image.size == (50, 112)


@pytest.mark.parametrize("name", HERE)
def test_faults_are_payload_errors_or_right_sized(name: str) -> None:
    codec = PICTURES[name]
    data = codec.encode(picture(), len(codec.rates) - 1)
    generator = np.random.default_rng(0)
    for broken in (b"", b"\x00" * 40, data[: len(data) // 2], data[:12]):
        with pytest.raises(PayloadError, match=name):
            codec.decode(broken, (48, 67))
    for _ in range(60):
        flipped = bytearray(data)
        for bit in generator.integers(0, 8 * len(data), 3):
            flipped[bit // 8] ^= 1 << (bit % 8)
        try:
            assert codec.decode(bytes(flipped), (48, 67)).shape == (48, 67, 3)
        except PayloadError:
            continue


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_another_size_or_format_is_refused_before_decoding(name: str) -> None:
    codec = PICTURES[name]
    with pytest.raises(PayloadError, match=r"expected one .*picture of 67x48, got .*68x48"):
        codec.decode(codec.encode(picture(48, 68), 0), (48, 67))
    other = PICTURES["png" if name != "png" else "jpeg"].encode(picture(), 0)
    with pytest.raises(PayloadError):
        codec.decode(other, (48, 67))
    gray = PICTURES["png"].encode(picture()[:, :, :1], 0)
    with pytest.raises(PayloadError, match="expected one RGB picture of 67x48, got L"):
        PICTURES["png"].decode(gray, (48, 67))
    with pytest.raises(PayloadError, match="expected one L picture of 67x48, got RGB"):
        PICTURES["png"].decode(PICTURES["png"].encode(picture(), 0), (48, 67), channels=1)


@pytest.mark.parametrize("name", HERE)
def test_gray_pictures_have_one_plane(name: str) -> None:
    """It comes back as it was, as well as a coloured one does, and takes fewer bytes than three equal planes."""
    codec, x = PICTURES[name], picture()[:, :, :1]
    rate = len(codec.rates) - 1
    data = codec.encode(x, rate)
    y = codec.decode(data, (48, 67), channels=1)
    assert (y.shape, y.dtype) == (x.shape, np.uint8)
    error = float(np.square(x.astype(float) - y).mean())
    assert error < (60 if "-" in name and name != "jpeg-420" else 10)
    assert error == 0 or name != "png"
    three = codec.encode(np.repeat(x, 3, axis=2), rate)
    assert len(data) < len(three) if codec.format in ("PNG", "JPEG") else data == three


@pytest.mark.parametrize("channels", [0, 2, 4, None])
def test_a_picture_has_one_channel_or_three(channels: int) -> None:
    data = PICTURES["png"].encode(picture(), 0)
    with pytest.raises(CodecError, match="expected 3 channels, or 1 of a gray picture"):
        PICTURES["png"].decode(data, (48, 67), channels=channels)
    with pytest.raises(CodecError, match=r"or \(H, W, 1\) of a gray one, got uint8\(48, 67, 2\)"):
        PICTURES["png"].encode(picture()[:, :, :2], 0)


def test_what_is_no_picture_is_refused() -> None:
    bads: list[Array] = [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)]
    for bad in bads:
        with pytest.raises(CodecError, match="expected a uint8 picture"):
            PICTURES["png"].encode(bad, 0)


def test_every_available_codec_is_timed() -> None:
    seconds = measure_pictures()
    assert set(seconds) == set(HERE)
    assert all(speed.encode_s > 0 and speed.decode_s > 0 and speed.spread >= 0 for speed in seconds.values())
