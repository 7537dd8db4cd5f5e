"""The bottleneck's module and graphs: it starts as kltq, and graphs, module and formulas agree."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.codecs.contract.protocol import Array, Context, FitError
from splitpoint.codecs.learned.bottleneck import KAPPA, Start, Weights, build_bottleneck, weights_of
from splitpoint.codecs.learned.bottleneck_codec import RateBottleneck
from splitpoint.codecs.learned.bottleneck_coder import SHIFT
from splitpoint.codecs.learned.bottleneck_graphs import FINER, Graphs, export_bottleneck
from splitpoint.codecs.quantizers.step import DEAD_ZONE, Step
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import smooth_maps

CODEC: Any = RateBottleneck(name="rate-bottleneck", steps=(1.1, 0.48, 0.2))
SHAPES = [(8, 6, 6), (5, 18, 20)]  # one block; three by three blocks with padding
SAME = 2e-5  # of float32 sums in another order, as a share of the largest value


def context(shape: tuple[int, ...]) -> Context:
    gradients = np.random.default_rng(1).normal(size=(10, *shape)) * np.exp(-np.arange(shape[0]))[:, None, None]
    return Context(low=0.0, gradients=gradients.astype(np.float32))


def maps(shape: tuple[int, ...], count: int = 60, seed: int = 0) -> Array:
    channels, height, width = shape
    return smooth_maps(count, channels, max(height, width), seed=seed)[:, :, :height, :width]


def start_of(shape: tuple[int, ...]) -> Start:
    start: Start = CODEC._start(maps(shape), context(shape))
    return start


def moved(start: Start) -> nn.Module:
    """A module whose every parameter differs from the start's."""
    module = build_bottleneck(start)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
    return module


def quantized(values: Array, step: Array) -> Array:
    return np.asarray(np.sign(values) * np.floor(np.abs(values) / step + 0.5 - DEAD_ZONE))


def coefficients(weights: Weights, x: Array) -> Array:
    """(N, K * C, blocks down, blocks across) in float64, from the definition: Q X F' - mean of every block."""
    t = weights.transform
    (height, width), (tall, wide), (down, across) = t.maps.size, t.maps.padded, t.maps.blocks
    padded = np.pad(x, ((0, 0), (0, 0), (0, tall - height), (0, wide - width)), mode="edge").astype(np.float64)
    rows, columns = t.maps.rows, t.maps.columns
    found = np.zeros((len(x), *t.shape[1:]))
    for i in range(down):
        for j in range(across):
            block = padded[:, :, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns].reshape(*x.shape[:2], -1)
            mixed = t.frequencies.astype(np.float64) @ block.transpose(0, 2, 1) @ t.forward.T.astype(np.float64)
            found[:, :, i, j] = (mixed - t.mean).reshape(len(x), -1)
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_before_training_every_rate_is_kltq_at_its_step(shape: tuple[int, ...]) -> None:
    start = start_of(shape)
    weights = weights_of(start, build_bottleneck(start))
    values = coefficients(weights, maps(shape))
    for rate in range(3):
        quantizer = Step(steps=CODEC.steps).fit(
            values.astype(np.float32), start.transform.layout, CODEC.rates[rate], Context()
        )
        assert weights.steps[rate] == pytest.approx(quantizer.step, rel=1e-5)
        assert weights.shifts[rate].tolist() == pytest.approx(quantizer.shifts, abs=1e-3)
        assert max(quantizer.shifts) > 0.05  # magnitudes come back lifted
    assert weights.transform.forward is not start.transform.forward
    assert np.array_equal(weights.transform.forward, start.transform.forward)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rate", [0, 2])
def test_the_module_copies_and_counts_by_the_formulas(
    shape: tuple[int, ...], rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of(shape)
    module = moved(start)
    weights, x = weights_of(start, module), maps(shape, 5, seed=3)
    values = coefficients(weights, x)
    step = weights.steps[rate][:, None, None]
    symbols = quantized(values, step)
    monkeypatch.setattr(torch, "rand_like", lambda given: torch.full_like(given, 0.75))
    with torch.no_grad():
        copies, counted = module.coded(torch.from_numpy(x), rate)  # type: ignore[operator]
        assert torch.equal(module(torch.from_numpy(x), rate), copies)
    as_start = Weights(transform=start.transform, steps=weights.steps, shifts=weights.shifts)
    mean = start.transform.mean.reshape(1, -1, 1, 1)
    error = coefficients(as_start, x - copies.numpy().astype(np.float64)) + mean
    spreads = start.spreads.reshape(-1, 1, 1) * np.exp(_log_moves(module, start, rate))
    bits = sum(map(_bits, (values / step + 0.25).ravel(), np.broadcast_to(spreads / step, values.shape).ravel()))
    n = values[0].size
    s = CODEC.steps[rate]
    expected = s * (0.3 * np.square(error).sum() / (s * start.deviation) ** 2 + KAPPA * bits) / (n * len(x))
    assert float(counted) == pytest.approx(expected, rel=2e-3)  # a value at a threshold may be rounded either way
    assert (np.abs(symbols) > 0).any()


def _log_moves(module: nn.Module, start: Start, rate: int) -> Array:
    """What training added to the logarithms of the Laplacians' spreads."""
    state = {name: value.numpy().astype(np.float64) for name, value in module.state_dict().items()}
    found = state["log_spreads"] - np.log(start.spreads) + state["log_widths"][rate]
    return np.asarray(found.reshape(-1, 1, 1))


def _bits(value: float, spread: float) -> float:
    """-log2 of the mass of a Laplacian with that mean magnitude in value -1/2 to value + 1/2, at most 20 near zero."""

    def below(x: float) -> float:
        return 0.5 * math.exp(x / spread) if x < 0 else 1 - 0.5 * math.exp(-x / spread)

    if abs(value) > 0.5:  # in logarithms: the mass of far bins leaves float64
        return (abs(value) - 0.5) / spread / math.log(2) + 1 - math.log2(-math.expm1(-1 / spread))
    return -math.log2(max(below(value + 0.5) - below(value - 0.5), 2.0**-20))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_graphs_are_the_module_with_fine_symbols_between(shape: tuple[int, ...]) -> None:
    start = start_of(shape)
    weights = weights_of(start, moved(start))
    x = maps(shape)
    graphs = export_bottleneck(weights, x, context(shape))
    encoder, decoder = (open_session(model, level="all", threads=1) for model in (graphs.encoder, graphs.decoder))
    assert {spec.name for spec in graphs.specs} == {"symbols", "rate"}
    fine = weights.steps.min(axis=0) / FINER
    for row in (x[:1], 2 * x[5:6], np.zeros_like(x[:1])):
        symbols = encoder.run({"x": row})["symbols"]
        values = coefficients(weights, row) / fine[:, None, None]
        assert np.abs(symbols - values).max() <= 0.5 + SAME * np.abs(values).max()
        for rate in range(3):
            coarse = quantized(symbols, 1 / (graphs.multipliers[rate, :, None, None] / 2.0**SHIFT))
            y = decoder.run({"symbols": coarse.astype(np.int16), "rate": np.array([rate])})["y"]
            expected = decoded(weights, coarse, rate, low=0.0)
            assert np.abs(y - expected).max() <= SAME * max(float(np.abs(expected).max()), 1.0) * len(fine)
    assert np.array_equal(graphs.symbols[:1], encoder.run({"x": x[:1]})["symbols"])
    ratios = graphs.multipliers / 2.0**SHIFT * weights.steps / fine
    assert np.abs(ratios - 1).max() < 1e-3


def decoded(weights: Weights, symbols: Array, rate: int, low: float) -> Array:
    """(1, C, H, W) in float64, from the definition."""
    t = weights.transform
    magnitudes = np.abs(symbols).astype(int)
    shifts = weights.shifts[rate][np.clip(magnitudes - 1, 0, 2)]
    values = np.sign(symbols) * (magnitudes + shifts) * weights.steps[rate][:, None, None]
    (down, across), (rows, columns) = t.maps.blocks, (t.maps.rows, t.maps.columns)
    padded = np.zeros((t.maps.channels, *t.maps.padded))
    for i in range(down):
        for j in range(across):
            block = values[0, :, i, j].reshape(t.mean.shape) + t.mean
            mixed = t.positions.astype(np.float64) @ block @ t.backward.T.astype(np.float64)
            padded[:, i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = mixed.T.reshape(-1, rows, columns)
    height, width = t.maps.size
    return np.asarray(np.maximum(padded[None, :, :height, :width], low))


def test_a_channel_whose_step_outgrows_it_is_left_out_and_a_large_one_keeps_16_bits() -> None:
    shape = SHAPES[0]
    start = start_of(shape)
    weights = weights_of(start, build_bottleneck(start))
    weights.steps[0, 3] = 1e9
    weights.steps[:, 5] = 1e-6
    graphs: Graphs = export_bottleneck(weights, maps(shape), context(shape))
    assert graphs.multipliers[0, 3] == 0
    assert graphs.multipliers[2, 3] > 0
    assert graphs.multipliers[:, 5].tolist() == [1 << SHIFT] * 3  # no rate is finer than the fine symbols
    assert 32000 < np.abs(graphs.symbols[:, 5]).max() <= 32767


def test_a_gradient_reaches_what_is_trained_and_nothing_else() -> None:
    start = start_of(SHAPES[0])
    module = build_bottleneck(start)
    _, counted = module.coded(torch.from_numpy(maps(SHAPES[0], 20)), 1)  # type: ignore[operator]
    counted.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        rows = parameter.grad if name not in ("log_steps", "log_widths") else parameter.grad[1]
        assert bool((rows != 0).any()), name
    steps = module.get_parameter("log_steps").grad
    assert steps is not None
    assert not steps[0].any()  # of other rates
    assert not steps[2].any()
    assert {name.split("_")[0] for name, _ in module.named_buffers()} == {"first"}


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    start = start_of(SHAPES[0])
    module = build_bottleneck(start)
    module.get_parameter("log_steps").data[1, 0, 0] = float("nan")
    with pytest.raises(FitError, match="not finite in 'steps'"):
        weights_of(start, module)
    again = build_bottleneck(dataclasses.replace(start))
    again.get_parameter("moved_backward").data[0] = float("inf")
    with pytest.raises(FitError, match="not finite in 'backward'"):
        weights_of(start, again)
