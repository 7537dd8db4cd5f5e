"""Boxes of COCO JSON and YOLO text: in the frame of the network's input, and errors that name file and line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from splitpoint.planner.plandir.report import report_bytes
from splitpoint.planner.samples.box_labels import find_labels, with_boxes
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.samples.readers import load_folder
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

SPEC = InputSpec(size=64, letterbox=114)  # of 128x64: halved, 16 rows above and below
WIDTH, HEIGHT = 128, 64
EIGHT = b"\xff\xd8"  # how a JPEG begins


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (WIDTH, HEIGHT), (9, 9, 9)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n\n0 0.125 0.25 0.25 0.5\n")
    (tmp_path / "labels" / "b.txt").write_text("")
    return tmp_path


def loaded(folder: Path, labels: str = "labels", spec: InputSpec = SPEC) -> Dataset:
    return with_boxes(load_folder(folder / "images", spec), folder / labels)


def truth(dataset: Dataset, index: int = 0) -> list[list[float]]:
    boxes = dataset.samples[index].truth
    assert boxes is not None
    rows: list[list[float]] = boxes.tolist()
    return rows


def coco(folder: Path, **changes: Any) -> dict[str, Any]:
    """The boxes of a.txt, with category ids in another order, and a crowd in b."""
    document = {
        "info": {},
        "images": [
            {"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 9, "file_name": "some/folder/b.png"},
            {"id": 3, "file_name": "c.png"},
            {"id": 4, "file_name": "elsewhere.png"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 44, "bbox": [48, 16, 32, 32], "iscrowd": 0, "area": 1.0},
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [0, 0, 32, 32]},
            {"id": 3, "image_id": 9, "category_id": 5, "bbox": [0, 0, 128, 64], "iscrowd": 1},
        ],
        "categories": [{"id": 44, "name": "cat"}, {"id": 5, "name": "dog"}],
    } | changes
    (folder / "boxes.json").write_text(json.dumps(document))
    return document


EXPECTED = [[24, 24, 40, 40, 1, 0], [0, 16, 16, 32, 0, 0]]


def test_text_is_read_into_the_frame_of_the_network(folder: Path) -> None:
    data = loaded(folder)
    assert [truth(data, i) for i in range(3)] == [EXPECTED, [], []]
    assert data.labelled


def test_json_is_read_alike_and_keeps_crowds(folder: Path) -> None:
    coco(folder)
    data = loaded(folder, "boxes.json")
    assert [truth(data, i) for i in range(3)] == [EXPECTED, [[0, 16, 64, 48, 0, 1]], []]


def test_classes_txt_gives_the_order_of_classes(folder: Path) -> None:
    coco(folder)
    (folder / "classes.txt").write_text("bird\ncat\ndog\n")
    data = loaded(folder, "boxes.json")
    assert [row[4] for row in truth(data)] == [1, 2]
    assert data.classes == ("bird", "cat", "dog")


def test_a_polygon_is_the_box_around_it(folder: Path) -> None:
    (folder / "labels" / "a.txt").write_text("1 0.4 0.25 0.6 0.3 0.5 0.75\n")
    assert truth(loaded(folder))[0] == pytest.approx([25.6, 24, 38.4, 40, 1, 0])


def test_what_a_crop_leaves_is_kept_and_the_rest_dropped(folder: Path) -> None:
    (folder / "labels" / "a.txt").write_text("1 0.5 0.5 1 1\n0 0.05 0.5 0.1 0.5\n")
    assert truth(loaded(folder, spec=InputSpec(size=64))) == [[0, 0, 64, 64, 1, 0]]


def test_a_picture_that_is_turned_by_its_exif_has_upright_boxes(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (HEIGHT, WIDTH)).save(folder / "images" / "a.png", exif=exif)  # shown as 128x64
    assert truth(loaded(folder)) == EXPECTED


def test_labels_survive_the_report_set(folder: Path, tmp_path: Path) -> None:
    coco(folder)
    data = loaded(folder, "boxes.json")
    (tmp_path / "report.npz").write_bytes(report_bytes(data))
    back = load_npz(tmp_path / "report.npz", SPEC)
    assert [truth(back, i) for i in range(3)] == [truth(data, i) for i in range(3)]
    assert np.asarray(back.samples[2].truth).shape == (0, 6)
    assert back.labelled


def test_where_labels_are_found(folder: Path) -> None:
    both = (folder / "images", folder / "labels")
    assert find_labels(folder) == both
    assert find_labels(folder / "images") == both
    assert find_labels(folder / "labels") is None


TEXT_FAULTS: dict[str, tuple[str, str]] = {
    "words": ("0 0.5 0.5 0.1 0.1\ncat 0.5 0.5 0.1 0.1\n", r"expected numbers, got 'cat 0.5 0.5 0.1 0.1'"),
    "too few": ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1\n", "got 4 numbers"),
    "too many": ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5 0.1 0.1 0.9\n", "got 6 numbers"),
    "pixels": ("0 0.5 0.5 0.1 0.1\n0 64 32 10 10\n", "not in the picture"),
    "outside": ("0 0.5 0.5 0.1 0.1\n0 0.9 0.5 0.3 0.1\n", "not in the picture"),
    "nan": ("0 0.5 0.5 0.1 0.1\n0 nan 0.5 0.3 0.1\n", "not in the picture"),
    "negative size": ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5 -0.3 0.1\n", "not in the picture"),
    "class": ("0 0.5 0.5 0.1 0.1\n0.5 0.5 0.5 0.3 0.1\n", "class 0.5 is no index"),
    "negative class": ("0 0.5 0.5 0.1 0.1\n-1 0.5 0.5 0.3 0.1\n", "class -1 is no index"),
}


@pytest.mark.parametrize("fault", TEXT_FAULTS)
def test_a_damaged_line_is_named(folder: Path, fault: str) -> None:
    text, message = TEXT_FAULTS[fault]
    (folder / "labels" / "a.txt").write_text(text)
    with pytest.raises(ProfileError, match=message) as caught:
        loaded(folder)
    assert str(caught.value.at).endswith("a.txt:2")


def test_a_class_beyond_classes_txt_is_refused(folder: Path) -> None:
    (folder / "labels" / "classes.txt").write_text("one\n")
    with pytest.raises(ProfileError, match=r"class 1 of 1 in classes.txt"):
        loaded(folder)


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "labels" / "a.txt").write_bytes(EIGHT)
    with pytest.raises(ProfileError, match="cannot be read"):
        loaded(folder)


def without(document: dict[str, Any]) -> dict[str, Any]:
    del document["annotations"][1]["bbox"]
    return document


def edited(path: tuple[Any, ...], value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(document: dict[str, Any]) -> dict[str, Any]:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return edit


JSON_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str, str]] = {
    "no box": (without, "bbox", "boxes.json"),
    "box of three": (edited(("annotations", 1, "bbox"), [1, 2, 3]), r"annotations\[1\].bbox|annotations", "boxes.json"),
    "negative size": (edited(("annotations", 1, "bbox"), [1, 2, -3, 4]), "is not x, y, width, height", "[1]"),
    "image": (edited(("annotations", 2, "image_id"), 99), "image_id 99 is no image", "[2]"),
    "category": (edited(("annotations", 2, "category_id"), 99), "category_id 99 is no category", "[2]"),
    "missing picture": (edited(("images", 0, "file_name"), "z.png"), "a.png is not among the 4 images", "boxes.json"),
    "twice": (edited(("images", 3, "file_name"), "a.png"), "two images have the file name a.png", "[3]"),
    "same id": (edited(("images", 3, "id"), 7), "two images have the same id", "images"),
    "another size": (edited(("images", 0, "width"), 64), "its labels are of a picture 64x64", "boxes.json"),
    "no images": (edited(("images",), None), "images", "boxes.json"),
}


@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_a_damaged_json_is_named(folder: Path, fault: str) -> None:
    edit, message, place = JSON_FAULTS[fault]
    (folder / "boxes.json").write_text(json.dumps(edit(coco(folder))))
    with pytest.raises(ProfileError, match=message) as caught:
        loaded(folder, "boxes.json")
    assert place in str(caught.value.at)


def test_broken_json_has_a_line(folder: Path) -> None:
    (folder / "boxes.json").write_text('{"images": [],\n"annotations": [}')
    with pytest.raises(ProfileError, match="not JSON") as caught:
        loaded(folder, "boxes.json")
    assert str(caught.value.at).endswith("boxes.json:2")


def test_json_without_end_is_one_error(folder: Path) -> None:
    (folder / "boxes.json").write_text('{"images": [], "more": ' + "[" * 200_000)
    with pytest.raises(ProfileError, match="not JSON"):
        loaded(folder, "boxes.json")


def test_pipes_beside_pictures_are_not_waited_for(folder: Path) -> None:
    for name in ("classes.txt", "labels.csv"):
        os.mkfifo(folder / "images" / name)
    assert len(load_folder(folder / "images", SPEC)) == 3


def test_a_category_that_classes_txt_lacks_is_refused(folder: Path) -> None:
    coco(folder)
    (folder / "classes.txt").write_text("cat\nbird\n")
    with pytest.raises(ProfileError, match=r"category 'dog' is not in classes.txt"):
        loaded(folder, "boxes.json")


def test_labels_of_other_pictures_are_refused(folder: Path) -> None:
    (folder / "labels" / "a.txt").rename(folder / "labels" / "x.txt")
    (folder / "labels" / "b.txt").unlink()
    with pytest.raises(ProfileError, match=r"none of 3 pictures has a label file, such as a\.txt"):
        loaded(folder)


@pytest.mark.parametrize("labels", ["nowhere", "images/a.png"])
def test_labels_that_are_neither_are_refused(folder: Path, labels: str) -> None:
    with pytest.raises(ProfileError, match=r"does not exist|neither a folder") as caught:
        loaded(folder, labels)
    assert "COCO JSON" in str(caught.value.fix)


def test_labels_in_files_are_for_folders(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 64, 64, 3), np.uint8))
    with pytest.raises(ProfileError, match="belong to a folder of pictures"):
        with_boxes(load_npz(tmp_path / "x.npz", SPEC), folder / "labels")
