"""Multiply-adds of the operators that ONNX Runtime's own optimizers and quantizers put into a network.

The shapes are those of its list of contrib operators (onnxruntime, docs/ContribOperators.md). What is not here and has
products (sparse and linear attention, quantized mixtures of experts, searches) is listed as not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from splitpoint.profiles.network.operators.call import Call
from splitpoint.profiles.network.operators.products import (
    convolution_macs,
    gemm_macs,
    matmul_macs,
    recurrent_macs,
    transposed_convolution_macs,
)

__all__ = ["CONTRIB_CONVOLUTIONS", "CONTRIB_COUNTERS"]


def __dir__() -> list[str]:
    return __all__


MICROSOFT: Final = "com.microsoft"
BLOCKED: Final = "com.microsoft.nchwc"  # channels in blocks of 8 or 16; tensors keep their logical shapes


def _fused_matmul(call: Call) -> int | None:
    a = call.input(0)  # (*batch, M, K); with transA (*batch, K, M); with transBatchA M before the batch
    output = call.output()
    if not a or output is None:
        return None
    moved = len(a) > 1 and call.integer("transA", 0)
    inner = (0 if call.integer("transBatchA", 0) else -2) if moved else -1
    return math.prod(output) * a[inner]


def _packed_matmul(call: Call) -> int | None:
    output = call.output()  # (*batch, M, N); the weight is packed in blocks, so that K is an attribute
    inner = call.integer("K", 0)
    return None if output is None or not inner else math.prod(output) * inner


def _projected_attention(call: Call, *, past: int) -> int | None:
    """Attention that makes queries, keys and values itself; input number `past` is the cache of keys and values."""
    data = call.input(0)  # (N, queries, features)
    weight = call.input(1)  # (features, width of queries + of keys + of values)
    output = call.output()  # (N, queries, width of values)
    if data is None or weight is None or output is None:
        return None
    cache = call.input(past)  # (2, N, heads, past keys, d)
    rows, keys = data[0] * data[1], data[1] + (0 if cache is None else cache[3])
    widths = (weight[1] - output[2]) // 2 + output[2]  # of a query, and of a value
    return rows * math.prod(weight) + rows * keys * widths


def _attention(call: Call) -> int | None:
    """Attention on queries, keys and values that are given."""
    query, key = call.input(0), call.input(1)  # (N, queries, width of keys)
    output = call.output()  # (N, queries, width of values)
    if query is None or key is None or output is None:
        return None  # ONNX Runtime has no kernel of packed keys and values on the CPU
    cache = call.input(6)  # (N, heads, past keys, d); a buffer shared with the output has room for the longest
    new = key[2] if len(key) == 4 else key[1]  # (N, heads, keys, d), or (N, keys, width)
    keys = new + (0 if cache is None else cache[2])
    return query[0] * query[1] * keys * (query[2] + output[2])


def _grouped_attention(call: Call) -> int | None:
    query = call.input(0)  # (N, queries, heads * d), with keys and values beside when there is no second input
    heads, key_heads = call.integer("num_heads", 0), call.integer("kv_num_heads", 0)
    if query is None or not heads or not key_heads:
        return None
    cache, present = call.input(3), call.output(1)  # (N, key heads, keys, d); either may be of the longest length
    keys = present[2] if present is not None else query[1] + (0 if cache is None else cache[2])
    width = query[2] if call.input(1) is not None else query[2] * heads // (heads + 2 * key_heads)
    return query[0] * query[1] * keys * 2 * width


def _experts(call: Call) -> int | None:
    data = call.input(0)  # (*rows, features)
    weights = [call.input(index) for index in (2, 4, 6)]  # (experts, outputs, inputs); the third may be left out
    if data is None or weights[0] is None or weights[1] is None:
        return None
    chosen = call.integer("k", 1)  # experts that see a row
    return math.prod(data[:-1]) * chosen * sum(math.prod(weight[1:]) for weight in weights if weight is not None)


def _distances(call: Call) -> int | None:
    a, b = call.input(0), call.input(1)  # (M, features), (K, features)
    return None if a is None or b is None else a[0] * b[0] * a[1]


# Operator -> which input is the kernel.
CONTRIB_CONVOLUTIONS: Final[Mapping[tuple[str, str], int]] = {
    (MICROSOFT, "CausalConvWithState"): 1,
    (MICROSOFT, "ConvTransposeWithDynamicPads"): 1,
    (MICROSOFT, "FusedConv"): 1,
    (MICROSOFT, "NhwcConv"): 1,
    (MICROSOFT, "NhwcFusedConv"): 1,
    (MICROSOFT, "QLinearConv"): 3,
    (BLOCKED, "Conv"): 1,
}

CONTRIB_COUNTERS: Final[Mapping[tuple[str, str], Callable[[Call], int | None]]] = {
    (MICROSOFT, "Attention"): lambda call: _projected_attention(call, past=4),
    (MICROSOFT, "CDist"): _distances,
    (MICROSOFT, "CausalConvWithState"): lambda call: convolution_macs(call, kernel=1),
    (MICROSOFT, "ConvTransposeWithDynamicPads"): transposed_convolution_macs,
    (MICROSOFT, "DynamicQuantizeLSTM"): recurrent_macs,
    (MICROSOFT, "DynamicQuantizeMatMul"): matmul_macs,
    (MICROSOFT, "FusedConv"): lambda call: convolution_macs(call, kernel=1),
    (MICROSOFT, "FusedGemm"): gemm_macs,
    (MICROSOFT, "FusedMatMul"): _fused_matmul,
    (MICROSOFT, "FusedMatMulActivation"): _fused_matmul,
    (MICROSOFT, "GemmFastGelu"): matmul_macs,
    (MICROSOFT, "GroupQueryAttention"): _grouped_attention,
    (MICROSOFT, "MatMulBnb4"): _packed_matmul,
    (MICROSOFT, "MatMulFpQ4"): matmul_macs,
    (MICROSOFT, "MatMulInteger16"): matmul_macs,
    (MICROSOFT, "MatMulIntegerToFloat"): matmul_macs,
    (MICROSOFT, "MatMulNBits"): _packed_matmul,
    (MICROSOFT, "MoE"): _experts,
    (MICROSOFT, "MultiHeadAttention"): _attention,
    (MICROSOFT, "NhwcConv"): lambda call: convolution_macs(call, kernel=1),
    (MICROSOFT, "NhwcFusedConv"): lambda call: convolution_macs(call, kernel=1),
    (MICROSOFT, "QAttention"): lambda call: _projected_attention(call, past=8),
    (MICROSOFT, "QGemm"): gemm_macs,
    (MICROSOFT, "QLinearConv"): lambda call: convolution_macs(call, kernel=3),
    (MICROSOFT, "TransposeMatMul"): _fused_matmul,
    (BLOCKED, "Conv"): lambda call: convolution_macs(call, kernel=1),
}
