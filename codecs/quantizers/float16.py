"""Half precision: the tensor as fp16, saturated at its largest finite value."""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, Rate, TensorSpec
from splitpoint.codecs.quantizers.range import HALF_MAX, check_half

__all__ = ["FittedHalf", "Half"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedHalf:
    """Clip to +-65504, cast, and back."""

    shape: tuple[int, ...]
    axis: int | None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """One raw float16 tensor."""
        return (TensorSpec(name="symbols", shape=self.shape, dtype="float16", channel_axis=self.axis),)

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> float16."""
        bounds = graph.constant(np.float32(-HALF_MAX)), graph.constant(np.float32(HALF_MAX))
        graph.cast(graph.op("Clip", coefficients, *bounds), "float16", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append float16 -> coefficients."""
        return graph.cast("symbols", "float32")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Half:
    """fp16, one rate."""

    rates: tuple[Rate, ...] = (Rate(label="16 bit", value=16),)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedHalf:
        """Refuse what fp16 cannot hold."""
        check_half(coefficients, layout.axis)
        return FittedHalf(shape=(1, *coefficients.shape[1:]), axis=layout.axis)
