"""Masks of pictures: found by name, moved as the picture is, and refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.samples.masks import attach_masks
from splitpoint.planner.samples.readers import load_folder
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

SPEC = InputSpec(size=8, resize="exact", color="gray", resample="nearest")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """pictures/ and masks/ whose grey levels are the same, so that equal geometry gives equal arrays."""
    rng = np.random.default_rng(0)
    for folder in ("pictures", "masks"):
        (tmp_path / folder).mkdir()
    for name, size in (("a", (12, 8)), ("b", (16, 24)), ("c", (8, 8))):
        levels = rng.integers(0, 200, size).astype(np.uint8)
        Image.fromarray(levels).save(tmp_path / "pictures" / f"{name}.bmp")
        Image.fromarray(levels).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


def masks(folder: Path, spec: InputSpec = SPEC) -> list[Array]:
    data = attach_masks(load_folder(folder / "pictures", spec), folder / "masks")
    assert data.labelled
    return [np.asarray(sample.truth) for sample in data.samples]


@pytest.mark.parametrize(
    "changes",
    [
        {"resize": "exact"},
        {"resize": "cover"},
        {"resize": 10},
        {"letterbox": 255},
        {"letterbox": 255, "letterbox_at": "corner"},
    ],
)
def test_a_mask_goes_where_its_picture_goes(folders: Path, changes: dict[str, object]) -> None:
    spec = msgspec.structs.replace(SPEC, **changes)
    pictures = load_folder(folders / "pictures", spec)
    for sample, mask in zip(pictures.samples, masks(folders, spec), strict=True):
        assert sample.picture is not None
        np.testing.assert_array_equal(mask, sample.picture[:, :, 0])


def test_what_is_padded_is_not_counted_whatever_the_picture_is_padded_with(folders: Path) -> None:
    padded = masks(folders, msgspec.structs.replace(SPEC, letterbox=0))[0]  # 12 rows by 8 columns
    assert (padded[:, [0, 7]] == 255).all()
    assert (padded[:, 2:6] < 255).all()


def test_values_are_never_mixed(folders: Path) -> None:
    rough = msgspec.structs.replace(SPEC, resample="bilinear")
    for name, mask in zip("abc", masks(folders, rough), strict=True):
        assert set(np.unique(mask)) <= set(np.unique(np.asarray(Image.open(folders / "masks" / f"{name}.png"))))


def test_a_palette_gives_its_numbers(folders: Path) -> None:
    numbers = np.arange(64, dtype=np.uint8).reshape(8, 8) % 5
    image = Image.fromarray(numbers).convert("P")
    image.putdata(numbers.ravel().tolist())
    image.putpalette([200, 10, 10] * 256)
    image.save(folders / "masks" / "c.png")
    np.testing.assert_array_equal(masks(folders)[2], numbers)


def test_class_folders_are_no_labels_beside_masks(folders: Path) -> None:
    for name, street in (("a", "x"), ("b", "y"), ("c", "y")):
        (folders / "pictures" / street).mkdir(exist_ok=True)
        (folders / "pictures" / f"{name}.bmp").rename(folders / "pictures" / street / f"{name}.bmp")
    data = attach_masks(load_folder(folders / "pictures", SPEC), folders / "masks")
    assert data.labels is None
    (folders / "masks" / "y").mkdir()
    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(folders / "masks" / "y" / "c.png")  # nearer than c.png
    data = attach_masks(load_folder(folders / "pictures", SPEC), folders / "masks")
    assert np.asarray(data.samples[2].truth).max() == 77


def test_what_is_no_mask_is_named(folders: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(folders / "masks" / "a.png")
    with pytest.raises(ProfileError, match=r"the mask is 12x8, its picture 8x12 \(width x height\)"):
        masks(folders)
    Image.fromarray(np.zeros((12, 8, 3), np.uint8)).save(folders / "masks" / "a.png")
    with pytest.raises(ProfileError, match="expected a mask of class numbers"):
        masks(folders)
    (folders / "masks" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nshort")
    with pytest.raises(ProfileError, match="this mask is damaged"):
        masks(folders)
    (folders / "masks" / "a.png").unlink()
    with pytest.raises(ProfileError, match=r"no mask of a\.bmp") as caught:
        masks(folders)
    assert str(caught.value.at).endswith("masks/a.png")
    with pytest.raises(ProfileError, match="no such folder of masks"):
        attach_masks(load_folder(folders / "pictures", SPEC), folders / "absent")
