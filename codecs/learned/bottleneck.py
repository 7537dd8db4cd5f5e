"""A rate-conditioned bottleneck as a torch module: one transform, steps of each rate, and what error and bits count.

The encoder is linear and has the form of `codecs/transforms/spectral.py`, at which it starts: a matrix over the
channels, one over the positions of a block, and a mean. All are trained, and so are those of the inverse. Rate r
divides coefficient channel n by a step of its own, the exponential of a learned number (Choi, El-Khamy and Lee 2019,
section 3: one network, a scale a channel and rate). A step that outgrows its channel leaves it out. Before training all
channels have the rate's nominal step, and the bottleneck is kltq at that step (`codecs/quantizers/step.py`).

Of n coefficients with the nominal step s (in deviations of the coefficients) and a squared error D in the start's
coordinates, which are weighted by what the answers depend on, and of B bits, rate r counts

    s (w D / (n s^2) + KAPPA B / n).

At fine steps D = n s^2 / 12 falls by (2 ln 2) / 12 s^2 a bit, so that steps stay where they are for w = 1 and
KAPPA = ln 2 / 6. Symbols are rounded as they are coded, and gradients pass the rounding unchanged. B is the length by a
Laplacian of learned scale a channel with uniform noise instead of the rounding (Balle et al. 2018, section 2; Minnen
and Singh 2020, section 4.2: noise for the bits, rounding for the error). Where magnitudes come back within their bins
is kltq's and not trained: the squared error would pull them to the mean, and activations behind a cut shrink by that.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from splitpoint.codecs.contract.protocol import Array, FitError
from splitpoint.codecs.quantizers.step import CENTRED, DEAD_ZONE
from splitpoint.codecs.transforms.spectral import FittedSpectral

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Start", "Weights", "build_bottleneck", "spreads_of", "weights_of"]


def __dir__() -> list[str]:
    return __all__


KAPPA: Final = math.log(2) / 6
LEAST_SPREAD: Final = 1e-3  # of a channel's Laplacian, as a share of the coefficients' deviation
LEAST_CHANCE: Final = 2.0**-20  # of a symbol: the coder has an escape
TRAINED: Final = ("forward", "backward", "frequencies", "positions", "mean")  # of a `FittedSpectral`


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """What training starts from."""

    transform: FittedSpectral
    steps: tuple[float, ...]  # of each rate, coarsest first, in deviations
    deviation: float  # of the coefficients: root mean square over all channels
    spreads: Array  # (K, C) mean magnitudes of the coefficients
    shifts: Array  # (rates, CENTRED): where magnitudes 1, 2, 3 and more come back, in steps beside them
    error_weight: float  # w
    low: float  # known range of the tensor
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Weights:
    """A trained bottleneck: symbol m of channel n comes back as sign(m) (|m| + shift) step."""

    transform: FittedSpectral
    steps: Array  # (rates, K * C) float64
    shifts: Array  # (rates, CENTRED) float64


def build_bottleneck(start: Start) -> nn.Module:
    """The module: ``module(x, rate)`` copies x (N, C, H, W), ``module.coded(x, rate)`` says what that counts, too."""
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    maps = start.transform.maps
    (height, width), (tall, wide), (down, across) = maps.size, maps.padded, maps.blocks
    coefficients = start.spreads.size * down * across  # of an input

    class Bottleneck(torch.nn.Module):
        """Matrices as what is added to the start's, in units of its mean magnitude; steps and spreads as logarithms."""

        def __init__(self) -> None:
            super().__init__()
            for name in TRAINED:
                first = _tensor(getattr(start.transform, name))
                self.register_buffer(f"first_{name}", first)
                self.register_parameter(f"moved_{name}", _zeros(*first.shape))
            nominal = start.deviation * np.array(start.steps)[:, None, None]
            self.log_steps = torch.nn.Parameter(_tensor(np.log(nominal) + np.zeros_like(start.spreads)))
            self.log_spreads = torch.nn.Parameter(_tensor(np.log(start.spreads)))
            self.register_buffer("first_shifts", _tensor(start.shifts))
            self.log_widths = _zeros(len(start.steps))  # of a rate's Laplacians beside those spreads

        def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
            return self._decoded(_rounded(self._encoded(x) / self.steps(rate)), rate)

        def coded(self, x: torch.Tensor, rate: int) -> tuple[torch.Tensor, torch.Tensor]:
            """Copies of x, and what their error and bits count: the mean over the inputs, a scalar."""
            scaled = self._encoded(x) / self.steps(rate)
            copies = self._decoded(_rounded(scaled), rate)
            error = self._mixed(x - copies, self.get_buffer("first_forward"), self.get_buffer("first_frequencies"))
            bits = self._bits(scaled + torch.rand_like(scaled) - 0.5, rate)
            squared = error.square().sum() / (start.deviation * start.steps[rate]) ** 2
            counted = start.error_weight * squared + KAPPA * bits.sum()
            return copies, start.steps[rate] * counted / (len(x) * coefficients)

        def matrix(self, name: str) -> torch.Tensor:
            """What is called so in `FittedSpectral`."""
            first = self.get_buffer(f"first_{name}")
            return first + first.abs().mean() * self.get_parameter(f"moved_{name}")

        def steps(self, rate: int) -> torch.Tensor:
            """Of all coefficient channels, (K, C, 1)."""
            return self.log_steps[rate, :, :, None].exp()

        def _encoded(self, x: torch.Tensor) -> torch.Tensor:
            """Coefficients (N, K, C, blocks)."""
            return self._mixed(x, self.matrix("forward"), self.matrix("frequencies")) - self.matrix("mean")[..., None]

        def _decoded(self, symbols: torch.Tensor, rate: int) -> torch.Tensor:
            """Copies (N, C, H, W) from symbols (N, K, C, blocks)."""
            known = symbols.detach()
            bins = (known.abs().long() - 1).clamp(0, CENTRED - 1)
            shifts = self.get_buffer("first_shifts")[rate][bins] * known.sign()
            values = (symbols + shifts) * self.steps(rate) + self.matrix("mean")[..., None]
            mixed = self.matrix("backward") @ values  # (N, K, C, blocks)
            blocks = torch.einsum("pk,nkcb->ncbp", self.matrix("positions"), mixed)
            split = blocks.reshape(-1, maps.channels, down, across, maps.rows, maps.columns).transpose(3, 4)
            copies = split.reshape(-1, maps.channels, tall, wide)[..., :height, :width]
            return copies.clamp(start.low, start.high)

        def _mixed(self, x: torch.Tensor, forward: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
            """Coefficients (N, K, C, blocks) of maps (N, C, H, W), by those two matrices."""
            padded = F.pad(x, (0, wide - width, 0, tall - height), mode="replicate")
            split = padded.reshape(-1, maps.channels, down, maps.rows, across, maps.columns).transpose(3, 4)
            blocks = split.reshape(-1, maps.channels, down * across, maps.rows * maps.columns)
            return forward @ torch.einsum("kp,ncbp->nkcb", frequencies, blocks)

        def _bits(self, values: torch.Tensor, rate: int) -> torch.Tensor:
            """-log2 of the Laplacian's mass within half a step around each of `values`, which are in steps."""
            narrow = self.steps(rate) / (self.log_spreads[..., None] + self.log_widths[rate]).exp()
            size = values.abs()
            outside = 0.5 * (torch.exp((size - 0.5).clamp(max=0) * narrow) + torch.exp(-(size + 0.5) * narrow))
            inner = -torch.log2((1 - outside).clamp(min=LEAST_CHANCE))
            # exp(-(size - 1/2) narrow) (1 - exp(-narrow)) / 2
            outer = (size - 0.5) * narrow / math.log(2) + 1 - torch.log2(-torch.expm1(-narrow))
            return torch.where(size > 0.5, outer, inner)

    return Bottleneck()


def weights_of(start: Start, module: nn.Module) -> Weights:
    """The weights of a module of `build_bottleneck`; raises `FitError` where training left NaN or infinity."""
    import torch

    with torch.no_grad():
        arrays = {name: module.matrix(name).cpu().numpy() for name in TRAINED}  # type: ignore[operator]  # a method of ours
        steps = torch.stack([module.steps(rate) for rate in range(len(start.steps))])  # type: ignore[operator]
        arrays["steps"] = steps.cpu().numpy()
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise FitError(f"training left values that are not finite in {name!r}: lower the learning rate")
    return Weights(
        transform=dataclasses.replace(start.transform, **{name: arrays[name].copy() for name in TRAINED}),
        steps=arrays["steps"].reshape(len(start.steps), -1).astype(np.float64),
        shifts=start.shifts,
    )


def spreads_of(coefficients: Array, deviation: float) -> Array:
    """(N,) mean magnitudes of coefficients (n, N, ...), none of them zero."""
    by_channel = np.abs(np.moveaxis(coefficients, 1, 0).reshape(coefficients.shape[1], -1))
    return np.asarray(np.maximum(by_channel.mean(axis=1, dtype=np.float64), LEAST_SPREAD * deviation))


def _rounded(values: torch.Tensor) -> torch.Tensor:
    """Symbols of `values` (in steps), with the gradient of the values themselves."""
    symbols = values.sign() * (values.abs() + (0.5 - DEAD_ZONE)).floor()
    return values + (symbols - values).detach()


def _tensor(values: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(values, np.float32))


def _zeros(*shape: int) -> nn.Parameter:
    import torch

    return torch.nn.Parameter(torch.zeros(shape))
