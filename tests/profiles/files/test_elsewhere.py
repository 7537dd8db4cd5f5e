"""A profile whose place cannot be written is kept among temporary files, or else in the home folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.elsewhere import write_yaml_somewhere
from splitpoint.profiles.files.structs import read_yaml


class Value(msgspec.Struct, frozen=True):
    """What took a minute."""

    rate: float


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The folder for temporary files and the home folder."""
    temporary, home = tmp_path / "temporary", tmp_path / "home"
    for folder in (temporary, home):
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(home))
    return temporary, home


def test_a_place_that_can_be_written_gets_it(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    write_yaml_somewhere(tmp_path / "me.yaml", Value(rate=0.5))
    assert read_yaml(tmp_path / "me.yaml", Value) == Value(rate=0.5)
    assert [list(folder.iterdir()) for folder in folders] == [[], []]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_another_folder_gets_it_and_the_error_names_it(tmp_path: Path, folders: tuple[Path, Path], gone: int) -> None:
    for folder in folders[:gone]:
        folder.rmdir()
    with pytest.raises(ProfileError, match="cannot be written: No such file or directory") as caught:
        write_yaml_somewhere(tmp_path / "none" / "me.yaml", Value(rate=0.5))
    written = [path for folder in folders if folder.exists() for path in folder.rglob("me.yaml")]
    assert [path.parent.parent for path in written] == list(folders[gone : gone + 1])
    for path in written:
        assert read_yaml(path, Value) == Value(rate=0.5)
        assert f"the profile was written to {path}, because " in str(caught.value)
        assert f"mv {path} FILE" in str(caught.value)
