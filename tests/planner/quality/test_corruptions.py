"""Corrupted inputs: same shape and type, finite, in range, the same for the same seed; and each is what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from splitpoint.planner.quality.corruptions import CORRUPTIONS, IMPULSES, NOISE, corrupt, corruption_names

Array = NDArray[Any]
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(60, 190, (48, 40, 3), np.uint8)  # far from black and white: impulses can be counted
FLOATS = RNG.normal(loc=3, scale=2, size=(1, 4, 30, 30)).astype(np.float32)
TOKENS = RNG.integers(5, 900, (1, 400), np.int64)


def one(name: str, array: Array, *, seed: int = 0, picture: bool = False) -> Array:
    return corrupt({"": array}, name, seed, picture=picture)[""]


INPUTS: list[tuple[str, Array]] = [
    ("picture", PICTURE),
    ("picture", PICTURE[:, :, :1]),
    ("float", FLOATS),
    ("float", FLOATS.astype(np.float16)),
    ("float", np.full((1, 3), np.finfo(np.float32).max, np.float32)),
    ("float", np.array([[-1e308, 1e308]])),
    ("float", np.zeros((1, 5), np.float32)),
    ("float", np.zeros((1, 0), np.float32)),
    ("integer", TOKENS),
    ("integer", TOKENS.astype(np.int32)),
    ("integer", np.array([[0, np.iinfo(np.uint64).max]], np.uint64)),
    ("integer", np.array([[np.iinfo(np.int64).min, 3]])),
    ("integer", RNG.random((1, 50)) < 0.5),
    ("integer", np.zeros((1, 0), np.int64)),
]


@pytest.mark.parametrize(("kind", "array"), INPUTS)
def test_shape_type_range_and_seed(kind: str, array: Array) -> None:
    names = corruption_names({"": array}, picture=kind == "picture")
    assert names == tuple(CORRUPTIONS[kind])  # type: ignore[index]  # one of its keys
    before = array.copy()
    for name in names:
        got = one(name, array, picture=kind == "picture")
        assert (got.shape, got.dtype) == (array.shape, array.dtype)
        assert kind != "float" or np.isfinite(got).all()
        assert kind != "integer" or not array.size or array.min() <= got.min() <= got.max() <= array.max()
        np.testing.assert_array_equal(got, one(name, array, picture=kind == "picture"))
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(("kind", "array"), [("picture", PICTURE), ("float", FLOATS), ("integer", TOKENS)])
def test_every_corruption_changes_its_input_and_noise_depends_on_the_seed(kind: str, array: Array) -> None:
    for name in corruption_names({"": array}, picture=kind == "picture"):
        got, other = (one(name, array, seed=seed, picture=kind == "picture") for seed in (0, 2))
        assert not np.array_equal(got, array), name
        drawn = name not in ("inverted", "scaled by 2", "checkerboard")
        assert not drawn or not np.array_equal(got, other), name


def test_pictures() -> None:
    got = {name: one(name, PICTURE, picture=True) for name in CORRUPTIONS["picture"]}
    black_or_white = np.isin(got["impulse noise"], (0, 255))
    assert black_or_white.mean() == pytest.approx(IMPULSES, abs=0.03)  # 4 standard deviations of 5,760 draws
    np.testing.assert_array_equal(got["impulse noise"][~black_or_white], PICTURE[~black_or_white])
    middle = np.full((200, 200, 3), 128, np.uint8)
    error = one("gaussian noise", middle, picture=True).astype(float) - 128
    assert np.abs(error).mean() == pytest.approx(
        np.minimum(np.abs(RNG.normal(scale=NOISE, size=10**6)), 127.5).mean(), rel=0.02
    )
    np.testing.assert_array_equal(got["inverted"].astype(int) + PICTURE, 255)
    board = got["checkerboard"].astype(int)
    assert set(np.unique(board)) == {0, 255}
    assert (np.abs(np.diff(board, axis=0)) == 255).all()
    assert (np.abs(np.diff(board, axis=1)) == 255).all()
    assert got["random pixels"].mean() == pytest.approx(127.5, abs=4)  # 4 standard deviations


def test_tensors() -> None:
    noise = one("gaussian noise", FLOATS) - FLOATS
    assert noise.std() == pytest.approx(FLOATS.std(), rel=0.05)
    np.testing.assert_array_equal(one("scaled by 2", FLOATS), 2 * FLOATS)
    for array in (FLOATS, TOKENS):
        np.testing.assert_array_equal(np.sort(one("shuffled", array), None), np.sort(array, None))
    assert len(np.unique(one("uniform", TOKENS))) > 250  # of 895 tokens, 400 drawn: 320 expected


def test_several_tensors_each_by_its_kind() -> None:
    arrays: dict[str, Array] = {"ids": TOKENS, "x": FLOATS}
    assert corruption_names(arrays) == ("gaussian noise", "shuffled", "scaled by 2", "uniform")
    noisy, uniform = corrupt(arrays, "gaussian noise", 1), corrupt(arrays, "uniform", 1)
    np.testing.assert_array_equal(noisy["ids"], TOKENS)
    np.testing.assert_array_equal(uniform["x"], FLOATS)
    assert not np.array_equal(noisy["x"], FLOATS)
    with pytest.raises(KeyError):
        corrupt(arrays, "blur", 1)
