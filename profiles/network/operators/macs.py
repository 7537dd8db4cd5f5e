"""Multiply-adds of ONNX operators, one small function an operator with the meaning of the shapes beside it.

1 MAC = one multiply-add of a sum of products; a bias is not counted. `count_macs` gives None for an operator that is
not known, or whose shapes are not; `ModelGraph.uncounted` lists it. Convolution, linear and matmul agree with fvcore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from splitpoint.profiles.network.model import OpClass
from splitpoint.profiles.network.operators.call import Call
from splitpoint.profiles.network.operators.contrib_macs import CONTRIB_CONVOLUTIONS, CONTRIB_COUNTERS
from splitpoint.profiles.network.operators.products import (
    convolution_macs,
    gemm_macs,
    matmul_macs,
    recurrent_macs,
    transposed_convolution_macs,
)
from splitpoint.profiles.network.operators.without_products import has_no_products

__all__ = ["convolution_kernel", "count_macs", "op_class"]


def __dir__() -> list[str]:
    return __all__


Counter = Callable[[Call], int | None]


def count_macs(call: Call) -> int | None:
    """Multiply-adds of one run of an operator; None when the operator, or a shape it needs, is not known."""
    node = call.node
    if has_no_products(node.domain, node.op_type):
        return 0
    counter = _COUNTERS.get((node.domain, node.op_type))
    return None if counter is None else counter(call)


def convolution_kernel(call: Call) -> tuple[int, ...] | None:
    """The shape of the weights of a convolution, (out, in / groups, ...); None for other operators."""
    index = _CONVOLUTIONS.get((call.node.domain, call.node.op_type))
    return None if index is None else call.input(index)


def op_class(call: Call) -> OpClass:
    """The class that a device's effective MAC/s are given for."""
    kind = (call.node.domain, call.node.op_type)
    if kind in _CONVOLUTIONS:
        weight = call.input(_CONVOLUTIONS[kind])
        groups = call.integer("group", 1)
        if weight is None:
            return "dense"
        if groups > 1 and weight[1] == 1:
            return "depthwise"
        return "pointwise" if groups == 1 and math.prod(weight[2:]) == 1 else "dense"
    return "matmul" if kind in _COUNTERS else "other"


def _einsum(call: Call) -> int | None:
    equation = call.node.attributes["equation"].as_string().replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if len(terms) != 2 or "." in equation:  # the order of three operands decides the count
        return None
    sizes: dict[str, int] = {}
    for index, term in enumerate(terms):
        shape = call.input(index)
        if shape is None:
            return None
        sizes.update(zip(term, shape, strict=True))
    return math.prod(sizes.values())


def _attention(call: Call) -> int | None:
    query, key, value = (call.input(i) for i in range(3))
    if query is None or key is None or value is None:
        return None
    past = call.input(4)  # (N, key heads, past keys, d): the cache, to which the new keys are appended
    keys = key[-2] + (0 if past is None else past[2])
    if len(query) == 4:  # (N, heads, queries, d), (N, key heads, keys, d), (N, key heads, keys, dv)
        per_pair = query[1] * (query[3] + value[3])
    else:  # (N, queries, heads * d), (N, keys, heads * d), (N, keys, heads * dv); one head group a key head
        heads, key_heads = call.integer("q_num_heads", 1), call.integer("kv_num_heads", 1)
        per_pair = query[2] + value[2] // key_heads * heads
    return query[0] * query[-2] * keys * per_pair


def _linear_model(call: Call) -> int | None:
    data = call.input(0)  # (N, features), or (features,)
    coefficients = call.node.attributes.get("coefficients")  # one a feature and class
    if not data or coefficients is None:
        return None
    return math.prod(data[:-1]) * len(coefficients.as_floats())


# Operator -> which input is the kernel.
_CONVOLUTIONS: Final[Mapping[tuple[str, str], int]] = {
    ("", "Conv"): 1,
    ("", "ConvInteger"): 1,
    ("", "QLinearConv"): 3,
    ("", "ConvTranspose"): 1,
    **CONTRIB_CONVOLUTIONS,
}

_COUNTERS: Final[Mapping[tuple[str, str], Counter]] = {
    ("", "Attention"): _attention,
    ("", "Conv"): lambda call: convolution_macs(call, kernel=1),
    ("", "ConvInteger"): lambda call: convolution_macs(call, kernel=1),
    ("", "ConvTranspose"): transposed_convolution_macs,
    ("", "DeformConv"): lambda call: convolution_macs(call, kernel=1),
    ("", "Einsum"): _einsum,
    ("", "GRU"): recurrent_macs,
    ("", "Gemm"): gemm_macs,
    ("", "LSTM"): recurrent_macs,
    ("", "MatMul"): matmul_macs,
    ("", "MatMulInteger"): matmul_macs,
    ("", "QLinearConv"): lambda call: convolution_macs(call, kernel=3),
    ("", "QLinearMatMul"): matmul_macs,
    ("", "RNN"): recurrent_macs,
    ("ai.onnx.ml", "LinearClassifier"): _linear_model,
    ("ai.onnx.ml", "LinearRegressor"): _linear_model,
    **CONTRIB_COUNTERS,
}
