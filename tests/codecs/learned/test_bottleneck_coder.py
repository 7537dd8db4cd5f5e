"""The bottleneck's coder: coarse symbols of fine ones by integers, tables a rate, stored files that make sense."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.contract.protocol import Array, CodecError, MultiRateCoder, PayloadError, TensorSpec
from splitpoint.codecs.learned.bottleneck_coder import SHIFT, BottleneckCode, BottleneckCoder
from splitpoint.codecs.store import load_coders, save_coders

WHOLE = 1 << SHIFT
OFFSET = round(0.38 * WHOLE)
MULTIPLIERS = np.array(
    [[WHOLE // 80, WHOLE // 60, WHOLE // 100, 0], [WHOLE // 16, WHOLE // 33, WHOLE // 20, WHOLE // 3000], [WHOLE] * 4],
    np.int32,
)
SYMBOLS = TensorSpec(name="symbols", shape=(1, 4, 4, 5), dtype="int16", low=-32767, high=32767, channel_axis=1)
RATE = TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=2, side=True)


def samples(count: int, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    values = generator.laplace(size=(count, 4, 4, 5)) * np.array([200, 100, 60, 20])[:, None, None]
    return np.asarray(np.clip(np.rint(values), -32767, 32767), np.int16)


def coder(rate: int = 2) -> BottleneckCoder:
    code = BottleneckCode(multipliers=MULTIPLIERS, offset=OFFSET, rate=rate)
    return code.fit((SYMBOLS, RATE), {"symbols": samples(40)})


def expected(fine: int, rate: int, channel: int) -> int:
    """The symbol by fractions: magnitudes in steps, plus the offset, without what is behind the point."""
    magnitude = int(Fraction(abs(fine) * int(MULTIPLIERS[rate, channel]) + OFFSET, WHOLE))
    return magnitude if fine > 0 else -magnitude


@pytest.mark.parametrize("rate", range(3))
def test_a_payload_has_the_symbols_of_its_rate_and_every_coder_reads_it(rate: int) -> None:
    one = samples(1, seed=4)
    one[0, :, 0, 0], one[0, :, 0, 1] = 32767, -32767
    payload = coder(rate).encode({"symbols": one})
    assert payload[0] == rate
    wanted = [expected(int(value), rate, i // 20 % 4) for i, value in enumerate(one.ravel())]
    for reader in (coder(0), coder(2), *load_coders(save_coders([coder(1)]))):
        found = reader.decode(payload)
        assert found["rate"].tolist() == [rate]
        assert found["symbols"].ravel().tolist() == wanted
    assert np.array_equal(coder(rate).kept({"symbols": one})["symbols"].ravel(), wanted)
    assert coder(rate).symbols == 80


def test_a_finer_rate_takes_more_bytes_and_the_zero_bin_is_wider_than_the_others() -> None:
    one = {"symbols": samples(1, seed=5)}
    finest = coder()
    assert isinstance(finest, MultiRateCoder)
    lengths = [len(finest.at(rate).encode(one)) for rate in range(3)]
    assert lengths == sorted(set(lengths))
    assert [finest.at(rate).encode(one) for rate in range(3)] == [coder(rate).encode(one) for rate in range(3)]
    fine = np.arange(-400, 401, dtype=np.int16)
    middle = BottleneckCode(multipliers=MULTIPLIERS[1:2, :1], offset=OFFSET, rate=0)
    specs = (dataclasses.replace(SYMBOLS, shape=(1, 1, 801)), dataclasses.replace(RATE, high=0))
    made = middle.fit(specs, {"symbols": fine[None, None]}).kept({"symbols": fine[None, None]})["symbols"][0, 0]
    assert np.array_equal(made, -made[::-1])
    counts = [int((made == symbol).sum()) for symbol in (0, 1, 2, 3)]
    assert counts == [19, 16, 16, 16]  # below 0.62 of a step of 16: -9 to 9


def test_symbols_are_coded_with_the_tables_of_their_own_rate() -> None:
    one = {"symbols": samples(1, seed=6)}
    for rate in range(3):
        calibration = coder(rate).kept({"symbols": samples(40)})
        alone = Rans().fit((SYMBOLS,), calibration)
        assert coder(rate).encode(one)[1:] == alone.encode(coder(rate).kept(one))


@pytest.mark.parametrize("rate", [-1, 3, 1.0, None, "1"])
def test_a_rate_that_there_is_not_is_refused(rate: Any) -> None:
    with pytest.raises(CodecError, match=r"expected a rate of 0\.\.2"):
        coder().at(rate)


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\xff" * 40, b"\x00", b"\x01\x80\x00\x00"])
def test_bytes_without_a_rate_or_symbols_are_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError, match=r"rate of 0\.\.2|rans payload|got 0 bytes"):
        coder().decode(payload)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rate", np.array([3], np.uint8)),
        ("rate", np.array([1], np.int64)),
        ("rate", np.array([0, 1], np.uint8)),
        ("multipliers", MULTIPLIERS.astype(np.int64)),
        ("multipliers", MULTIPLIERS[0]),
        ("multipliers", MULTIPLIERS[:2]),  # two rates, and a tensor for three
        ("multipliers", MULTIPLIERS[:, :3]),
        ("multipliers", -MULTIPLIERS),
        ("multipliers", 2 * MULTIPLIERS),  # finer than fine symbols: magnitudes would leave the range
        ("multipliers", np.zeros((0, 4), np.int32)),
        ("offset", np.array([WHOLE], np.int32)),
        ("offset", np.array([-1], np.int32)),
        ("offset", np.array([1], np.int64)),
        ("offset", np.array([1, 1], np.int32)),
    ],
)
def test_stored_arrays_that_contradict_the_tensors_are_refused(name: str, values: Array) -> None:
    arrays = {**coder().arrays(), name: values}
    with pytest.raises(CodecError, match="bottleneck coder: expected"):
        BottleneckCoder.from_arrays((SYMBOLS, RATE), arrays)


@pytest.mark.parametrize(
    "specs",
    [
        (SYMBOLS,),
        (RATE, SYMBOLS),
        (SYMBOLS, dataclasses.replace(RATE, high=1)),
        (SYMBOLS, dataclasses.replace(RATE, shape=(2,))),
        (SYMBOLS, dataclasses.replace(RATE, dtype="int32")),
        (dataclasses.replace(SYMBOLS, channel_axis=2), RATE),
        (dataclasses.replace(SYMBOLS, low=-100), RATE),
        (dataclasses.replace(SYMBOLS, low=None, high=None), RATE),
    ],
)
def test_stored_tensors_that_are_no_bottlenecks_are_refused(specs: tuple[TensorSpec, ...]) -> None:
    with pytest.raises(CodecError, match="bottleneck coder: expected"):
        BottleneckCoder.from_arrays(specs, coder().arrays())
