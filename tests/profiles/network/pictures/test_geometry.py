"""Boxes follow their picture: a mark drawn at a place lies, after reading, where the placement says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitpoint.profiles.network.inputs import InputSpec, read_picture
from splitpoint.profiles.network.pictures.geometry import place_picture

SPECS = {
    "exact": InputSpec(size=(64, 96), resize="exact"),
    "cover": InputSpec(size=64),
    "resize": InputSpec(size=48, resize=64),
    "letterbox": InputSpec(size=64, letterbox=114),
    "corner": InputSpec(size=(96, 64), letterbox=0, letterbox_at="corner"),
    "one-sided": InputSpec(size=(50, 70), letterbox=7),
}
SIZES = [(200, 100), (100, 200), (123, 77), (64, 64), (40, 30)]
EDGE = 1.5  # pixels: a bilinear resize blurs the mark's edges


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_mark_is_where_its_box_is(spec: InputSpec, size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    box = np.array([[0.4 * width, 0.35 * height, 0.7 * width, 0.8 * height]]).round()
    x0, y0, x1, y1 = box[0].astype(int)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 1] = 60  # everywhere, so that letterbox padding is not part of it
    picture[y0:y1, x0:x1, 0] = 255
    Image.fromarray(picture).save(tmp_path / "a.png")
    read = read_picture(tmp_path / "a.png", spec)
    mark = (read[..., 0].astype(int) - read[..., 1]) > 67  # above half way from 0 to 255, without the padding's grey
    rows, columns = np.flatnonzero(mark.any(axis=1)), np.flatnonzero(mark.any(axis=0))
    got = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert place_picture(width, height, spec).to_network(box)[0] == pytest.approx(got, abs=EDGE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_there_and_back(spec: InputSpec, size: tuple[int, int]) -> None:
    """Of what is visible; a crop hides the rest."""
    width, height = size
    placement = place_picture(width, height, spec)
    frame = np.array([[0, 0, *placement.frame, 7.0, 0]])
    visible = placement.to_picture(frame)[0, :4]
    rng = np.random.default_rng(0)
    shares = np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4)
    boxes = visible[[0, 1, 0, 1]] + shares * np.tile(visible[2:] - visible[:2], 2)
    assert placement.to_picture(placement.to_network(boxes)) == pytest.approx(boxes)
    assert (visible >= 0).all()
    assert (visible <= [width, height, width, height]).all()


def test_what_a_crop_cuts_is_clipped_and_other_columns_stay() -> None:
    placement = place_picture(200, 100, InputSpec(size=100))  # 50 columns are cut on either side
    boxes = np.array([[0, 0, 100, 100, 3, 1], [0, 10, 40, 20, 4, 0]], np.float64)
    assert placement.to_network(boxes).tolist() == [[0, 0, 50, 100, 3, 1], [0, 10, 0, 20, 4, 0]]


def test_by_hand() -> None:
    """640x480 letterboxed to 416: scale 0.65, 52 rows above."""
    placement = place_picture(640, 480, InputSpec(size=416, letterbox=114))
    assert (placement.resized, placement.offset) == ((416, 312), (0, 52))
    assert placement.to_network(np.array([[100, 200, 300, 400.0]]))[0] == pytest.approx([65, 182, 195, 312])
