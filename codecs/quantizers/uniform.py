"""Uniform scalar quantization at n bits with static ranges: Brito's codebook, fitted on calibration data.

The ranges are the calibration minima and maxima (per tensor or per channel), cut to the range that the activation is
known to have; what lies outside at run time is clipped. Symbols are 0..2^n-1.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout, per_channel_shape
from splitpoint.codecs.contract.protocol import Array, Context, Rate, TensorSpec

__all__ = ["BITS", "FittedUniform", "Uniform", "bit_rates", "clipped_ranges"]


def __dir__() -> list[str]:
    return __all__


CLIP_FACTORS = tuple(np.geomspace(0.05, 0.95, 24))
CLIP_SAMPLES = 20_000  # of a channel
BITS = (2, 3, 4, 5, 6, 7, 8)  # Brito, section IV


def bit_rates(bits: tuple[int, ...] = BITS) -> tuple[Rate, ...]:
    """Rates labelled "2 bit", "3 bit", ..."""
    return tuple(Rate(label=f"{n} bit", value=n) for n in bits)


def clipped_ranges(values: Array, bits: int, *, per_channel: bool) -> tuple[Array, Array]:
    """(low, high) of least mean squared error among shrunken minimum-maximum ranges; a row of `values` a channel.

    Both bounds are moved toward the median by factors of a grid, first together, then one after the other.
    """
    rows = values.reshape(len(values), -1) if per_channel else values.reshape(1, -1)
    rows = rows[:, :: max(1, rows.shape[1] // CLIP_SAMPLES)].astype(np.float32)
    middle = np.median(rows, axis=1)
    below, above = middle - rows.min(axis=1), rows.max(axis=1) - middle
    best_low, best_high = np.ones(len(rows)), np.ones(len(rows))
    least = _clip_errors(rows, middle - below, middle + above, bits)
    for moves in ((True, True), (True, False), (False, True)):
        for factor in CLIP_FACTORS:
            trial_low = factor * np.ones_like(best_low) if moves[0] else best_low
            trial_high = factor * np.ones_like(best_high) if moves[1] else best_high
            error = _clip_errors(rows, middle - trial_low * below, middle + trial_high * above, bits)
            better = error < least
            least = np.where(better, error, least)
            best_low, best_high = np.where(better, trial_low, best_low), np.where(better, trial_high, best_high)
    low, high = middle - best_low * below, middle + best_high * above
    return (low, high) if per_channel else (low[0], high[0])


def _clip_errors(rows: Array, low: Array, high: Array, bits: int) -> Array:
    step = np.maximum((high - low) / ((1 << bits) - 1), np.finfo(np.float32).tiny).astype(np.float32)[:, None]
    low = low.astype(np.float32)[:, None]
    coded = np.clip(np.rint((rows - low) / step), 0, (1 << bits) - 1) * step + low
    return np.asarray(np.square(rows - coded).mean(axis=1, dtype=np.float64))


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
    clip: bool = False  # ranges of least mean squared error instead of minimum and maximum
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
        bits = int(rate.value)
        low, high = coefficients.min(axis=others), coefficients.max(axis=others)
        if self.clip:
            low, high = clipped_ranges(np.moveaxis(coefficients, axis or 0, 0), bits, per_channel=self.per_channel)
        low = np.clip(low, context.low, context.high).astype(np.float64)
        high = np.clip(high, context.low, context.high).astype(np.float64)
        used = axis if self.per_channel else None
        return FittedUniform(
            shape=(1, *coefficients.shape[1:]),
            axis=layout.axis,
            bits=bits,
            low=per_channel_shape(low.astype(np.float32), coefficients.ndim, used),
            step=per_channel_shape(((high - low) / ((1 << bits) - 1)).astype(np.float32), coefficients.ndim, used),
        )
