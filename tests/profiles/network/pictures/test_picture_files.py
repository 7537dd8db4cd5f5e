"""Picture files of every format and mode, upright and on white; a damaged one is an error that names the file."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, read_picture, read_picture_file
from splitpoint.profiles.network.pictures.picture_files import DamagedPictureError, open_picture, picture_size

FORMATS = ("png", "jpeg", "webp", "bmp", "gif", "tiff", "ppm")
MODES = ("RGB", "L", "RGBA", "LA", "P", "PA", "1", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "RGBX", "La", "RGBa")
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def in_mode(mode: str) -> Image.Image:
    rgb = Image.fromarray(NOISE)
    if mode == "I;16":
        return Image.fromarray(NOISE[:, :, 0].astype(np.uint16) << 8)
    if mode == "I":
        return Image.fromarray(NOISE[:, :, 0].astype(np.int32) << 8)
    if mode in ("La", "RGBa"):
        return rgb.convert("LA" if mode == "La" else "RGBA").convert(mode)
    return rgb.convert(mode)


def encoded(mode: str, format_: str) -> bytes | None:
    """The file, or None where the format has no such mode or Pillow clips it to 8 bits."""
    if mode.startswith("I") and format_ in ("webp", "gif"):
        return None
    buffer = io.BytesIO()
    try:
        in_mode(mode).save(buffer, format_)
    except (OSError, KeyError, ValueError):
        return None
    return buffer.getvalue()


FILES = {f"{mode}.{f}": data for f in FORMATS for mode in MODES if (data := encoded(mode, f)) is not None}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_every_mode_of_every_format_is_read(name: str, color: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(FILES[name])
    x = read_picture(tmp_path / "picture", InputSpec(size=16, color=color))  # type: ignore[arg-type]
    assert x.shape == (16, 16, 3 if color == "rgb" else 1)
    assert x.std() > 5  # noise, not one level


def test_enough_formats_and_modes_are_tried() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["jpeg", "png", "webp", "tiff"])
def test_a_picture_is_turned_upright(tmp_path: Path, orientation: int, format_: str) -> None:
    upright = np.zeros((40, 60, 3), np.uint8)
    upright[:20, :30] = (250, 250, 250)  # the corner at the top left
    turn = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}[orientation]  # quarter turns, stored against the camera
    stored = np.rot90(upright, turn)
    if orientation in (2, 4, 5, 7):
        stored = stored[:, ::-1] if orientation in (2, 4) else stored[::-1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "p", format_, exif=exif)
    got = np.asarray(open_picture(tmp_path / "p"), np.int16)
    assert got.shape == upright.shape
    assert np.abs(got - upright).mean() < 8  # JPEG and WebP lose a little at the corner


@given(
    tags=st.lists(st.tuples(st.integers(0, 0xFFFF), st.sampled_from([3, 4]), st.integers(0, 9)), max_size=4),
    orientation=st.none() | st.integers(0, 9),
    kind=st.sampled_from([3, 4]),
    order=st.sampled_from("<>"),
    format_=st.sampled_from(["jpeg", "png", "webp"]),
    xmp=st.none() | st.integers(1, 8),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_orientation_is_the_one_that_pillow_reads(
    tags: list[tuple[int, int, int]],
    orientation: int | None,
    kind: int,
    order: str,
    format_: str,
    xmp: int | None,
    tmp_path: Path,
) -> None:
    entries = [entry for entry in tags if entry[0] not in (0x0112, 0x8769, 0x8825, 0xA005)]
    entries += [] if orientation is None else [(0x0112, kind, orientation)]
    rows = [struct.pack(f"{order}HHLH2x" if k == 3 else f"{order}HHLL", tag, k, 1, value) for tag, k, value in entries]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}LH", 8, len(rows))
    exif = b"Exif\0\0" + head + b"".join(rows) + bytes(4)
    more = {} if xmp is None or format_ == "png" else {"xmp": f'<x tiff:Orientation="{xmp}"/>'.encode()}
    Image.fromarray(NOISE).save(tmp_path / "p", format_, exif=exif, **more)
    with Image.open(tmp_path / "p") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(np.asarray(open_picture(tmp_path / "p")), expected)
    assert picture_size(tmp_path / "p") == (expected.shape[1], expected.shape[0])


def test_odd_metadata_and_large_pictures_do_not_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    odd = exif.tobytes()[:-9]
    for format_ in ("jpeg", "png", "webp"):
        Image.fromarray(NOISE).save(tmp_path / "p", format_, exif=odd)
        assert open_picture(tmp_path / "p").size == (40, 60)
        with pytest.warns(UserWarning, match=r"Truncated|orrupt"), Image.open(tmp_path / "p") as opened:
            opened.getexif()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)  # between half of the picture and all of it
    with pytest.warns(Image.DecompressionBombWarning):
        Image.open(tmp_path / "p").close()
    assert open_picture(tmp_path / "p").size == (40, 60)


def test_16_bits_keep_the_high_byte_and_floats_are_refused(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels << 8 | 0x7F).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(open_picture(tmp_path / "deep.png")), levels.astype(np.uint8))
    Image.fromarray(levels.astype(np.float32) / 256).save(tmp_path / "floats.tiff")
    with pytest.raises(ProfileError, match="a picture of floats"):
        open_picture(tmp_path / "floats.tiff")


@given(name=st.sampled_from(sorted(FILES)), data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_give_a_picture_or_an_error_that_names_the_file(
    name: str, data: st.DataObject, tmp_path: Path
) -> None:
    content = bytearray(FILES[name])
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 6)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(content))
    try:
        x = read_picture(path, InputSpec(size=8))
    except ProfileError as error:
        assert error.at == str(path)  # noqa: PT017 - either outcome is right, another exception is not
    else:
        assert x.shape == (8, 8, 3)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"not a picture at all"])
def test_what_is_no_picture_is_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DamagedPictureError) as caught:
        open_picture(tmp_path / "x.png")
    assert caught.value.at == str(tmp_path / "x.png")


def test_a_picture_may_be_named_by_text(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(FILES["RGB.png"])
    assert open_picture(str(tmp_path / "x.png")).size == (60, 40)  # type: ignore[arg-type]  # as README.md does


def test_what_is_missing_or_a_folder_is_not_damaged(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(ProfileError) as caught:
            open_picture(path)
        assert type(caught.value) is ProfileError


@pytest.mark.parametrize(
    ("side", "spec", "scale", "cropped", "stretch"),
    [
        ((60, 40), InputSpec(size=40), 1.0, 1 / 3, 1.0),
        ((60, 40), InputSpec(size=40, resize="exact"), (2 / 3) ** 0.5, 0.0, 1.5),
        ((60, 40), InputSpec(size=40, letterbox=114), (2 / 3 * 27 / 40) ** 0.5, 0.0, 1.0),
        ((60, 40), InputSpec(size=20), 0.5, 1 / 3, 1.0),
        ((40, 40), InputSpec(size=20, resize=25), 0.625, 1 - 0.8**2, 1.0),
        ((10, 10), InputSpec(size=40), 4.0, 0.0, 1.0),
    ],
)
def test_changes_by_hand(
    tmp_path: Path, side: tuple[int, int], spec: InputSpec, scale: float, cropped: float, stretch: float
) -> None:
    Image.new("RGB", side, (10, 200, 30)).save(tmp_path / "p.png")
    _, changes = read_picture_file(tmp_path / "p.png", spec)
    assert (changes.scale, changes.cropped, changes.stretch) == pytest.approx((scale, cropped, stretch))
    assert (changes.grey, changes.colour_lost) == (False, False)


def test_grey_is_seen_by_content_not_by_mode(tmp_path: Path) -> None:
    grey = Image.fromarray(NOISE[:, :, 0])
    grey.save(tmp_path / "l.png")
    grey.convert("RGB").save(tmp_path / "rgb.jpg", quality=80)
    Image.fromarray(NOISE).save(tmp_path / "colour.png")
    colour, black_white = InputSpec(size=16), InputSpec(size=16, color="gray")
    assert [read_picture_file(tmp_path / n, colour)[1].grey for n in ("l.png", "rgb.jpg", "colour.png")] == [
        *(True, True, False),
    ]
    assert [
        read_picture_file(tmp_path / n, black_white)[1].colour_lost for n in ("l.png", "rgb.jpg", "colour.png")
    ] == [
        *(False, False, True),
    ]
