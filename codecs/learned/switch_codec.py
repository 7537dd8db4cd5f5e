"""Dynamic Switch as a codec: fitted by a training that the caller brings, one parameter set for all rates."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Calibration,
    Context,
    FittedCodec,
    LossTerm,
    Need,
    Rate,
)
from splitpoint.codecs.learned.multirate import Fitted, fit_rates, refuses_map
from splitpoint.codecs.learned.switch import Design, Start, build_switch, start_he, start_pca, weights_of
from splitpoint.codecs.learned.switch_coder import SwitchCode
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
        if (why := refuses_map(self.name, shape, dtype)) is not None:
            return why
        if not LEAST_CHANNELS <= shape[1] <= MOST_CHANNELS:
            return f"{self.name} needs {LEAST_CHANNELS} to {MOST_CHANNELS} channels, {shape} has {shape[1]}"
        return None

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Train one switch a tensor for all rates; what was trained is kept in the context's memo.

        Raises `FitError`, also without a training in the context.
        """
        return fit_rates(self, tensors, rates, self._train)

    def _train(self, activations: Array, context: Context) -> Fitted:
        design = self.design(activations.shape[1], rectified=context.low == 0)
        module = build_switch(design, self._start(design, activations, context))
        assert context.training is not None  # `_fit_tensor` refused it
        cost = context.training(module, rates=len(self.compressions), losses=self.losses, codec=self.name)
        weights = weights_of(design, module)
        graphs = export_switch(weights, activations, self.bits, context)
        code = SwitchCode(widths=design.widths, rate=len(design.widths) - 1)
        return Fitted(
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
