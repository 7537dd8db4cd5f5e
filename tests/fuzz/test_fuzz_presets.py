"""Mutated payloads of every preset, through the bitstream and decoded as a plan decodes them.

Each ends in `PayloadError`, or in a tensor of the plan's shape, with symbols in range and finite side information.
A case damages the bitstream, or the bitstream and makes its checksum right again, or the payload inside.
"""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pytest

from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.protocol import Array, Context, FitError, FittedCodec, PayloadError, fit_one
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.tiles import missing
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.decoded import check_tensors
from splitpoint.tests.fuzz.mutations import change_length, mutate, seal
from splitpoint.tests.fuzz.target import Target
from splitpoint.tests.switches import CHANNEL, NoSteps, frozen_layer

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
SHAPE = (64, 8, 4, 4)  # of the calibration tensors: payloads of 30 to 500 bytes
SIDE = 16  # of pictures
PLAN = b"planhash"
OPTIONAL = {"choi-tiles-jxl": "jxl", "lossy-tiles-hevc": "hevc"}  # need what is not installed everywhere
HERE = [name for name in sorted(REGISTRY) if name not in OPTIONAL or missing(OPTIONAL[name]) is None]
PICTURES_HERE = [name for name, codec in PICTURES.items() if codec.refuses() is None]


class Subject(NamedTuple):
    """A payload, the bitstream around it, and the decoder, which raises `PayloadError`."""

    payload: bytes
    frame: Frame
    decode: Callable[[bytes], object]


def run_case(name: str, case: int) -> str:
    """What became of damaged bytes: "refused" or "accepted"; raises what should never be raised."""
    subject, generator = subject_of(name), random.Random(f"{name} {case}")
    good = subject.frame.pack([subject.payload], 0)
    kind = generator.randrange(4)
    if kind == 0:
        data = mutate(good, generator)
    elif kind == 1:
        data = seal(mutate(good, generator))
    elif kind == 2:
        data = seal(change_length(good, generator))
    else:
        data = subject.frame.pack([mutate(subject.payload, generator)], 0)
    try:
        _, (payload,) = subject.frame.unpack(data)
        subject.decode(payload)
    except PayloadError:
        return "refused"
    return "accepted"


@functools.cache
def subject_of(name: str) -> Subject:
    frame = Frame(codec_id=CODEC_IDS[name], rates=(0,), plan_hash=PLAN)
    if name in PICTURES:
        codec, picture = (
            PICTURES[name],
            np.kron(np.arange(48).reshape(4, 4, 3) * 5, np.ones((4, 4, 1))).astype(np.uint8),
        )
        rate = len(codec.rates) // 2
        return Subject(codec.encode(picture, rate), frame, functools.partial(_decode_picture, name))
    fit, x = fitted(name)
    tensors = _run(fit.encoder, {"x": x}) if fit.encoder is not None else {"x": x}
    return Subject(fit.coder.encode(tensors), frame, functools.partial(_decode_tensor, fit, _decoder(fit)))


def fitted(name: str) -> tuple[FittedCodec, Array]:
    """A preset fitted at its middle rate, or at the lowest where there are too few tensors; and one tensor."""
    generator = np.random.default_rng(0)
    values = generator.laplace(size=SHAPE) * np.exp(generator.normal(size=(1, SHAPE[1], 1, 1)))
    whole = np.clip(np.rint(8 * values), -128, 127).astype(np.int8)
    codec = REGISTRY[name]
    x = values.astype(np.float32) if codec.refuses((1, *SHAPE[1:]), "float32") is None else whole
    layer_input = np.zeros((SHAPE[0], 4, 8, 8), np.float32)
    layer = frozen_layer(SHAPE[1], 4, stride=2)
    context = Context(run=_run, layer_input=layer_input, convolution=layer, training=NoSteps(), channel=CHANNEL)
    try:
        return fit_one(codec, x, len(codec.rates) // 2, context), x[:1]
    except FitError:
        return fit_one(codec, x, 0, context), x[:1]


def _run(model: bytes, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return open_session(model, level="basic", threads=1).run(inputs)


def _decoder(fit: FittedCodec) -> Callable[[Mapping[str, Array]], Array]:
    if fit.decoder is None:
        return lambda tensors: tensors["x"]
    session = open_session(fit.decoder, level="all", threads=1)
    return lambda tensors: session.run(tensors)["y"]


def _decode_tensor(fit: FittedCodec, decoder: Callable[[Mapping[str, Array]], Array], payload: bytes) -> None:
    decoded = fit.coder.decode(payload)
    check_tensors(fit.coder.specs, decoded)
    assert decoder(decoded).shape == fit.shape


def _decode_picture(name: str, payload: bytes) -> None:
    picture = PICTURES[name].decode(payload, (SIDE, SIDE))
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8


TARGETS = [Target(name=f"payload/{name}", run=functools.partial(run_case, name)) for name in (*HERE, *PICTURES_HERE)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_mutated_payloads_are_refused_or_right(target: Target) -> None:
    outcomes = {target.run(case) for case in range(EXAMPLES)}
    assert "refused" in outcomes
    assert outcomes <= {"refused", "accepted"}


@pytest.mark.parametrize("name", ["fast", "raw", "jpeg", "kltq-ctx", "dynamic-switch"])
def test_the_unmutated_payload_is_accepted_and_cases_reach_the_decoder(name: str) -> None:
    subject = subject_of(name)
    _, (payload,) = subject.frame.unpack(subject.frame.pack([subject.payload], 0))
    subject.decode(payload)
    assert "accepted" in {run_case(name, case) for case in range(300)}


def test_every_preset_that_is_here_is_attacked() -> None:
    attacked = {target.name.removeprefix("payload/") for target in TARGETS}
    assert attacked >= {*REGISTRY, *PICTURES} - set(OPTIONAL) - {name for name in PICTURES if name.startswith("avif")}
