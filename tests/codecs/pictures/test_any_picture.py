"""Any picture at any quality is coded and comes back in its size: noise, extremes, 1x1 to 4000x3000."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.codecs.pictures.picture import LARGEST_SIDE, PICTURES, Picture
from splitpoint.codecs.pictures.tiles import decode_picture, encode_picture

HERE = [name for name, codec in PICTURES.items() if codec.refuses() is None]
CONTENTS = ("noise", "black and white", "checkers", "black", "white", "one pixel", "columns")


def picture(content: str, height: int, width: int, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    x = np.zeros((height, width, 3), np.uint8)
    if content == "noise":
        x = rng.integers(0, 256, x.shape, np.uint8)
    elif content == "black and white":
        x = (255 * rng.integers(0, 2, x.shape)).astype(np.uint8)
    elif content == "checkers":
        x[(rows + columns) % 2 == 1] = 255
    elif content == "white":
        x[:] = 255
    elif content == "one pixel":
        x[rng.integers(height), rng.integers(width)] = 255
    elif content == "columns":
        x[:, ::2] = (255, 0, 255)
    return x


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("content", CONTENTS)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 9), data=st.data())
@settings(max_examples=8)
def test_every_picture_is_coded_at_every_quality(
    name: str, content: str, height: int, width: int, seed: int, data: Any
) -> None:
    codec = PICTURES[name]
    x = picture(content, height, width, seed)
    rate = data.draw(st.integers(0, len(codec.rates) - 1))
    y = codec.decode(codec.encode(x, rate), (height, width))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert name != "png" or np.array_equal(x, y)


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1)])
def test_narrow_pictures_are_coded_at_all_qualities(name: str, size: tuple[int, int]) -> None:
    for rate in range(len(PICTURES[name].rates)):
        x = picture("noise", *size)
        assert PICTURES[name].decode(PICTURES[name].encode(x, rate), size).shape == x.shape


@pytest.mark.parametrize("content", ["noise", "black and white"])
@pytest.mark.parametrize("name", ["jpeg", "jpeg-420", "jpeg-1of2"])
def test_large_grainy_pictures_at_both_ends_of_the_qualities(name: str, content: str) -> None:
    x = picture(content, 3000, 4000)
    for rate in (0, len(PICTURES[name].rates) - 1):
        assert PICTURES[name].decode(PICTURES[name].encode(x, rate), (3000, 4000)).shape == x.shape


@pytest.mark.parametrize("name", [name for name in ("webp", "avif") if name in HERE])
def test_a_large_picture_in_slow_formats(name: str) -> None:
    x = picture("noise", 1000, 1300)
    assert PICTURES[name].decode(PICTURES[name].encode(x, 8), (1000, 1300)).shape == x.shape


@pytest.mark.slow
@pytest.mark.parametrize("name", HERE)
def test_every_format_at_4000_by_3000(name: str) -> None:
    x = picture("noise", 3000, 4000)
    for rate in range(len(PICTURES[name].rates)):
        assert PICTURES[name].decode(PICTURES[name].encode(x, rate), (3000, 4000)).shape == x.shape


@pytest.mark.parametrize("name", [name for name in HERE if name != "png"])
def test_a_side_beyond_the_format_is_refused_by_name(name: str) -> None:
    codec = PICTURES[name]
    most = LARGEST_SIDE[codec.format]
    longest = int(most / codec.scale)
    assert codec.refuses((1, longest)) is None
    assert f"the format takes {most}" in str(codec.refuses((1, longest + 2)))
    with pytest.raises(CodecError, match="pixels a side"):
        codec.encode(picture("black", 1, longest + 2), 0)


def test_the_longest_sides_are_really_coded() -> None:
    for name in HERE:
        most = LARGEST_SIDE[PICTURES[name].format]
        if most < 2**20 and PICTURES[name].scale == 1:
            x = picture("noise", 2, most)
            assert PICTURES[name].decode(PICTURES[name].encode(x, 0), (2, most)).shape == x.shape


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg"])
@given(
    height=st.integers(1, 90), width=st.integers(1, 90), quality=st.integers(1, 95), content=st.sampled_from(CONTENTS)
)
@settings(max_examples=25)
def test_every_grey_picture_is_coded_as_tiles(kind: str, height: int, width: int, quality: int, content: str) -> None:
    grey = np.ascontiguousarray(picture(content, height, width)[:, :, 0])
    options = {"quality": quality} if kind != "png" else {}
    y = decode_picture(encode_picture(grey, kind, options), kind, (height, width))
    assert (y.shape, y.dtype) == (grey.shape, grey.dtype)


def test_what_libjpeg_cannot_optimize_is_what_it_codes_without() -> None:
    x = picture("black and white", 224, 224)
    buffer = io.BytesIO()
    Image.fromarray(x).save(buffer, "JPEG", quality=95, subsampling="4:4:4")
    assert PICTURES["jpeg"].encode(x, 8) == buffer.getvalue()
