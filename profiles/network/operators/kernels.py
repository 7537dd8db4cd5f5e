"""Which kernel of its own a runtime runs an operator by, where its class does not say it.

Lavin and Gray 2016 ("Fast Algorithms for Convolutional Neural Networks"): a 3x3 convolution of stride 1 costs 2.25 to 4
times fewer products by Winograd's transforms; runtimes take them from 8 input channels on.
"""

from __future__ import annotations

import math
from typing import Final

from splitpoint.profiles.network.model import Kernel
from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators.call import Call
from splitpoint.profiles.network.operators.macs import convolution_kernel, op_class
from splitpoint.profiles.network.operators.without_products import moves_elements

__all__ = ["kernel_of"]


def __dir__() -> list[str]:
    return __all__


LEAST_CHANNELS: Final = 8  # of the input, for Winograd: ncnn's choice
_ACTIVATIONS: Final = frozenset({"Clip", "LeakyRelu", "Relu"})  # that every runtime computes while it writes a result
_WRITERS: Final = frozenset({"Conv", "Gemm"})


def kernel_of(call: Call) -> Kernel:
    """The kernel of one operator."""
    node = call.node
    if moves_elements(node.domain, node.op_type):
        return "moves"
    if node.domain == "" and node.op_type in _ACTIVATIONS and _is_fused(node):
        return "fused"
    weight = convolution_kernel(call)
    if weight is None:
        return "plain"
    area, groups = math.prod(weight[2:]), call.integer("group", 1)
    if op_class(call) == "depthwise":
        return "wide" if area > 9 else "plain"
    if groups > 1:
        return "grouped"
    steps = (*_integers(node, "strides"), *_integers(node, "dilations"))
    if weight[2:] == (3, 3) and weight[1] >= LEAST_CHANNELS and all(step == 1 for step in steps):
        return "plain" if node.op_type == "ConvTranspose" else "winograd"
    return "plain"


def _is_fused(node: ir.Node) -> bool:
    """Whether the operator alone reads what a convolution or a product with weights writes."""
    value = node.inputs[0]
    writer = None if value is None else value.producer()
    return (
        writer is not None
        and writer.domain == ""
        and writer.op_type in _WRITERS
        and value is not None
        and len(value.uses()) == 1
        and not value.is_graph_output()
    )


def _integers(node: ir.Node, name: str) -> tuple[int, ...]:
    attribute = node.attributes.get(name)
    return () if attribute is None else tuple(attribute.as_ints())
