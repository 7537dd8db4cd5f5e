"""A folder opened once, whose files are read relative to it: another folder that takes its place changes nothing.

Only regular files below the folder are opened, never through a link; a device or a pipe is refused without waiting.
Needs ``openat`` and ``pread``: Linux, macOS and other POSIX systems.
"""

from __future__ import annotations

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from splitpoint.profiles.errors import ProfileError

__all__ = ["Folder", "StoredFile"]


def __dir__() -> list[str]:
    return __all__


_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 1 << 24  # bytes


class StoredFile:
    """A regular file that stays open, so that its bytes can be read after it was removed or replaced."""

    def __init__(self, descriptor: int, at: str) -> None:
        """Use `Folder.open`."""
        self.at = at
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)

    def read(self, *, limit: int) -> bytes:
        """All bytes; raises `ProfileError` when there are more than `limit`, or they cannot be read."""
        parts, position = [], 0
        try:
            if os.fstat(self._descriptor).st_size > limit:
                raise _too_large(self.at, limit)
            while part := os.pread(self._descriptor, _CHUNK, position):
                parts.append(part)
                position += len(part)
                if position > limit:  # it grows while it is read
                    raise _too_large(self.at, limit)
        except OSError as error:
            raise ProfileError(f"it cannot be read: {error.strerror}", at=self.at) from error
        return b"".join(parts)


class Folder:
    """A folder that is open; raises `ProfileError` when it cannot be opened or is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, _FOLDER)
        except OSError as error:
            what = {errno.ENOENT: "no such folder", errno.ENOTDIR: "expected a folder, got a file"}
            text = what.get(error.errno or 0, f"it cannot be opened: {error.strerror}")
            raise ProfileError(text, at=str(path)) from error
        weakref.finalize(self, os.close, self._descriptor)

    def open(self, name: str) -> StoredFile | None:
        """The file `name` (a path below the folder, with slashes), or None when there is none.

        Raises `ProfileError` for a link, a folder, a device, and what may not be read.
        """
        at = str(self.path / name)
        *folders, last = name.split("/")
        parents = [self._descriptor]
        try:
            for folder in folders:
                parents.append(os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=parents[-1]))
            return StoredFile(_regular(os.open(last, _FILE, dir_fd=parents[-1]), at), at)
        except FileNotFoundError:
            return None
        except OSError as error:
            linked = error.errno in (errno.ELOOP, errno.ENOTDIR)
            text = "a link, expected a file" if linked else f"it cannot be read: {error.strerror}"
            raise ProfileError(text, at=at) from error
        finally:
            for descriptor in parents[1:]:
                os.close(descriptor)

    def replaced(self) -> bool:
        """Whether another folder has its path now, or none."""
        try:
            here = self.path.stat()
        except OSError:
            return True
        return not os.path.samestat(here, os.fstat(self._descriptor))

    def names(self) -> Iterator[str]:
        """Every file, link and device below the folder by its path with slashes; links to folders are not followed."""
        yield from _names(self._descriptor, "")


def _names(folder: int, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        if not is_folder:
            yield prefix + name
            continue
        inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
        try:
            yield from _names(inner, f"{prefix}{name}/")
        finally:
            os.close(inner)


def _regular(descriptor: int, at: str) -> int:
    """The descriptor of a regular file; closes it and raises `ProfileError` for anything else."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ProfileError("expected a regular file, got a folder, a device or a pipe", at=at)


def _too_large(at: str, limit: int) -> ProfileError:
    return ProfileError(f"more than {limit:,} bytes, which is the most that is read", at=at)
