"""Integers without loss: every value comes back, ids cost their entropy, and damage is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from splitpoint.codecs.coders.integers import IntegerCoder, Integers
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec
from splitpoint.codecs.registry import INTEGER_TYPES
from splitpoint.codecs.store import load_coders, save_coders

PLAIN, VALUES, DIFFERENCES = 0, 1, 2
IDS, WORDS = 64, 500


def fit(rows: Array) -> IntegerCoder:
    spec = TensorSpec(name="x", shape=(1, *rows.shape[1:]), dtype=str(rows.dtype))
    (coder,) = load_coders(save_coders([Integers().fit((spec,), {"x": rows})]))
    assert isinstance(coder, IntegerCoder)
    return coder


def bits_an_id(coder: IntegerCoder, rows: Array) -> float:
    return 8 * float(np.mean([len(coder.encode({"x": row[None]})) for row in rows])) / int(rows.shape[1])


@pytest.mark.parametrize("dtype", INTEGER_TYPES)
@given(data=st.data())
def test_every_value_of_every_type_comes_back(dtype: str, data: st.DataObject) -> None:
    values = arrays.arrays(dtype, (1, 7), elements=arrays.from_dtype(np.dtype(dtype)))
    rows = data.draw(arrays.arrays(dtype, (3, 7), elements=arrays.from_dtype(np.dtype(dtype)), fill=st.nothing()))
    coder = fit(rows)
    x = data.draw(values)
    back = coder.decode(coder.encode({"x": x}))["x"]
    assert back.dtype == x.dtype
    assert np.array_equal(back, x)


@pytest.mark.parametrize("count", [4, 12, 100])
def test_ids_of_a_vocabulary_without_statistics_cost_its_plain_bits(count: int) -> None:
    rng = np.random.default_rng(0)
    rows, others = (rng.integers(0, WORDS, (n, IDS)) for n in (count, 40))
    # 9 bits for each of 500 words, a byte for the kind of payload; four inputs may miss both ends of the range.
    assert bits_an_id(fit(rows), others) <= (9 + 8 / IDS if count > 4 else 9.5)


def test_ids_with_statistics_cost_about_their_entropy() -> None:
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, WORDS + 1)
    share /= share.sum()
    names = rng.permutation(WORDS)
    rows, others = (names[rng.choice(WORDS, (n, 16 * IDS), p=share)] for n in (40, 10))
    entropy = -float((share * np.log2(share)).sum())
    assert bits_an_id(fit(rows), others) < entropy + 0.3  # rare words have no code of their own


def test_the_shortest_form_is_sent() -> None:
    rng = np.random.default_rng(0)
    ramp = np.arange(IDS) + rng.integers(0, 10_000, (20, 1))
    assert fit(ramp).encode({"x": ramp[:1]})[0] == DIFFERENCES
    flat = rng.integers(0, WORDS, (20, IDS))
    assert fit(flat).encode({"x": flat[:1]})[0] == PLAIN
    skewed = np.minimum(rng.geometric(0.3, (20, IDS)), 300)
    assert fit(skewed).encode({"x": skewed[:1]})[0] == VALUES
    mask = np.arange(IDS) < rng.integers(10, IDS, (20, 1))
    assert bits_an_id(fit(mask), mask) < 1


def test_a_number_out_of_the_types_range_is_refused() -> None:
    rows = np.full((4, 3), 250, np.uint8)
    coder = fit(rows)
    wider = fit(rows.astype(np.int64))
    for values in ([250, 256, 0], [250, -1, 0]):
        foreign = wider.encode({"x": np.array([values])})
        with pytest.raises(PayloadError, match=r"outside 0\.\.255"):
            coder.decode(foreign)


def test_what_is_no_payload_is_refused() -> None:
    rows = np.random.default_rng(0).integers(0, 40, (8, 10))
    coder = fit(rows)
    good = coder.encode({"x": rows[:1]})
    assert good[0] == PLAIN
    for bad, why in [
        (b"", "first byte"),
        (b"\x03" + good[1:], "first byte"),
        (good + b"\0", "plain bits"),
        (good[:-1], "plain bits"),
        (good[:-1] + bytes([good[-1] | 1]), "behind the last"),
        (b"\x01" + b"\xff" * 9, "cut short"),
        (b"\x01\x7f", "codes expected"),
    ]:
        with pytest.raises(PayloadError, match=why):
            coder.decode(bad)


def test_damaged_tables_are_refused() -> None:
    coder = fit(np.random.default_rng(0).integers(0, 40, (8, 10)))
    stored = coder.arrays()
    for name, value, why in [
        ("plain", np.array([0, 64]), "'plain'"),
        ("values.frequent", stored["values.frequent"][:-1], "frequent"),
        ("values.table", stored["values.table"] // 2, "sum to"),
        ("differences.frequent", stored["differences.frequent"].astype(np.int32), "frequent int64"),
    ]:
        with pytest.raises(CodecError, match=why):
            IntegerCoder.from_arrays(coder.specs, {**stored, name: value})
    for dtype in ("float32", "uint64"):
        with pytest.raises(CodecError, match="takes one tensor of integers"):
            Integers().fit((TensorSpec(name="x", shape=(1, 2), dtype=dtype),), {"x": np.zeros((3, 2), dtype)})


def test_numbers_outside_a_given_range_are_refused() -> None:
    wide = TensorSpec(name="x", shape=(1, 6), dtype="int64")
    numbers = np.arange(60).reshape(10, 6)
    payload = Integers().fit((wide,), {"x": numbers}).encode({"x": numbers[:1]})
    narrow = dataclasses.replace(wide, low=0, high=4)
    with pytest.raises(PayloadError, match=r"outside 0\.\.4"):
        Integers().fit((narrow,), {"x": numbers}).decode(payload)
    exact = dataclasses.replace(wide, low=0, high=5)
    assert Integers().fit((exact,), {"x": numbers}).decode(payload)["x"].tolist() == numbers[:1].tolist()
