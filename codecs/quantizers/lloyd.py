"""Lloyd-Max quantization: the levels of least mean squared error for the calibration samples, at n bits a tensor.

Brito names it as future work ("use the Lloyd algorithm in order to optimize the codebook parameters").
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, Rate, TensorSpec
from splitpoint.codecs.quantizers.uniform import BITS, bit_rates

__all__ = ["FittedLloyd", "Lloyd", "lloyd_levels", "training_samples"]


def __dir__() -> list[str]:
    return __all__


SAMPLES = 400_000
ROUNDS = 300
SETTLED = 1e-5  # relative change of the mean squared error between rounds


def training_samples(coefficients: Array, most: int, seed: int) -> NDArray[np.float32]:
    """At most `most` of the samples: whole if they fit, else an evenly strided run of stretches (order kept)."""
    flat = np.ascontiguousarray(coefficients, np.float32).ravel()
    if len(flat) <= most:
        return flat
    stretch = 1000
    starts = np.random.default_rng(seed).choice(len(flat) // stretch, most // stretch, replace=False)
    return np.asarray(flat[: len(flat) // stretch * stretch].reshape(-1, stretch)[np.sort(starts)].ravel())


def lloyd_levels(samples: NDArray[np.float32], bits: int) -> NDArray[np.float64]:
    """2^bits ascending levels: Lloyd's iteration from quantiles between those of equal count and of equal spacing."""
    x = np.sort(samples.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(x)])
    squares = float(np.square(x).sum())
    count = 1 << bits
    middle = (np.arange(count) + 0.5) / count
    # Of equal count alone, few levels would reach the tails, and Lloyd's iteration moves them there slowly.
    levels = 0.5 * np.quantile(x, middle) + 0.5 * (x[0] + (x[-1] - x[0]) * middle)
    before = np.inf
    for _ in range(ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(x, (levels[1:] + levels[:-1]) / 2, side="right"), [len(x)]])
        counts, totals = np.diff(edges), np.diff(sums[edges])
        levels = np.where(counts > 0, totals / np.maximum(counts, 1), levels)
        if (counts == 0).any():  # an empty cell halves the one with the most error
            widest = int(np.argmax(counts * np.square(np.diff(x[np.clip(edges, 0, len(x) - 1)]))))
            empty = int(np.argmax(counts == 0))
            levels[empty] = (levels[widest] + x[min(edges[widest + 1], len(x) - 1)]) / 2
            levels = np.sort(levels)
            before = np.inf
            continue
        error = squares - float((np.square(totals) / counts).sum())
        if before - error <= SETTLED * max(error, 0.0):
            break
        before = error
    return np.asarray(levels)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedLloyd:
    """Levels and the thresholds half way between them."""

    shape: tuple[int, ...]
    layout: Layout
    levels: NDArray[np.float32]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """One uint8 tensor of symbols."""
        high = len(self.levels) - 1
        axis = self.layout.axis
        return (TensorSpec(name="symbols", shape=self.shape, dtype="uint8", low=0, high=high, channel_axis=axis),)

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> symbols: a binary search among the thresholds, one comparison a bit."""
        thresholds = ((self.levels[1:].astype(np.float64) + self.levels[:-1]) / 2).astype(np.float32)
        table = graph.constant(thresholds)
        half = len(self.levels) // 2
        above = graph.op("Greater", coefficients, graph.constant(thresholds[half - 1]))
        index = graph.op("Mul", graph.cast(above, "int32"), graph.constant(np.array(half, np.int32)))
        while half > 1:
            half //= 2
            at = graph.op("Add", index, graph.constant(np.array(half - 1, np.int32)))
            above = graph.op("Greater", coefficients, graph.op("Gather", table, at))
            step = graph.op("Mul", graph.cast(above, "int32"), graph.constant(np.array(half, np.int32)))
            index = graph.op("Add", index, step)
        graph.cast(index, "uint8", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append symbols -> coefficients."""
        return graph.op("Gather", graph.constant(self.levels), graph.cast("symbols", "int32"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lloyd:
    """Lloyd-Max quantization, one codebook a tensor."""

    bits: tuple[int, ...] = BITS

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of bits."""
        return bit_rates(self.bits)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedLloyd:
        """Train the levels."""
        levels = lloyd_levels(training_samples(coefficients, SAMPLES, context.seed), int(rate.value))
        shape = (1, *coefficients.shape[1:])
        return FittedLloyd(shape=shape, layout=layout, levels=levels.astype(np.float32))
