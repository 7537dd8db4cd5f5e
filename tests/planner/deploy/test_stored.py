"""A plan directory that another takes the place of while it is opened is opened again, whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from splitpoint.planner.deploy import stored
from splitpoint.planner.deploy.folder import Folder, StoredFile
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.stored import open_plan
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml


def replaced_at(name: str, place: Path, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> list[str]:
    """Let another plan take the place, and the old one be removed, when `name` is about to be opened."""
    honest, opened = Folder.open, list[str]()

    def open_later(self: Folder, wanted: str) -> StoredFile | None:
        if wanted == name and len(opened) < times:
            opened.append(wanted)
            new = place.with_name("new")
            shutil.copytree(place, new)
            file = msgspec.structs.replace(open_plan_now(new), created=f"replacement {len(opened)}")
            (new / "plan.yaml").write_text(dump_yaml(file))
            shutil.rmtree(place)
            new.rename(place)
        return honest(self, wanted)

    def open_plan_now(folder: Path) -> PlanFile:
        with monkeypatch.context() as patch:
            patch.setattr(Folder, "open", honest)
            return open_plan(folder).file

    monkeypatch.setattr(Folder, "open", open_later)
    return opened


@pytest.mark.parametrize("name", ["plan.yaml", "head.onnx", "tail.onnx", "codec.npz"])
def test_it_is_opened_again(fixed_copy: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = replaced_at(name, fixed_copy, monkeypatch, times=3)
    found = open_plan(fixed_copy)
    assert len(opened) == 3
    assert found.file.created == "replacement 3"
    assert set(found.running) == {"head.onnx", "tail.onnx", "codec.npz"}
    assert not found.folder.replaced()
    for running in found.running:
        found.read(running)


def test_a_place_that_never_rests_is_an_error(fixed_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ATTEMPTS", 3)
    replaced_at("head.onnx", fixed_copy, monkeypatch, times=10)
    with pytest.raises(ProfileError, match="replaced again and again"):
        open_plan(fixed_copy)


def test_what_is_gone_after_the_opening_is_named(fixed_copy: Path) -> None:
    found = open_plan(fixed_copy)
    (fixed_copy / "front.csv").unlink()
    with pytest.raises(ProfileError, match=r"front\.csv is missing"):
        found.read("front.csv")
    shutil.rmtree(fixed_copy)
    with pytest.raises(ProfileError, match="the plan was replaced while it was read"):
        found.read("config.yaml")
    with pytest.raises(ProfileError, match=r"this plan has no notes\.txt"):
        found.read("notes.txt")
