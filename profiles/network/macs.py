"""Multiply-adds of ONNX operators, one small function an operator with the meaning of the shapes beside it.

1 MAC = one multiply-add of a sum of products; a bias is not counted. An operator in neither table is not counted and
says so: `count_macs` gives None and `ModelGraph.uncounted` lists it. Convolution, linear and matmul agree with fvcore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from splitpoint.profiles.network.model import OpClass
from splitpoint.profiles.network.onnxir import ir

__all__ = ["ZERO_MAC_OPS", "count_macs", "op_class"]


def __dir__() -> list[str]:
    return __all__


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# They move, select or re-type elements: no arithmetic.
_MOVES: Final = _words(
    """
    Cast CastLike Concat ConstantOfShape DepthToSpace Expand Flatten Gather GatherElements GatherND Identity Pad
    Reshape Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
    """
)
# One operation an element (fvcore ignores them too): no sum of products, so no multiply-add is counted. Their time
# is that of their bytes. Quantization's scale is one multiplication an element.
_ELEMENTWISE: Final = _words(
    """
    Abs Add And Ceil Celu Clip Cos DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Floor Gelu
    Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod
    Mul Neg Not Or PRelu Pow QLinearAdd QLinearMul QuantizeLinear QuickGelu Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Trilu Where Xor
    """
)
# They compare or add the elements of a window or an axis: additions without products.
_REDUCTIONS: Final = _words(
    """
    ArgMax ArgMin AveragePool GlobalAveragePool GlobalMaxPool MaxPool QLinearAveragePool QLinearGlobalAveragePool
    ReduceMax ReduceMean ReduceMin ReduceSum
    """
)
ZERO_MAC_OPS: Final = _MOVES | _ELEMENTWISE | _REDUCTIONS

Shape = tuple[int, ...]


def count_macs(node: ir.Node) -> int | None:
    """Multiply-adds of one run of `node`; None when the operator, or a shape it needs, is not known."""
    if node.op_type in ZERO_MAC_OPS:
        return 0
    counter = _COUNTERS.get(node.op_type) if node.domain == "" else None
    return None if counter is None else counter(node)


def op_class(node: ir.Node) -> OpClass:
    """The class that a device's effective MAC/s are given for."""
    if node.op_type in _CONVOLUTIONS:
        weight = _shape(node, _CONVOLUTIONS[node.op_type])
        groups = _int(node, "group", 1)
        if weight is None:
            return "dense"
        if groups > 1 and weight[1] == 1:
            return "depthwise"
        return "pointwise" if groups == 1 and math.prod(weight[2:]) == 1 else "dense"
    return "matmul" if node.op_type in _COUNTERS else "other"


def _conv(node: ir.Node) -> int | None:
    weight = _shape(node, _CONVOLUTIONS[node.op_type])  # (M, C / groups, *kernel)
    output = _output_shape(node)  # (N, M, *spatial)
    return None if weight is None or output is None else math.prod(output) * math.prod(weight[1:])


def _conv_transpose(node: ir.Node) -> int | None:
    data = _shape(node, 0)  # (N, C, *spatial): each input element meets the whole kernel of its channel
    weight = _shape(node, 1)  # (C, M / groups, *kernel)
    return None if data is None or weight is None else math.prod(data) * math.prod(weight[1:])


def _gemm(node: ir.Node) -> int | None:
    a = _shape(node, 0)  # (M, K), or (K, M) with transA
    output = _output_shape(node)  # (M, N)
    if a is None or output is None:
        return None
    inner = a[0] if _int(node, "transA", 0) else a[1]
    return math.prod(output) * inner


def _matmul(node: ir.Node) -> int | None:
    a = _shape(node, 0)  # (*batch, M, K), or (K,)
    output = _output_shape(node)  # (*batch, M, N)
    return None if not a or output is None else math.prod(output) * a[-1]


def _einsum(node: ir.Node) -> int | None:
    equation = node.attributes["equation"].as_string().replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    shapes = [_shape(node, i) for i in range(len(terms))]
    if len(terms) != 2 or "." in equation:  # the order of three operands decides the count
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if shape is None:
            return None
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values())


def _attention(node: ir.Node) -> int | None:
    query, key, value = (_shape(node, i) for i in range(3))
    if query is None or key is None or value is None:
        return None
    if len(query) == 4:  # (N, heads, queries, d), (N, heads, keys, d), (N, heads, keys, dv)
        per_pair = query[1] * (query[3] + value[3])
    else:  # (N, queries, heads * d), (N, keys, heads * d), (N, keys, heads * dv); one head group a key head
        heads, key_heads = _int(node, "q_num_heads", 1), _int(node, "kv_num_heads", 1)
        per_pair = query[2] + value[2] // key_heads * heads
    return query[0] * query[-2] * key[-2] * per_pair


def _recurrent(node: ir.Node) -> int | None:
    data = _shape(node, 0)  # (steps, N, inputs)
    weight = _shape(node, 1)  # (directions, gates * hidden, inputs)
    recurrence = _shape(node, 2)  # (directions, gates * hidden, hidden)
    if data is None or weight is None or recurrence is None:
        return None
    return data[0] * data[1] * (math.prod(weight) + math.prod(recurrence))


# Operator -> which input is the kernel.
_CONVOLUTIONS: Final[Mapping[str, int]] = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "ConvTranspose": 1}

_COUNTERS: Final[Mapping[str, Callable[[ir.Node], int | None]]] = {
    "Attention": _attention,
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "Gemm": _gemm,
    "LSTM": _recurrent,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "RNN": _recurrent,
}


def _shape(node: ir.Node, index: int) -> Shape | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return _fixed(value)


def _output_shape(node: ir.Node) -> Shape | None:
    return _fixed(node.outputs[0])


def _fixed(value: ir.Value | None) -> Shape | None:
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape.dims if isinstance(dim, int))
    return dims if len(dims) == len(value.shape.dims) else None


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()
