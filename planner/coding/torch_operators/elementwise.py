"""Operators that treat each element by itself: arithmetic, activations, comparisons and casts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from splitpoint.planner.coding.torch_operators.contract import Attributes, Run, UnsupportedError, numbers, text

__all__ = ["elementwise_operators"]


def __dir__() -> list[str]:
    return __all__


_SAME_NAME = (  # torch's function has the operator's name in lower case, and one or two inputs
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "IsNaN"),
    *("Log", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Sqrt", "Tan", "Tanh"),
    *("Add", "Mul", "Sub"),
)
_OTHER_NAME = {
    "And": "logical_and",
    "Equal": "eq",
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Not": "logical_not",
    "Or": "logical_or",
    "Where": "where",
    "Xor": "logical_xor",
}
# ONNX's element types by number (onnx.TensorProto), as torch names them.
_DTYPES = {
    **{1: "float32", 2: "uint8", 3: "int8", 5: "int16", 6: "int32", 7: "int64"},
    **{9: "bool", 10: "float16", 11: "float64", 16: "bfloat16"},
}


def elementwise_operators() -> dict[str, Run]:
    """The operators of this family by name."""
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    def simple(function: Callable[..., Any]) -> Run:
        return lambda v, a: function(*v)

    def folded(function: Callable[..., Any]) -> Run:
        return lambda v, a: functools.reduce(function, v)

    return {
        **{name: simple(getattr(torch, name.lower())) for name in _SAME_NAME},
        **{name: simple(getattr(torch, other)) for name, other in _OTHER_NAME.items()},
        "Cast": lambda v, a: v[0].to(_dtype(a["to"])),
        "CastLike": lambda v, a: v[0].to(v[1].dtype),
        "Celu": lambda v, a: F.celu(v[0], a.get("alpha", 1.0)),
        "Clip": _clip,
        "Div": _div,
        "Elu": lambda v, a: F.elu(v[0], a.get("alpha", 1.0)),
        "Gelu": lambda v, a: F.gelu(v[0], approximate=text(a, "approximate", "none")),
        "HardSigmoid": lambda v, a: torch.clamp(a.get("alpha", 0.2) * v[0] + a.get("beta", 0.5), 0, 1),
        "HardSwish": lambda v, a: F.hardswish(v[0]),
        "LeakyRelu": lambda v, a: F.leaky_relu(v[0], a.get("alpha", 0.01)),
        "Max": folded(torch.maximum),
        "Mean": lambda v, a: functools.reduce(torch.add, v) / len(v),
        "Min": folded(torch.minimum),
        "Mish": lambda v, a: F.mish(v[0]),
        "Mod": lambda v, a: (torch.fmod if a.get("fmod", 0) else torch.remainder)(v[0], v[1]),
        "PRelu": lambda v, a: torch.where(v[0] < 0, v[1] * v[0], v[0]),
        "Pow": lambda v, a: torch.pow(v[0], v[1]).to(v[0].dtype),
        "Selu": lambda v, a: (
            a.get("gamma", 1.0507009873554805) * F.elu(v[0], a.get("alpha", 1.6732632423543772))  # ONNX's defaults
        ),
        "Softplus": lambda v, a: F.softplus(v[0]),
        "Softsign": lambda v, a: F.softsign(v[0]),
        "Sum": folded(torch.add),
        "ThresholdedRelu": lambda v, a: F.threshold(v[0], a.get("alpha", 1.0), 0.0),
    }


def _dtype(number: int) -> Any:
    import torch

    if number not in _DTYPES:
        raise UnsupportedError(f"element type {number}")
    return getattr(torch, _DTYPES[number])


def _clip(v: list[Any], a: Attributes) -> Any:
    low, high = numbers(v, 1, a), numbers(v, 2, a)
    if not low and not high:
        return v[0]
    return v[0].clamp(low[0] if low else None, high[0] if high else None)


def _div(v: list[Any], a: Attributes) -> Any:
    import torch

    return torch.div(v[0], v[1], rounding_mode=None if v[0].is_floating_point() else "trunc")
