"""Back-and-forth prediction as a codec: graphs against the module and eq. 6 by hand, bytes, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name that everyone uses
from torch import nn

from splitpoint.codecs.contract.frozen import Activation, Convolution, FrozenLayer
from splitpoint.codecs.contract.protocol import Array, Calibration, Context, FitError, FittedCodec, LossTerm
from splitpoint.codecs.learned.baf_codec import BackAndForth
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.transforms.subset import correlations
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.switches import NoSteps, frozen_layer, random_convolution, smooth_maps

CODEC: Any = REGISTRY["choi-baf"]
INPUTS = 12  # channels of X


LAYERS = {
    "stride 1": frozen_layer(16, INPUTS),
    "stride 2": FrozenLayer(
        steps=(random_convolution(16, INPUTS, 3, stride=2),), behind=Activation(kind="leaky", slope=0.1)
    ),
    "depthwise": FrozenLayer(
        steps=(
            random_convolution(INPUTS, INPUTS, 3, stride=2, groups=INPUTS),
            Activation(kind="silu"),
            random_convolution(16, INPUTS, 1),
        ),
        behind=Activation(kind="silu"),
    ),
}

UNEQUAL = FrozenLayer(steps=(dataclasses.replace(random_convolution(16, INPUTS, 3), strides=(2, 1)),), behind=None)


def output(layer: FrozenLayer, x: Array) -> Array:
    """Z by torch, rounded so that ranges in fp16 are exact."""
    z = torch.from_numpy(x)
    for step in layer.steps:
        if isinstance(step, Convolution):
            weight, bias = torch.from_numpy(step.weight), torch.from_numpy(step.bias)
            z = F.conv2d(z, weight, bias, step.strides, step.pads[:2], step.dilations, step.groups)
        else:
            z = F.silu(z)
    return z.numpy().astype(np.float16).astype(np.float32)


@dataclasses.dataclass
class Steps:
    """Adam on the loss that a codec asks for; keeps the module."""

    z: Array
    steps: int = 0
    key: str = "steps"
    calls: int = 0
    module: Any = None
    terms: tuple[str, ...] = ()

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> Any:
        self.calls, self.module, self.terms = self.calls + 1, module, tuple(term.name for term in losses)
        optimizer, z = torch.optim.Adam(module.parameters(), lr=1e-2), torch.from_numpy(self.z)
        for _ in range(self.steps):
            optimizer.zero_grad()
            torch.autograd.backward(sum((self._error(z, rate) for rate in range(rates)), torch.zeros(())))
            optimizer.step()
        return NoSteps()(module, rates=rates, losses=losses)

    def _error(self, z: torch.Tensor, rate: int) -> torch.Tensor:
        error: torch.Tensor = self.module.activated(self.module(z, rate)) - self.module.activated(z)
        return error.abs().mean()


def fit(
    name: str, rates: Sequence[int], *, side: int = 9, steps: int = 0, **more: Any
) -> tuple[tuple[FittedCodec, ...], Steps, Array]:
    x = smooth_maps(24, INPUTS, side)
    z = output(LAYERS[name], x)
    training = Steps(z, steps)
    context = Context(convolution=LAYERS[name], layer_input=x, training=training, **more)
    (row,) = CODEC.fit([Calibration(activations=z, context=context)], rates)
    return tuple(row), training, z


def through_bytes(fitted: FittedCodec, z: Array) -> tuple[Array, dict[str, Array]]:
    assert fitted.encoder is not None
    assert fitted.decoder is not None
    encoder, decoder = (open_session(model, level="all", threads=1) for model in (fitted.encoder, fitted.decoder))
    tensors = fitted.coder.decode(fitted.coder.encode(encoder.run({"x": z})))
    return decoder.run(tensors)["y"], tensors


@pytest.mark.parametrize("side", [9, 8])
@pytest.mark.parametrize("name", list(LAYERS))
def test_graphs_are_the_module_and_eq_6(name: str, side: int) -> None:
    """An odd side makes one row too many in the up-sampling."""
    rows, training, z = fit(name, range(4), side=side, steps=3)
    for rate, (row, (part, bits)) in enumerate(zip(rows, CODEC.shares, strict=True)):
        y, tensors = through_bytes(row, z[:1])
        with torch.no_grad():
            predicted = training.module(torch.from_numpy(z[:1]), rate).numpy()
        count = max(1, round(16 / part))
        total = correlations(z, smooth_maps(24, INPUTS, side)).sum(axis=1)
        selected = np.argsort(-total, kind="stable")[:count]
        others = np.setdiff1d(np.arange(16), selected)
        np.testing.assert_allclose(y[:, others], predicted[:, others], rtol=0, atol=2e-4)
        expected = _consolidated(predicted[0, selected], z[0, selected], bits)
        np.testing.assert_allclose(y[0, selected], expected, rtol=0, atol=2e-4)
        assert tensors["symbols"].shape == (1, count, *z.shape[2:])
        assert tensors["symbols"].max() == (1 << bits) - 1


def _consolidated(predicted: Array, z: Array, bits: int) -> Array:
    """Eq. 6 value by value: what is in the received bin stays, else the boundary of the bin that is nearest."""
    levels = (1 << bits) - 1
    result = predicted.astype(np.float64).copy()
    for channel, row in enumerate(z.astype(np.float64)):
        low, high = row.min(), row.max()
        bins = np.round((row - low) / (high - low) * levels)
        for place in np.ndindex(row.shape):
            edges = np.clip((np.array([bins[place] - 0.5, bins[place] + 0.5])) / levels, 0, 1) * (high - low) + low
            value = result[channel][place]
            if not edges[0] <= value <= edges[1]:
                result[channel][place] = edges[np.abs(edges - value).argmin()]
    return result


def test_training_helps_the_channels_that_do_not_cross() -> None:
    errors = []
    for steps in (0, 60):
        rows, training, z = fit("stride 2", [3], steps=steps)
        y, _ = through_bytes(rows[0], z[:1])
        errors.append(float(np.abs(y - z[:1]).mean()))
        assert training.terms == ("charbonnier",)
    assert errors[1] < 0.7 * errors[0]


def test_the_loss_is_that_of_what_the_activation_lets_through() -> None:
    _, training, z = fit("stride 1", [0])
    seen = training.module.activated(torch.from_numpy(z)).numpy()
    np.testing.assert_array_equal(seen, np.maximum(z, 0))


def test_one_training_serves_all_rates_and_bytes_grow() -> None:
    kept: dict[Hashable, Any] = {}

    def memo(key: Hashable, make: Any, size: Any) -> Any:
        if key not in kept:
            kept[key] = make()
            assert size(kept[key]) > 1000
        return kept[key]

    x = smooth_maps(24, INPUTS, 16)
    z = output(LAYERS["stride 1"], x)
    training = Steps(z)
    context = Context(convolution=LAYERS["stride 1"], layer_input=x, training=training, memo=memo)
    rows = [CODEC.fit([Calibration(activations=z, context=context)], [rate])[0][0] for rate in range(4)]
    assert training.calls == 1
    assert [row.rate_label for row in rows] == ["1/8 at 6", "1/8 at 8", "1/4 at 6", "1/4 at 8"]
    sizes = []
    for row in rows:
        session = open_session(row.encoder or b"", level="all", threads=1)
        sizes.append(np.mean([len(row.coder.encode(session.run({"x": one[None]}))) for one in z]))
    assert sizes == sorted(set(sizes))
    assert rows[0].notes == ("trained for 0 steps on 0 images: no loss",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": None}, "choi-baf is trained, and no training was asked for"),
        ({"convolution": None}, "choi-baf needs the convolution that gives the tensor, and its input"),
        ({"layer_input": None}, "choi-baf needs the convolution that gives the tensor, and its input"),
        ({"layer_input": smooth_maps(3, INPUTS, 9)}, "3 layer inputs for 24 activations"),
        (
            {"convolution": UNEQUAL},
            "the convolution has a stride of 2x1, back-and-forth prediction needs equal ones",
        ),
        (
            {"layer_input": smooth_maps(24, INPUTS, 11)},  # as of a convolution of 3x3 without padding
            "the convolution leaves out the borders of its input: 11x11 positions, of which back-and-forth prediction"
            " gives 9x9; it needs padding",
        ),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    x = smooth_maps(24, INPUTS, 9)
    z = output(LAYERS["stride 1"], x)
    given: dict[str, Any] = {"training": Steps(z), "convolution": LAYERS["stride 1"], "layer_input": x}
    with pytest.raises(FitError, match=f"^{message}$"):
        CODEC.fit([Calibration(activations=z, context=Context(**(given | changes)))], [0])


def test_values_that_fp16_cannot_hold_are_refused_before_the_training() -> None:
    x = smooth_maps(24, INPUTS, 9)
    z = output(LAYERS["stride 1"], x)
    z[3, 5, 0, 0] = 1e6
    training = Steps(z)
    context = Context(convolution=LAYERS["stride 1"], layer_input=x, training=training)
    with pytest.raises(FitError, match="channel 5: magnitude 1e\\+06 exceeds 65504"):
        CODEC.fit([Calibration(activations=z, context=context)], [0])
    assert training.calls == 0


@pytest.mark.parametrize(
    ("shape", "part"),
    [((1, 7, 6, 6), "needs 8 channels"), ((1, 16, 1, 2), "longer than the symbols"), ((1, 64), "codes maps")],
)
def test_tensors_that_it_cannot_code_are_refused(shape: tuple[int, ...], part: str) -> None:
    assert part in CODEC.refuses(shape, "float32")
    assert BackAndForth(name="a").refuses((1, 8, 2, 2), "float32") is None
