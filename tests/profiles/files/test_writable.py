"""What `--out FILE` may name: a file that is there or not yet, no link and no device, which it would replace."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.writable import check_file_writable


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.yaml")


def link_to_a_file(path: Path) -> None:
    (path.parent / "other.yaml").touch()
    path.symlink_to("other.yaml")


@pytest.mark.parametrize("make", [os.mkfifo, link_to_nothing, link_to_a_file])
def test_a_link_or_a_pipe_is_refused_and_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "me.yaml")
    before = os.lstat(tmp_path / "me.yaml")
    with pytest.raises(ProfileError, match="which the new file would replace"):
        check_file_writable(tmp_path / "me.yaml")
    assert os.lstat(tmp_path / "me.yaml") == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(ProfileError, match="which the new file would replace"):
        check_file_writable(Path(device))


def test_a_file_and_a_new_name_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("old")
    for name in ("old.yaml", "new.yaml"):
        check_file_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]
