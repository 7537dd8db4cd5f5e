"""Multiply-adds of the products that standard and contrib operators share: convolutions, matrices, recurrences."""

from __future__ import annotations

import math

from splitpoint.profiles.network.operators.call import Call

__all__ = ["convolution_macs", "gemm_macs", "matmul_macs", "recurrent_macs", "transposed_convolution_macs"]


def __dir__() -> list[str]:
    return __all__


def convolution_macs(call: Call, *, kernel: int) -> int | None:
    """Every element of the output is a sum over one kernel; input number `kernel` holds the kernels."""
    weight = call.input(kernel)  # (M, C / groups, *kernel)
    output = call.output()  # (N, M, *spatial), channels anywhere
    return None if weight is None or output is None else math.prod(output) * math.prod(weight[1:])


def transposed_convolution_macs(call: Call) -> int | None:
    """Every element of the input is multiplied with the whole kernel of its channel."""
    data = call.input(0)  # (N, C, *spatial)
    weight = call.input(1)  # (C, M / groups, *kernel)
    return None if data is None or weight is None else math.prod(data) * math.prod(weight[1:])


def gemm_macs(call: Call) -> int | None:
    """A product of two matrices, the first of which may be stored transposed."""
    a = call.input(0)  # (M, K), or (K, M) with transA
    output = call.output()  # (M, N)
    if a is None or output is None:
        return None
    return math.prod(output) * (a[0] if call.integer("transA", 0) else a[1])


def matmul_macs(call: Call) -> int | None:
    """A product of two stacks of matrices."""
    a = call.input(0)  # (*batch, M, K), or (K,)
    output = call.output()  # (*batch, M, N)
    return None if not a or output is None else math.prod(output) * a[-1]


def recurrent_macs(call: Call) -> int | None:
    """Every step multiplies the input and the state with the weights of every gate."""
    data = call.input(0)  # (steps, N, inputs)
    weight = call.input(1)  # (directions, gates * hidden, inputs), the last two in any order
    recurrence = call.input(2)  # (directions, gates * hidden, hidden), the last two in any order
    if data is None or weight is None or recurrence is None:
        return None
    return data[0] * data[1] * (math.prod(weight) + math.prod(recurrence))
