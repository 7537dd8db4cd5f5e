"""Whether a file or a folder can be written, tried before the work whose result it is to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from splitpoint.profiles.errors import ProfileError

__all__ = ["check_file_writable", "check_folder_writable"]


def __dir__() -> list[str]:
    return __all__


FIX = "choose another --out"


def check_folder_writable(folder: Path) -> None:
    """Raise `ProfileError` unless a folder of this name can be made or replaced; nothing is left behind."""
    _check(folder)


def check_file_writable(path: Path) -> None:
    """Raise `ProfileError` unless a file of this name can be written into a folder that exists.

    The new file takes the old one's place, so links and devices (/dev/stdout, /dev/null) are refused.
    """
    if path.is_dir():
        raise ProfileError("it is a folder, expected the name of a file", at=str(path), fix=f"--out {path}/FILE.yaml")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        kind = "a link" if path.is_symlink() else "a device or a pipe"
        raise ProfileError(f"it is {kind}, which the new file would replace", at=str(path), fix=FIX)
    if not path.absolute().parent.is_dir():
        raise ProfileError("its folder does not exist", at=str(path), fix=f"mkdir -p {path.parent}")
    _check(path)


def _check(path: Path) -> None:
    """Make and remove something beside `path`, or where its folders would be made: only trying finds full disks."""
    try:
        target = path.absolute()
        parent = next(folder for folder in target.parents if folder.exists())
        if not parent.is_dir():
            raise ProfileError(f"{parent} is a file, expected a folder", at=str(path), fix=FIX)
        with tempfile.TemporaryDirectory(prefix=".splitpoint-", dir=parent) as trial:
            (Path(trial) / "trial").write_bytes(b"\0")
            (Path(trial) / target.name).touch()  # a name that the file system does not take
    except OSError as error:
        raise ProfileError(f"it cannot be written: {error.strerror}", at=str(path), fix=FIX) from error
