"""The input block, reading pictures, and the step from a picture to the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import (
    InputSpec,
    check_against,
    guess_spec,
    guess_specs,
    level_gradients,
    preprocess,
    read_picture,
)

RNG = np.random.default_rng(0)
LITE0 = InputSpec(size=224, mean=127.0, std=128.0)


def save(path: Path, pixels: np.ndarray[Any, Any], **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def block(**fields: Any) -> InputSpec:
    return msgspec.convert(fields, InputSpec)


def test_a_picture_of_the_right_size_is_read_unchanged(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    spec = InputSpec(size=(24, 32))
    assert np.array_equal(read_picture(save(tmp_path / "a.png", pixels), spec), pixels)
    assert np.array_equal(preprocess(pixels, spec)[0], pixels.transpose(2, 0, 1).astype(np.float32))


def test_exif_rotation_is_respected(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 270 degrees
    path = save(tmp_path / "a.png", pixels, exif=exif)
    assert np.array_equal(read_picture(path, InputSpec(size=(30, 20))), np.rot90(pixels, 3))


def test_resize_and_center_crop_follow_pillow(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (100, 150, 3), dtype=np.uint8)
    path = save(tmp_path / "a.png", pixels)
    got = read_picture(path, InputSpec(size=32, resize=40))
    expected = Image.fromarray(pixels).resize((60, 40), Image.Resampling.BILINEAR).crop((14, 4, 46, 36))
    assert np.array_equal(got, np.asarray(expected))


def test_letterbox_keeps_the_aspect_and_pads(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((50, 100, 3), 200, np.uint8))
    corner = read_picture(path, InputSpec(size=64, letterbox=114, letterbox_at="corner"))
    assert (corner[:32] == 200).all()
    assert (corner[32:] == 114).all()
    center = read_picture(path, InputSpec(size=64, letterbox=114))
    assert (center[16:48] == 200).all()
    assert (center[:16] == 114).all()


def test_crop_none_refuses_another_aspect(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", np.zeros((50, 100, 3), np.uint8))
    with pytest.raises(ProfileError, match=r"resized to 64x32.*takes 32x32[\s\S]*wide.png"):
        read_picture(path, InputSpec(size=32, crop="none"))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I"])
@pytest.mark.parametrize("color", ["rgb", "gray"])
def test_every_pixel_mode_becomes_uint8(tmp_path: Path, mode: str, color: str) -> None:
    value: Any = {"1": 1, "L": 255, "P": 0, "I;16": 65535, "I": 65535}.get(mode, (255,) * len(mode))
    if mode == "CMYK":
        value = (0, 0, 0, 0)
    image = Image.new(mode, (16, 16), value)
    if mode == "P":
        image.putpalette([255, 255, 255] * 256)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I") else "a.png")
    image.save(path)
    picture = read_picture(path, block(size=8, color=color))
    assert picture.shape == (8, 8, 1 if color == "gray" else 3)
    assert (picture == 255).all()


def test_transparent_pixels_are_shown_on_white(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((8, 8, 4), np.uint8))
    assert (read_picture(path, InputSpec(size=8)) == 255).all()


def test_damaged_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.jpg", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:800])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, what in [
        ("cut.jpg", "damaged"),
        ("text.png", "not a picture"),
        ("empty.png", "not a picture"),
        ("no.png", "no such"),
    ]:
        with pytest.raises(ProfileError, match=what) as caught:
            read_picture(tmp_path / name, LITE0)
        assert caught.value.at == str(tmp_path / name)


@given(
    level=st.integers(0, 255),
    mean=st.floats(-300, 300).filter(lambda m: not 0 < m <= 1),
    std=st.floats(0.01, 500),
    scale=st.sampled_from([1.0, 255.0]),
)
def test_values_are_the_formula_rounded_once(level: int, mean: float, std: float, scale: float) -> None:
    spec = InputSpec(size=2, scale=scale, mean=mean, std=std)
    got = preprocess(np.full((2, 2, 3), level, np.uint8), spec)
    assert got.dtype == np.float32
    assert (got == np.float32((level / scale - mean) / std)).all()


def test_channel_order_layout_and_dtype() -> None:
    picture = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    bgr = preprocess(picture, InputSpec(size=(4, 6), color="bgr", mean=(10.0, 20.0, 30.0)))
    assert bgr.shape == (1, 3, 4, 6)
    assert np.array_equal(bgr[0, 0], picture[:, :, 2].astype(np.float32) - 10)
    nhwc = preprocess(picture, InputSpec(size=(4, 6), layout="NHWC", dtype="uint8"))
    assert np.array_equal(nhwc, picture[None])
    assert nhwc.dtype == np.uint8


def test_preprocess_refuses_another_size_or_type() -> None:
    with pytest.raises(ProfileError, match=r"\(224, 224, 3\) of uint8, got \(10, 10, 3\)"):
        preprocess(np.zeros((10, 10, 3), np.uint8), LITE0)
    with pytest.raises(ProfileError, match="float64"):
        preprocess(np.zeros((224, 224, 3)), LITE0)  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"kind": "image"}, "needs its size"),
        ({"kind": "tensor", "size": 8}, "size is not for an input of kind: tensor"),
        ({"size": 8, "mean": [1.5, 2]}, "needs 1 or 3 numbers"),
        ({"size": 8, "std": 0}, "above 0"),
        ({"size": 8, "mean": float("nan")}, "finite"),
        ({"size": 8, "scale": -1}, "scale must be"),
        ({"size": 8, "dtype": "uint8", "scale": 255}, "as it is"),
        ({"size": 8, "dtype": "int64"}, "int64"),
        ({"size": 8, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, "scale: 255"),
        ({"size": 8, "resize": 4}, "smaller than"),
        ({"size": 8, "colour": "rgb"}, "colour"),
        ({"size": 0}, "1 to 16384"),
    ],
)
def test_contradictions_are_refused_at_the_edge(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=what):
        msgspec.convert(fields, InputSpec)


def test_check_against_says_expected_and_got_and_the_fix() -> None:
    check_against(LITE0, name="x", shape=(1, 3, 224, 224), dtype="float32")
    with pytest.raises(ProfileError, match="takes 1x3x192x192, the input block makes 1x3x224x224"):
        check_against(LITE0, name="x", shape=(1, 3, 192, 192), dtype="float32")
    with pytest.raises(ProfileError, match="layout: NHWC"):
        check_against(LITE0, name="x", shape=(1, 224, 224, 3), dtype="float32")
    with pytest.raises(ProfileError, match="dtype: uint8"):
        check_against(LITE0, name="x", shape=(1, 3, 224, 224), dtype="uint8")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 3, 64, 48), "float32"), ((1, 48, 64, 1), "float32"), ((1, 64, 64, 3), "uint8"), ((1, 10), "float32")],
)
def test_each_guess_fits_the_model_and_is_said(shape: tuple[int, ...], dtype: str) -> None:
    for spec, text in guess_specs(shape, dtype):
        check_against(spec, name="x", shape=shape, dtype=dtype)
        assert text.startswith("assumed")
    assert guess_spec(shape, dtype)[0] == guess_specs(shape, dtype)[0][0]


def test_no_guess_for_an_unknown_type() -> None:
    with pytest.raises(ProfileError, match="complex64"):
        guess_spec((1, 4), "complex64")


def test_a_picture_that_resizing_would_blow_up_is_refused(tmp_path: Path) -> None:
    Image.new("L", (1, 6000)).save(tmp_path / "line.png")  # 224 wide it would be 1,344,000 high
    with pytest.raises(ProfileError, match=r"1x6000 is resized to 224x1344000 pixels .* at most 268435456"):
        read_picture(tmp_path / "line.png", InputSpec(size=224))
    picture = read_picture(tmp_path / "line.png", InputSpec(size=224, letterbox=0))
    assert picture.shape == (224, 224, 3)


@pytest.mark.parametrize("numbers", [{"scale": 1e-300}, {"std": 1e-300}, {"dtype": "float16", "std": 0.001}])
def test_levels_beyond_the_inputs_type_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ProfileError, match="make levels that float"):
        InputSpec(size=8, **numbers)


@pytest.mark.parametrize(
    "fields",
    [
        {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "scale": 255.0},
        {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "scale": 255.0, "color": "bgr"},
        {"std": 64.0, "layout": "NHWC", "color": "bgr"},
        {"mean": 127.0, "std": 128.0, "layout": "NHWC"},
        {"std": 2.0, "color": "gray"},
    ],
)
def test_gradients_by_the_levels_are_those_of_what_a_level_moves(fields: dict[str, Any]) -> None:
    """Of a linear function of the input: a level more changes it by the gradient."""
    spec, rng = block(size=(4, 6), **fields), np.random.default_rng(0)
    picture = rng.integers(0, 255, (4, 6, spec.channels), np.uint8)
    weight = rng.normal(size=spec.shape)
    before = float((weight * preprocess(picture, spec)).sum())
    found = level_gradients(weight, spec)
    assert found.shape == (1, *picture.shape)
    for place in np.ndindex(picture.shape):
        moved = picture.copy()
        moved[place] += 1
        change = float((weight * preprocess(moved, spec)).sum()) - before
        assert found[0][place] == pytest.approx(change, rel=1e-3, abs=1e-6)
