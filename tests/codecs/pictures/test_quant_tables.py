"""Quantization tables of JPEG that follow a network: the steps in the file, what they weigh, and what they save."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.dct import dct
from splitpoint.codecs.contract.protocol import FitError
from splitpoint.codecs.pictures.picture import PICTURES, Picture
from splitpoint.codecs.pictures.quant_tables import LARGEST_STEP, STANDARD, QuantTables, fit_tables, scale_tables

Array = np.ndarray[Any, Any]
CODEC = PICTURES["jpeg-task"]
DCT = dct(8)
# T.871: levels (R, G, B) of a unit of Y, of Cb and of Cr.
COLOURS = np.array([[1, 1, 1], [0, -0.344136, 1.772], [1.402, -0.714136, 0]])


def gradients(seed: int = 0, *, channels: int = 3, count: int = 6, size: tuple[int, int] = (24, 32)) -> Array:
    """Smooth noise: low frequencies move the outputs more than high ones."""
    noise = np.random.default_rng(seed).normal(size=(count, *size, channels))
    return np.asarray(noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2) + np.roll(noise, 2, 1))


def pattern(v: int, u: int, colour: Array) -> Array:
    """A gradient (1, 16, 16, 3) at one frequency, vertical v and horizontal u, of every block."""
    block = np.outer(DCT[v], DCT[u])
    return np.asarray(np.tile(block, (2, 2))[None, :, :, None] * colour)


def photo(height: int = 48, width: int = 67) -> Picture:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / 9 + c) + 50 * np.cos(y / 7 - c) for c in range(3)]
    noise = np.random.default_rng(1).normal(scale=9, size=(height, width, 3))
    return np.asarray(np.clip(np.stack(waves, axis=2) + noise, 0, 255), np.uint8)


@pytest.mark.parametrize("shape", [(48, 67, 3), (9, 8, 1), (1, 1, 3)])
def test_with_the_tables_of_the_standard_it_is_jpeg(shape: tuple[int, int, int]) -> None:
    x = photo(*shape[:2])[..., : shape[2]]
    for rate in range(len(CODEC.rates)):
        assert CODEC.encode(x, rate) == PICTURES["jpeg"].encode(x, rate)


@pytest.mark.parametrize("channels", [3, 1])
def test_any_decoder_finds_the_tables_in_the_file(channels: int) -> None:
    tables, x = fit_tables(gradients(channels=channels)), photo()[..., :channels]
    codec = CODEC.with_tables(tables)
    for rate, each in enumerate(codec.rates):
        data = codec.encode(x, rate)
        with Image.open(io.BytesIO(data)) as image:
            found = [list(table) for table in image.quantization.values()]  # type: ignore[attr-defined]
            pixels = np.asarray(image)
        assert found == list(scale_tables(tables, int(each.value)))[: 2 if channels == 3 else 1]
        assert all(1 <= step <= 255 for table in found for step in table)
        decoded = CODEC.decode(data, x.shape[:2], channels=channels)  # the server's, which has no tables
        assert np.array_equal(decoded, pixels.reshape(x.shape))


@pytest.mark.parametrize(("v", "u"), [(0, 0), (0, 3), (3, 0), (7, 7)])
@pytest.mark.parametrize("plane", [0, 1, 2])
def test_what_moves_the_network_gets_the_finest_step(v: int, u: int, plane: int) -> None:
    """A dual basis of the colours: the gradient changes the output with one plane only."""
    moved = 20 * pattern(v, u, np.linalg.inv(COLOURS)[:, plane]) + 0.1 * gradients(count=1, size=(16, 16))
    tables = fit_tables(moved)
    fine, coarse = (tables.luma, tables.chroma) if plane == 0 else (tables.chroma, tables.luma)
    assert np.argmin(fine) == 8 * v + u
    assert fine[8 * v + u] < 0.2 * min(step for k, step in enumerate(fine) if k != 8 * v + u)
    assert fine[8 * v + u] < 0.2 * min(coarse)


def test_what_the_network_does_not_react_to_gets_the_coarsest_step() -> None:
    moved = sum(pattern(v, u, COLOURS[0]) for v in range(3) for u in range(3))
    luma = np.reshape(fit_tables(np.asarray(moved)).luma, (8, 8))
    assert (luma[3:] == LARGEST_STEP).all()
    assert (luma[:, 3:] == LARGEST_STEP).all()
    assert len(np.unique(luma[:3, :3])) == 1
    assert luma[0, 0] < 100


@pytest.mark.parametrize("channels", [3, 1])
def test_the_network_sees_as_much_noise_as_with_the_tables_of_the_standard(channels: int) -> None:
    """Uniform noise in the coefficients, as pixels, times the gradients: by another way than the fit's."""
    moved = gradients(channels=channels, count=40, size=(16, 16))
    rng = np.random.default_rng(3)

    def seen(tables: QuantTables) -> float:
        steps = [np.reshape(table, (8, 8)) for table in (tables.luma, tables.chroma, tables.chroma)][:channels]
        noise = rng.uniform(-0.5, 0.5, (500, channels, 2, 2, 8, 8)) * np.array(steps)[None, :, None, None]
        pixels = (DCT.T @ noise @ DCT).transpose(0, 2, 4, 3, 5, 1).reshape(500, 16, 16, channels)
        levels = pixels @ COLOURS if channels == 3 else pixels
        return float(np.square(levels.reshape(500, -1) @ moved.reshape(40, -1).T).mean())

    assert seen(fit_tables(moved)) == pytest.approx(seen(STANDARD), rel=0.05)


def test_the_edge_of_a_picture_is_a_part_of_a_block() -> None:
    """Blocks begin at the corner, and what a block has beyond the picture moves nothing."""
    moved = gradients(size=(20, 12))
    padded = np.pad(moved, ((0, 0), (0, 4), (0, 4), (0, 0)))
    assert fit_tables(moved) == fit_tables(padded)
    assert fit_tables(moved) != fit_tables(moved[:, :16, :8])
    assert fit_tables(moved) != fit_tables(np.pad(moved, ((0, 0), (4, 0), (4, 0), (0, 0))))
    assert min(fit_tables(moved[:, :3, :5]).luma) >= 1


def test_tables_do_not_depend_on_the_gradients_scale() -> None:
    assert fit_tables(1e-6 * gradients()) == fit_tables(1e6 * gradients()) != STANDARD


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_network_that_does_not_react_has_no_tables(value: float) -> None:
    with pytest.raises(FitError, match="the outputs do not depend on the picture's levels"):
        fit_tables(np.full((2, 8, 8, 3), value))


def test_only_it_is_fitted() -> None:
    assert [name for name, codec in PICTURES.items() if codec.weighted] == ["jpeg-task"]
