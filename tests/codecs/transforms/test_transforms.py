"""Transform graphs against independent numpy; what fitting finds on data whose answer is known."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

from splitpoint.codecs.coders.rans import Rans
from splitpoint.codecs.contract.dct import dct
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import FittedTransform, Layout, Preset
from splitpoint.codecs.contract.protocol import Array, Context, FitError, fit_one
from splitpoint.codecs.quantizers.step import Step
from splitpoint.codecs.quantizers.uniform import Uniform
from splitpoint.codecs.transforms.identity import Identity
from splitpoint.codecs.transforms.maps import maps_of
from splitpoint.codecs.transforms.pca import BlockPca, group_size
from splitpoint.codecs.transforms.spectral import Spectral, block_side
from splitpoint.codecs.transforms.subset import ChannelSubset, correlations

LOSSLESS = 2e-5  # relative error of two float32 matrix products, orders of magnitude below any quantizer's step


def data(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Channels that are mixtures of few smooth sources."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(shape[1], 3))
    sources = generator.normal(size=(shape[0], 3, *shape[2:])).cumsum(axis=2).cumsum(axis=3)
    noise = 0.1 * generator.normal(size=shape)
    return np.asarray(np.einsum("cs,nshw->nchw", mixing, sources) + noise + 2, np.float32)


def run(fitted: FittedTransform, x: Array, forward: bool) -> Array:
    graph = Graph()
    step = fitted.encode if forward else fitted.decode
    graph.op("Identity", step(graph, "a"), output="b")
    shape = fitted.shape if forward else (1, *SHAPES[fitted.shape])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = graph.model({"a": ("float32", x.shape)}, {"b": ("float32", shape)})
    return np.asarray(ort.InferenceSession(model, options).run(["b"], {"a": x})[0])


SHAPES: dict[tuple[int, ...], tuple[int, ...]] = {}


def there_and_back(fitted: FittedTransform, x: Array) -> tuple[Array, Array]:
    SHAPES[fitted.shape] = x.shape[1:]
    coefficients = run(fitted, x, forward=True)
    assert coefficients.shape == fitted.shape
    return coefficients, run(fitted, coefficients, forward=False)


TRANSFORMS = [
    Spectral(),
    Spectral(positions="dct"),
    Spectral(weighted=False, largest_block=4, whole_map=4),
    Spectral(positions="dct", largest_block=5, whole_map=5),
    BlockPca(),
    BlockPca(side=2),
    BlockPca(channels=4, side=3),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("size", [(7, 7), (8, 8), (13, 10), (9, 4), (1, 1)])
def test_transforms_with_all_components_lose_nothing(transform: Spectral | BlockPca, size: tuple[int, int]) -> None:
    x = data((40, 8, *size))
    fitted = transform.fit(x, Context(gradients=data((20, 8, *size), 5)))
    coefficients, y = there_and_back(fitted, x[:1])
    assert np.abs(y - x[:1]).max() <= LOSSLESS * np.abs(x).max() * 10
    assert np.isfinite(coefficients).all()
    assert fitted.macs > 0


def test_tokens_are_maps_of_one_column() -> None:
    x = np.ascontiguousarray(data((30, 6, 12, 1))[..., 0].transpose(0, 2, 1))  # (N, tokens, features)
    for transform in (Spectral(), BlockPca()):
        _, y = there_and_back(transform.fit(x, Context()), x[:1])
        assert np.abs(y - x[:1]).max() <= LOSSLESS * np.abs(x).max() * 10
    assert Spectral().refuses((1, 128)) is not None
    assert BlockPca().refuses((1, 128)) is not None


def test_the_spectral_graph_is_its_formula() -> None:
    x = data((50, 5, 11, 14))
    gradients = data((25, 5, 11, 14), 7)
    fitted = Spectral(positions="dct", whole_map=8).fit(x, Context(gradients=gradients))
    rows, columns = fitted.maps.rows, fitted.maps.columns
    assert (rows, columns) == (block_side(11, 8, 8), block_side(14, 8, 8)) == (6, 7)
    one = x[:1].astype(np.float64)
    mixed = np.einsum("dc,nchw->ndhw", fitted.forward.astype(np.float64), one)
    down, across = fitted.maps.blocks
    mixed = np.pad(mixed, ((0, 0), (0, 0), (0, down * rows - 11), (0, across * columns - 14)), mode="edge")
    blocks = mixed.reshape(1, 5, down, rows, across, columns).transpose(0, 2, 4, 1, 3, 5)
    spectrum = dct(rows) @ blocks @ dct(columns).T  # (1, down, across, C, rows, columns)
    order = sorted(range(rows * columns), key=lambda k: (k // columns / rows + k % columns / columns, k // columns))
    flat = spectrum.reshape(1, down, across, 5, rows * columns)[..., order]
    gain = np.linalg.norm(fitted.frequencies.astype(np.float64), axis=1)
    expected = np.moveaxis(flat * gain, (4, 3), (1, 2)) - fitted.mean[None, :, :, None, None]
    coefficients, _ = there_and_back(fitted, x[:1])
    assert np.allclose(coefficients.reshape(expected.shape), expected, atol=1e-3 * np.abs(expected).max())


def test_spectral_coefficients_are_decorrelated_and_ordered_where_gradients_are_flat() -> None:
    x = data((400, 6, 4, 4))
    white = np.random.default_rng(3).normal(size=(20_000, 6, 4, 4)).astype(np.float32)
    fitted = Spectral().fit(x, Context(gradients=white))
    gains = np.linalg.norm(fitted.frequencies, axis=1)
    assert np.allclose(gains, 1, atol=0.02)
    assert np.allclose(fitted.forward @ fitted.forward.T, np.eye(6), atol=0.05)
    coefficients = np.concatenate([run(fitted, one[None], forward=True) for one in x[:200]])
    spread = coefficients.reshape(200, 16, 6).std(axis=0)
    assert spread[0, 0] == spread.max()


def test_gradients_move_precision_to_the_channels_and_frequencies_that_matter() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4, 4, 4)).astype(np.float32)
    gradients = np.zeros((50, 4, 4, 4), np.float32)
    gradients[:, 2] = np.random.default_rng(1).normal(size=(50, 1, 1))  # constant over the map: frequency 0
    preset = Preset(name="test", transform=Spectral(), quantizer=Step(), coder=Rans())
    fitted = fit_one(preset, x, 4, Context(gradients=gradients))
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encode, decode = ort.InferenceSession(fitted.encoder), ort.InferenceSession(fitted.decoder)
    error = np.concatenate([decode.run(None, {"symbols": encode.run(None, {"x": one[None]})[0]})[0] - one for one in x])
    by_channel = np.square(error).mean(axis=(0, 2, 3))
    assert by_channel[2] < 0.5 * by_channel[[0, 1, 3]].min()
    level = np.square(error.mean(axis=(2, 3))).mean(axis=0)  # of frequency 0
    assert level[2] < 0.2 * by_channel[2] / 16


def test_the_diagonal_and_the_matrix_of_sensitivity_mean_the_same() -> None:
    x = data((60, 4, 6, 6))
    diagonal = np.array([1.0, 9.0, 0.5, 2.0], np.float32)
    first = Spectral().fit(x, Context(sensitivity=diagonal))
    second = Spectral().fit(x, Context(sensitivity=np.diag(diagonal)))
    assert np.array_equal(first.forward, second.forward)
    assert not np.allclose(first.forward, Spectral(weighted=False).fit(x, Context()).forward)


def test_what_fitting_found_wanting_is_said() -> None:
    assert "no gradients or sensitivity given" in Spectral().fit(data((9, 3, 8, 8)), Context()).notes[0]
    few = Spectral(weighted=False).fit(data((1, 64, 2, 2)), Context())
    assert few.notes == ("KLT of 64 channels from 4 vectors: shrunk toward its diagonal",)
    tall = Spectral(weighted=False).fit(data((1, 1, 9, 9)), Context())
    assert tall.notes == ("KLT of 81 positions from 1 vectors: shrunk toward its diagonal",)
    assert "shrunk toward its diagonal" in BlockPca().fit(data((1, 64, 2, 2)), Context()).notes[0]
    assert (
        "zero or not finite" in Spectral().fit(data((9, 3, 8, 8)), Context(gradients=np.zeros((2, 3, 8, 8)))).notes[0]
    )
    with pytest.raises(FitError, match="do not belong"):
        Spectral().fit(data((9, 3, 8, 8)), Context(gradients=np.zeros((2, 4, 8, 8))))
    with pytest.raises(FitError, match="does not belong"):
        Spectral().fit(data((9, 3, 8, 8)), Context(sensitivity=np.ones(4)))
    with pytest.raises(FitError, match="at least 2 calibration vectors"):
        BlockPca().fit(data((1, 4, 1, 1)), Context())


def test_pca_finds_the_sources_and_keeps_what_was_asked() -> None:
    x = data((100, 10, 6, 6))
    fitted = BlockPca(keep=0.99).fit(x, Context())
    assert fitted.basis.shape == (1, 3, 10)  # three sources and a little noise
    rows = fitted.basis[0].astype(np.float64)
    assert np.allclose(rows @ rows.T, np.eye(3), atol=1e-5)
    _, y = there_and_back(fitted, x[:1])
    assert np.square(y - x[:1]).mean() < 0.02 * x.var()
    groups = BlockPca(channels=4, side=2, keep=0.9).fit(x, Context())
    assert groups.basis.shape[0] == 5  # 10 channels in groups of 2: the largest divisor up to 4
    assert groups.layout == Layout(axis=1, group=5)


@pytest.mark.parametrize(
    ("channels", "wanted", "expected"), [(112, 16, 16), (10, 4, 2), (13, 12, 1), (12, None, 12), (7, 99, 7)]
)
def test_groups_divide_the_channels(channels: int, wanted: int | None, expected: int) -> None:
    assert group_size(channels, wanted) == expected


def test_large_bases_are_refused() -> None:
    assert "2049" in str(BlockPca().refuses((1, 2049, 4, 4)))


@pytest.mark.parametrize(
    ("n", "side"), [(1, 1), (5, 5), (7, 7), (8, 8), (14, 14), (16, 16), (28, 7), (112, 8), (20, 5), (18, 6)]
)
def test_blocks_are_large_and_pad_little(n: int, side: int) -> None:
    assert block_side(n) == side
    assert maps_of((1, 3, n, n), side, side).padded == (-(-n // side) * side,) * 2


def test_dct_is_orthonormal() -> None:
    for n in (1, 2, 7, 8):
        assert np.allclose(dct(n) @ dct(n).T, np.eye(n))


def layer(seed: int = 0) -> tuple[Array, Array]:
    """Inputs (N, 3, 8, 8) and outputs (N, 8, 4, 4): channels 5 and 2 are copies at an offset, the others are noise."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(30, 3, 8, 8)).astype(np.float32)
    outputs = generator.normal(size=(30, 8, 4, 4)).astype(np.float32)
    outputs[:, 5] = inputs[:, 0, ::2, 1::2] + inputs[:, 1, ::2, ::2]
    outputs[:, 2] = -3 * inputs[:, 2, 1::2, 1::2] + outputs[:, 2]
    return inputs, outputs


def test_correlations_are_equation_two() -> None:
    inputs, outputs = layer()
    rho = correlations(outputs, inputs)
    for p, q in ((0, 0), (5, 1), (2, 2)):
        pairs = [
            np.corrcoef(outputs[:, p].ravel(), inputs[:, q, row::2, column::2].ravel())[0, 1]
            for row in range(2)
            for column in range(2)
        ]
        assert rho[p, q] == pytest.approx(np.abs(pairs).mean(), abs=1e-9)
    with pytest.raises(FitError, match="smaller than its output"):
        correlations(inputs, outputs)


@pytest.mark.parametrize(("before", "after"), [(16, 8), (15, 8), (7, 3), (3, 2)])
def test_a_layer_of_stride_two_is_read_at_every_second_position_whatever_its_side(before: int, after: int) -> None:
    """Padding and odd sides: 15 / 8 and 7 / 3 are a stride of 2, too."""
    inputs = np.random.default_rng(0).normal(size=(200, 2, before, before)).astype(np.float32)
    outputs = inputs[:, :1, ::2, ::2][:, :, :after, :after]
    rho = correlations(outputs, inputs)
    assert rho[0, 0] == pytest.approx(0.25, abs=0.1)  # one offset of four is a copy
    assert rho[0, 1] < 0.1


def test_selected_channels_cross_unchanged_and_the_rest_is_predicted() -> None:
    inputs, outputs = layer()
    outputs[:, 7] = 2 * outputs[:, 5] - 0.5 * outputs[:, 2] + 1
    fitted = ChannelSubset(share=0.5).fit(outputs, Context(layer_input=inputs))
    assert set(fitted.selected[:3]) == {5, 2, 7}
    coefficients, y = there_and_back(fitted, outputs[:1])
    assert np.array_equal(coefficients[0], outputs[0, fitted.selected])
    assert np.allclose(y[0, fitted.selected], outputs[0, fitted.selected], atol=1e-5)
    fewer = ChannelSubset(share=0.25).fit(outputs, Context(layer_input=inputs))
    lost = next(p for p in (5, 2, 7) if p not in fewer.selected)
    _, y = there_and_back(fewer, outputs[:1])
    assert np.abs(y[0, lost] - outputs[0, lost]).max() < 0.05
    with pytest.raises(FitError, match="layer's input"):
        ChannelSubset().fit(outputs, Context())


def test_identity_adds_nothing() -> None:
    fitted = Identity().fit(data((2, 3, 4, 4)), Context())
    graph = Graph()
    assert fitted.encode(graph, "x") == "x" == fitted.decode(graph, "x")
    assert fitted.layout.axis == 1
    assert Identity().fit(np.zeros((2, 9, 5), np.float32), Context()).layout.axis == 2
    assert Identity().fit(np.zeros((2, 9), np.float32), Context()).layout.axis is None


def test_components_of_a_tensor_that_is_never_negative_keep_both_signs() -> None:
    """The range of the tensor is not that of its components."""
    x = np.maximum(data((40, 16, 6, 6)) - 2, 0)
    preset = Preset(name="p", transform=BlockPca(), quantizer=Uniform(), coder=Rans())
    fitted = fit_one(preset, x, len(preset.rates) - 1, Context(low=0.0))
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encoder, decoder = (ort.InferenceSession(model) for model in (fitted.encoder, fitted.decoder))
    names = [spec.name for spec in fitted.coder.specs]
    y = decoder.run(["y"], dict(zip(names, encoder.run(names, {"x": x[:1]}), strict=True)))[0]
    assert np.linalg.norm(y - x[:1]) < 0.05 * np.linalg.norm(x[:1])
