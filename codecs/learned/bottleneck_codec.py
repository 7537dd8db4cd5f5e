"""The rate-conditioned bottleneck as a codec: fitted by a training that the caller brings, one parameter set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
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
from splitpoint.codecs.learned.bottleneck import Start, build_bottleneck, spreads_of, weights_of
from splitpoint.codecs.learned.bottleneck_coder import SHIFT, BottleneckCode
from splitpoint.codecs.learned.bottleneck_graphs import export_bottleneck
from splitpoint.codecs.learned.multirate import Fitted, fit_rates, refuses_map
from splitpoint.codecs.quantizers.step import DEAD_ZONE, Step, step_rates
from splitpoint.codecs.transforms.spectral import Spectral

__all__ = ["RateBottleneck"]


def __dir__() -> list[str]:
    return __all__


STEPS: Final = (1.6, 1.1, 0.73, 0.48, 0.3)  # of kltq's rates, from three points lost to none on a VGG16 for CIFAR-100
OFFSET: Final = round((0.5 - DEAD_ZONE) * (1 << SHIFT))
LOSSES: Final = (LossTerm(name="rate"), LossTerm(name="distillation", weight=0.7))
BESIDE_ANSWERS: Final = 0.3  # weight of the squared error where the answers have a term of their own


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RateBottleneck:
    """A trained spectral transform with steps a rate; with `losses` of the rate alone it needs activations only."""

    name: str
    steps: tuple[float, ...] = STEPS  # nominal, coarsest first, as multiples of the coefficients' deviation
    losses: tuple[LossTerm, ...] = LOSSES
    boundary: Boundary = "symbols"
    needs: frozenset[Need] = frozenset({"training"})
    wants: frozenset[Need] = frozenset({"gradients"})

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a nominal step."""
        return step_rates(self.steps)

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        return refuses_map(self.name, shape, dtype)

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Train one bottleneck a tensor for all rates; what was trained is kept in the context's memo.

        Raises `FitError`, also without a training in the context.
        """
        return fit_rates(self, tensors, rates, self._train)

    def _train(self, activations: Array, context: Context) -> Fitted:
        start = self._start(activations, context)
        module = build_bottleneck(start)
        assert context.training is not None  # `_fit_tensor` refused it
        cost = context.training(module, rates=len(self.steps), losses=self.losses, codec=self.name)
        graphs = export_bottleneck(weights_of(start, module), activations, context)
        code = BottleneckCode(multipliers=graphs.multipliers, offset=OFFSET, rate=len(self.steps) - 1)
        return Fitted(
            encoder=graphs.encoder,
            decoder=graphs.decoder,
            coder=code.fit(graphs.specs, {"symbols": graphs.symbols}),
            weight_bytes=graphs.weight_bytes,
            cost=cost,
            notes=start.transform.notes,
        )

    def _start(self, activations: Array, context: Context) -> Start:
        """The spectral transform and its quantizer at each step, as kltq has them."""
        transform = Spectral().fit(activations, context)
        graph = Graph()
        output = graph.op("Identity", transform.encode(graph, "x"), output="coefficients")
        values = graph.run({"x": activations}, {output: ("float32", transform.shape)}, context.run)[output]
        quantizers = [Step(steps=self.steps).fit(values, transform.layout, rate, context) for rate in self.rates]
        deviation = float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) or 1.0
        return Start(
            transform=transform,
            steps=self.steps,
            deviation=deviation,
            spreads=spreads_of(values, deviation).reshape(transform.mean.shape),
            shifts=np.array([quantizer.shifts for quantizer in quantizers]),
            error_weight=BESIDE_ANSWERS if any(term.name == "distillation" for term in self.losses) else 1.0,
            low=context.low,
            high=context.high,
        )
