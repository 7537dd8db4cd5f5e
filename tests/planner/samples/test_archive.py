"""Archives of others: sizes that do not fit, types that run code, entries that overlap, each one error."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.planner.samples import archive, npz
from splitpoint.planner.samples.archive import read_arrays
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.samples.npz import load_npz
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

TENSOR = InputSpec(kind="tensor")


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """The start of an .npy file whose header is `text`."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode()


def packed(*entries: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archived:
        for name, data in entries:
            archived.writestr(name, data)
    return file.getvalue()


def claims(descr: str, shape: str, data: bytes = b"", order: str = "False") -> bytes:
    """An archive of one array whose header makes these claims."""
    return packed(("x.npy", header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}") + data))


def test_bytes_and_files_give_the_same_arrays(tmp_path: Path) -> None:
    data = saved(
        x=np.arange(12, dtype=np.float32).reshape(4, 3), y=np.array([0, 1, 1, 0]), group=np.array(list("abca"))
    )
    (tmp_path / "data.npz").write_bytes(data)
    from_file = load_npz(tmp_path / "data.npz", TENSOR)
    from_bytes = load_npz(data, TENSOR, at="plan/report-inputs.npz")
    assert from_bytes.sha256() == from_file.sha256()
    assert from_bytes.samples[0].name == "report-inputs.npz[0]"
    assert NetworkInputs(from_bytes)[3].tolist() == [[9, 10, 11]]
    with pytest.raises(ProfileError) as caught:
        load_npz(data[:50], TENSOR, at="plan/report-inputs.npz")
    assert caught.value.at == "plan/report-inputs.npz"


def test_columns_first_is_an_order_of_numbers_like_another() -> None:
    x = np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    np.testing.assert_array_equal(read_arrays(saved(x=x))["x"], x)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(claims("'<f4'", "(1000000000000,)"), "4,000,000,000,000 bytes; the entry has 0", id="10^12"),
        pytest.param(claims("'<f4'", "(2,)", b"\0" * 12), "8 bytes; the entry has 12", id="more than it says"),
        pytest.param(claims("'<f4'", "(-2, -1)", b"\0" * 8), "no array has the shape of", id="negative"),
        pytest.param(claims("'<f4'", f"({'1,' * 33})", b"\0" * 4), "no array has the shape of", id="33 axes"),
        pytest.param(claims("'<f4'", f"({10**18}, 0)"), "no array has the shape of", id="empty and endless"),
        pytest.param(claims("'<U0'", f"({10**18},)"), "expected numbers or text", id="elements of no bytes"),
        pytest.param(claims("'<f4'", f"({'9' * 4000},)"), "the entry has 0", id="a size of 4,000 digits"),
        pytest.param(claims("'|O'", "(1,)", b"cos\nsystem\n"), "expected numbers or text, got object", id="pickle"),
        pytest.param(claims("[('a', '<f4'), ('b', '|O')]", "(1,)"), "expected numbers or text", id="structure"),
        pytest.param(claims("('<f4', (1000000,))", "(1,)"), "cannot be read", id="array of arrays"),
        pytest.param(claims("'|V1000000'", "(1,)"), "expected numbers or text", id="bytes of no type"),
        pytest.param(claims("'<M8[s]'", "(1,)", b"\0" * 8), "expected numbers or text", id="dates"),
        pytest.param(claims("'nonsense'", "(1,)"), "cannot be read", id="no type"),
        pytest.param(claims("'<f4'", "'x'"), "cannot be read", id="no shape"),
        pytest.param(claims("'<f4'", "(" * 4000), "cannot be read", id="deep header"),
        pytest.param(claims("'<f4'", "(" + "-" * 4000 + "1,)"), "cannot be read", id="deep numbers"),
        pytest.param(packed(("x.npy", header("__import__('os')"))), "cannot be read", id="code"),
        pytest.param(packed(("x.npy", header("{}", b"\x03\x00"))), "version", id="version"),
        pytest.param(packed(("x.npy", b"")), "cannot be read", id="no header"),
        pytest.param(packed(("x.npy", b"\x93NUMPY\x01\x00\xff\xff{")), "cannot be read", id="short header"),
        pytest.param(packed(("x", b"abc")), "'x' is no array", id="no array"),
        pytest.param(packed(("../\x1b[31m", b"")), "is no array", id="escape codes"),
        pytest.param(packed(("d/", b"")), "is no array", id="folder"),
        pytest.param(packed(("x.npy", b"a"), method=zipfile.ZIP_LZMA), "a way that numpy does not write", id="lzma"),
        pytest.param(b"PK\x03\x04 no archive", "cannot be read", id="no archive"),
        pytest.param(b"", "cannot be read", id="nothing"),
    ],
)
def test_what_does_not_fit_is_one_error_before_anything_is_read(
    data: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_read", lambda *arguments: pytest.fail("an array was read"))
    with pytest.raises(ProfileError) as caught:
        read_arrays(data, at="data.npz")
    assert message in caught.value.message
    assert "data.npz" in str(caught.value.at)
    assert "\x1b" not in str(caught.value)


def test_the_bound_holds_for_the_sum_and_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    data = packed(*((f"x{i}.npy", b"\0" * 10**6) for i in range(5)), method=zipfile.ZIP_DEFLATED)
    assert len(data) < 10**5
    monkeypatch.setattr(archive, "_read", lambda *arguments: pytest.fail("an array was read"))
    with pytest.raises(ProfileError, match="expected arrays of at most 4,999,999 bytes together, got 5,000,000"):
        read_arrays(data, limit_bytes=4_999_999)
    with pytest.raises(ProfileError, match="of at most 100 bytes together"):
        load_npz(data, TENSOR, limit_bytes=100)


def test_an_entry_that_says_a_wrong_size_or_checksum() -> None:
    good = saved(x=np.arange(1000, dtype=np.float32))
    at = good.index(b"PK\x01\x02")
    compressed, size = struct.unpack_from("<LL", good, at + 20)
    assert size == 4128
    grown = bytearray(good)
    struct.pack_into("<LL", grown, at + 20, compressed, 2**31)
    with pytest.raises(ProfileError, match=r"4,000 bytes; the entry has 2,147,483,520"):
        read_arrays(bytes(grown))
    broken = bytearray(good)
    broken[at - 1] ^= 1  # the last number
    with pytest.raises(ProfileError, match="Bad CRC-32"):
        read_arrays(bytes(broken))


def test_entries_that_overlap_or_share_a_name() -> None:
    data = bytearray(saved(x=np.arange(9), z=np.arange(9)))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    renamed = bytes(data).replace(b"z.npy", b"x.npy")
    with pytest.raises(ProfileError, match=r"'x\.npy' is there twice"):
        read_arrays(renamed)
    struct.pack_into("<L", data, second + 42, 8)  # into the entry of x
    with pytest.raises(ProfileError, match="overlaps the entry before it"):
        read_arrays(bytes(data))


def test_an_encrypted_entry() -> None:
    data = bytearray(saved(x=np.arange(9)))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ProfileError, match=r"'x\.npy' is encrypted"):
        read_arrays(bytes(data))


def test_too_many_arrays_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_ARRAYS", 3)
    with pytest.raises(ProfileError, match="expected at most 3 arrays, got 4"):
        read_arrays(saved(a=1, b=2, c=3, d=4))
    monkeypatch.setattr(npz, "MOST_SAMPLES", 3)
    with pytest.raises(ProfileError, match="expected at most 3 samples, got 4"):
        load_npz(saved(x=np.zeros((4, 2), np.float32)), TENSOR)


@pytest.mark.parametrize("long_offsets", [False, True])
def test_a_directory_of_millions_of_entries_is_not_parsed(long_offsets: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_DIRECTORY_BYTES", 200)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3 if long_offsets else 2**16)
    monkeypatch.setattr(archive, "_entries", lambda *arguments: pytest.fail("the directory was read"))
    data = packed(*((f"array-{i:020}.npy", b"") for i in range(4)))
    assert (b"PK\6\6" in data) == long_offsets
    with pytest.raises(ProfileError, match="expected at most 1000 arrays, got 304 bytes of names"):
        read_arrays(data)


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
def test_text_of_no_characters(code: int) -> None:
    for order in "<>":
        text = np.array([ord("a"), code], f"{order}u4").view(f"{order}U1")
        with pytest.raises(ProfileError, match=r"group\.npy has text with codes that are no characters"):
            read_arrays(saved(x=np.zeros((2, 1)), group=text))


def test_groups_that_a_terminal_would_obey() -> None:
    data = saved(x=np.zeros((2, 1), np.float32), group=np.array(["a", "\x1b[2J"]))
    with pytest.raises(ProfileError, match=r"groups without control characters, got '\\x1b\[2J'"):
        load_npz(data, TENSOR)


def test_arrays_that_are_ignored_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_b(archived: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
        assert entry.filename == "b.npy"
        return np.zeros(1)

    monkeypatch.setattr(archive, "_read", only_b)
    assert list(read_arrays(saved(a=np.zeros(2), b=np.zeros(2)), ignored={"a"})) == ["b"]


def test_a_pipe_named_as_a_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "data.npz")
    with pytest.raises(ProfileError, match="it is a pipe, expected a file"):
        load_npz(tmp_path / "data.npz", TENSOR)
