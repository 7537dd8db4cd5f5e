"""Damaged pictures: one error that lists them, or left out, counted and kept in the plan; what reading changed."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.samples.changes import describe_changes
from splitpoint.planner.samples.readers import load_data, load_folder
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

SPEC = InputSpec(size=16)


def fill(folder: Path, good: int, bad: int, size: tuple[int, int] = (16, 16)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(good):
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(folder / f"good{i:02}.png")
    for i in range(bad):
        (folder / f"bad{i:02}.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off" if i % 2 else b"")
    return folder


def test_damaged_pictures_are_listed_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        load_folder(fill(tmp_path / "d", 5, 3), SPEC)
    assert caught.value.message.startswith("3 of 8 pictures cannot be read: bad00.jpg (this file is not a picture")
    assert caught.value.message.count("bad") == 3
    assert caught.value.fix is not None
    assert "the other 5: --skip-damaged, or skip_damaged: true under data:" in caught.value.fix


def test_many_damaged_pictures_are_ten_names_and_a_count(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"25 of 30 pictures .*, and 15 more") as caught:
        load_folder(fill(tmp_path / "d", 5, 25), SPEC)
    assert caught.value.message.count("bad") == 10


def test_damaged_pictures_are_skipped_and_counted(tmp_path: Path) -> None:
    dataset = load_data(str(fill(tmp_path / "d", 5, 3)), SPEC, skip_damaged=True)
    assert len(dataset) == 5
    assert [Path(name).name for name in dataset.skipped] == ["bad00.jpg", "bad01.jpg", "bad02.jpg"]
    assert describe_changes(dataset) == "of 8 pictures: 3 damaged and left out"
    assert dataset.select([0, 1]).skipped == dataset.skipped


def test_a_folder_of_nothing_but_damaged_pictures_is_refused_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="3 of 3 pictures cannot be read") as caught:
        load_folder(fill(tmp_path / "d", 0, 3), SPEC, skip_damaged=True)
    assert caught.value.fix == "is this the right folder?"


def test_a_missing_picture_of_a_list_is_no_damaged_one(tmp_path: Path) -> None:
    fill(tmp_path, 5, 1)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label"], ["good00.png", "1"], ["absent.png", "0"]])
    with pytest.raises(ProfileError, match="there is no such picture"):
        load_folder(tmp_path, SPEC, skip_damaged=True)


def test_a_plan_says_and_keeps_how_many_were_skipped(
    run: Callable[..., tuple[int, str, str]], home: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "pictures", 20, 2)
    asked: list[object] = ["--data", tmp_path / "pictures", "--profile", home / "fixed.yaml", "--evaluations", 2]
    asked += ["--threads", 1, "--task", "classify"]
    asked += ["--device", "raspberry-pi-4", "--server", "cloud-8core", "--min-agreement", "1%"]
    code, out, err = run("plan", home / "model.onnx", *asked, "--out", tmp_path / "plan")
    assert (code, out) == (3, "")
    assert "2 of 22 pictures cannot be read: bad00.jpg" in err
    code, out, err = run("plan", home / "model.onnx", *asked, "--out", tmp_path / "plan", "--skip-damaged")
    assert code == 0, err
    assert "show " in out
    assert "of 22 pictures: 2 damaged and left out" in run("show", tmp_path / "plan", "--notes")[1]
    assert Plan.load(tmp_path / "plan").file.skipped == 2
    assert "skip_damaged: true" in (tmp_path / "plan" / "config.yaml").read_text()
    assert "2 damaged pictures left out" in " ".join(run("show", tmp_path / "plan")[1].split())


@pytest.mark.parametrize(
    ("size", "color", "line"),
    [
        ((16, 16), "rgb", None),
        ((24, 16), "rgb", "of 4 pictures: 4 cropped (up to 33 % cut off)"),
        ((33, 33), "rgb", "of 4 pictures: 4 reduced by more than 2x (up to 2.06x)"),
        ((32, 32), "rgb", None),
        ((4, 4), "rgb", "of 4 pictures: 4 enlarged by more than 2x (up to 4x)"),
        ((16, 16), "gray", "of 4 pictures: 4 coloured and turned grey"),
    ],
)
def test_changes_are_counted_in_one_line(tmp_path: Path, size: tuple[int, int], color: str, line: str | None) -> None:
    spec = InputSpec(size=16, color=color)  # type: ignore[arg-type]
    assert describe_changes(load_folder(fill(tmp_path / "d", 4, 0, size), spec)) == line


def test_grey_pictures_are_counted_for_a_network_of_colour(tmp_path: Path) -> None:
    fill(tmp_path, 3, 0)
    Image.new("L", (16, 16), 100).save(tmp_path / "grey.png")
    assert describe_changes(load_folder(tmp_path, SPEC)) == "of 4 pictures: 1 grey"


def test_stretched_pictures_are_counted(tmp_path: Path) -> None:
    dataset = load_folder(fill(tmp_path, 3, 0, (20, 16)), InputSpec(size=16, resize="exact"))
    assert describe_changes(dataset) == "of 3 pictures: 3 stretched"
