"""Masks of pictures: a folder of PNG files with the pictures' names, one class number a pixel."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from splitpoint.planner.samples.dataset import Dataset
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import read_mask

__all__ = ["attach_masks"]


def __dir__() -> list[str]:
    return __all__


def attach_masks(dataset: Dataset, folder: Path) -> Dataset:
    """The pictures of a folder, each with the mask of the same stem as its truth; 255 in a mask is not counted.

    A mask lies directly in `folder`, or below it where the picture lies below its own folder. Class folders and
    labels.csv of the pictures are not labels any more. Raises `ProfileError` that names the first mask that is missing.
    """
    if not folder.is_dir():
        raise ProfileError("there is no such folder of masks", at=str(folder), fix="--labels DIR, or data.labels: DIR")
    root = Path(dataset.source)
    if not root.is_dir():
        raise ProfileError(
            "masks in a folder belong to pictures in a folder", at=dataset.source, fix="put y (N, H, W) into the .npz"
        )
    samples = []
    for sample in dataset.samples:
        picture = Path(sample.name)
        below = folder / picture.relative_to(root).with_suffix(".png")
        path = below if below.is_file() else folder / f"{picture.stem}.png"
        truth = read_mask(path, picture, dataset.spec)
        samples.append(dataclasses.replace(sample, label=None, truth=truth))
    return dataclasses.replace(dataset, samples=tuple(samples), classes=None)
