"""Quantizer graphs against independent numpy, bit for bit at ORT_DISABLE_ALL, and against rate-distortion theory."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import FittedQuantizer, Layout
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Rate
from splitpoint.codecs.quantizers.float16 import Half
from splitpoint.codecs.quantizers.lloyd import Lloyd, lloyd_levels
from splitpoint.codecs.quantizers.range import Range
from splitpoint.codecs.quantizers.step import FittedStep, Step
from splitpoint.codecs.quantizers.uniform import Uniform
from splitpoint.codecs.quantizers.vector import Vector, train_codebook

LAYOUT = Layout(axis=1)
SHAPE = (20, 6, 7, 5)
THEORY_DB = 0.05  # of the closed forms: sampling error of 10^6 samples is below 0.01 dB


def run(graph: Graph, inputs: dict[str, Array], outputs: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, Array]:
    model = graph.model({name: (str(x.dtype), x.shape) for name, x in inputs.items()}, outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options)
    return dict(zip(outputs, session.run(list(outputs), inputs), strict=True))


def encode(fitted: FittedQuantizer, x: Array) -> dict[str, Array]:
    graph = Graph()
    fitted.encode(graph, "x")
    return run(graph, {"x": x}, {spec.name: (spec.dtype, spec.shape) for spec in fitted.specs})


def decode(fitted: FittedQuantizer, tensors: dict[str, Array], shape: tuple[int, ...]) -> Array:
    graph = Graph()
    graph.op("Identity", fitted.decode(graph), output="y")
    return run(graph, tensors, {"y": ("float32", shape)})["y"]


def data(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Array:
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(size=(1, shape[1], *(1,) * (len(shape) - 2))))
    return (generator.normal(size=shape) * spread + generator.normal(size=(1, shape[1], 1, 1))).astype(np.float32)


def sqnr_db(x: Array, y: Array) -> float:
    x = x.astype(np.float64)
    return float(10 * np.log10(np.square(x).mean() / np.square(x - y).mean()))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("per_channel", [False, True])
def test_static_uniform_is_the_rounding_of_the_calibration_range(bits: int, per_channel: bool) -> None:
    x = data()
    fitted = Uniform(per_channel=per_channel).fit(x, LAYOUT, Rate(label="", value=bits), Context())
    axes = (0, 2, 3) if per_channel else (0, 1, 2, 3)
    low = x.min(axis=axes, keepdims=True)
    step = ((x.max(axis=axes, keepdims=True).astype(np.float64) - low) / (2**bits - 1)).astype(np.float32)
    one = data(9)[:1]
    tensors = encode(fitted, one)
    scale = (np.float32(1) / step).astype(np.float32)
    expected = np.clip(np.rint((one - low) * scale), 0, 2**bits - 1).astype(np.uint8)
    assert np.array_equal(tensors["symbols"], expected)
    y = decode(fitted, tensors, one.shape)
    assert np.array_equal(y, expected.astype(np.float32) * step + low)
    inside = np.clip(one, low, low + (2**bits - 1) * step)
    assert (np.abs(y - inside) <= step / 2 * 1.001).all()


def test_static_ranges_stay_inside_the_range_of_the_activation() -> None:
    x = np.maximum(data(), 0) * 9
    fitted = Uniform().fit(x, LAYOUT, Rate(label="", value=4), Context(low=0, high=6))
    y = decode(fitted, encode(fitted, x[:1]), x[:1].shape)
    assert y.min() >= 0
    assert y.max() <= 6 * (1 + 1e-6)


@pytest.mark.parametrize("per_channel", [False, True])
def test_clipped_ranges_never_lose_and_win_with_outliers(per_channel: bool) -> None:
    x = data(2, (40, 4, 16, 16))
    x[0, :, 0, 0] = 80
    for bits in (2, 4, 8):
        errors = []
        for clip in (False, True):
            quantizer = Uniform(per_channel=per_channel, clip=clip)
            fitted = quantizer.fit(x, LAYOUT, Rate(label="", value=bits), Context())
            y = np.concatenate([decode(fitted, encode(fitted, one[None]), (1, 4, 16, 16)) for one in x])
            errors.append(float(np.square(x - y).mean()))
        # The range is chosen on a strided sample; on all samples it may lose a per cent.
        assert errors[1] <= errors[0] * 1.01
        if bits == 2:
            assert errors[1] < 0.5 * errors[0]


def half_outward(x: Array, direction: float) -> Array:
    near = x.astype(np.float16)
    wrong = near > x if direction < 0 else near < x
    with np.errstate(over="ignore"):  # of the neighbours that are not taken
        return np.where(wrong, np.nextafter(near, np.float16(direction)), near)


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_per_input_ranges_follow_choi_with_bounds_rounded_outward(bits: int, per_channel: bool) -> None:
    fitted = Range(per_channel=per_channel).fit(data(), LAYOUT, Rate(label="", value=bits), Context())
    for seed in range(5):
        one = data(seed + 20)[:1]
        one[0, 3] = 1.25  # a constant channel
        tensors = encode(fitted, one)
        axes = (0, 2, 3) if per_channel else (0, 1, 2, 3)
        low16 = half_outward(one.min(axis=axes), -np.inf)
        high16 = half_outward(one.max(axis=axes), np.inf)
        assert np.array_equal(tensors["minima"].ravel(), low16.ravel())
        assert np.array_equal(tensors["maxima"].ravel(), high16.ravel())
        like = (1, -1, 1, 1)
        low, high = (v.astype(np.float32).reshape(like) for v in (low16, high16))
        levels = np.float32(2**bits - 1)
        width = np.where(high == low, np.float32(1), high - low)
        expected = np.clip(np.rint((one - low) / width * levels), 0, levels).astype(np.uint8)
        assert np.array_equal(tensors["symbols"], expected)
        if per_channel:
            assert not tensors["symbols"][0, 3].any()
        y = decode(fitted, tensors, one.shape)
        assert np.array_equal(y, expected.astype(np.float32) / levels * (high - low) + low)
        assert (np.abs(y - one) <= (high - low) / levels / 2 * 1.001 + 1e-6).all()


@given(st.lists(st.floats(-65504, 65504, width=32), min_size=2, max_size=2))
@settings(max_examples=60, deadline=None)
def test_half_bounds_are_the_nearest_outside(bounds: list[float]) -> None:
    fitted = Range(per_channel=False).fit(
        np.zeros((1, 1, 1, 2), np.float32), LAYOUT, Rate(label="", value=8), Context()
    )
    x = np.array(bounds, np.float32).reshape(1, 1, 1, 2)
    tensors = encode(fitted, x)
    assert tensors["minima"].item() == half_outward(x.min(keepdims=True), -np.inf).item()
    assert tensors["maxima"].item() == half_outward(x.max(keepdims=True), np.inf).item()


def test_every_half_and_its_neighbours_are_bounded_exactly() -> None:
    halves = np.arange(0, 1 << 16, 7, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].astype(np.float32)
    around = np.concatenate(
        [halves, np.nextafter(halves, np.float32(np.inf)), np.nextafter(halves, np.float32(-np.inf))]
    )
    around = np.clip(around, -65504, 65504)
    x = np.repeat(around[None, :, None, None], 2, axis=2)
    fitted = Range().fit(x, LAYOUT, Rate(label="", value=8), Context())
    tensors = encode(fitted, x)
    assert np.array_equal(tensors["minima"].ravel(), half_outward(around, -np.inf))
    assert np.array_equal(tensors["maxima"].ravel(), half_outward(around, np.inf))


@pytest.mark.parametrize("quantizer", [Half(), Range()])
def test_magnitudes_beyond_half_are_refused_with_their_channel(quantizer: Half | Range) -> None:
    x = data()
    x[4, 5, 1, 1] = -70000
    with pytest.raises(FitError, match=r"channel 5: magnitude 70000 exceeds 65504"):
        quantizer.fit(x, LAYOUT, quantizer.rates[0], Context())


def test_half_saturates_at_run_time() -> None:
    fitted = Half().fit(data(), LAYOUT, Half().rates[0], Context())
    x = data(3)[:1]
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1e6, -1e38
    y = decode(fitted, encode(fitted, x), x.shape)
    assert np.array_equal(y, np.clip(x, -65504, 65504).astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("rate", [0, 6, 13])
def test_steps_with_a_zero_bin(rate: int) -> None:
    x = data(4, (30, 6, 8, 8))
    quantizer = Step()
    fitted = quantizer.fit(x, Layout(axis=1, group=3), quantizer.rates[rate], Context())
    assert fitted.specs[0].group == 3
    one = 10 * data(5, (1, 6, 8, 8))
    tensors = encode(fitted, one)
    inverse = np.float32(1 / fitted.step)
    magnitude = np.minimum(np.floor(np.abs(one) * inverse + np.float32(0.5 - quantizer.dead_zone)), 32767)
    expected = (magnitude * np.sign(one)).astype(np.int16)
    assert np.array_equal(tensors["symbols"], expected)
    y = decode(fitted, tensors, one.shape)
    shift = np.array(fitted.shifts, np.float32)[np.clip(magnitude.astype(int), 1, 3) - 1]
    assert np.array_equal(
        y, (expected.astype(np.float32) + np.sign(one * (magnitude > 0)) * shift) * np.float32(fitted.step)
    )
    assert (np.abs(one[magnitude == 0]) <= (0.5 + quantizer.dead_zone) * fitted.step * 1.0001).all()


def test_values_are_lifted_by_twice_what_restores_their_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    x = data(6, (40, 6, 8, 8))

    def fit(lift: float, rate: int) -> FittedStep:
        monkeypatch.setattr("splitpoint.codecs.quantizers.step.LIFT", lift)
        return Step().fit(x, LAYOUT, Step().rates[rate], Context())

    def energy(fitted: FittedStep) -> float:
        y = np.concatenate([decode(fitted, encode(fitted, one[None]), (1, *x.shape[1:])) for one in x])
        return float(np.square(y, dtype=np.float64).sum() / np.square(x, dtype=np.float64).sum())

    centred, restored, lifted = (fit(lift, 4) for lift in (0.0, 1.0, 2.0))
    assert energy(centred) < 0.95
    assert energy(restored) == pytest.approx(1, abs=1e-3)
    gains = np.subtract(restored.shifts, centred.shifts)
    assert gains == pytest.approx(np.full(3, gains[0]))
    assert np.subtract(lifted.shifts, centred.shifts) == pytest.approx(2 * gains)
    assert np.subtract(fit(2.0, -1).shifts, fit(0.0, -1).shifts).max() < gains[0]  # finer steps: half the lift
    assert Step().fit(np.zeros_like(x), LAYOUT, Step().rates[4], Context()).shifts == (0, 0, 0)


def test_steps_reach_any_magnitude_that_calibration_had() -> None:
    x = data()
    x[0, 0, 0, 0] = 3e6
    quantizer = Step()
    fitted = quantizer.fit(x, LAYOUT, quantizer.rates[-1], Context())
    tensors = encode(fitted, x[:1])
    assert abs(decode(fitted, tensors, x[:1].shape)[0, 0, 0, 0] / 3e6 - 1) < 1e-3


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_lloyd_codes_the_nearest_level(bits: int) -> None:
    fitted = Lloyd().fit(data(), LAYOUT, Rate(label="", value=bits), Context())
    assert len(fitted.levels) == 2**bits
    assert (np.diff(fitted.levels) >= 0).all()
    one = data(7)[:1]
    tensors = encode(fitted, one)
    middles = ((fitted.levels[1:].astype(np.float64) + fitted.levels[:-1]) / 2).astype(np.float32)
    expected = np.searchsorted(middles, one.ravel(), side="left").astype(np.uint8).reshape(one.shape)
    assert np.array_equal(tensors["symbols"], expected)
    assert np.array_equal(decode(fitted, tensors, one.shape), fitted.levels[expected])


def test_vector_quantization_codes_the_nearest_codeword() -> None:
    # Small integers: products and sums are exact in float32 whatever their order.
    generator = np.random.default_rng(0)
    x = generator.integers(-8, 8, (60, 3, 9, 9)).astype(np.float32)
    quantizer = Vector()
    fitted = quantizer.fit(x, LAYOUT, quantizer.rates[0], Context())
    d = fitted.book.shape[1]
    book = np.rint(4 * fitted.book) / 4
    fitted = type(fitted)(shape=fitted.shape, book=book.astype(np.float32))
    one = x[:1]
    tensors = encode(fitted, one)
    flat = np.concatenate([one.ravel(), np.repeat(one.ravel()[-1], -one.size % d)]).reshape(-1, d)
    distance = np.square(flat[:, None] - fitted.book[None]).sum(axis=2)
    assert np.array_equal(tensors["symbols"][0], distance.argmin(axis=1))
    y = decode(fitted, tensors, one.shape)
    assert np.array_equal(y.ravel(), fitted.book[distance.argmin(axis=1)].ravel()[: one.size])


def test_codebooks_use_every_codeword_and_refuse_too_few_vectors() -> None:
    generator = np.random.default_rng(1)
    centres = generator.normal(size=(16, 2)) * 10
    vectors = (centres[generator.integers(0, 16, 4000)] + 0.01 * generator.normal(size=(4000, 2))).astype(np.float32)
    book = train_codebook(vectors, 16)
    nearest = np.square(vectors[:, None] - book[None]).sum(axis=2)
    assert len(np.unique(nearest.argmin(axis=1))) >= 15
    assert np.unique(train_codebook(np.repeat(vectors[:5], 200, axis=0), 64), axis=0).shape[0] >= 5
    with pytest.raises(FitError, match="800 training vectors of 8, got 6"):
        Vector().fit(np.zeros((1, 1, 6, 8), np.float32), LAYOUT, Vector().rates[0], Context())


@pytest.mark.parametrize("bits", range(2, 9))
def test_uniform_on_a_uniform_source_has_the_closed_form(bits: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (1, 1, 1000, 1000)).astype(np.float32)
    fitted = Uniform().fit(x, LAYOUT, Rate(label="", value=bits), Context())
    y = decode(fitted, encode(fitted, x), x.shape)
    # Levels at both ends: 2^n - 1 steps of width 2 / (2^n - 1), so the error is step^2/12 and the signal 1/3.
    assert sqnr_db(x, y) == pytest.approx(20 * np.log10(2**bits - 1), abs=THEORY_DB)


@pytest.mark.parametrize(("bits", "expected_db"), [(1, 4.40), (2, 9.30), (3, 14.62), (4, 20.22)])
def test_lloyd_on_a_gaussian_is_maxs(bits: int, expected_db: float) -> None:
    generator = np.random.default_rng(0)
    levels = lloyd_levels(generator.standard_normal(1_000_000).astype(np.float32), bits)
    x = generator.standard_normal(1_000_000)
    y = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, x)]
    assert sqnr_db(x, y) == pytest.approx(expected_db, abs=THEORY_DB)


def test_error_falls_by_six_decibels_a_bit() -> None:
    x = np.random.default_rng(0).normal(size=(1, 1, 300, 300)).astype(np.float32)
    sqnrs = []
    for bits in range(5, 9):
        fitted = Uniform().fit(x, LAYOUT, Rate(label="", value=bits), Context())
        sqnrs.append(sqnr_db(x, decode(fitted, encode(fitted, x), x.shape)))
    slope = np.polyfit(range(5, 9), sqnrs, 1)[0]
    # Between full-range levels the step falls by (2^n - 1) / (2^(n+1) - 1), a little more than half.
    assert slope == pytest.approx(20 * np.log10(2), rel=0.03)
