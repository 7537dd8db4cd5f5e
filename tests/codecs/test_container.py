"""The bitstream's header, and coders as files: every field is checked, every fault has its own sentence."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.coders.raw import Raw
from splitpoint.codecs.container import MAX_TENSORS, Frame, pack, unpack
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, PayloadError, TensorSpec
from splitpoint.codecs.npz import npz_bytes
from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.store import CODERS, load_coders, save_coders

PLAN = bytes(range(8))
SPEC = TensorSpec(name="symbols", shape=(1, 3, 4, 4), dtype="int16", low=-32767, high=32767, channel_axis=1, group=3)


def reseal(stream: bytes) -> bytes:
    return stream[:-4] + zlib.crc32(stream[:-4]).to_bytes(4, "little")


def edited(stream: bytes, at: int, value: int) -> bytes:
    out = bytearray(stream)
    out[at] = value
    return reseal(bytes(out))


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=MAX_TENSORS), st.integers(0, 255), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_payloads_come_back(payloads: list[bytes], codec_id: int, rate: int) -> None:
    stream = pack(payloads, codec_id=codec_id, rate=rate, plan_hash=PLAN)
    assert unpack(stream, codec_id=codec_id, plan_hash=PLAN, count=len(payloads)) == (rate, payloads)


@pytest.mark.parametrize(
    ("size", "overhead"), [(0, 18), (127, 18), (128, 19), (16383, 19), (16384, 20), ((1 << 21) - 1, 20)]
)
def test_at_most_twenty_bytes_surround_one_payload(size: int, overhead: int) -> None:
    assert len(pack([bytes(size)], codec_id=1, rate=0, plan_hash=PLAN)) - size == overhead


def test_each_fault_has_its_own_sentence() -> None:
    frame = Frame(codec_id=7, rates=(3, 2), plan_hash=PLAN, count=2)
    read = frame.unpack

    stream = pack([b"first", b"second"], codec_id=7, rate=3, plan_hash=PLAN)
    assert read(stream) == (3, [b"first", b"second"])
    assert read(edited(stream, 4, 2))[0] == 2
    for broken, sentence in (
        (b"", "truncated: 0 bytes"),
        (stream[:-3], f"truncated: {len(stream) - 3} of {len(stream)} bytes"),
        (b"PK" + stream[2:], "not a splitpoint bitstream"),
        (stream[:20] + b"?" + stream[21:], "damaged: the checksum"),
        (edited(stream, 2, 0x92), "bitstream version 9, expected 2"),
        (edited(stream, 2, 0x12), "bitstream version 1, expected 2"),
        (edited(stream, 2, 0x23), "3 tensors, expected 2"),
        (edited(stream, 3, 8), "written by codec 8, expected codec 7"),
        (edited(stream, 4, 9), "written at rate 9, this plan has 3, 2"),
        (edited(stream, 7, 99), "written for another plan"),
        (edited(stream, 13, 6), "the lengths inside say"),
    ):
        with pytest.raises(PayloadError, match=sentence):
            read(broken)
    with pytest.raises(PayloadError, match="does not end"):
        read(reseal(stream[:13] + b"\xff" * 9 + stream[13:]))
    with pytest.raises(CodecError, match="rate 4 is none of this plan's"):
        frame.pack([b"first", b"second"], 4)


@pytest.mark.parametrize("data", [None, "text", [1, 2], np.zeros(40, np.uint8)])
def test_what_is_no_bytes_is_refused(data: Any) -> None:
    with pytest.raises(PayloadError, match="expected a payload as bytes"):
        unpack(data, codec_id=7, plan_hash=PLAN, count=1)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_kinds_of_bytes_are_read(kind: Any) -> None:
    stream = pack([b"first"], codec_id=7, rate=3, plan_hash=PLAN)
    assert unpack(kind(stream), codec_id=7, plan_hash=PLAN, count=1) == (3, [b"first"])


def test_what_the_header_cannot_hold_is_refused() -> None:
    for payloads, codec_id, rate, plan in (
        ([], 1, 0, PLAN),
        ([b""] * 16, 1, 0, PLAN),
        ([b""], 256, 0, PLAN),
        ([b""], 1, 0, b"x"),
    ):
        with pytest.raises(CodecError):
            pack(payloads, codec_id=codec_id, rate=rate, plan_hash=plan)


def test_codec_ids_are_the_published_ones() -> None:
    published = json.loads((Path(__file__).parent / "golden" / "codec-ids.json").read_text())
    assert {name: CODEC_IDS[name] for name in published} == published


def coders() -> list[Coder]:
    symbols = np.random.default_rng(0).integers(-3, 4, (50, 3, 4, 4)).astype(np.int16)
    kinds = (Raw(), Huffman(), Rans(), ContextCode())
    return [kind.fit((SPEC,), {"symbols": symbols}) for kind in kinds]


def test_coders_come_back_from_their_file(tmp_path: Path) -> None:
    data = save_coders(coders())
    assert data == save_coders(coders())
    path = tmp_path / "codec.npz"
    path.write_bytes(data)
    one = {"symbols": np.full(SPEC.shape, 2, np.int16)}
    for before, after, from_file in zip(coders(), load_coders(data), load_coders(path), strict=True):
        assert before.specs == after.specs == from_file.specs
        assert before.encode(one) == after.encode(one) == from_file.encode(one)
    assert load_coders(save_coders(load_coders(data)))[2].name == "rans"
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:  # an ordinary npz file
        assert "1.lengths" in arrays.files


def test_every_coder_can_be_stored() -> None:
    assert {coder.name for coder in coders()} <= set(CODERS)


def changed(name: str, value: Array | None) -> bytes:
    with np.load(io.BytesIO(save_coders(coders()))) as arrays:
        entries = {key: arrays[key] for key in arrays.files}
    if value is None:
        del entries[name]
    else:
        entries[name] = value
    return npz_bytes(entries)


def about(**changes: object) -> Array:
    with np.load(io.BytesIO(save_coders(coders()))) as arrays:
        description = json.loads(arrays["2.about"].tobytes())
    spec = {key: changes.pop(key) for key in list(changes) if key in description["specs"][0]}
    description["specs"][0].update(spec)
    description.update(changes)
    return np.frombuffer(json.dumps(description).encode(), np.uint8)


BAD: list[tuple[str, Array | None]] = [
    ("2.about", None),
    ("2.about", np.frombuffer(b"{", np.uint8)),
    ("2.about", np.frombuffer(b"[]", np.uint8)),
    ("2.about", about(format=2)),
    ("2.about", about(coder="zip")),
    ("2.about", about(coder=["rans"])),
    ("2.about", about(specs=[])),
    ("2.about", about(shape=[1, 3, 4, -4])),
    ("2.about", about(shape=[1, 3, 4, True])),
    ("2.about", about(shape=[1 << 20, 1 << 20])),
    ("2.about", about(shape=[1, 5, 4, 4])),
    ("2.about", about(dtype="object")),
    ("2.about", about(low=-40000)),
    ("2.about", about(low=5, high=-5)),
    ("2.about", about(low=None)),
    ("2.about", about(low=None, high=None)),
    ("2.about", about(channel_axis=7)),
    ("2.about", about(group=0)),
    ("2.about", about(side=True)),
    ("2.table", None),
    ("2.table", np.ones((4, 9), np.uint16)),
    ("2.table", np.ones((4, 9), np.float64)),
    ("2.table", np.zeros((0, 9), np.uint16)),
    ("2.rows", np.array([0, 1, 9], np.uint16)),
    ("2.rows", np.array([0, 1], np.uint16)),
    ("2.first", np.array([-40000])),
    ("2.first", np.array([1.0])),
    ("1.lengths", np.zeros((4, 8), np.uint8)),
    ("1.lengths", np.full((4, 8), 4, np.uint8)),
    ("3.classes", np.full(3, 255, np.uint8)),
    ("3.state", np.zeros(3, np.uint16)),
    ("3.weights", np.full((96, 5), 1 << 30, np.int32)),
    ("9.table", np.zeros(3, np.uint16)),
    ("../evil", np.zeros(3, np.uint16)),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_field_is_refused(name: str, value: Array | None) -> None:
    with pytest.raises(CodecError):
        load_coders(changed(name, value))


def test_what_is_no_archive_or_holds_objects_is_refused(tmp_path: Path) -> None:
    good = save_coders(coders())
    for data in (b"", b"PK\x03\x04", good[:200], good[:-30]):
        with pytest.raises(CodecError):
            load_coders(data)
    with pytest.raises(CodecError):
        load_coders(tmp_path / "nothing.npz")
    buffer = io.BytesIO()
    np.savez(buffer, **{"0.about": np.array([{}], object)}, allow_pickle=True)
    with pytest.raises(CodecError):
        load_coders(buffer.getvalue())


def test_flipped_bits_in_the_file_never_escape() -> None:
    good = save_coders(coders())
    generator = np.random.default_rng(0)
    for bit in generator.integers(0, 8 * len(good), 300):
        broken = bytearray(good)
        broken[bit // 8] ^= 1 << (bit % 8)
        try:
            load_coders(bytes(broken))
        except CodecError:
            continue


def test_an_entry_that_unpacks_to_too_much_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("0.about.npy", "w") as entry:
        for _ in range(5):
            entry.write(bytes(1 << 26))
    with pytest.raises(CodecError, match="too large"):
        load_coders(buffer.getvalue())


HOSTILE = {
    "shape of too many elements": about(shape=[1, 3, 1 << 14, 1 << 14]),
    "shape of too many axes": about(shape=[1] * 33),
    "shape that is text": about(shape="1, 3"),
    "type that is a list": about(dtype=["int16"]),
    "range of 33 bits": about(dtype="int64", low=-(2**33), high=2**33),
    "deep": np.frombuffer(b"[" * 100_000, np.uint8),
    "long": np.frombuffer(b'"' + b" " * (2 << 20) + b'"', np.uint8),
    "number of 400 digits": about(low=-(10**400)),
    "no number": about(low=float("nan")),
    "coder that is null": about(coder=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_description_is_refused(name: str) -> None:
    with pytest.raises(CodecError):
        load_coders(changed("2.about", HOSTILE[name]))


def test_tensors_of_one_name_and_too_many_of_them_are_refused() -> None:
    with np.load(io.BytesIO(save_coders(coders()))) as arrays:
        (spec,) = json.loads(arrays["2.about"].tobytes())["specs"]
    large = {**spec, "name": "side", "side": True, "shape": [1, 3, 4, 20 << 20], "dtype": "uint8", "low": 0, "high": 9}
    more = {**large, "name": "more", "shape": [1, 20 << 20]}
    cases = (([spec, spec], "one name"), ([spec] * 65, "1 to 64"), ([spec, large, more], "together have more than"))
    for specs, reason in cases:
        with pytest.raises(CodecError, match=reason):
            load_coders(changed("2.about", about(specs=specs)))


@pytest.mark.parametrize("name", ["2.more", "0.table", "2.table2"])
def test_an_array_that_the_coder_does_not_need_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="has no use for the array"):
        load_coders(changed(name, np.zeros(3, np.uint8)))


@pytest.mark.parametrize("name", ["0.", ".about", "²", "²..about", "00.about", "99999.about", "0.a b", "0." + "a" * 65])
def test_names_of_entries_are_strict(name: str) -> None:
    with pytest.raises(CodecError, match="unexpected entry"):
        load_coders(changed(name, np.zeros(3, np.uint8)))


def test_small_files_do_not_make_large_tables() -> None:
    """Zeros pack to a thousandth, and the tables that decoding needs are 16 times as large as what is stored."""
    many = np.zeros((20_000, 1025), np.uint8)
    many[:, -2:] = 1  # a complete prefix code with an escape
    wide = changed("1.lengths", many)
    tracemalloc.start()
    with pytest.raises(CodecError, match="257 tables"):
        load_coders(wide)
    assert tracemalloc.get_traced_memory()[1] < 4 * many.nbytes
    tracemalloc.stop()
    zeros = np.zeros(40 << 20, np.uint8)
    with pytest.raises(CodecError, match="its arrays are too large: 293"):
        load_coders(npz_bytes({f"{i}.about": zeros for i in range(7)}))
