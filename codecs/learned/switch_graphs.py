"""A trained switch as two ONNX graphs for all rates: x -> symbols of K_1 channels, symbols and rate -> its copy.

The encoder's BN stands behind its ReLU and is a scale and shift a channel: it is folded into the decoder's
dequantization, so the device quantizes the ReLU's output itself. A channel that the rate leaves out is zero behind that
BN, as a kernel that is not there.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, Rate, TensorSpec
from splitpoint.codecs.learned.switch import Weights
from splitpoint.codecs.quantizers.uniform import FittedUniform, Uniform

__all__ = ["Graphs", "export_switch"]


def __dir__() -> list[str]:
    return __all__


AXIS = 1  # of the channels


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Graphs:
    """Both graphs, the tensors between them, and the calibration symbols."""

    encoder: bytes
    decoder: bytes
    specs: tuple[TensorSpec, ...]  # "symbols" and "rate"
    quantizer: FittedUniform  # of the encoder's ReLU
    symbols: Array  # (N, K, H, W) uint8
    weight_bytes: int


def export_switch(weights: Weights, activations: Array, bits: int, context: Context) -> Graphs:
    """The graphs, with ranges a channel of least squared error at `bits` on activations (N, C, H, W).

    ``rate`` is (1,) int64, an input of the decoder alone: the encoder computes the channels of every rate.
    """
    design = weights.design
    shape = (1, *activations.shape[1:])
    coded = (1, design.widths[-1], *shape[2:])
    codes = _codes(weights, activations, coded, context)
    rate = Rate(label=f"{bits} bit", value=bits)
    quantizer = Uniform(per_channel=True, clip=True).fit(codes, Layout(axis=AXIS), rate, Context(low=0.0))
    finest = len(design.widths) - 1
    specs = (*quantizer.specs, TensorSpec(name="rate", shape=(1,), dtype="int64", low=0, high=finest, side=True))
    crossing = {spec.name: (spec.dtype, spec.shape) for spec in specs}
    encode, decode = Graph(), Graph()
    quantizer.encode(encode, _append_encoder(encode, weights))
    (symbols,) = quantizer.specs
    _append_decoder(decode, weights, quantizer, output="y")
    sampler = Graph()
    quantizer.encode(sampler, "codes")
    return Graphs(
        encoder=encode.model({"x": ("float32", shape)}, {symbols.name: crossing[symbols.name]}),
        decoder=decode.model(crossing, {"y": ("float32", shape)}),
        specs=specs,
        quantizer=quantizer,
        symbols=sampler.run({"codes": codes}, {"symbols": (symbols.dtype, coded)}, context.run)["symbols"],
        weight_bytes=encode.weight_bytes + decode.weight_bytes,
    )


def _codes(weights: Weights, activations: Array, coded: tuple[int, ...], context: Context) -> Array:
    """The encoder's ReLU (N, K, H, W) on the calibration inputs."""
    graph = Graph()
    output = graph.op("Identity", _append_encoder(graph, weights), output="codes")
    return graph.run({"x": activations}, {output: ("float32", coded)}, context.run)[output]


def _append_encoder(graph: Graph, weights: Weights) -> str:
    """Append x -> ReLU of K kernels."""
    kernels = graph.constant(weights.encoder[..., None, None])
    return graph.op("Relu", graph.op("Conv", "x", kernels, graph.constant(weights.encoder_bias)))


def _append_decoder(graph: Graph, weights: Weights, quantizer: FittedUniform, output: str) -> None:
    """Append symbols and rate -> copy of x, as the module gives it: nothing is clipped that was not in training."""
    design = weights.design
    scale, shift = (_along_channels(values) for values in (weights.encoder_scale, weights.encoder_shift))
    behind_norm = dataclasses.replace(quantizer, low=quantizer.low * scale + shift, step=quantizer.step * scale)
    code = behind_norm.decode(graph)
    width = graph.op("Gather", graph.constant(np.array(design.widths, np.int64)), "rate")
    index = graph.constant(_along_channels(np.arange(design.widths[-1], dtype=np.int64)))
    code = graph.op("Where", graph.op("Less", index, width), code, graph.constant(np.float32(0)))
    kernels = graph.constant(weights.decoder[..., None, None])
    y = graph.op("Conv", code, kernels, graph.constant(weights.decoder_bias))
    if not design.relu_last:
        y = graph.op("Relu", y)
    y = graph.op("Mul", y, _append_norm(graph, weights.decoder_scale))
    added = _append_norm(graph, weights.decoder_shift)
    if design.relu_last:
        graph.op("Relu", graph.op("Add", y, added), output=output)
    else:
        graph.op("Add", y, added, output=output)


def _append_norm(graph: Graph, values: Array) -> str:
    """Append the scale or shift of the rate's own BN, or of the shared one."""
    table = graph.constant(values[..., None, None])
    return graph.op("Gather", table, "rate", axis=0) if len(values) > 1 else table


def _along_channels(values: Array) -> Array:
    return values.reshape(1, -1, 1, 1)
