"""A trained bottleneck as two ONNX graphs for all rates: x -> fine symbols, symbols of a rate and the rate -> its copy.

The encoder does not know the rate: it gives every coefficient in steps that are a part of the finest rate's, and the
coder makes a rate's symbols of them (`codecs/learned/bottleneck_coder.py`).
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import clamp
from splitpoint.codecs.contract.protocol import Array, Context, TensorSpec
from splitpoint.codecs.learned.bottleneck import Weights
from splitpoint.codecs.learned.bottleneck_coder import SHIFT
from splitpoint.codecs.quantizers.step import LIMIT

__all__ = ["Graphs", "export_bottleneck"]


def __dir__() -> list[str]:
    return __all__


# Fine steps in a channel's finest step: rounded twice, a threshold is off by at most 1/32 of that step.
FINER: Final = 16
AXIS: Final = 1  # of the coefficient channels


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Graphs:
    """Both graphs, the tensors between them, and the fine symbols of calibration inputs."""

    encoder: bytes
    decoder: bytes
    specs: tuple[TensorSpec, ...]  # "symbols" and "rate"
    multipliers: NDArray[np.int32]  # (rates, N): fine steps / steps, in 2^-SHIFT
    symbols: Array  # (n, N, ...) int16
    weight_bytes: int


def export_bottleneck(weights: Weights, activations: Array, context: Context) -> Graphs:
    """The graphs; a fine step is coarser where the coefficients of `activations` (n, C, H, W) would leave 16 bits.

    ``rate`` is (1,) int64, an input of the decoder alone.
    """
    transform, rates = weights.transform, len(weights.steps)
    shape = (1, *activations.shape[1:])
    fine = _fine_steps(weights, activations, context)
    symbols = TensorSpec(
        name="symbols",
        shape=transform.shape,
        dtype="int16",
        low=-LIMIT,
        high=LIMIT,
        channel_axis=AXIS,
        group=transform.layout.group,
    )
    specs = (symbols, TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=rates - 1, side=True))
    encode, decode = Graph(), Graph()
    _append_encoder(encode, weights, fine)
    clamp(decode, transform.decode(decode, _append_dequantization(decode, weights)), context, output="y")
    crossing = {spec.name: (spec.dtype, spec.shape) for spec in specs}
    coded = {symbols.name: crossing[symbols.name]}
    return Graphs(
        encoder=encode.model({"x": ("float32", shape)}, coded),
        decoder=decode.model(crossing, {"y": ("float32", shape)}),
        specs=specs,
        multipliers=np.rint(np.minimum(fine / weights.steps, 1.0) * (1 << SHIFT)).astype(np.int32),
        symbols=encode.run({"x": activations}, coded, context.run)[symbols.name],
        weight_bytes=encode.weight_bytes + decode.weight_bytes,
    )


def _fine_steps(weights: Weights, activations: Array, context: Context) -> Array:
    """(N,) float64: a part of the finest rate's step, or what the largest calibration coefficient needs."""
    graph = Graph()
    output = graph.op("Identity", weights.transform.encode(graph, "x"), output="coefficients")
    values = graph.run({"x": activations}, {output: ("float32", weights.transform.shape)}, context.run)[output]
    largest = np.abs(np.moveaxis(values, AXIS, 0).reshape(values.shape[AXIS], -1)).max(axis=1).astype(np.float64)
    return np.asarray(np.maximum(weights.steps.min(axis=0) / FINER, largest / LIMIT))


def _append_encoder(graph: Graph, weights: Weights, fine: Array) -> None:
    """Append x -> symbols: the nearest number of fine steps."""
    coefficients = weights.transform.encode(graph, "x")
    scaled = graph.op("Mul", graph.op("Abs", coefficients), graph.constant(_along_channels(1 / fine, weights)))
    magnitude = graph.op("Floor", graph.op("Add", scaled, graph.constant(np.float32(0.5))))
    limited = graph.op("Min", magnitude, graph.constant(np.float32(LIMIT)))
    graph.cast(graph.op("Mul", limited, graph.op("Sign", coefficients)), "int16", output="symbols")


def _append_dequantization(graph: Graph, weights: Weights) -> str:
    """Append symbols and rate -> coefficients: sign * (magnitude + shift) * step, the rate's own."""
    signed = graph.cast("symbols", "float32")
    magnitude = graph.op("Abs", signed)
    last = weights.shifts.shape[1] - 1
    shift = _gathered(graph, weights.shifts[:, last], weights)
    for edge in range(last, 0, -1):
        below = graph.op("Less", magnitude, graph.constant(np.float32(edge + 0.5)))
        shift = graph.op("Where", below, _gathered(graph, weights.shifts[:, edge - 1], weights), shift)
    moved = graph.op("Add", signed, graph.op("Mul", graph.op("Sign", signed), shift))
    return graph.op("Mul", moved, _gathered(graph, weights.steps, weights))


def _gathered(graph: Graph, table: Array, weights: Weights) -> str:
    """Append the row of `table` (rates,) or (rates, N) of the rate, (1, 1 or N, 1, ...)."""
    values = table.reshape(len(table), -1, *(1,) * (len(weights.transform.shape) - 2))
    return graph.op("Gather", graph.constant(values.astype(np.float32)), "rate", axis=0)


def _along_channels(values: Array, weights: Weights) -> Array:
    return np.asarray(values.reshape(1, -1, *(1,) * (len(weights.transform.shape) - 2)), np.float32)
