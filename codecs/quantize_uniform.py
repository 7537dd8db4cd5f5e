"""Uniform scalar quantization at n bits with static ranges: Brito's codebook, fitted on calibration data.

The ranges are the calibration minima and maxima (per tensor or per channel), cut to the range that the activation is
known to have; what lies outside at run time is clipped. Symbols are 0..2^n-1.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.graphs import Graph
from splitpoint.codecs.preset import Layout, per_channel_shape
from splitpoint.codecs.protocol import Array, Context, Rate, TensorSpec

__all__ = ["BITS", "FittedUniform", "Uniform", "bit_rates"]


def __dir__() -> list[str]:
    return __all__


BITS = (2, 3, 4, 5, 6, 7, 8)  # Brito, section IV


def bit_rates(bits: tuple[int, ...] = BITS) -> tuple[Rate, ...]:
    """Rates labelled "2 bit", "3 bit", ..."""
    return tuple(Rate(label=f"{n} bit", value=n) for n in bits)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedUniform:
    """x -> clip(round((x - low) * scale), 0, levels); back: symbol * step + low."""

    shape: tuple[int, ...]
    axis: int | None
    bits: int
    low: Array  # broadcastable float32
    step: Array  # broadcastable float32; 0 where the range is a single value

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """One uint8 tensor of symbols."""
        high = (1 << self.bits) - 1
        return (TensorSpec(name="symbols", shape=self.shape, dtype="uint8", low=0, high=high, channel_axis=self.axis),)

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> symbols."""
        scale = np.divide(1, self.step, out=np.zeros_like(self.step), where=self.step > 0)
        offset = graph.op("Sub", coefficients, graph.constant(self.low))
        rounded = graph.op("Round", graph.op("Mul", offset, graph.constant(scale)))
        levels = graph.constant(np.float32((1 << self.bits) - 1))
        graph.cast(graph.op("Clip", rounded, graph.constant(np.float32(0)), levels), "uint8", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append symbols -> coefficients."""
        scaled = graph.op("Mul", graph.cast("symbols", "float32"), graph.constant(self.step))
        return graph.op("Add", scaled, graph.constant(self.low))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Uniform:
    """Uniform quantization with static minimum-maximum ranges."""

    per_channel: bool = False
    bits: tuple[int, ...] = BITS

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of bits."""
        return bit_rates(self.bits)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Ranges per channel need a channel axis."""
        if self.per_channel and channel_axis is None:
            return f"no channel axis in {shape} for ranges per channel"
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedUniform:
        """Take the calibration ranges."""
        axis = layout.axis
        others = tuple(i for i in range(coefficients.ndim) if not (self.per_channel and i == axis))
        low = np.clip(coefficients.min(axis=others), context.low, context.high).astype(np.float64)
        high = np.clip(coefficients.max(axis=others), context.low, context.high).astype(np.float64)
        bits = int(rate.value)
        used = axis if self.per_channel else None
        return FittedUniform(
            shape=(1, *coefficients.shape[1:]),
            axis=layout.axis,
            bits=bits,
            low=per_channel_shape(low.astype(np.float32), coefficients.ndim, used),
            step=per_channel_shape(((high - low) / ((1 << bits) - 1)).astype(np.float32), coefficients.ndim, used),
        )
