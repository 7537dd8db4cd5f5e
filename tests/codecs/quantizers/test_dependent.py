"""Dependent quantization: the best path, the walk that the decoder takes, and what it saves at equal error."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, CodecError, Context, TensorSpec
from splitpoint.codecs.lossy.dependent import Dependent, DependentCoder
from splitpoint.codecs.quantizers.step import DEAD_ZONE, STEPS, quantize

SHAPE = (40, 48, 4, 4)
SPEC = TensorSpec(name="x", shape=(1, *SHAPE[1:]), dtype="float32", channel_axis=1)
NEXT = ((0, 1), (2, 3), (5, 4), (7, 6), (1, 0), (3, 2), (4, 5), (6, 7))  # state, parity: written out


def laplacian(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Array:
    generator = np.random.default_rng(seed)
    spread = np.exp2(-np.arange(shape[1]) / 12)[:, None, None]  # channels as behind a KLT
    return (generator.laplace(size=shape) * spread).astype(np.float32)


def fitted(rate: int, seed: int = 0) -> DependentCoder:
    lossy = Dependent(coder=Huffman())
    coder = lossy.fit(SPEC, laplacian(seed), Layout(axis=1), lossy.rates[rate], Context())
    assert isinstance(coder, DependentCoder)
    return coder


def reconstruct(coder: DependentCoder, symbols: Array) -> Array:
    """By the definition, one symbol after another."""
    t, state, found = coder.tables, 0, []
    for symbol in symbols.ravel().tolist():
        k = abs(symbol)
        shift = t.shifts[state & 1, min(k, 3) - 1] + t.lift[0] if k else 0.0
        found.append(np.sign(symbol) * (k - (0.5 if state & 1 and k else 0.0) + shift) * t.step[0])
        state = NEXT[state][k & 1]
    return np.array(found).reshape(symbols.shape)


@pytest.mark.parametrize("rate", [0, 5, 13])
def test_the_decoder_walks_the_states_of_the_definition(rate: int) -> None:
    coder = fitted(rate)
    payload = coder.encode({"x": laplacian(1)[:1]})
    symbols = coder.inner.decode(payload)["symbols"]
    assert np.abs(symbols).max() > 1
    assert coder.decode(payload)["x"] == pytest.approx(reconstruct(coder, symbols), rel=1e-5, abs=1e-6)


def test_the_path_is_the_cheapest_of_all() -> None:
    coder = fitted(5)
    shape = (1, SHAPE[1], 1, 1)
    spec = TensorSpec(name="x", shape=shape, dtype="float32", channel_axis=1)
    inner = Huffman().fit(
        (TensorSpec(name="symbols", shape=shape, dtype="int16", low=-32767, high=32767, channel_axis=1),),
        {"symbols": np.zeros(shape, np.int16)},
    )
    one = DependentCoder(specs=(spec,), tables=coder.tables, inner=inner)
    t = coder.tables
    x = np.zeros(shape, np.float32)
    x[0, :6, 0, 0] = np.array([0.7, -1.3, 0.2, 2.4, -0.6, 1.1]) * t.step[0]  # the rest is zero
    found = inner.decode(one.encode({"x": x}))["symbols"][0, :, 0, 0]

    def cost(magnitudes: tuple[int, ...]) -> float:
        total, state = 0.0, 0
        for place in range(SHAPE[1]):
            k = magnitudes[place] if place < len(magnitudes) else 0
            point = (k - 0.5 * (state & 1) + t.shifts[state & 1, min(k, 3) - 1]) if k else 0.0
            total += (abs(float(x[0, place, 0, 0])) / t.step[0] - point) ** 2 + 0.03 * t.bits[t.classes[place], k]
            state = NEXT[state][k & 1]
        return float(total)

    every = itertools.product(range(4), repeat=6)
    assert not found[6:].any()
    assert cost(tuple(np.abs(found[:6]).tolist())) == pytest.approx(min(map(cost, every)), rel=1e-5)
    assert (np.sign(found[:6]) == np.sign(x[0, :6, 0, 0]) * (found[:6] != 0)).all()


def test_it_needs_fewer_bytes_than_the_dead_zone_at_equal_squared_error() -> None:
    calibration, tested = laplacian(0), laplacian(1)
    spread = float(np.sqrt(np.square(calibration).mean()))
    specs = (TensorSpec(name="symbols", shape=SPEC.shape, dtype="int16", low=-32767, high=32767, channel_axis=1),)
    plain, dependent = [], []
    for rate in (2, 6, 10):
        step = STEPS[rate] * spread
        symbols = quantize(calibration, step, DEAD_ZONE).astype(np.int16)
        coder = ContextCode().fit(specs, {"symbols": symbols})
        sent = quantize(tested, step, DEAD_ZONE).astype(np.int16)
        gap = (np.abs(calibration) / step - np.abs(symbols))[symbols != 0].mean()
        error = np.square(tested - (sent + np.sign(sent) * gap) * step).mean()
        plain.append((error, np.mean([len(coder.encode({"symbols": each[None]})) for each in sent])))
        kind = Dependent(coder=ContextCode())
        coded_by = kind.fit(SPEC, calibration, Layout(axis=1), kind.rates[rate], Context())
        assert isinstance(coded_by, DependentCoder)
        unlifted = dataclasses.replace(coded_by.tables, lift=np.zeros(1, np.float32))  # which costs squared error
        lossy = DependentCoder(specs=coded_by.specs, tables=unlifted, inner=coded_by.inner)
        payloads = [lossy.encode({"x": each[None]}) for each in tested]
        coded = np.concatenate([lossy.decode(payload)["x"] for payload in payloads])
        dependent.append((np.square(tested - coded).mean(), np.mean([len(payload) for payload in payloads])))
    errors, sizes = np.log(np.array(plain)[::-1].T)
    error, size = dependent[1]
    assert size <= 0.97 * np.exp(np.interp(np.log(error), errors, sizes))


@pytest.mark.parametrize("value", [0.0, 1e30, np.nan, -np.inf])
def test_any_coefficients_are_coded(value: float) -> None:
    coder = fitted(5)
    x = np.full(SPEC.shape, value, np.float32)
    assert np.isfinite(coder.decode(coder.encode({"x": x}))["x"]).all()


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("step", np.zeros(1, np.float32)),
        ("shifts", np.full((2, 3), np.nan, np.float32)),
        ("lift", np.full(1, 2, np.float32)),
        ("classes", np.full(SHAPE[1], 28, np.uint8)),
        ("bits", np.zeros((28, 3), np.float32)),
    ],
)
def test_wrong_tables_are_refused(name: str, wrong: Array) -> None:
    with pytest.raises(CodecError, match=f"dependent coder: '{name}'"):
        DependentCoder.from_arrays((SPEC,), fitted(5).arrays() | {name: wrong})
