"""Operators that combine elements along axes: reductions, softmax, products of matrices and normalizations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splitpoint.planner.coding.torch_operators.contract import (
    Attributes,
    Run,
    UnsupportedError,
    multiplied,
    numbers,
    text,
)

__all__ = ["reduction_operators"]


def __dir__() -> list[str]:
    return __all__


def reduction_operators() -> dict[str, Run]:
    """The operators of this family by name."""
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    return {
        "ArgMax": lambda v, a: _arg(torch.argmax, v[0], a),
        "ArgMin": lambda v, a: _arg(torch.argmin, v[0], a),
        "BatchNormalization": _batch_normalization,
        "CumSum": _cumulative_sum,
        "Einsum": lambda v, a: torch.einsum(text(a, "equation", ""), *v),
        "Gemm": _gemm,
        "InstanceNormalization": lambda v, a: F.instance_norm(v[0], weight=v[1], bias=v[2], eps=a.get("epsilon", 1e-5)),
        "LayerNormalization": _layer_normalization,
        "LogSoftmax": lambda v, a: torch.log_softmax(v[0], dim=a.get("axis", -1)),
        "LpNormalization": _lp_normalization,
        "LRN": lambda v, a: F.local_response_norm(  # ONNX Runtime takes odd sizes only, where torch's are the same
            v[0], a["size"], a.get("alpha", 1e-4), a.get("beta", 0.75), a.get("bias", 1.0)
        ),
        "MatMul": lambda v, a: multiplied(torch.matmul, v[0], v[1]),
        "ReduceL1": _reduced(lambda x, axes, keep: x.abs().sum(axes, keep)),
        "ReduceL2": _reduced(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
        "ReduceLogSum": _reduced(lambda x, axes, keep: x.sum(axes, keep).log()),
        "ReduceLogSumExp": _reduced(torch.logsumexp),
        "ReduceMax": _reduced(torch.amax),
        "ReduceMean": _reduced(torch.mean),
        "ReduceMin": _reduced(torch.amin),
        "ReduceProd": _reduced(_product),
        "ReduceSum": _reduced(torch.sum),
        "ReduceSumSquare": _reduced(lambda x, axes, keep: x.square().sum(axes, keep)),
        "Softmax": lambda v, a: torch.softmax(v[0], dim=a.get("axis", -1)),
        "TopK": _top_k,
    }


def _reduced(function: Callable[..., Any]) -> Run:
    def run(v: list[Any], a: Attributes) -> Any:
        axes = numbers(v, 1, a, "axes")
        if not axes and a.get("noop_with_empty_axes", 0):
            return v[0]
        return function(v[0], tuple(axes) or tuple(range(v[0].ndim)), bool(a.get("keepdims", 1)))

    return run


def _product(x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keep)
    return x


def _arg(function: Callable[..., Any], x: Any, a: Attributes) -> Any:
    axis, keep = a.get("axis", 0), bool(a.get("keepdims", 1))
    if not a.get("select_last_index", 0):
        return function(x, axis, keep)
    return x.shape[axis] - 1 - function(x.flip(axis), axis, keep)


def _cumulative_sum(v: list[Any], a: Attributes) -> Any:
    (axis,) = numbers(v, 1, a)
    x = v[0].flip(axis) if a.get("reverse", 0) else v[0]
    total = x.cumsum(axis)
    if a.get("exclusive", 0):
        total = total - x
    return total.flip(axis) if a.get("reverse", 0) else total


def _top_k(v: list[Any], a: Attributes) -> Any:
    import torch

    (k,) = numbers(v, 1, a)
    return tuple(torch.topk(v[0], int(k), a.get("axis", -1), bool(a.get("largest", 1)), bool(a.get("sorted", 1))))


def _gemm(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    alpha, beta, bias = a.get("alpha", 1.0), a.get("beta", 1.0), v[2] if len(v) > 2 else None
    left, right = (v[0].T if a.get("transA", 0) else v[0]), (v[1] if a.get("transB", 0) else v[1].T)
    if alpha == 1 and (bias is None or (beta == 1 and bias.ndim == 1 and len(bias) == len(right))):
        return multiplied(F.linear, left, right, bias)
    product = alpha * multiplied(F.linear, left, right)
    return product if bias is None else product + beta * bias


def _batch_normalization(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    if a.get("training_mode", 0):
        raise UnsupportedError("training_mode")
    return F.batch_norm(v[0], v[3], v[4], v[1], v[2], eps=a.get("epsilon", 1e-5))


def _layer_normalization(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    if a["used"] > 1:
        raise UnsupportedError("the outputs Mean and InvStdDev")
    shape = v[0].shape[a.get("axis", -1) :]
    bias = v[2] if len(v) > 2 else None
    return F.layer_norm(v[0], shape, v[1], bias, eps=a.get("epsilon", 1e-5))


def _lp_normalization(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    return F.normalize(v[0], float(a.get("p", 2)), a.get("axis", -1), eps=0.0)
