"""The Dynamic Switch (Kumaraswamy et al., section 2) as a torch module, what it starts from, and its weights as arrays.

Encoder and decoder are 1x1 convolutions around K_1 channels, each with ReLU and batch normalization (BN). Rate i uses
the first K_i kernels of the encoder and the first K_i input channels of the decoder, so one parameter set serves all
rates. (The paper counts rates from the finest, K_1; an index here counts from the coarsest, as every codec's does.)

The paper gives both sides as convolution, ReLU, BN and does not say what the cut tensor is. A decoder in that order
gives no zeros to a tensor that came from a ReLU. There it is convolution, BN, ReLU (`relu_last`), elsewhere as in the
paper. Points lost at 50, 75 and 90 % on 2,500 pictures of CIFAR-100 by a VGG16 of half width after pool 2 (64 channels,
float codes, 2026-11, one seed): untrained 3.1, 14.0, 47.7 against 1.0, 8.7, 43.1 in the paper's order, since clipping
what the PCA gives below zero lowers the squared error and changes the answers; after 375 steps of 64 pictures (Adam,
1e-3, all three losses) 0.2, 3.1, 21.9 against 1.0, 3.6, 21.2.

Statistics of the encoder's BN are those of a channel whatever the rate, since kernel k sees the same input at every
rate: they are shared, and head.onnx need not know the rate. The decoder's see a sum over K_i channels: they differ by
rate and are the rate's own where `private_bn` says so (Slimmable networks, arXiv 1812.08928, do the same).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from splitpoint.codecs.contract.protocol import Array, FitError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Design", "Start", "Weights", "build_switch", "start_he", "start_pca", "weights_of"]


def __dir__() -> list[str]:
    return __all__


EPSILON = 1e-5  # of BN, torch's own default
MOMENTUM = 0.1  # of BN's running statistics, the same
MOST_VECTORS = 1 << 18  # positions of calibration inputs that components and statistics are made of


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """What a switch is before it has weights: C channels of the tensor, K_i of each rate."""

    channels: int
    widths: tuple[int, ...]  # K_i, coarsest first; the last is the number of kernels there are
    private_bn: bool
    relu_last: bool  # the decoder is convolution, BN, ReLU; else convolution, ReLU, BN

    @property
    def norms(self) -> int:
        """Number of the decoder's BNs."""
        return len(self.widths) if self.private_bn else 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Norm:
    """A BN over n channels: all arrays (n,)."""

    mean: Array
    variance: Array
    gain: Array
    offset: Array


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """What training starts from: K kernels over C channels."""

    encoder: Array  # (K, C)
    encoder_bias: Array  # (K,)
    encoder_norm: Norm
    decoder: Array  # (C, K)
    decoder_bias: Array  # (C,)
    decoder_norms: tuple[Norm, ...]  # `Design.norms` of them


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights:
    """A trained switch, float32; each BN as the scale and shift that it is in evaluation."""

    design: Design
    encoder: Array  # (K, C)
    encoder_bias: Array  # (K,)
    encoder_scale: Array  # (K,)
    encoder_shift: Array  # (K,)
    decoder: Array  # (C, K)
    decoder_bias: Array  # (C,)
    decoder_scale: Array  # (`Design.norms`, C)
    decoder_shift: Array  # (`Design.norms`, C)


def start_pca(design: Design, activations: Array) -> Start:
    """The leading principal components of (N, C, H, W) as kernels: the switch begins as the untrained PCA.

    Components are in order of variance, so the first K_i are the best K_i linear kernels for every i. A ReLU would
    erase half of each component, so every kernel's bias lifts it above zero on the calibration inputs. The BN behind
    it takes that away again and divides by the deviation, which the decoder's columns multiply by. The decoder's BNs
    begin as identities. A decoder that ends in BN has a bias of the same kind. Raises `FitError` for fewer positions
    than channels.
    """
    vectors = _vectors(activations)
    if len(vectors) < design.channels:
        raise FitError(
            f"a switch of {design.channels} channels needs as many positions of calibration inputs, got "
            f"{len(vectors)}; give more calibration inputs"
        )
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    variances, components = _components(centred, design.widths[-1])
    codes = centred @ components.T
    lift = np.maximum(-codes.min(axis=0), 0.0)
    deviation = np.sqrt(variances + EPSILON)
    copies = [mean + codes[:, :k] @ components[:k] for k in design.widths]
    lowest = np.zeros_like(mean) if design.relu_last else np.min([copy.min(axis=0) for copy in copies], axis=0)
    raised = np.maximum(-lowest, 0.0)
    return Start(
        encoder=components,
        encoder_bias=lift - components @ mean,
        encoder_norm=Norm(mean=lift, variance=variances, gain=np.ones_like(lift), offset=np.zeros_like(lift)),
        decoder=components.T * deviation,
        decoder_bias=mean + raised,
        decoder_norms=tuple(_identity(copy + raised, raised) for copy in copies[-design.norms :]),
    )


def start_he(design: Design, seed: int) -> Start:
    """Kernels of zero mean and variance 2 / inputs (He et al. 2015, equation 10), no biases, BN as torch starts it."""
    generator = np.random.default_rng(seed)
    kernels, channels = design.widths[-1], design.channels

    def fresh(count: int) -> Norm:
        zeros, ones = np.zeros(count), np.ones(count)
        return Norm(mean=zeros, variance=ones, gain=ones, offset=zeros)

    return Start(
        encoder=generator.normal(size=(kernels, channels)) * np.sqrt(2 / channels),
        encoder_bias=np.zeros(kernels),
        encoder_norm=fresh(kernels),
        decoder=generator.normal(size=(channels, kernels)) * np.sqrt(2 / kernels),
        decoder_bias=np.zeros(channels),
        decoder_norms=tuple(fresh(channels) for _ in range(design.norms)),
    )


def build_switch(design: Design, start: Start) -> nn.Module:
    """The module, in training mode: ``module(x, rate)`` gives a copy of x (N, C, H, W) through K_rate channels."""
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    class Switch(torch.nn.Module):
        """Parameters have the shapes of `Start`; BN `number` of the decoder is `decoder_norms[number]`."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = _parameter(start.encoder[..., None, None])
            self.encoder_bias = _parameter(start.encoder_bias)
            self.encoder_norm = _norm(start.encoder_norm)
            self.decoder = _parameter(start.decoder[..., None, None])
            self.decoder_bias = _parameter(start.decoder_bias)
            self.decoder_norms = torch.nn.ModuleList(map(_norm, start.decoder_norms))

        def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
            width = design.widths[rate]
            code = F.relu(F.conv2d(x, self.encoder[:width], self.encoder_bias[:width]))
            code = self._first_normalized(code, width)
            y = F.conv2d(code, self.decoder[:, :width], self.decoder_bias)
            norm: nn.Module = self.decoder_norms[rate if design.private_bn else 0]
            copy: torch.Tensor = F.relu(norm(y)) if design.relu_last else norm(F.relu(y))
            return copy

        def _first_normalized(self, code: torch.Tensor, width: int) -> torch.Tensor:
            """The encoder's BN on its first channels; slices are views, so running statistics are updated in place."""
            norm = self.encoder_norm
            assert norm.running_mean is not None
            assert norm.running_var is not None  # `_norm` gave both
            mean, variance = norm.running_mean[:width], norm.running_var[:width]
            gain, offset = norm.weight[:width], norm.bias[:width]
            return F.batch_norm(code, mean, variance, gain, offset, self.training, MOMENTUM, EPSILON)

    return Switch()


def weights_of(design: Design, module: nn.Module) -> Weights:
    """The weights of a module of `build_switch`; raises `FitError` where training left NaN or infinity."""
    state = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in module.state_dict().items()}
    encoder_scale, encoder_shift = _affine(state, "encoder_norm")
    norms = [_affine(state, f"decoder_norms.{i}") for i in range(design.norms)]
    arrays = {
        "encoder": state["encoder"][..., 0, 0],
        "encoder_bias": state["encoder_bias"],
        "encoder_scale": encoder_scale,
        "encoder_shift": encoder_shift,
        "decoder": state["decoder"][..., 0, 0],
        "decoder_bias": state["decoder_bias"],
        "decoder_scale": np.stack([scale for scale, _ in norms]),
        "decoder_shift": np.stack([shift for _, shift in norms]),
    }
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise FitError(f"training left values that are not finite in {name!r}: lower the learning rate")
    return Weights(design=design, **{name: values.astype(np.float32) for name, values in arrays.items()})


def _vectors(activations: Array) -> Array:
    """(n, C) float64: the channels at evenly spaced positions of all inputs."""
    rows = np.moveaxis(activations, 1, -1).reshape(-1, activations.shape[1])
    return rows[:: max(1, -(-len(rows) // MOST_VECTORS))].astype(np.float64)


def _components(centred: Array, count: int) -> tuple[Array, Array]:
    """Variances (count,) and unit components (count, C) by descending variance, the largest entry of each positive."""
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    rows = vectors.T[::-1][:count]
    largest = np.abs(rows).argmax(axis=1)
    signs = np.where(rows[np.arange(count), largest] < 0, -1.0, 1.0)  # a library may return either
    return np.maximum(values[::-1][:count], 0.0), rows * signs[:, None]


def _identity(values: Array, taken: Array) -> Norm:
    """A BN that subtracts `taken` (C,) from `values` (n, C), in training and in evaluation."""
    rectified = np.maximum(values, 0.0) if taken.any() else values
    mean, variance = rectified.mean(axis=0), rectified.var(axis=0)
    return Norm(mean=mean, variance=variance, gain=np.sqrt(variance + EPSILON), offset=mean - taken)


def _parameter(values: Array) -> nn.Parameter:
    import torch

    return torch.nn.Parameter(torch.from_numpy(np.ascontiguousarray(values, np.float32)))


def _norm(values: Norm) -> nn.BatchNorm2d:
    import torch

    norm = torch.nn.BatchNorm2d(len(values.mean), eps=EPSILON, momentum=MOMENTUM)
    found = {"running_mean": values.mean, "running_var": values.variance, "weight": values.gain, "bias": values.offset}
    norm.load_state_dict({name: torch.from_numpy(x.astype(np.float32)) for name, x in found.items()}, strict=False)
    return norm


def _affine(state: dict[str, Array], norm: str) -> tuple[Array, Array]:
    """Scale and shift of a BN in evaluation."""
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
    return scale, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
