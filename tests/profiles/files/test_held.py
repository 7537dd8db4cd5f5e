"""What a dead process left is removed, what a living one uses is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from splitpoint.profiles.files.held import YOUNG_S, hold, remove_if_dead
from splitpoint.profiles.files.scratch import PREFIX, scratch_folder
from splitpoint.profiles.files.structs import write_text

HOLD = """
import os, sys
from splitpoint.profiles.files.held import hold
hold(os.open(sys.argv[1], os.O_RDONLY))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["file", "folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    made = tmp_path / "left"
    if request.param == "folder":
        made.mkdir()
        (made / "model.onnx").write_bytes(b"40 MB")
    else:
        made.write_bytes(b"40 MB")
    return age(made)


def age(path: Path) -> Path:
    long_ago = time.time() - YOUNG_S - 5
    os.utime(path, (long_ago, long_ago))
    return path


def test_what_nobody_holds_is_removed(path: Path) -> None:
    remove_if_dead(path)
    assert not path.exists()


def test_what_is_new_is_not_removed(path: Path) -> None:
    os.utime(path)
    remove_if_dead(path)
    assert path.exists()


def test_what_this_process_holds_is_not_removed(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    hold(descriptor)
    remove_if_dead(path)
    assert path.exists()
    os.close(descriptor)
    remove_if_dead(path)
    assert not path.exists()


def test_what_another_process_holds_is_removed_once_it_is_killed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        remove_if_dead(path)
        assert path.exists()
        other.kill()
        other.wait()
    remove_if_dead(path)
    assert not path.exists()


def test_a_link_is_neither_followed_nor_removed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(path)
    remove_if_dead(link)
    assert link.is_symlink()
    assert path.exists()


def test_the_next_scratch_folder_removes_those_of_the_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in (f"{PREFIX}dead", "splitpoint-1234abcd", "other"):
        (tmp_path / name).mkdir()
        age(tmp_path / name)
    with scratch_folder() as outer:
        age(outer)
        with scratch_folder() as inner:
            assert outer.is_dir()
            assert inner.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "splitpoint-1234abcd"]


def test_writing_a_file_removes_what_a_dead_writer_left(tmp_path: Path) -> None:
    for name in (".a.yaml.0123abcd.tmp", ".a.yaml.notes.tmp", ".b.yaml.0123abcd.tmp"):
        age(write(tmp_path / name))
    write_text(tmp_path / "a.yaml", "new")
    assert (tmp_path / "a.yaml").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.yaml.notes.tmp", ".b.yaml.0123abcd.tmp", "a.yaml"]


def write(path: Path) -> Path:
    path.write_text("half")
    return path
