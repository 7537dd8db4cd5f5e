"""Joint source-channel coding (Jankowski et al., section 2.3) as a torch module, what it starts from, and its weights.

Encoder: a convolution of 3x3 and stride 2 (1 where the map is a single position) to c channels, GDN (eq. 1), PReLU, and
the normalization of a message to mean square 1 (section 2.1). Decoder: a convolution of 3x3, IGDN (eq. 2), PReLU,
up-sampling, a convolution of 3x3 to all channels, BN, PReLU. There is an encoder and a decoder for each c; they share
nothing.

What the paper leaves open: the decoder's first convolution has as many outputs as the tensor has channels (the server
runs it); up-sampling repeats values; kernels start as He's (He et al. 2015) for inputs of unit deviation, and BN with
mean and deviation of the tensor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import Array, FitError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["LEAST_POWER", "Divisive", "Start", "Weights", "build_jscc", "start_jscc", "weights_of"]


def __dir__() -> list[str]:
    return __all__


SLOPE: Final = 0.25  # of PReLU at the start (He et al. 2015)
COUPLING: Final = 0.1  # gamma of a channel with itself at the start, as Balle et al. 2016 have it
OTHERS: Final = 1e-3  # gamma of two channels at the start: at 0 its root would have no gradient
LEAST_BETA: Final = 1e-6
LEAST_POWER: Final = 1e-12  # of a message: zeros are sent as zeros
EPSILON: Final = 1e-5  # of BN
LEAST_DEVIATION: Final = 1e-6  # of a channel, as a share of the largest


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """What training starts from."""

    widths: tuple[int, ...]  # c of each rate
    shape: tuple[int, int, int]  # of the tensor: channels, height, width
    mean: Array  # (C,) of the tensor
    deviation: Array  # (C,)
    rectified: bool  # the tensor has no negative values
    channel: SymbolChannel
    snr_db: tuple[float, float]  # that of each message in training is drawn evenly from
    seed: int

    @property
    def stride(self) -> int:
        """Of the encoder."""
        return 1 if self.shape[1:] == (1, 1) else 2

    @property
    def sent(self) -> tuple[int, int]:
        """Height and width of what crosses."""
        _, height, width = self.shape
        return -(-height // self.stride), -(-width // self.stride)

    def symbols(self, rate: int) -> int:
        """Channel symbols of a message, real numbers."""
        return self.widths[rate] * math.prod(self.sent)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Divisive:
    """GDN or IGDN: x over or times the root of beta + gamma x^2."""

    beta: Array  # (c,), above 0
    gamma: Array  # (c, c), not below 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights:
    """One trained encoder and decoder, float32; BN is part of the last kernel and bias."""

    kernels: tuple[Array, Array, Array]  # encoder, decoder's first and last: (out, in, 3, 3)
    biases: tuple[Array, Array, Array]
    slopes: tuple[Array, Array, Array]  # (out,) of the PReLU behind each
    gdn: Divisive
    igdn: Divisive

    @property
    def size_bytes(self) -> int:
        """Of the memory that it takes."""
        arrays = (*self.kernels, *self.biases, *self.slopes, self.gdn.gamma, self.igdn.gamma)
        return sum(array.nbytes for array in arrays)


def start_jscc(
    widths: Sequence[int],
    activations: Array,
    channel: SymbolChannel,
    *,
    snr_db: tuple[float, float],
    rectified: bool,
    seed: int,
) -> Start:
    """Statistics of `activations` (N, C, H, W)."""
    deviation = activations.std(axis=(0, 2, 3), dtype=np.float64)
    return Start(
        widths=tuple(widths),
        shape=(activations.shape[1], activations.shape[2], activations.shape[3]),
        mean=activations.mean(axis=(0, 2, 3), dtype=np.float64),
        deviation=np.maximum(deviation, LEAST_DEVIATION * max(float(deviation.max()), 1e-30)),
        rectified=rectified,
        channel=channel,
        snr_db=snr_db,
        seed=seed,
    )


def build_jscc(start: Start) -> nn.Module:
    """The module: ``module(x, rate)`` copies x (N, C, H, W) over the channel, whose noise is torch's.

    Each kernel is trained as what is added to its start, in units of its mean magnitude, so that one learning rate fits
    kernels of all sizes.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    channels, height, width = start.shape
    generator = np.random.default_rng(start.seed)

    class Kernel(torch.nn.Module):
        """A convolution of 3x3 that starts as He's for inputs of these deviations."""

        def __init__(self, outputs: int, deviation: Array) -> None:
            super().__init__()
            inputs = len(deviation)
            values = generator.normal(size=(outputs, inputs, 3, 3)) * math.sqrt(2 / (1 + SLOPE**2) / (9 * inputs))
            self.register_buffer("first", _tensor(values / deviation[:, None, None]))
            self.moved = torch.nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
            self.bias = torch.nn.Parameter(torch.zeros(outputs))

        @property
        def weight(self) -> torch.Tensor:
            first = self.get_buffer("first")
            return first + first.abs().mean(dim=(0, 2, 3), keepdim=True) * self.moved

        def forward(self, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
            return F.conv2d(x, self.weight, self.bias, stride, padding=1)

    class Normalization(torch.nn.Module):
        """GDN, or its approximate inverse; beta and gamma are squares, so that no step makes them negative."""

        def __init__(self, count: int, *, inverse: bool) -> None:
            super().__init__()
            gamma = COUPLING * np.eye(count) + OTHERS * (1 - np.eye(count))
            self.root_beta = torch.nn.Parameter(torch.ones(count))
            self.root_gamma = torch.nn.Parameter(_tensor(np.sqrt(gamma)))
            self.inverse = inverse

        def values(self) -> tuple[torch.Tensor, torch.Tensor]:
            """beta and gamma."""
            return self.root_beta.square() + LEAST_BETA, self.root_gamma.square()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            beta, gamma = self.values()
            norm = F.conv2d(x.square(), gamma[:, :, None, None], beta).sqrt()
            return x * norm if self.inverse else x / norm

    class Coder(torch.nn.Module):
        """Encoder and decoder of one rate."""

        def __init__(self, count: int) -> None:
            super().__init__()
            self.encoder = Kernel(count, start.deviation)
            self.gdn = Normalization(count, inverse=False)
            self.encoder_slope = torch.nn.Parameter(torch.full((count,), SLOPE))
            self.decoder = Kernel(channels, np.ones(count))
            self.igdn = Normalization(channels, inverse=True)
            self.decoder_slope = torch.nn.Parameter(torch.full((channels,), SLOPE))
            self.last = Kernel(channels, np.ones(channels))
            self.norm = torch.nn.BatchNorm2d(channels, eps=EPSILON)
            self.norm.weight.data = _tensor(start.deviation)
            self.norm.bias.data = _tensor(start.mean)
            self.last_slope = torch.nn.Parameter(torch.full((channels,), 0.0 if start.rectified else SLOPE))

        def encoded(self, x: torch.Tensor) -> torch.Tensor:
            """Symbols (N, B)."""
            code = F.prelu(self.gdn(self.encoder(x, start.stride)), self.encoder_slope).flatten(1)
            return code / (code.square().mean(dim=1, keepdim=True) + LEAST_POWER).sqrt()

        def decoded(self, symbols: torch.Tensor) -> torch.Tensor:
            """A copy of x from what arrived of the symbols (N, B)."""
            code = symbols.reshape(len(symbols), -1, *start.sent)
            made = F.prelu(self.igdn(self.decoder(code)), self.decoder_slope)
            if start.stride > 1:
                made = F.interpolate(made, scale_factor=float(start.stride))[:, :, :height, :width]
            return F.prelu(self.norm(self.last(made)), self.last_slope)

    class Jscc(torch.nn.Module):
        """A coder a rate."""

        def __init__(self) -> None:
            super().__init__()
            self.coders = torch.nn.ModuleList(Coder(count) for count in start.widths)
            # Part of the state, by whose content trained weights are known: those for another channel are others.
            self.register_buffer("trained_for", _tensor(_settings(start)))

        def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
            coder: Any = self.coders[rate]
            copies: torch.Tensor = coder.decoded(_transmitted(coder.encoded(x), start.channel, start.snr_db))
            return copies

    return Jscc()


def weights_of(start: Start, module: nn.Module) -> list[Weights]:
    """Of each rate; raises `FitError` where training left NaN or infinity."""
    import torch

    with torch.no_grad():
        found = [_weights(coder) for coder in module.coders]  # type: ignore[union-attr]  # ours
    for weights in found:
        arrays = (*weights.kernels, *weights.biases, *weights.slopes, weights.gdn.gamma, weights.igdn.gamma)
        if not all(np.isfinite(values).all() for values in arrays):
            raise FitError("training left values that are not finite: lower the learning rate")
    return found


def _weights(coder: Any) -> Weights:
    state: Mapping[str, Array] = {name: value.cpu().numpy() for name, value in coder.state_dict().items()}
    scale = state["norm.weight"] / np.sqrt(state["norm.running_var"] + EPSILON)
    kernels = [part.weight.cpu().numpy() for part in (coder.encoder, coder.decoder, coder.last)]
    biases = [state[f"{part}.bias"] for part in ("encoder", "decoder", "last")]
    last = (biases[2] - state["norm.running_mean"]) * scale + state["norm.bias"]
    return Weights(
        kernels=(kernels[0], kernels[1], kernels[2] * scale[:, None, None, None]),
        biases=(biases[0], biases[1], last),
        slopes=(state["encoder_slope"], state["decoder_slope"], state["last_slope"]),
        gdn=_divisive(coder.gdn),
        igdn=_divisive(coder.igdn),
    )


def _divisive(part: Any) -> Divisive:
    beta, gamma = (values.cpu().numpy() for values in part.values())
    return Divisive(beta=beta, gamma=gamma)


def _settings(start: Start) -> Array:
    """What noise there is in the training, as numbers."""
    channel = start.channel
    fading = (0.0, 0.0) if channel.kind == "awgn" else (1.0, float(channel.block or 0))
    return np.array([*start.snr_db, *fading])


def _transmitted(symbols: torch.Tensor, channel: SymbolChannel, snr_db: tuple[float, float]) -> torch.Tensor:
    """`codecs.contract.channel.received` of symbols (N, B), each message at an SNR of its own."""
    import torch

    count, length = symbols.shape
    snr = torch.empty(count, 1, device=symbols.device).uniform_(*snr_db)
    sigma = 10.0 ** (-snr / 20)
    noise = sigma * torch.randn_like(symbols)
    if channel.kind == "awgn":
        return symbols + noise
    block = min(channel.block or length, length)
    powers = torch.empty(count, -(-length // block), device=symbols.device).exponential_()
    gain = powers.sqrt().repeat_interleave(block, dim=1)[:, :length]
    return gain * (gain * symbols + noise) / (gain.square() + sigma.square())


def _tensor(values: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(values, np.float32))
