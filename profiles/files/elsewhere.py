"""A file that cannot be written where it was asked for goes to another folder: what took a minute is not lost."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

import msgspec

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml

__all__ = ["write_yaml_somewhere"]


def __dir__() -> list[str]:
    return __all__


def write_yaml_somewhere(path: Path, value: msgspec.Struct) -> None:
    """Write `value` to `path`, or where that fails into a new folder for temporary files, or else in the home folder.

    Raises `ProfileError` when `path` was not written; it says where `value` is now, if anywhere.
    """
    try:
        write_yaml(path, value)
        return
    except ProfileError as error:
        first = error
    for parent in (Path(tempfile.gettempdir()), Path.home()):
        folder = parent / f"splitpoint-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
            write_yaml(folder / path.name, value)
        except (OSError, ProfileError):
            shutil.rmtree(folder, ignore_errors=True)
            continue
        text = f"the profile was written to {folder / path.name}, because {first.message}"
        raise ProfileError(text, at=str(path), fix=f"mv {folder / path.name} FILE") from first
    raise first
