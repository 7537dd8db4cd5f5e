"""The arrays of an .npz file of others: every size is checked, from the zip directory and the headers, before reading.

An .npz file is a zip archive of .npy files, each a header (type, shape, order) and the values.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError, shorten
from splitpoint.profiles.files.regular import open_regular

__all__ = ["LIMIT_BYTES", "read_arrays"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
LIMIT_BYTES = 8 * 2**30  # of all arrays together: a user's own data
MOST_ARRAYS = 1000
MOST_DIRECTORY_BYTES = 2**20  # of entries' names and sizes
LONGEST_END_BYTES = 76 + 22 + 2**16  # the end records of a zip archive with the longest comment
MOST_DIMENSIONS = 32
LONGEST_EMPTY = 2**20  # sides of an array without elements, whose bytes bound nothing
KINDS = "biufcSU"  # of types: numbers and text; no objects, which are pickles, and no structures
LOCAL_HEADER_BYTES = 30  # before an entry's name, at least
# What numpy, zipfile and zlib raise for a damaged or foreign archive. RuntimeError: a password is wanted;
# NotImplementedError: a compression or a version of zip that Python does not have; the rest: headers that do not parse.
UNREADABLE = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError),
    *(TypeError, KeyError, IndexError, OverflowError, RecursionError, MemoryError, SyntaxError, tokenize.TokenError),
)


def read_arrays(
    source: Path | bytes, *, at: str | None = None, ignored: Collection[str] = (), limit_bytes: int = LIMIT_BYTES
) -> dict[str, Array]:
    """The arrays of an .npz file, or of the bytes of one, by name, without those that are `ignored`; no pickles.

    `at` is what errors call it. Raises `ProfileError` when it is damaged or no archive, when a header claims another
    size than the archive, and when the arrays have more than `limit_bytes` together, before any of them is read.
    """
    at = at or (str(source) if isinstance(source, Path) else "arrays.npz")
    with _unreadable(at), _opened(source) as file:
        directory_bytes = _directory_bytes(file)
        if directory_bytes > MOST_DIRECTORY_BYTES:
            raise ProfileError(f"expected at most {MOST_ARRAYS} arrays, got {directory_bytes:,} bytes of names", at=at)
        archive = zipfile.ZipFile(file)
        entries = _entries(archive, limit_bytes, at)
        for name, entry in entries.items():
            _check_header(archive, entry, f"{at}: {name}")
        return {name: _read(archive, entry) for name, entry in entries.items() if name not in ignored}


def _opened(source: Path | bytes) -> BinaryIO:
    return open_regular(source) if isinstance(source, Path) else io.BytesIO(source)


def _directory_bytes(file: BinaryIO) -> int:
    """The length of the archive's directory, which zipfile reads whole, as its end record says; 0 without one."""
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - LONGEST_END_BYTES))
    end = file.read()
    plain = end[-22:-18] == b"PK\5\6" and end.endswith(b"\0\0")  # without a comment; zipfile looks here first
    at = len(end) - 22 if plain else end.rfind(b"PK\5\6")
    # Of an archive with long offsets a record of 56 bytes and a locator of 20 bytes come before it.
    if at >= 76 and end[at - 20 : at - 16] == b"PK\6\7" and end[at - 76 : at - 72] == b"PK\6\6":
        return int.from_bytes(end[at - 36 : at - 28], "little")
    return int.from_bytes(end[at + 12 : at + 16], "little") if at >= 0 else 0


@contextlib.contextmanager
def _unreadable(at: str) -> Iterator[None]:
    """Every error of reading as a `ProfileError`."""
    try:
        yield
    except ProfileError:
        raise
    except UNREADABLE as error:
        raise ProfileError(f"this .npz file cannot be read: {shorten(str(error))}", at=at) from error


def _entries(archive: zipfile.ZipFile, limit_bytes: int, at: str) -> dict[str, zipfile.ZipInfo]:
    """The entries by the names of their arrays, checked as far as the directory of the archive tells."""
    infos = archive.infolist()
    if len(infos) > MOST_ARRAYS:
        raise ProfileError(f"expected at most {MOST_ARRAYS} arrays, got {len(infos):,}", at=at)
    total = sum(info.file_size for info in infos)
    if total > limit_bytes:
        raise ProfileError(f"expected arrays of at most {limit_bytes:,} bytes together, got {total:,}", at=at)
    entries: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename.removesuffix(".npy")
        problem = None
        if name == info.filename:
            problem = "is no array (.npy)"
        elif name in entries:
            problem = "is there twice"
        elif info.flag_bits & 1:
            problem = "is encrypted"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "is compressed in a way that numpy does not write"
        elif info.header_offset < end:
            problem = "overlaps the entry before it"
        if problem is not None:
            raise ProfileError(
                f"the entry {shorten(repr(info.filename))} {problem}", at=at, fix="write it by numpy.savez"
            )
        end = info.header_offset + LOCAL_HEADER_BYTES + info.compress_size
        entries[name] = info
    return {info.filename.removesuffix(".npy"): info for info in infos}


def _check_header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, at: str) -> None:
    """Raise `ProfileError` unless the header's type can be read and its size is the entry's."""
    with archive.open(entry) as stream:
        shape, dtype = _header(stream)
        header_bytes = stream.tell()
    what = f"{shorten(str(dtype))} {shorten(str(list(shape)))}"
    if dtype.hasobject or dtype.kind not in KINDS or not dtype.itemsize:
        raise ProfileError(f"this array cannot be read: expected numbers or text, got {what}", at=at)
    empty = 0 in shape
    if len(shape) > MOST_DIMENSIONS or any(size < 0 or (empty and size > LONGEST_EMPTY) for size in shape):
        raise ProfileError(f"this array cannot be read: no array has the shape of {what}", at=at)
    claimed, held = math.prod(shape) * dtype.itemsize, entry.file_size - header_bytes
    if claimed != held:
        raise ProfileError(f"the header says {what}, {claimed:,} bytes; the entry has {held:,}", at=at)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"version {version} of .npy is not of plain arrays")
    return shape, dtype


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """The array; the archive compares its checksum. Raises `UnicodeError` for text of no characters."""
    with archive.open(entry) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind == "U":
        codes = np.ascontiguousarray(array).reshape(-1).view(f"{array.dtype.str[0]}u4")
        if (codes > sys.maxunicode).any() or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise UnicodeError(f"{entry.filename} has text with codes that are no characters")
    return array
