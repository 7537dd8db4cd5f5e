"""Memory of a head: weights and peak live activations over its execution order, as the device stores them."""

from __future__ import annotations

import numpy as np

from splitpoint.planner.cuts.enumeration import execution_order
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.machine.device import PRECISION_BYTES, Device
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["QUANTIZED", "is_quantized", "peak_bytes", "stored_scale"]


def __dir__() -> list[str]:
    return __all__


# Operators of networks whose weights are stored in 8 bits or fewer.
QUANTIZED = frozenset(
    {
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"),
        *("QLinearConv", "QLinearMatMul", "QGemm", "QAttention", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul"),
        *("MatMulIntegerToFloat", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized"),
    }
)


def is_quantized(graph: ModelGraph) -> bool:
    """Whether some of its operators compute in 8 bits or fewer, or turn numbers into such."""
    return any(node.op_type in QUANTIZED for node in graph.nodes)


def stored_scale(device: Device, graph: ModelGraph) -> float:
    """Bytes on the device per byte of the graph: an int8 device stores an fp32 graph in a quarter of its bytes.

    It is 1 for a graph that is quantized already.
    """
    if is_quantized(graph):
        return 1.0
    own = max((np.dtype(tensor.dtype).itemsize for tensor in graph.outputs), default=4)
    return min(1.0, PRECISION_BYTES[device.runtime.precision] / own)


def peak_bytes(graph: ModelGraph, cut: Cut | None) -> int:
    """Bytes of weights plus the peak of live activations while the head runs; the whole model for `cut` None.

    A tensor lives from the node that computes it (the input: from the start) to its last reader; a node's inputs and
    outputs are alive together. ONNX Runtime may reuse buffers in place and so need less.
    """
    inside = None if cut is None else set(cut.head)
    order = [node for node in execution_order(graph.nodes) if inside is None or node.index in inside]
    kept = {tensor.name for tensor in graph.outputs} if cut is None else set(cut.tensors)
    last = {name: step for step, node in enumerate(order) for name in node.inputs}
    alive = {tensor.name: tensor.bytes for tensor in graph.inputs}
    peak = sum(alive.values())
    for step, node in enumerate(order):
        alive.update({name: graph.bytes_of(name) for name in node.outputs})
        peak = max(peak, sum(alive.values()))
        for name in [name for name in alive if last.get(name, -1) <= step and name not in kept]:
            del alive[name]
    return peak + sum(node.weight_bytes for node in order)
