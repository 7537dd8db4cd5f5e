"""Temporary folders for what ONNX Runtime writes, and what is said when TMPDIR is full, missing or read-only."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.held import hold, remove_if_dead

__all__ = ["explain_full_folder", "make_scratch_folder", "remove_scratch_folder", "scratch_folder"]


def __dir__() -> list[str]:
    return __all__


PREFIX = "splitpoint-scratch-"
TRIAL_BYTES = 1 << 16  # a folder that does not take these is full: what ran out of room before left less than a page
_descriptors: dict[Path, int] = {}  # of the folders that this process holds


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new temporary folder, removed at the end; raises `ProfileError` where it cannot be made or is full."""
    folder = make_scratch_folder()
    try:
        with explain_full_folder(folder):
            yield folder
    finally:
        remove_scratch_folder(folder)


def make_scratch_folder() -> Path:
    """A new temporary folder, until `remove_scratch_folder`; raises `ProfileError` that names TMPDIR.

    Those of processes that died are removed.
    """
    try:
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            remove_if_dead(left)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        _descriptors[folder] = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        hold(_descriptors[folder])
        return folder
    except OSError as error:
        raise _no_folder(error, os.environ.get("TMPDIR") or tempfile.tempdir or "/tmp") from error


def remove_scratch_folder(folder: Path) -> None:
    """Remove a folder of `make_scratch_folder`, and what is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.close(_descriptors.pop(folder))


@contextlib.contextmanager
def explain_full_folder(folder: Path) -> Iterator[None]:
    """Turn an error inside, of whatever kind, into a `ProfileError` that names TMPDIR when `folder` takes no more."""
    try:
        yield
    except (OSError, ValueError) as error:  # ProfileError and broken JSON are ValueErrors
        if (reason := _try_to_write(folder)) is None:
            raise
        raise _no_folder(reason, folder.parent) from error


def _try_to_write(folder: Path) -> OSError | None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(TRIAL_BYTES))
    except OSError as error:
        return error
    return None


def _no_folder(error: OSError, folder: str | Path) -> ProfileError:
    return ProfileError(
        f"the temporary folder (TMPDIR) cannot be written: {error.strerror or error}",
        at=str(folder),
        fix="make room, or set TMPDIR to another folder",
    )
