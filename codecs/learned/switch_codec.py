"""Dynamic Switch as a codec: fitted by a training that the caller brings, one parameter set for all rates."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Literal

from splitpoint.codecs.contract.preset import check_request
from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Calibration,
    Context,
    FitError,
    FittedCodec,
    LossTerm,
    Need,
    Rate,
    TrainingCost,
)
from splitpoint.codecs.learned.switch import Design, Start, build_switch, start_he, start_pca, weights_of
from splitpoint.codecs.learned.switch_coder import SwitchCode, SwitchCoder
from splitpoint.codecs.learned.switch_graphs import export_switch

__all__ = ["DynamicSwitch"]


def __dir__() -> list[str]:
    return __all__


LEAST_CHANNELS = 4  # of fewer, half and a quarter are the same
MOST_CHANNELS = 4096  # the covariance of more takes longer than the training
# After pools 2 and 3 of a VGG16 for CIFAR-100 an untrained switch loses at most 0.4 points more at 6 bits than at 8 and
# takes a quarter fewer bytes; at 4 bits it loses up to 0.6 more again, for 32 % fewer (5,000 pictures, 2026-11).
BITS = 6
# Of a switch that is added to a pretrained network (section 2); the paper gives no weights.
LOSSES = (LossTerm(name="cross-entropy"), LossTerm(name="distillation"), LossTerm(name="mse"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Fitted:
    """What all rates share."""

    encoder: bytes
    decoder: bytes
    coder: SwitchCoder
    weight_bytes: int
    cost: TrainingCost

    @property
    def size_bytes(self) -> int:
        tables = sum(array.nbytes for array in self.coder.arrays().values())
        return len(self.encoder) + len(self.decoder) + tables


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DynamicSwitch:
    """1x1 convolutions to K_i of C channels and back, trained; symbols of `bits` bits; a table a channel."""

    name: str
    compressions: tuple[float, ...] = (0.9, 0.75, 0.5)  # of the channels, coarsest first: the paper's
    bits: int = BITS
    private_bn: bool = True
    relu_last: bool = True  # where the tensor has no negative values, the decoder is convolution, BN, ReLU
    start: Literal["pca", "he"] = "pca"
    losses: tuple[LossTerm, ...] = LOSSES
    boundary: Boundary = "symbols"
    needs: frozenset[Need] = frozenset({"training"})
    wants: frozenset[Need] = frozenset()

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a share of the channels that is left out."""
        return tuple(Rate(label=f"{share:.0%}".replace("%", " %"), value=-share) for share in self.compressions)

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if dtype != "float32":
            return f"{self.name} codes float32 tensors, not {dtype}"
        if len(shape) != 4 or shape[0] != 1 or 0 in shape:
            return f"{self.name} codes maps of one input (1, channels, height, width), not {shape}"
        if not LEAST_CHANNELS <= shape[1] <= MOST_CHANNELS:
            return f"{self.name} needs {LEAST_CHANNELS} to {MOST_CHANNELS} channels, {shape} has {shape[1]}"
        return None

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Train one switch a tensor for all rates; what was trained is kept in the context's memo.

        Raises `FitError`, also without a training in the context.
        """
        return tuple(self._fit_tensor(tensor.activations, rates, tensor.context) for tensor in tensors)

    def _fit_tensor(self, activations: Array, rates: Sequence[int], context: Context) -> tuple[FittedCodec, ...]:
        for rate in rates:
            check_request(self, activations, rate)
        if context.training is None:
            raise FitError(f"{self.name} is trained, and no training was asked for")

        def make() -> _Fitted:
            return self._train(activations, context)

        fitted = make() if context.memo is None else context.memo(("switch", self), make, lambda made: made.size_bytes)
        return tuple(self._at(rate, (1, *activations.shape[1:]), fitted) for rate in rates)

    def _train(self, activations: Array, context: Context) -> _Fitted:
        design = self.design(activations.shape[1], rectified=context.low == 0)
        module = build_switch(design, self._start(design, activations, context))
        assert context.training is not None  # `_fit_tensor` refused it
        cost = context.training(module, rates=len(self.compressions), losses=self.losses)
        weights = weights_of(design, module)
        graphs = export_switch(weights, activations, self.bits, context)
        code = SwitchCode(widths=design.widths, rate=len(design.widths) - 1)
        return _Fitted(
            encoder=graphs.encoder,
            decoder=graphs.decoder,
            coder=code.fit(graphs.specs, {"symbols": graphs.symbols}),
            weight_bytes=graphs.weight_bytes,
            cost=cost,
        )

    def design(self, channels: int, *, rectified: bool) -> Design:
        """The switch of a tensor of `channels`, which has no negative values where it is `rectified`."""
        return Design(
            channels=channels,
            widths=tuple(max(1, round((1 - share) * channels)) for share in self.compressions),
            private_bn=self.private_bn,
            relu_last=self.relu_last and rectified,
        )

    def _start(self, design: Design, activations: Array, context: Context) -> Start:
        return start_pca(design, activations) if self.start == "pca" else start_he(design, context.seed)

    def _at(self, rate: int, shape: tuple[int, ...], fitted: _Fitted) -> FittedCodec:
        cost = fitted.cost
        losses = ", ".join(f"{name} {value:.3g}" for name, value in cost.losses.items())
        return FittedCodec(
            codec=self.name,
            rate=rate,
            rate_label=self.rates[rate].label,
            boundary=self.boundary,
            shape=shape,
            encoder=fitted.encoder,
            decoder=fitted.decoder,
            coder=fitted.coder.at(rate),
            transform_key=hashlib.sha256(fitted.encoder + fitted.decoder).hexdigest()[:16],
            weight_bytes=fitted.weight_bytes,
            notes=(f"trained for {cost.steps:,} steps on {cost.images:,} images: {losses or 'no loss'}",),
        )
