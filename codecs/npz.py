"""npz files whose bytes depend on the arrays alone, and their reading with bounds on everything that is allocated.

What is read is what numpy writes: a zip without comment, encryption or zip64, of arrays of numbers, truth values or
text. Sizes are compared before anything is unpacked, so a small file cannot become large in memory.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array, CodecError

__all__ = ["npz_bytes", "read_npz"]


def __dir__() -> list[str]:
    return __all__


DATE = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold: the same arrays give the same bytes
MOST_ENTRIES = 4096
MOST_NAME_BYTES = 256  # of an entry, on average: what the list of entries may take
END_BYTES = 22  # of the record at the end of a zip: signature, counts, size and place of the list, no comment
LIST_BYTES, LOCAL_BYTES = 46, 30  # of an entry in the list, and before its content, without names
NPY_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00(..)|[\x02\x03]\x00(..)\x00\x00)"
    rb"(\{'descr': '[<|]([biufcU][1-9][0-9]{0,4})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ){0,63}\d{1,18},?|)\), \} *\n)",
    re.DOTALL,
)


def npz_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an npz file; the same arrays give the same bytes (np.savez writes the time of day)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def read_npz(data: bytes, *, limit_bytes: int, entry_bytes: int | None = None) -> dict[str, Array]:
    """Arrays by name (without ".npy") of an npz file; they can be written to.

    All arrays together unpack to at most `limit_bytes`, each to at most `entry_bytes` (default: the same). Raises
    `CodecError` for more, for anything that is no npz file, and for arrays of objects or of records.
    """
    most = limit_bytes if entry_bytes is None else min(entry_bytes, limit_bytes)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise CodecError(f"npz file: expected bytes, got {type(data).__name__}")
    data = bytes(data)
    try:
        _check_end(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(data, entries, limit_bytes=limit_bytes, entry_bytes=most)
            return {info.filename.removesuffix(".npy"): _read_entry(archive, info) for info in entries}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CodecError(f"npz file: damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise CodecError(f"npz file: a name is not text: {error.reason}") from None


def _check_end(data: bytes) -> None:
    """Refuse more entries than `MOST_ENTRIES` before the list of them is read."""
    if len(data) < END_BYTES or data[-END_BYTES:][:4] != b"PK\5\6":
        raise CodecError(f"npz file: {len(data)} bytes that do not end as a zip does")
    count, size, start, comment = struct.unpack("<HLLH", data[-END_BYTES:][10:])
    if count > MOST_ENTRIES or size > count * (LIST_BYTES + MOST_NAME_BYTES):
        raise CodecError(f"npz file: {count} entries in a list of {size} bytes, expected up to {MOST_ENTRIES}")
    if comment or start + size != len(data) - END_BYTES or data[-END_BYTES - 20 :].startswith(b"PK\6\7"):
        raise CodecError("npz file: something stands between the entries and the end")


def _check_entries(data: bytes, entries: Sequence[zipfile.ZipInfo], *, limit_bytes: int, entry_bytes: int) -> None:
    names = {info.filename for info in entries}
    if len(names) != len(entries) or not all(name.endswith(".npy") for name in names):
        raise CodecError("npz file: expected entries NAME.npy, each once")
    for info in entries:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CodecError(f"npz file: {info.filename!r} is packed in another way than by numpy")
        if info.file_size > entry_bytes:
            raise CodecError(
                f"npz file: {info.filename!r} is too large: {info.file_size} bytes, expected up to {entry_bytes}"
            )
    if (total := sum(info.file_size for info in entries)) > limit_bytes:
        raise CodecError(f"npz file: its arrays are too large: {total} bytes, expected up to {limit_bytes}")
    end = 0
    for info in sorted(entries, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise CodecError(f"npz file: {info.filename!r} overlaps another entry")
        name, extra = struct.unpack_from("<HH", data, info.header_offset + LOCAL_BYTES - 4)
        end = info.header_offset + LOCAL_BYTES + name + extra + info.compress_size
    if end > len(data):
        raise CodecError("npz file: cut short")


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with archive.open(info) as stream:
        content = stream.read(info.file_size)  # without a number, all that a damaged entry unpacks to is kept
    return _array(info.filename, content)


def _array(name: str, content: bytes) -> Array:
    """The array of an .npy file, its header compared with the number of bytes before anything is allocated."""
    found = NPY_HEADER.match(content)
    if found is None:
        raise CodecError(f"npz file: {name!r} is no array of numbers as numpy writes it")
    short, long, header, kind, fortran, dims = found.groups()
    shape = tuple(int(dim) for dim in dims.decode().split(",") if dim)
    try:
        dtype = np.dtype(kind.decode()).newbyteorder("<")
        size = math.prod(shape) * dtype.itemsize
        if int.from_bytes(short or long, "little") != len(header) or len(content) - found.end() != size:
            raise CodecError(
                f"npz file: {name!r} should have {size} bytes for {kind.decode()}{list(shape)}, "
                f"it has {len(content) - found.end()}"
            )
        flat = np.frombuffer(content, dtype, offset=found.end()) if size else np.zeros(0, dtype)
        array = flat.astype(dtype.newbyteorder("=")).reshape(shape, order="F" if fortran == b"True" else "C")
    except CodecError:
        raise
    except (TypeError, ValueError, OverflowError) as error:  # a type or a shape that numpy does not have
        raise CodecError(f"npz file: {name!r}: {error}") from None
    _check_values(name, array)
    return array


def _check_values(name: str, array: Array) -> None:
    """Truth values are 0 or 1 and characters are Unicode's: numpy takes the bytes as they are."""
    if array.size and array.dtype.kind in "bU":
        unit, limit = (np.uint8, 1) if array.dtype.kind == "b" else (np.uint32, 0x10FFFF)
        if (most := int(array.reshape(-1).view(unit).max())) > limit:
            raise CodecError(f"npz file: {name!r} holds a value {most} that its type does not have")
