"""Files of an open folder: regular ones below it, whatever happens to its path."""

from __future__ import annotations

import gc
import os
import shutil
import socket
from pathlib import Path

import pytest

from splitpoint.planner.deploy.folder import Folder, StoredFile
from splitpoint.profiles.errors import ProfileError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "plan"
    (folder / "points" / "1").mkdir(parents=True)
    (folder / "plan.yaml").write_bytes(b"first")
    (folder / "points" / "1" / "codec.npz").write_bytes(b"tables")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "codec.npz").write_bytes(b"private")
    return folder


def read(folder: Folder, name: str) -> bytes:
    opened = folder.open(name)
    assert opened is not None
    return opened.read(limit=100)


def test_files_are_read_by_their_path_below_the_folder(place: Path) -> None:
    folder = Folder(place)
    assert read(folder, "plan.yaml") == b"first"
    assert read(folder, "points/1/codec.npz") == b"tables"
    assert folder.open("points/2/codec.npz") is None
    assert folder.open("head.onnx") is None
    assert list(folder.names()) == ["plan.yaml", "points/1/codec.npz"]


def test_another_folder_at_its_path_is_not_read(place: Path) -> None:
    folder = Folder(place)
    opened = folder.open("plan.yaml")
    assert not folder.replaced()
    place.rename(place.with_name("plan.1"))
    assert folder.replaced()
    place.mkdir()
    (place / "plan.yaml").write_bytes(b"second")
    assert folder.replaced()
    assert read(folder, "plan.yaml") == b"first"
    shutil.rmtree(place.with_name("plan.1"))
    assert folder.open("plan.yaml") is None
    assert isinstance(opened, StoredFile)
    assert opened.read(limit=100) == b"first"


def test_links_are_not_followed(place: Path, tmp_path: Path) -> None:
    (place / "head.onnx").symlink_to(place / "plan.yaml")
    (place / "points" / "2").symlink_to(tmp_path / "secret")
    folder = Folder(place)
    for name in ("head.onnx", "points/2/codec.npz"):
        with pytest.raises(ProfileError, match="a link, expected a file"):
            folder.open(name)
    assert list(folder.names()) == ["head.onnx", "plan.yaml", "points/1/codec.npz", "points/2"]


def test_what_is_no_regular_file_is_refused_without_waiting(place: Path) -> None:
    os.mkfifo(place / "head.onnx")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "tail.onnx"))
    folder = Folder(place)
    for name in ("head.onnx", "points"):
        with pytest.raises(ProfileError, match="expected a regular file"):
            folder.open(name)
    with pytest.raises(ProfileError, match="cannot be read"):
        folder.open("tail.onnx")


def test_files_that_are_larger_than_allowed_are_not_read(place: Path) -> None:
    folder = Folder(place)
    opened = folder.open("plan.yaml")
    assert opened is not None
    assert opened.read(limit=5) == b"first"
    with pytest.raises(ProfileError, match="more than 4 bytes"):
        opened.read(limit=4)
    endless = Folder(Path("/proc/self")).open("maps")  # says 0 bytes
    assert endless is not None
    with pytest.raises(ProfileError, match="more than 100 bytes"):
        endless.read(limit=100)


def test_a_folder_that_is_none(tmp_path: Path, place: Path) -> None:
    with pytest.raises(ProfileError, match="no such folder"):
        Folder(tmp_path / "absent")
    with pytest.raises(ProfileError, match="expected a folder, got a file"):
        Folder(place / "plan.yaml")


def test_descriptors_are_closed_with_their_values(place: Path) -> None:
    def descriptors() -> int:
        gc.collect()
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = descriptors()
    held = [(Folder(place), Folder(place).open("plan.yaml")) for _ in range(20)]
    assert descriptors() >= before + 40
    held.clear()
    assert descriptors() == before
