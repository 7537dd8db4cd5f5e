"""Files of labelled boxes, COCO JSON or YOLO text, as boxes in the frame of the network's input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.regular import read_bytes, read_text
from splitpoint.profiles.network.pictures.geometry import Placement, place_picture
from splitpoint.profiles.network.pictures.picture_files import picture_size

__all__ = ["find_labels", "with_boxes"]


def __dir__() -> list[str]:
    return __all__


Boxes = NDArray[np.float64]  # (M, 6): x0 y0 x1 y1 class iscrowd

CLASSES = "classes.txt"
COCO_LIMIT_BYTES = 2**30  # of labels: those of COCO itself have 450 MB
OUTSIDE = 0.01  # share of a side by which a box may end outside its picture: rounding of labelling tools


class _Picture(msgspec.Struct, frozen=True):
    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(msgspec.Struct, frozen=True):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]  # x y width height
    iscrowd: int = 0


class _Category(msgspec.Struct, frozen=True):
    id: int
    name: str = ""


class _Coco(msgspec.Struct, frozen=True):
    images: tuple[_Picture, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...] = ()


def find_labels(source: Path) -> tuple[Path, Path] | None:
    """The folders of pictures and of YOLO labels: `images` and `labels` inside `source`, or beside `source` itself."""
    if (source / "images").is_dir() and (source / "labels").is_dir():
        return source / "images", source / "labels"
    if source.name == "images" and (source.parent / "labels").is_dir():
        return source, source.parent / "labels"
    return None


def with_boxes(dataset: Dataset, labels: Path) -> Dataset:
    """`dataset`, read from a folder of pictures, with the boxes of a COCO JSON file or a folder of YOLO text files.

    Raises `ProfileError` naming file and line where labels are damaged or belong to other pictures.
    """
    names = [Path(sample.name) for sample in dataset.samples]
    missing = next((path for path in names if not path.is_file()), None)
    if missing is not None:
        raise ProfileError(
            "labels in files belong to a folder of pictures",
            at=dataset.source or str(missing),
            fix="data.source: a folder; or put the boxes into the .npz (docs/detection.md)",
        )
    placements = [place_picture(*picture_size(path), dataset.spec) for path in names]
    classes = _class_names(labels)
    if labels.is_dir():
        boxes = _from_text(labels, names, placements, classes)
    elif labels.suffix.lower() == ".json" and labels.is_file():
        boxes = _from_coco(labels, names, placements, classes)
    else:
        what = "is neither a folder nor a .json file" if labels.exists() else "does not exist"
        raise ProfileError(
            f"this {what}", at=str(labels), fix="labels: a COCO JSON file, or a folder of YOLO text files"
        )
    samples = tuple(_placed(s, b, p) for s, b, p in zip(dataset.samples, boxes, placements, strict=True))
    return dataclasses.replace(dataset, samples=samples, classes=classes)


def _placed(sample: Sample, boxes: Boxes, placement: Placement) -> Sample:
    """The sample with the boxes in the frame of the network's input, without those of which nothing is left there."""
    moved = placement.to_network(boxes)
    moved = moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
    return dataclasses.replace(sample, label=None, truth=moved)


def _class_names(labels: Path) -> tuple[str, ...] | None:
    """The lines of classes.txt in the folder of the labels or the one above it."""
    folder = labels if labels.is_dir() else labels.parent
    path = next((f / CLASSES for f in (folder, folder.parent) if (f / CLASSES).is_file()), None)
    if path is None:
        return None
    names = tuple(line.strip() for line in read_text(path).splitlines())
    if "" in names or len(set(names)) != len(names):
        raise ProfileError("a class name is empty or is listed twice", at=str(path))
    return names


def _from_text(
    folder: Path, pictures: Sequence[Path], placements: Sequence[Placement], classes: Sequence[str] | None
) -> list[Boxes]:
    """`stem`.txt for each picture; a picture without a file has no boxes."""
    files = [folder / f"{picture.stem}.txt" for picture in pictures]
    if not any(file.is_file() for file in files):
        raise ProfileError(
            f"none of {len(files)} pictures has a label file, such as {files[0].name}",
            at=str(folder),
            fix="one text file a picture, of the same name: class x y width height in shares of the picture",
        )
    twice = sorted({file.name for file in files if files.count(file) > 1})
    if twice:
        raise ProfileError(
            f"two pictures have the label file {twice[0]}", at=str(folder), fix="give pictures one name each"
        )
    return [_read_text(file, p.size, classes) for file, p in zip(files, placements, strict=True)]


def _read_text(file: Path, size: tuple[int, int], classes: Sequence[str] | None) -> Boxes:
    if not file.is_file():
        return np.zeros((0, 6))
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"this label file cannot be read: {error}", at=str(file)) from error
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            rows.append(_read_line(line, size, classes, at=f"{file}:{number}"))
    return np.array(rows, np.float64).reshape(-1, 6)


def _read_line(line: str, size: tuple[int, int], classes: Sequence[str] | None, *, at: str) -> list[float]:
    """Class and box, or class and the corners of a polygon, in shares of the picture."""
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise ProfileError(f"expected numbers, got {line.strip()[:60]!r}", at=at) from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ProfileError(f"expected class x y width height, got {len(values)} numbers", at=at)
    name, places = values[0], np.array(values[1:])
    if name < 0 or name != int(name):
        raise ProfileError(f"class {line.split()[0]} is no index", at=at)
    if classes is not None and name >= len(classes):
        raise ProfileError(f"class {name:.0f} of {len(classes)} in {CLASSES}", at=at)
    if len(values) == 5:
        low, high = places[:2] - places[2:] / 2, places[:2] + places[2:] / 2
    else:
        corners = places.reshape(-1, 2)
        low, high = corners.min(axis=0), corners.max(axis=0)
    good = np.isfinite(places).all() and (high >= low).all() and min(low) >= -OUTSIDE and max(high) <= 1 + OUTSIDE
    if not good:
        raise ProfileError(
            f"the box is not in the picture: x {low[0]:.3g} to {high[0]:.3g}, y {low[1]:.3g} to {high[1]:.3g}",
            at=at,
            fix="centre and size in shares of the picture, 0 to 1",
        )
    width, height = size
    return [low[0] * width, low[1] * height, high[0] * width, high[1] * height, name, 0]


def _from_coco(
    file: Path, pictures: Sequence[Path], placements: Sequence[Placement], classes: Sequence[str] | None
) -> list[Boxes]:
    """Boxes by file name; pictures of the file that are not planned with are left out."""
    coco = _read_coco(file)
    index = _class_indices(coco, classes, at=str(file))
    known: dict[str, _Picture] = {}
    for number, picture in enumerate(coco.images):
        name = Path(picture.file_name).name
        if name in known:
            raise ProfileError(f"two images have the file name {name}", at=f"{file}: $.images[{number}]")
        known[name] = picture
    boxes: dict[int, list[list[float]]] = {picture.id: [] for picture in coco.images}
    if len(boxes) != len(coco.images):
        raise ProfileError("two images have the same id", at=f"{file}: $.images")
    for number, row in enumerate(coco.annotations):
        at = f"{file}: $.annotations[{number}]"
        if row.image_id not in boxes:
            raise ProfileError(f"image_id {row.image_id} is no image of the file", at=at)
        if row.category_id not in index:
            raise ProfileError(f"category_id {row.category_id} is no category of the file", at=at)
        x, y, width, height = row.bbox
        if not np.isfinite(row.bbox).all() or width < 0 or height < 0:
            raise ProfileError(f"bbox {list(row.bbox)} is not x, y, width, height", at=at)
        boxes[row.image_id].append([x, y, x + width, y + height, index[row.category_id], row.iscrowd])
    result = []
    for path, placement in zip(pictures, placements, strict=True):
        if path.name not in known:
            raise ProfileError(f"{path.name} is not among the {len(known)} images of the file", at=str(file))
        _check_size(known[path.name], placement.size, at=str(file))
        result.append(np.array(boxes[known[path.name].id], np.float64).reshape(-1, 6))
    return result


def _read_coco(file: Path) -> _Coco:
    data = read_bytes(file, limit=COCO_LIMIT_BYTES)
    try:
        return msgspec.json.decode(data, type=_Coco)
    except msgspec.ValidationError as error:
        raise ProfileError(
            f"not COCO's JSON: {error}", at=str(file), fix="images, annotations and categories"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        position = "".join(c for c in str(error).rpartition("byte ")[2] if c.isdigit())
        line = data[: int(position)].count(b"\n") + 1 if position else 1 + data.count(b"\n")
        raise ProfileError(f"not JSON: {error}", at=f"{file}:{line}") from error


def _class_indices(coco: _Coco, classes: Sequence[str] | None, *, at: str) -> Mapping[int, int]:
    """Category id -> class: by name where there is a classes.txt, else in the order of the ids."""
    ids = sorted({category.id for category in coco.categories} or {row.category_id for row in coco.annotations})
    if classes is None:
        return {number: place for place, number in enumerate(ids)}
    unknown = [category.name for category in coco.categories if category.name not in classes]
    if unknown or not coco.categories:
        raise ProfileError(f"category {unknown[0] if unknown else ''!r} is not in {CLASSES}", at=at)
    return {category.id: classes.index(category.name) for category in coco.categories}


def _check_size(picture: _Picture, size: tuple[int, int], *, at: str) -> None:
    given = (picture.width or size[0], picture.height or size[1])
    if given != size:
        raise ProfileError(
            f"{picture.file_name} is {size[0]}x{size[1]}, its labels are of a picture {given[0]}x{given[1]}",
            at=at,
            fix="labels of these very pictures, upright",
        )
