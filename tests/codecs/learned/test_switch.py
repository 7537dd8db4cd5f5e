"""The switch's module: what it starts from, which parameters a rate uses, and that its ONNX graphs compute the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.codecs.contract.protocol import Array, Context, FitError
from splitpoint.codecs.learned.switch import Design, Weights, build_switch, start_he, start_pca, weights_of
from splitpoint.codecs.learned.switch_graphs import Graphs, export_switch
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import FewSteps, smooth_maps

WIDTHS = (2, 4, 8)
BITS = 6
SAME = 2e-4  # relative: sums of 16 float32 products in two orders, and BN as a scale and shift instead of two steps
QUANTIZED = 1e-3  # of the tensor's variance: 6 bits over the range of each channel
CLIPPED = 5e-4  # of the same: ranges of least squared error are narrower than the values
NEAR_PCA = 1.01  # times the PCA's error: BN divides by a variance with 1e-5 added
DESIGNS = [
    Design(channels=16, widths=WIDTHS, private_bn=private, relu_last=last)
    for private in (True, False)
    for last in (True, False)
]


def named(design: Design) -> str:
    return f"{'private' if design.private_bn else 'shared'}, {'ReLU' if design.relu_last else 'BN'} last"


def maps(design: Design, count: int = 60) -> Array:
    return smooth_maps(count, design.channels, rectified=design.relu_last)


def copies(module: nn.Module, x: Array, rate: int) -> Array:
    with torch.no_grad():
        return np.asarray(module(torch.from_numpy(x), rate).numpy())


def pca_error(x: Array, count: int, *, rectify: bool) -> float:
    """Mean squared error of the best `count` linear kernels, by a singular value decomposition."""
    rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64)
    mean = rows.mean(axis=0)
    basis = np.linalg.svd(rows - mean, full_matrices=False)[2][:count]
    copy = mean + (rows - mean) @ basis.T @ basis
    return float(np.square((np.maximum(copy, 0) if rectify else copy) - rows).mean())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("design", DESIGNS, ids=named)
def test_the_switch_starts_as_the_untrained_pca_at_every_rate(design: Design, training: bool) -> None:
    """Where one BN serves all rates, its statistics are the finest rate's: in training, batches have their own."""
    x = maps(design)
    module = build_switch(design, start_pca(design, x)).train(training)
    for rate, width in enumerate(design.widths):
        if training and not design.private_bn and width < design.widths[-1]:
            continue
        error = float(np.square(copies(module, x, rate) - x).mean())
        assert error <= NEAR_PCA * pca_error(x, width, rectify=design.relu_last)


def test_he_starts_are_seeded_and_far_from_the_pca() -> None:
    design = DESIGNS[0]
    x = maps(design)
    first, same, other = (start_he(design, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.encoder, same.encoder)
    assert not np.array_equal(first.encoder, other.encoder)
    assert abs(first.encoder.var() * design.channels / 2 - 1) < 0.5  # of 128 values: 4 deviations
    error = float(np.square(copies(build_switch(design, first).eval(), x, 2) - x).mean())
    assert error > 2 * pca_error(x, 8, rectify=True)


def test_building_leaves_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    build_switch(DESIGNS[0], start_he(DESIGNS[0], 3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("design", DESIGNS, ids=named)
@pytest.mark.parametrize("rate", range(len(WIDTHS)))
def test_a_rate_trains_its_first_kernels_and_no_other(design: Design, rate: int) -> None:
    x, width = maps(design, 8), design.widths[rate]
    module = build_switch(design, start_pca(design, x))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    nn.functional.mse_loss(module(torch.from_numpy(x) + 1, rate), torch.zeros(x.shape)).backward()
    grads = {name: value.grad for name, value in module.named_parameters()}
    encoder, decoder = grads["encoder"], grads["decoder"]
    assert encoder is not None
    assert decoder is not None
    assert bool((encoder[:width].abs().sum(dim=(1, 2, 3)) > 0).all())
    assert not encoder[width:].any()
    assert bool((decoder[:, :width].abs().sum(dim=(0, 2, 3)) > 0).all())
    assert not decoder[:, width:].any()
    after = module.state_dict()
    moved = after["encoder_norm.running_mean"] != before["encoder_norm.running_mean"]
    assert moved.tolist() == [i < width for i in range(WIDTHS[-1])]
    own = rate if design.private_bn else 0
    touched = [
        i
        for i in range(design.norms)
        if not torch.equal(*(s[f"decoder_norms.{i}.running_mean"] for s in (before, after)))
    ]
    assert touched == [own]


def trained(design: Design) -> tuple[Weights, nn.Module, Array]:
    x = maps(design)
    module = build_switch(design, start_pca(design, x))
    FewSteps(x, steps=5)(module, rates=len(design.widths), losses=())
    return weights_of(design, module), module.eval(), x


def channels(values: Array) -> Array:
    return values.astype(np.float64).reshape(-1, 1, 1)


def encoded(weights: Weights, graphs: Graphs, x: Array) -> Array:
    """The encoder in numpy, float64: symbols before they are rounded."""
    quantizer = graphs.quantizer
    code = np.einsum("kc,nchw->nkhw", weights.encoder.astype(np.float64), x) + channels(weights.encoder_bias)
    levels = (np.maximum(code, 0) - quantizer.low.astype(np.float64)) / quantizer.step.astype(np.float64)
    return np.asarray(np.clip(levels, 0, 2**BITS - 1))


def decoded(weights: Weights, graphs: Graphs, symbols: Array, rate: int) -> Array:
    """The decoder in numpy, float64: BN of the encoder, convolution of the rate's channels, BN of the rate, ReLU."""
    design, quantizer = weights.design, graphs.quantizer
    width = design.widths[rate]
    code = symbols * quantizer.step.astype(np.float64) + quantizer.low
    code = code * channels(weights.encoder_scale) + channels(weights.encoder_shift)
    y = np.einsum("ck,nkhw->nchw", weights.decoder[:, :width].astype(np.float64), code[:, :width])
    y += channels(weights.decoder_bias)
    norm = rate if design.private_bn else 0
    scale, shift = channels(weights.decoder_scale[norm]), channels(weights.decoder_shift[norm])
    return np.asarray(np.maximum(y * scale + shift, 0) if design.relu_last else np.maximum(y, 0) * scale + shift)


@pytest.mark.parametrize("design", DESIGNS, ids=named)
def test_the_graphs_equal_the_formulas_and_the_module_up_to_the_quantizer(design: Design) -> None:
    weights, module, x = trained(design)
    graphs = export_switch(weights, x, BITS, Context(low=0.0))  # a range clips nothing that the module does not clip
    encoder, decoder = (open_session(model, level="all", threads=1) for model in (graphs.encoder, graphs.decoder))
    for row in (x[:1], x[5:6], 3 * x[7:8], np.zeros_like(x[:1])):
        symbols = encoder.run({"x": row})["symbols"]
        assert np.abs(symbols - encoded(weights, graphs, row)).max() <= 0.5 + SAME * 2**BITS
        for rate in range(len(design.widths)):
            y = decoder.run({"symbols": symbols, "rate": np.array([rate])})["y"]
            expected = decoded(weights, graphs, symbols, rate)
            assert np.abs(y - expected).max() <= SAME * np.abs(expected).max()
    for rate in range(len(design.widths)):
        exact = copies(module, x, rate)
        y = decoded(weights, graphs, graphs.symbols, rate)
        assert float(np.square(y - exact).mean()) < QUANTIZED * float(x.var())
        y = decoded(weights, graphs, encoded(weights, graphs, x), rate)  # no rounding; ranges still clip a little
        assert float(np.square(y - exact).mean()) < CLIPPED * float(x.var())


@pytest.mark.parametrize("design", DESIGNS, ids=named)
def test_channels_that_a_rate_leaves_out_change_nothing_in_its_copy(design: Design) -> None:
    weights, _, x = trained(design)
    graphs = export_switch(weights, x, BITS, Context(low=0.0 if design.relu_last else -np.inf))
    decoder = open_session(graphs.decoder, level="all", threads=1)
    zeros = np.zeros_like(graphs.symbols[:1])
    for rate, width in enumerate(design.widths):
        feeds = {"rate": np.array([rate])}
        base = decoder.run({"symbols": zeros, **feeds})["y"]
        changed = zeros.copy()
        changed[:, width:] = 2**BITS - 1  # channels that this rate does not use
        assert np.array_equal(decoder.run({"symbols": changed, **feeds})["y"], base)
        if width < design.widths[-1]:
            changed[:, width - 1] = 2**BITS - 1
            assert not np.array_equal(decoder.run({"symbols": changed, **feeds})["y"], base)


def test_private_statistics_differ_by_rate_and_shared_ones_do_not() -> None:
    for design in DESIGNS:
        weights, _, _ = trained(design)
        assert len(weights.decoder_scale) == (len(design.widths) if design.private_bn else 1)
        if design.private_bn:
            assert not np.allclose(weights.decoder_scale[0], weights.decoder_scale[2])


def test_too_few_positions_and_weights_that_are_not_finite_are_refused() -> None:
    design = dataclasses.replace(DESIGNS[0], channels=16)
    with pytest.raises(FitError, match="needs as many positions of calibration inputs, got 4"):
        start_pca(design, smooth_maps(1, 16, side=2))
    module = build_switch(design, start_he(design, 0))
    with torch.no_grad():
        module.get_parameter("decoder_bias")[3] = float("nan")
    with pytest.raises(FitError, match="not finite in 'decoder_bias'"):
        weights_of(design, module)
