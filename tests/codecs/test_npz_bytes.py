"""Reading npz files of strangers: what numpy writes comes back, everything else is refused before it is unpacked."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.codecs.npz import npz_bytes, read_npz

LIMIT = 1 << 20
SPARE = 1 << 19  # bytes that reading may take beside the arrays
DTYPES = ("?", "u1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", "<c16", "<U3")
GOOD = npz_bytes({"a": np.arange(6, dtype=np.float32), "b": np.zeros((2, 3), np.uint8)})


def npy(header: str, content: bytes = b"", *, version: bytes = b"\1\0", length: int | None = None) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text) if length is None else length) + text + content


def packed(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def header(kind: str = "<f4", shape: str = "(2,)", fortran: object = False) -> str:
    return f"{{'descr': '{kind}', 'fortran_order': {fortran}, 'shape': {shape}, }}"


@given(st.sets(st.sampled_from("abcde"), max_size=4), st.data(), st.booleans())
@settings(max_examples=40)
def test_what_numpy_writes_comes_back(names: set[str], data: st.DataObject, compress: bool) -> None:
    shapes = arrays_of.array_shapes(min_dims=0, min_side=0)
    given_ = {
        name: data.draw(arrays_of.arrays(data.draw(st.sampled_from(DTYPES)), shapes, elements=None)) for name in names
    }
    given_ |= {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **given_)  # type: ignore[arg-type]  # numpy types the keywords after its options
    for found in (read_npz(buffer.getvalue(), limit_bytes=LIMIT), read_npz(npz_bytes(given_), limit_bytes=LIMIT)):
        assert set(found) == set(given_)
        for name, x in given_.items():
            y = found[name].reshape(x.shape)  # npz_bytes gives a number one axis
            assert (y.dtype, y.tobytes()) == (x.dtype, x.tobytes())
            assert found[name].flags.writeable


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no zip": b"not a zip at all, but longer than its end record",
    "cut short": GOOD[:-1],
    "something behind": GOOD + b"x",
    "something before": b"x" + GOOD,
    "a comment": GOOD[:-2] + b"\1\0x",
    "another name": packed(("a.txt", npy(header(), bytes(8)))),
    "objects": packed(("a.npy", npy(header("|O8"), bytes(16)))),
    "records": packed(("a.npy", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", bytes(8)))),
    "records in a string": packed(("a.npy", npy(header("<f4,<f4"), bytes(16)))),
    "other byte order": packed(("a.npy", npy(header(">f4"), bytes(8)))),
    "dates": packed(("a.npy", npy(header("<M8[s]"), bytes(16)))),
    "no such type": packed(("a.npy", npy(header("<f3"), bytes(6)))),
    "text of no length": packed(("a.npy", npy(header("<U0", "(999999999,)")))),
    "code in the header": packed(("a.npy", npy("{'descr': __import__('os'), }", bytes(8)))),
    "deep header": packed(("a.npy", npy("(" * 9000 + ")" * 9000))),
    "minus signs": packed(("a.npy", npy("-" * 9000 + "1"))),
    "huge shape": packed(("a.npy", npy(header(shape="(999999999999, 999999)"), bytes(8)))),
    "huge empty shape": packed(("a.npy", npy(header(shape="(999999999999999999, 999999999999999999, 0)")))),
    "many axes": packed(("a.npy", npy(header("|u1", "(" + "1, " * 63 + "1, 1)"), b"x"))),
    "negative shape": packed(("a.npy", npy(header(shape="(-1, -2)"), bytes(8)))),
    "too few bytes": packed(("a.npy", npy(header(), bytes(7)))),
    "too many bytes": packed(("a.npy", npy(header(), bytes(9)))),
    "wrong header length": packed(("a.npy", npy(header(), bytes(8), length=20))),
    "version 9": packed(("a.npy", npy(header(), bytes(8), version=b"\x09\0"))),
    "truth value 2": packed(("a.npy", npy(header("|b1"), b"\1\2"))),
    "no character": packed(("a.npy", npy(header("<U1"), b"\xff" * 8))),
}


@pytest.mark.parametrize("name", BAD)
def test_what_numpy_does_not_write_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="npz file"):
        read_npz(BAD[name], limit_bytes=LIMIT)


@pytest.mark.parametrize("data", [None, "text", [1], np.zeros(3, np.uint8)])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(CodecError, match="expected bytes, got"):
        read_npz(data, limit_bytes=LIMIT)


def test_an_entry_twice_and_an_encrypted_one_are_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = packed(("a.npy", npy(header(), bytes(8))), ("a.npy", npy(header(), bytes(8))))
    with pytest.raises(CodecError, match="each once"):
        read_npz(twice, limit_bytes=LIMIT)
    start = GOOD.index(b"PK\1\2")
    encrypted = GOOD[: start + 8] + b"\1\0" + GOOD[start + 10 :]
    with pytest.raises(CodecError, match="encrypted"):
        read_npz(encrypted, limit_bytes=LIMIT)


def test_entries_that_share_their_bytes_are_refused() -> None:
    place = GOOD.index(b"PK\1\2")
    second = GOOD.index(b"PK\1\2", place + 4)
    both = bytearray(GOOD)
    both[second + 42 : second + 46] = both[place + 42 : place + 46]  # the second entry begins where the first does
    with pytest.raises(CodecError, match="overlaps"):
        read_npz(bytes(both), limit_bytes=LIMIT)


def peak_of(data: bytes, **limits: int) -> int:
    tracemalloc.start()
    with pytest.raises(CodecError, match=r"too large|should have|damaged|entries"):
        read_npz(data, **limits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_sizes_are_bounded_by_entry_and_in_sum() -> None:
    one = npy(header("|u1", f"({LIMIT // 4},)"), bytes(LIMIT // 4))
    twelve = packed(*((f"{i}.npy", one) for i in range(12)))
    assert len(twelve) < LIMIT // 20
    assert peak_of(twelve, limit_bytes=LIMIT) < SPARE
    assert peak_of(twelve, limit_bytes=12 * LIMIT, entry_bytes=LIMIT // 8) < SPARE
    assert len(read_npz(twelve, limit_bytes=12 * LIMIT, entry_bytes=LIMIT)) == 12


def test_an_entry_that_unpacks_to_more_than_it_says_is_refused() -> None:
    data = bytearray(packed(("a.npy", bytes(64 << 20))))
    for signature, field in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = data.index(signature) + field
        data[at : at + 4] = struct.pack("<I", 100)
    assert peak_of(bytes(data), limit_bytes=LIMIT) < SPARE


def test_many_entries_are_refused_before_they_are_listed() -> None:
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    many = entry * 60_000
    for count in (60_000, 1):
        end = b"PK\5\6" + bytes(4) + struct.pack("<HHIIH", count, count, len(many), 0, 0)
        assert peak_of(many + end, limit_bytes=LIMIT) < 2 * len(many) + SPARE


def test_the_end_record_of_large_zips_is_refused() -> None:
    start = GOOD.index(b"PK\1\2")
    locator = b"PK\6\7" + bytes(16)
    listed = GOOD[start:-22] + locator
    end = GOOD[-22:-10] + struct.pack("<II", len(listed), start) + b"\0\0"
    with pytest.raises(CodecError, match="between the entries and the end"):
        read_npz(GOOD[:start] + listed + end, limit_bytes=LIMIT)


@given(st.data())
@settings(max_examples=150)
def test_damaged_files_are_arrays_or_one_error(data: st.DataObject) -> None:
    broken = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 5))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken))) :]
    try:
        found = read_npz(bytes(broken), limit_bytes=LIMIT)
    except CodecError:
        return
    assert sum(x.nbytes for x in found.values()) <= LIMIT


def test_the_checksum_of_an_entry_is_compared() -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("a.npy", npy(header(), b"12345678"))
    data = stored.getvalue()
    with pytest.raises(CodecError, match="CRC"):
        read_npz(data.replace(b"12345678", b"12345679"), limit_bytes=LIMIT)
    right = data.replace(struct.pack("<I", zlib.crc32(npy(header(), b"12345678"))), bytes(4))
    with pytest.raises(CodecError, match="CRC"):
        read_npz(right, limit_bytes=LIMIT)
