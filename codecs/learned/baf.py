"""Back-and-Forth prediction (Choi et al., section 3.3) as a torch module, what it starts from, and its weights.

C of P channels of a convolution's output Z cross. A network of four convolutions predicts the convolution's input X
from them (backward), and the convolution with its own weights makes all P channels of that (forward). There is one
network for each number of channels and bits, as in the paper; they share nothing.

What the paper leaves open: the width of the network is that of X, or C where X has fewer channels. Its first
convolution gives s x s times as many channels, which are laid out as s x s times as many positions (the up-sampling of
stride s). Batch normalization is folded into the convolution and not known here: in place of its inverse, channels get
zero mean and unit deviation over the calibration inputs, and the last convolution's output that of X.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from splitpoint.codecs.contract.frozen import Activation, Convolution, FrozenLayer
from splitpoint.codecs.contract.protocol import Array, FitError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["LAYERS", "Design", "Start", "Weights", "build_predictors", "start_predictors", "weights_of"]


def __dir__() -> list[str]:
    return __all__


LAYERS: Final = 4  # convolutions of 3x3; all but the last have a PReLU
SLOPE: Final = 0.25  # of PReLU at the start (He et al. 2015)
# In 30 to 40 s at the convolution that opens dark2 of YOLOX-Nano learning rates of 1, 3 and 10 times the recipe's gave
# losses of 0.17, 0.14 and 0.17; at dark3's 1 and 3 gave 0.20 and 0.17. Biases and slopes keep the recipe's.
STEP: Final = 3.0  # of a kernel that a learning rate of 1 makes, in units of its mean magnitude
LEAST_DEVIATION: Final = 1e-6  # of a channel, as a share of the largest


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Design:
    """One network before it has weights."""

    selected: Array  # (C,) int64: the channels of Z that cross
    bits: int
    width: int  # of all but the last convolution


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """What all networks of a tensor share."""

    designs: tuple[Design, ...]  # one a rate
    layer: FrozenLayer
    upsampling: int  # s: the stride of the layer
    size: tuple[int, int]  # of X: height, width
    mean: Array  # (P,) of Z
    deviation: Array  # (P,)
    input_mean: Array  # (Q,) of X
    input_deviation: Array  # (Q,)
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights:
    """One trained network, float32."""

    design: Design
    kernels: tuple[Array, ...]  # (out, in, 3, 3) each; the first has width * s * s outputs
    biases: tuple[Array, ...]
    slopes: tuple[Array, ...]  # (width,) each


def start_predictors(
    designs: Sequence[Design], layer: FrozenLayer, activations: Array, layer_input: Array, *, seed: int
) -> Start:
    """Statistics of Z (N, P, H, W) and X (N, Q, H', W').

    Raises `FitError` for strides that cannot be up-sampled, and where X reaches beyond what up-sampling gives.
    """
    down, across = layer.stride
    if down != across:
        raise FitError(f"the convolution has a stride of {down}x{across}, back-and-forth prediction needs equal ones")
    given, needed = tuple(down * side for side in activations.shape[2:]), layer_input.shape[2:]
    if given[0] < needed[0] or given[1] < needed[1]:
        raise FitError(
            f"the convolution leaves out the borders of its input: {needed[0]}x{needed[1]} positions, of which"
            f" back-and-forth prediction gives {given[0]}x{given[1]}; it needs padding"
        )
    mean, deviation = _statistics(activations)
    input_mean, input_deviation = _statistics(layer_input)
    return Start(
        designs=tuple(designs),
        layer=layer,
        upsampling=down,
        size=(layer_input.shape[2], layer_input.shape[3]),
        mean=mean,
        deviation=deviation,
        input_mean=input_mean,
        input_deviation=input_deviation,
        seed=seed,
    )


def build_predictors(start: Start) -> nn.Module:
    """The module: ``module(z, rate)`` predicts Z (N, P, H, W) from what crosses of it at that rate.

    ``module.activated(z)`` is the activation behind Z, of which the loss is taken (eq. 7). As in the paper eq. 6, the
    consolidation with the received channels, is no part of the training. Each kernel is trained as what is added to
    its start, in units of `STEP` times its mean magnitude, so that one learning rate fits kernels of all sizes.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    class Predictor(torch.nn.Module):
        """Channels that crossed -> X."""

        def __init__(self, design: Design, generator: np.random.Generator) -> None:
            super().__init__()
            channels = len(design.selected)
            chosen = start.mean[design.selected], start.deviation[design.selected]
            self.register_buffer("mean", _along_channels(chosen[0]))
            self.register_buffer("deviation", _along_channels(chosen[1]))
            shapes = _shapes(channels, design.width, len(start.input_mean), start.upsampling)
            for number, shape in enumerate(shapes):
                first = generator.normal(size=shape) * np.sqrt(2 / (1 + SLOPE**2) / np.prod(shape[1:]))
                self.register_buffer(f"first_{number}", _tensor(first))
                self.register_parameter(f"moved_{number}", _zeros(*shape))
                self.register_parameter(f"bias_{number}", _zeros(shape[0]))
            for number in range(LAYERS - 1):
                self.register_parameter(f"slope_{number}", torch.nn.Parameter(torch.full((design.width,), SLOPE)))

        def forward(self, received: torch.Tensor) -> torch.Tensor:
            x = (received - self.get_buffer("mean")) / self.get_buffer("deviation")
            for number in range(LAYERS):
                x = F.conv2d(x, self.kernel(number), self.get_parameter(f"bias_{number}"), padding=1)
                x = F.pixel_shuffle(x, start.upsampling) if number == 0 else x
                x = F.prelu(x, self.get_parameter(f"slope_{number}")) if number < LAYERS - 1 else x
            return x[:, :, : start.size[0], : start.size[1]]

        def kernel(self, number: int) -> torch.Tensor:
            """Of a convolution."""
            first = self.get_buffer(f"first_{number}")
            return first + STEP * first.abs().mean() * self.get_parameter(f"moved_{number}")

    class Predictors(torch.nn.Module):
        """A predictor a rate, and the layer as it is."""

        def __init__(self) -> None:
            super().__init__()
            generator = np.random.default_rng(start.seed)
            self.predictors = torch.nn.ModuleList(Predictor(design, generator) for design in start.designs)
            self.register_buffer("input_mean", _along_channels(start.input_mean))
            self.register_buffer("input_deviation", _along_channels(start.input_deviation))
            for number, step in enumerate(start.layer.steps):
                if isinstance(step, Convolution):
                    self.register_buffer(f"weight_{number}", _tensor(step.weight))
                    self.register_buffer(f"bias_{number}", _tensor(step.bias))

        def forward(self, z: torch.Tensor, rate: int) -> torch.Tensor:
            design = start.designs[rate]
            received = _received(z[:, torch.from_numpy(design.selected).to(z.device)], design.bits)
            normalized: torch.Tensor = self.predictors[rate](received)
            x = normalized * self.get_buffer("input_deviation") + self.get_buffer("input_mean")
            for number, step in enumerate(start.layer.steps):
                if isinstance(step, Activation):
                    x = _activated(x, step)
                    continue
                top, left, bottom, right = step.pads
                weight, bias = self.get_buffer(f"weight_{number}"), self.get_buffer(f"bias_{number}")
                padded = F.pad(x, (left, right, top, bottom))
                x = F.conv2d(padded, weight, bias, step.strides, 0, step.dilations, step.groups)
            return x

        def activated(self, z: torch.Tensor) -> torch.Tensor:
            """What the tail makes of Z first."""
            return z if start.layer.behind is None else _activated(z, start.layer.behind)

    return Predictors()


def weights_of(start: Start, module: nn.Module) -> list[Weights]:
    """Of each rate's network; the first takes the normalization of Z, the last that of X; raises `FitError`.

    Zero padding stands for a normalized zero, the mean of a channel, so normalization is folded into the last
    convolution alone, and the first one's is a step of its own.
    """
    import torch

    found = []
    with torch.no_grad():
        for design, predictor in zip(start.designs, module.predictors, strict=True):  # type: ignore[arg-type]  # ours
            kernels = [predictor.kernel(number).cpu().numpy().astype(np.float64) for number in range(LAYERS)]
            biases = [predictor.get_parameter(f"bias_{n}").cpu().numpy().astype(np.float64) for n in range(LAYERS)]
            slopes = [predictor.get_parameter(f"slope_{n}").cpu().numpy() for n in range(LAYERS - 1)]
            kernels[-1] = kernels[-1] * start.input_deviation[:, None, None, None]
            biases[-1] = biases[-1] * start.input_deviation + start.input_mean
            if not all(np.isfinite(values).all() for values in (*kernels, *biases, *slopes)):
                raise FitError("training left values that are not finite: lower the learning rate")
            found.append(
                Weights(
                    design=design,
                    kernels=tuple(values.astype(np.float32) for values in kernels),
                    biases=tuple(values.astype(np.float32) for values in biases),
                    slopes=tuple(values.astype(np.float32) for values in slopes),
                )
            )
    return found


def _received(z: torch.Tensor, bits: int) -> torch.Tensor:
    """Eq. 4 and 5: z (N, C, H, W) in the steps of each channel's own range; its bounds are not rounded to fp16 here."""
    levels = (1 << bits) - 1
    low, high = z.amin(dim=(2, 3), keepdim=True), z.amax(dim=(2, 3), keepdim=True)
    width = (high - low).clamp(min=1e-12)
    return ((z - low) / width * levels).round() / levels * (high - low) + low


def _activated(x: torch.Tensor, step: Activation) -> torch.Tensor:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    match step.kind:
        case "relu":
            return F.relu(x)
        case "leaky":
            return F.leaky_relu(x, step.slope)
        case "silu":
            return F.silu(x)
        case "clip":
            return x.clamp(step.low, step.high)


def _shapes(channels: int, width: int, outputs: int, upsampling: int) -> list[tuple[int, ...]]:
    """Of the kernels."""
    first = (width * upsampling**2, channels, 3, 3)
    return [first, *[(width, width, 3, 3)] * (LAYERS - 2), (outputs, width, 3, 3)]


def _statistics(maps: Array) -> tuple[Array, Array]:
    """Mean and deviation (C,) of the channels of (N, C, H, W); no deviation is zero."""
    mean = maps.mean(axis=(0, 2, 3), dtype=np.float64)
    deviation = maps.std(axis=(0, 2, 3), dtype=np.float64)
    return mean, np.maximum(deviation, LEAST_DEVIATION * max(float(deviation.max()), 1e-30))


def _along_channels(values: Array) -> torch.Tensor:
    return _tensor(values[:, None, None])


def _tensor(values: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(values, np.float32))


def _zeros(*shape: int) -> nn.Parameter:
    import torch

    return torch.nn.Parameter(torch.zeros(shape))
