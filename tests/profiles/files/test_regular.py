"""Files of others are read within a bound: pipes, devices, files without end and files that say a wrong size."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import regular
from splitpoint.profiles.files.regular import open_regular, read_bytes, read_text

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and /dev of Linux")


def test_a_file_at_the_bound_is_read_and_one_above_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bytes(tmp_path / "a", limit=10) == b"x" * 10
    with pytest.raises(ProfileError, match="expected at most 9 bytes, got 10"):
        read_bytes(tmp_path / "a", limit=9)
    with pytest.raises(ProfileError, match="expected at most 9 bytes, got 10"):
        read_text(tmp_path / "a", limit=9)


def test_the_default_bound_holds_without_reading(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**13)
    with pytest.raises(ProfileError, match="expected at most 33,554,432 bytes, got 10,000,000,000,000"):
        read_text(tmp_path / "sparse")


def test_a_pipe_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ProfileError, match="it is a pipe, expected a file"):
        read_text(tmp_path / "pipe.yaml")


@linux
def test_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    for path, kind in (("/dev/zero", "a device"), (tmp_path, "a folder")):
        with pytest.raises(ProfileError, match=f"it is {kind}, expected a file"):
            open_regular(path)
    with contextlib.suppress(ProfileError):  # without privileges: permission denied
        read_text("/proc/kmsg")  # with them: what the kernel's log holds now, and no waiting for more


@linux
def test_the_bound_holds_where_the_file_says_that_it_is_empty() -> None:
    path = "/proc/self/status"  # st_size is 0
    assert len(read_bytes(path)) > 100
    with pytest.raises(ProfileError, match="expected at most 100 bytes, got more"):
        read_bytes(path, limit=100)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 5000])
def test_names_that_no_file_has(name: str) -> None:
    with pytest.raises(ProfileError, match="cannot be read") as caught:
        read_text(name)
    str(caught.value).encode()  # it can be printed


def test_a_file_with_nothing_to_read_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    monkeypatch.setattr(regular, "open_regular", lambda path: os.fdopen(reader, "rb"))
    with pytest.raises(ProfileError, match="nothing to read yet"):
        read_bytes("log")
    os.close(writer)
