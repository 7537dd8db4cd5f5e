"""Uniform scalar quantization with per-input ranges as fp16 side information: Choi et al., section 3.2, eq. (4), (5).

Minima are rounded down to fp16 and maxima up, so that no value of the input is clipped (the paper only says "rounded":
to nearest, up to half a bin at either end would be lost). Equal bounds code zeros.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout, per_channel_shape
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Rate, TensorSpec
from splitpoint.codecs.quantizers.uniform import BITS, bit_rates

__all__ = ["HALF_MAX", "FittedRange", "Range", "check_half"]


def __dir__() -> list[str]:
    return __all__


HALF_MAX = 65504.0  # the largest finite fp16
HALF_ULP = 2.0**-24  # spacing of fp16 subnormals


def check_half(coefficients: Array, axis: int | None) -> None:
    """Raise `FitError` when a magnitude does not fit fp16, with its channel's index."""
    others = tuple(i for i in range(coefficients.ndim) if i != axis)
    largest = np.atleast_1d(np.abs(coefficients).max(axis=others))
    if float(largest.max()) > HALF_MAX:
        channel = int(np.argmax(largest > HALF_MAX))
        raise FitError(
            f"channel {channel}: magnitude {float(largest[channel]):.6g} exceeds {HALF_MAX:g}, the largest fp16; "
            "use a codec with static ranges or fp32"
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedRange:
    """Quantizer of eq. (4); `per_channel` says how many ranges an input has."""

    shape: tuple[int, ...]
    axis: int | None
    bits: int
    per_channel: bool

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Symbols, then minima and maxima."""
        high = (1 << self.bits) - 1
        count = self.shape[self.axis] if self.per_channel and self.axis is not None else 1
        return (
            TensorSpec(name="symbols", shape=self.shape, dtype="uint8", low=0, high=high, channel_axis=self.axis),
            TensorSpec(name="minima", shape=(1, count), dtype="float16", side=True),
            TensorSpec(name="maxima", shape=(1, count), dtype="float16", side=True),
        )

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> symbols, minima, maxima."""
        count = self.specs[1].shape[1]
        bound = graph.constant(np.float32(HALF_MAX)), graph.constant(np.float32(-HALF_MAX))
        x = graph.op("Clip", coefficients, bound[1], bound[0])
        rows = x
        if self.per_channel and self.axis not in (None, 1):
            order = [0, self.axis, *(i for i in range(1, len(self.shape)) if i != self.axis)]
            rows = graph.op("Transpose", x, perm=order)
        rows = graph.reshape(rows, (count, self._positions(), 1))
        minima = graph.reshape(graph.op("Neg", graph.op("GlobalMaxPool", graph.op("Neg", rows))), (count,))
        maxima = graph.reshape(graph.op("GlobalMaxPool", rows), (count,))
        low = _outward(graph, minima, output="minima", down=True)
        high = _outward(graph, maxima, output="maxima", down=False)
        low, high = self._broadcast(graph, low), self._broadcast(graph, high)
        width, empty = self._width(graph, low, high)
        # Eq. (4), in its own order of operations; without a width the numerator is 0 too.
        ratio = graph.op("Div", graph.op("Sub", x, low), width)
        levels = graph.constant(np.float32((1 << self.bits) - 1))
        rounded = graph.op("Round", graph.op("Mul", ratio, levels))
        symbols = graph.op("Clip", rounded, graph.constant(np.float32(0)), levels)
        symbols = graph.op("Where", empty, graph.constant(np.float32(0)), symbols)
        graph.cast(symbols, "uint8", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append symbols, minima, maxima -> coefficients: eq. (5)."""
        low = self._broadcast(graph, graph.cast("minima", "float32"))
        high = self._broadcast(graph, graph.cast("maxima", "float32"))
        levels = graph.constant(np.float32((1 << self.bits) - 1))
        ratio = graph.op("Div", graph.cast("symbols", "float32"), levels)
        return graph.op("Add", graph.op("Mul", ratio, graph.op("Sub", high, low)), low)

    def _positions(self) -> int:
        return int(np.prod(self.shape[1:], dtype=np.int64)) // self.specs[1].shape[1]

    def _broadcast(self, graph: Graph, values: str) -> str:
        axis = self.axis if self.per_channel else None
        like = per_channel_shape(np.empty(self.specs[1].shape[1], bool), len(self.shape), axis)
        return graph.reshape(values, like.shape[1:])

    def _width(self, graph: Graph, low: str, high: str) -> tuple[str, str]:
        empty = graph.op("Equal", low, high)
        width = graph.op("Sub", high, low)
        return graph.op("Where", empty, graph.constant(np.float32(1)), width), empty


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Uniform quantization with the ranges of each input."""

    per_channel: bool = True
    bits: tuple[int, ...] = BITS

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of bits."""
        return bit_rates(self.bits)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Ranges per channel need a channel axis and more than two values a channel, or they are no saving."""
        if not self.per_channel:
            return None
        if channel_axis is None or int(np.prod(shape)) <= 2 * shape[channel_axis]:
            return f"ranges per channel of {shape} would be longer than the symbols"
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedRange:
        """Nothing to fit; refuses what fp16 cannot hold."""
        check_half(coefficients, layout.axis)
        shape = (1, *coefficients.shape[1:])
        return FittedRange(shape=shape, axis=layout.axis, bits=int(rate.value), per_channel=self.per_channel)


def _outward(graph: Graph, values: str, *, output: str, down: bool) -> str:
    """Cast to fp16 away from the interval, name the result `output`, give it back as float32.

    Where the nearest fp16 c lies inside, the next one outside is the fp16 nearest to c -+ e with e between half a
    spacing and one and a half: |c| * 1.25 * 2^-11, at least 0.625 spacings of the subnormals.
    """
    near = graph.cast(graph.cast(values, "float16"), "float32")
    inside = graph.op("Greater", near, values) if down else graph.op("Less", near, values)
    nudge = graph.op("Mul", graph.op("Abs", near), graph.constant(np.float32(1.25 * 2.0**-11)))
    nudge = graph.op("Max", nudge, graph.constant(np.float32(0.625 * HALF_ULP)))
    moved = graph.op("Sub" if down else "Add", near, nudge)
    half = graph.cast(graph.op("Where", inside, moved, near), "float16", output=output)
    return graph.cast(half, "float32")
