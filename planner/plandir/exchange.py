"""Two folders that change places in one step, where the system can do that."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["exchange"]


def __dir__() -> list[str]:
    return __all__


AT_FDCWD = -100  # Linux: relative to the working directory
EXCHANGE = 2  # Linux renameat2's RENAME_EXCHANGE, macOS renamex_np's RENAME_SWAP
NOT_HERE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)  # the kernel or the file system cannot


def exchange(first: Path, second: Path) -> bool:
    """Let the two paths change places atomically; False, with nothing done, where the system has no such step.

    Linux has it on ext4, xfs, btrfs, tmpfs and others, macOS on APFS. Raises `OSError` as `os.rename` does.
    """
    rename = _system_call()
    if rename is None:
        return False
    if rename(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    code = ctypes.get_errno()
    if code in NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(first), None, str(second))


@functools.cache
def _system_call() -> Callable[[bytes, bytes], int] | None:
    """The C library's exchange of two paths, or None."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        swap = getattr(library, "renamex_np", None)
        return None if swap is None else lambda first, second: int(swap(first, second, EXCHANGE))
    rename = getattr(library, "renameat2", None)  # glibc 2.28, musl 1.2
    return None if rename is None else lambda first, second: int(rename(AT_FDCWD, first, AT_FDCWD, second, EXCHANGE))
