"""Temporary files and folders that are held by the process that uses them, so that others can tell when it died.

The system releases a lock when its process ends, however that was. A path that nobody holds is removed only when it is
older than the moment between making and holding it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

__all__ = ["YOUNG_S", "hold", "remove_if_dead"]


def __dir__() -> list[str]:
    return __all__


YOUNG_S = 10.0  # between making something and holding it: even a stopped machine takes no longer


def hold(descriptor: int) -> None:
    """Hold the open file or folder until its descriptor is closed; where the system cannot lock, it is not held."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_if_dead(path: Path) -> None:
    """Remove the file or folder unless a process holds it, it is new, or it is not this user's."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            about = os.fstat(descriptor)
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < YOUNG_S:
                return
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: BlockingIOError
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
