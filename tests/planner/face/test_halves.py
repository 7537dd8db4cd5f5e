"""Halves of a network from Python: they make up the whole, and their codecs send what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import splitpoint
from splitpoint.planner.face.halves import Halves


@pytest.fixture(scope="module")
def x() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(10, 3, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def halves(home: Path, x: NDArray[np.float32]) -> Iterator[Halves]:
    with splitpoint.split(home / "model.onnx", "conv0", calibration=x, threads=1) as found:
        yield found


def test_the_halves_of_every_cut_make_up_the_whole(home: Path, x: NDArray[np.float32], halves: Halves) -> None:
    whole = halves.tail(halves.head(x))
    with splitpoint.split(home / "model.onnx", "input", threads=1) as nothing_ahead:
        assert np.array_equal(nothing_ahead.head(x), x)
        np.testing.assert_allclose(nothing_ahead.tail(x), whole, atol=1e-5)  # ORT fuses over the cut
    assert whole.shape == (10, 6)
    assert np.ptp(whole, axis=0).min() > 0  # each input has its own answer
    listed = {cut.layer: cut for cut in splitpoint.cuts(home / "model.onnx").cuts}
    assert halves.cut == listed["conv0"]
    assert halves.head(x).shape == (10, *halves.cut.shapes[0][1:])


def test_a_codec_is_measured_by_what_it_sends(x: NDArray[np.float32], halves: Halves) -> None:
    tensors = halves.head(x)
    errors, sizes = [], []
    for rate in ("2 bit", "8 bit"):
        codec = halves.codec("brito-sq", rate)
        arrived, sent = codec.round_trip(tensors)
        payloads = [codec.encode(tensor[None]) for tensor in tensors]
        assert sent.tolist() == [len(payload) for payload in payloads]
        np.testing.assert_array_equal(arrived[3:4], codec.decode(payloads[3]))
        assert len(np.unique(arrived)) <= 2 ** int(rate[0])
        errors.append(float(np.square(arrived - tensors).mean()))
        sizes.append(int(sent.sum()))
    assert errors[1] < errors[0] / 100
    assert sizes[0] < sizes[1]


def test_a_damaged_payload_is_refused(x: NDArray[np.float32], halves: Halves) -> None:
    codec = halves.codec("fast", "8 bit")
    payload = bytearray(codec.encode(halves.head(x[:1])))
    payload[len(payload) // 2] ^= 1
    with pytest.raises(splitpoint.PayloadError, match="damaged"):
        codec.decode(bytes(payload))


def test_what_cannot_be_done_says_what_can(home: Path, halves: Halves) -> None:
    with pytest.raises(splitpoint.ProfileError, match=r"no rate '9 bit'[\s\S]*8 bit"):
        halves.codec("fast", "9 bit")
    with pytest.raises(splitpoint.ProfileError, match=r"trained[\s\S]*splitpoint\.plan"):
        halves.codec("dynamic-switch", "50 %")
    with (
        pytest.raises(splitpoint.ProfileError, match=r"no cut 'conv9'[\s\S]*conv0"),
        splitpoint.split(home / "model.onnx", "conv9"),
    ):
        pass
    with (
        splitpoint.split(home / "model.onnx", "conv0", threads=1) as unfitted,
        pytest.raises(splitpoint.ProfileError, match="fitted to inputs, and there are none"),
    ):
        unfitted.codec("fast", "8 bit")
