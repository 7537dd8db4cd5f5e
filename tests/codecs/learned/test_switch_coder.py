"""The switch's coder: a rate and its first channels, one set of tables for all rates, stored files that make sense."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.contract.protocol import Array, CodecError, MultiRateCoder, PayloadError, TensorSpec
from splitpoint.codecs.learned.switch_coder import SwitchCode, SwitchCoder
from splitpoint.codecs.store import load_coders, save_coders

WIDTHS = (1, 3, 6)
SYMBOLS = TensorSpec(name="symbols", shape=(1, 6, 4, 5), dtype="uint8", low=0, high=63, channel_axis=1)
RATE = TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=2, side=True)


def samples(count: int, seed: int = 0) -> Array:
    """Channels of different spread, as components are."""
    generator = np.random.default_rng(seed)
    values = 20 + generator.normal(size=(count, 6, 4, 5)) * (8 / np.arange(1, 7))[:, None, None]
    return np.clip(np.rint(values), 0, 63).astype(np.uint8)


def coder(rate: int = 2) -> SwitchCoder:
    return SwitchCode(widths=WIDTHS, rate=rate).fit((SYMBOLS, RATE), {"symbols": samples(40)})


@pytest.mark.parametrize("rate", range(3))
def test_a_payload_is_the_rate_and_the_first_channels_and_every_coder_reads_it(rate: int) -> None:
    one = {"symbols": samples(1, seed=4)}
    payload = coder(rate).encode(one)
    assert payload[0] == rate
    first = dataclasses.replace(SYMBOLS, shape=(1, WIDTHS[rate], 4, 5))
    for reader in (coder(0), coder(2), *load_coders(save_coders([coder(1)]))):
        found = reader.decode(payload)
        assert found["rate"].tolist() == [rate]
        assert np.array_equal(found["symbols"][:, : WIDTHS[rate]], one["symbols"][:, : WIDTHS[rate]])
        assert not found["symbols"][:, WIDTHS[rate] :].any()
    assert coder(rate).encode(coder(0).decode(payload)) == payload  # what came back is all that there was
    assert coder(rate).symbols == first.elements


def test_a_coarser_rate_takes_fewer_bytes_and_other_rates_share_the_tables() -> None:
    one = {"symbols": samples(1, seed=5)}
    finest = coder()
    lengths = [len(finest.at(rate).encode(one)) for rate in range(3)]
    assert lengths == sorted(set(lengths))
    assert [finest.at(rate).encode(one) for rate in range(3)] == [coder(rate).encode(one) for rate in range(3)]
    assert finest.rate == 2
    assert isinstance(finest, MultiRateCoder)
    changed = one["symbols"].copy()
    changed[:, 3:] = 63 - changed[:, 3:]
    assert finest.at(1).encode({"symbols": changed}) == finest.at(1).encode(one)


def test_all_channels_take_one_byte_more_than_the_tables_alone() -> None:
    one = {"symbols": samples(1, seed=6)}
    alone = Rans().fit((SYMBOLS,), {"symbols": samples(40)})
    assert coder().encode(one)[1:] == alone.encode(one)


@pytest.mark.parametrize("rate", [-1, 3, 1.0, None, "1"])
def test_a_rate_that_there_is_not_is_refused(rate: Any) -> None:
    with pytest.raises(CodecError, match=r"expected a rate of 0\.\.2"):
        coder().at(rate)


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\xff" * 40, b"\x00", b"\x01\x80\x00\x00"])
def test_bytes_without_a_rate_or_its_channels_are_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError, match=r"rate of 0\.\.2|rans payload|got 0 bytes"):
        coder().decode(payload)


def test_a_payload_that_is_said_to_be_of_another_rate_is_refused() -> None:
    payload = coder(1).encode({"symbols": samples(1)})
    for other in (0, 2):
        with pytest.raises(PayloadError, match="rans payload"):
            coder().decode(bytes([other]) + payload[1:])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("rate", np.array([3], np.uint8)),
        ("rate", np.array([1], np.int64)),
        ("rate", np.array([0, 1], np.uint8)),
        ("widths", np.array([1, 3, 5], np.int32)),  # not all channels
        ("widths", np.array([1, 3, 7], np.int32)),
        ("widths", np.array([0, 3, 6], np.int32)),
        ("widths", np.array([3, 1, 6], np.int32)),
        ("widths", np.array([1, 6], np.int32)),  # two rates, and a tensor for three
        ("widths", np.array([[1, 3, 6]], np.int32)),
        ("widths", np.array([1, 3, 6], np.int64)),
        ("widths", np.zeros(0, np.int32)),
    ],
)
def test_stored_arrays_that_contradict_the_tensors_are_refused(name: str, values: Array) -> None:
    arrays = {**coder().arrays(), name: values}
    with pytest.raises(CodecError, match="switch coder: expected"):
        SwitchCoder.from_arrays((SYMBOLS, RATE), arrays)


@pytest.mark.parametrize(
    "specs",
    [
        (SYMBOLS,),
        (RATE, SYMBOLS),
        (SYMBOLS, dataclasses.replace(RATE, high=1)),
        (SYMBOLS, dataclasses.replace(RATE, shape=(2,))),
        (SYMBOLS, dataclasses.replace(RATE, dtype="int32")),
        (dataclasses.replace(SYMBOLS, channel_axis=2), RATE),
        (dataclasses.replace(SYMBOLS, low=1), RATE),
        (dataclasses.replace(SYMBOLS, low=None, high=None), RATE),
    ],
)
def test_stored_tensors_that_are_no_switchs_are_refused(specs: tuple[TensorSpec, ...]) -> None:
    with pytest.raises(CodecError, match="switch coder: expected"):
        SwitchCoder.from_arrays(specs, coder().arrays())
