"""Regular files of bounded size: a pipe, a device or a file without end is one error and never hangs."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from splitpoint.profiles.errors import ProfileError

__all__ = ["TEXT_LIMIT_BYTES", "open_regular", "read_bytes", "read_text"]


def __dir__() -> list[str]:
    return __all__


TEXT_LIMIT_BYTES = 32 * 2**20  # of a file of text: 2 million lines of a trace are 14 MB
# Without waiting: opening a pipe waits for its writer, and the kernel's log is a regular file whose reader waits.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"))
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """The file, open for reading; raises ProfileError when it is missing, unreadable or no regular file."""
    try:
        descriptor = os.open(Path(path), _FLAGS)
    except FileNotFoundError as error:
        raise ProfileError(f"{path}: no such file") from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte, or text that no file system can encode
        raise ProfileError(f"{path}: cannot be read: this is no name of a file") from error
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise ProfileError(f"{path}: cannot be read: it is {_KINDS.get(kind, 'a socket')}, expected a file")


def read_bytes(path: str | os.PathLike[str], *, limit: int = TEXT_LIMIT_BYTES) -> bytes:
    """The bytes of a regular file, at most `limit`; raises ProfileError, before reading where the size is known.

    The bound holds for files whose size is said wrong, too: those of /proc are 0 bytes long.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read(limit + 1) if size <= limit else b""
        except OSError as error:
            raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    if data is None:
        raise ProfileError(f"{path}: cannot be read: it has nothing to read yet")
    if max(size, len(data)) > limit:
        got = f"{size:,}" if size > limit else "more"
        raise ProfileError(f"{path}: expected at most {limit:,} bytes, got {got}", fix="give a shorter file")
    return data


def read_text(path: str | os.PathLike[str], *, limit: int = TEXT_LIMIT_BYTES) -> str:
    """The file as UTF-8 text, of at most `limit` bytes; raises ProfileError as `read_bytes`, or when it is not text."""
    data = read_bytes(path, limit=limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProfileError(
            f"{path}: expected UTF-8 text, got byte 0x{data[error.start]:02x} at {error.start}"
        ) from error
