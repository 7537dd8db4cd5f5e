"""An ONNX graph run by torch, only to have gradients: ONNX Runtime has none.

Nothing that is measured or sent comes from here; `planner.coding.gradients` compares activations and answers with ONNX
Runtime's before it believes a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import ModelGraph

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["torch_graph"]


def __dir__() -> list[str]:
    return __all__


Attributes = dict[str, Any]
Run = Callable[[list[Any], Attributes], Any]  # inputs (None where left out), attributes -> a tensor or a tuple of them


def torch_graph(graph: ModelGraph) -> nn.Module:
    """A module that gives the graph's first output; raises `ProfileError` naming operators that it does not know."""
    import torch

    known = _operators()
    unknown = sorted({node.op_type for node in graph.model.graph if node.op_type not in known})
    if unknown:
        raise ProfileError(f"no gradients through {', '.join(unknown)}")
    steps = [_Step(node, known[node.op_type]) for node in graph.model.graph]
    constants = {
        name: torch.from_numpy(value.const_value.numpy().copy())
        for name, value in graph.model.graph.initializers.items()
        if value.const_value is not None
    }
    entries, result = [tensor.name for tensor in graph.inputs], graph.outputs[0].name

    class Graph(torch.nn.Module):
        """Nodes in graph order; a value is dropped nowhere, as autograd keeps it anyway."""

        def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
            """The first output."""
            values: dict[str, Any] = {**constants, **dict(zip(entries, inputs, strict=True))}
            for step in steps:
                step.run(values)
            answer: torch.Tensor = values[result]
            return answer

    return Graph()


class _Step:
    """One node: where its values are, and what makes them."""

    def __init__(self, node: ir.Node, run: Run) -> None:
        self._run = run
        self._inputs = [None if value is None else value.name for value in node.inputs]
        self._outputs = [str(value.name) for value in node.outputs]
        self._attributes = {name: _plain(attribute) for name, attribute in node.attributes.items()}
        self._attributes["outputs"] = len(self._outputs)
        self._where = f"{node.op_type} {node.name!r}"

    def run(self, values: dict[str, Any]) -> None:
        """Take the inputs from `values` and put the outputs there."""
        try:
            made = self._run([None if name is None else values[name] for name in self._inputs], self._attributes)
        except _UnsupportedError as error:
            raise ProfileError(f"no gradients through this {self._where}: {error}") from error
        values.update(zip(self._outputs, made if isinstance(made, tuple) else (made,), strict=False))


class _UnsupportedError(ValueError):
    """An operator is known, but not with these attributes."""


def _plain(attribute: ir.Attr) -> Any:
    value = attribute.value
    return list(value) if isinstance(value, tuple) else value


def _operators() -> dict[str, Run]:
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    def simple(function: Callable[..., Any]) -> Run:
        return lambda inputs, attributes: function(*inputs)

    return {
        **{name: simple(getattr(torch, name.lower())) for name in ("Add", "Sub", "Mul", "Div", "Erf", "Exp", "MatMul")},
        **{name: simple(getattr(torch, name.lower())) for name in ("Neg", "Pow", "Relu", "Sigmoid", "Sqrt", "Tanh")},
        "AveragePool": _average_pool,
        "BatchNormalization": lambda v, a: F.batch_norm(v[0], v[3], v[4], v[1], v[2], eps=a.get("epsilon", 1e-5)),
        "Clip": lambda v, a: torch.clamp(v[0], *[None if i >= len(v) else v[i] for i in (1, 2)]),
        "Concat": lambda v, a: torch.cat(v, dim=a["axis"]),
        "Conv": _conv,
        "Flatten": lambda v, a: v[0].reshape(v[0].shape[: a.get("axis", 1)].numel(), -1),
        "Gather": _gather,
        "Gelu": lambda v, a: F.gelu(v[0], approximate=_text(a.get("approximate", "none"))),
        "Gemm": _gemm,
        "GlobalAveragePool": lambda v, a: v[0].mean(dim=tuple(range(2, v[0].ndim)), keepdim=True),
        "HardSigmoid": lambda v, a: torch.clamp(a.get("alpha", 0.2) * v[0] + a.get("beta", 0.5), 0, 1),
        "HardSwish": lambda v, a: F.hardswish(v[0]),
        "Identity": lambda v, a: v[0],
        "LayerNormalization": _layer_normalization,
        "LeakyRelu": lambda v, a: F.leaky_relu(v[0], a.get("alpha", 0.01)),
        "MaxPool": _max_pool,
        "ReduceMean": _reduce_mean,
        "Reshape": _reshape,
        "Slice": _slice,
        "Softmax": lambda v, a: torch.softmax(v[0], dim=a.get("axis", -1)),
        "Split": lambda v, a: torch.split(v[0], _sizes(v, a), dim=a.get("axis", 0)),
        "Squeeze": lambda v, a: v[0].squeeze(tuple(_numbers(v, 1, a, "axes") or range(v[0].ndim))),
        "Transpose": lambda v, a: v[0].permute(a.get("perm", list(range(v[0].ndim))[::-1])),
        "Unsqueeze": _unsqueeze,
    }


def _conv(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    if v[0].ndim != 4:
        raise _UnsupportedError(f"{v[0].ndim - 2} spatial axes")
    bias = v[2] if len(v) > 2 else None
    x, dilation = _padded(v[0], a), a.get("dilations", [1, 1])
    return F.conv2d(x, v[1], bias, stride=a.get("strides", [1, 1]), dilation=dilation, groups=a.get("group", 1))


def _max_pool(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    x = _padded(v[0], a, value=float("-inf"))
    return F.max_pool2d(x, a["kernel_shape"], a.get("strides", [1, 1]), dilation=a.get("dilations", [1, 1]))


def _average_pool(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    if any(a.get("pads", [])) and not a.get("count_include_pad", 0):
        raise _UnsupportedError("pads that are not counted")
    return F.avg_pool2d(_padded(v[0], a), a["kernel_shape"], a.get("strides", [1, 1]))


def _padded(x: torch.Tensor, a: Attributes, value: float = 0.0) -> torch.Tensor:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    if _text(a.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise _UnsupportedError(f"auto_pad {_text(a['auto_pad'])}")
    if a.get("ceil_mode", 0):
        raise _UnsupportedError("ceil_mode")
    pads = a.get("pads", [0, 0, 0, 0])
    if not any(pads):
        return x
    top, left, bottom, right = pads
    return F.pad(x, [left, right, top, bottom], value=value)


def _gather(v: list[Any], a: Attributes) -> Any:
    axis, index = a.get("axis", 0), v[1].long()
    index = index % v[0].shape[axis]  # ONNX counts from the end as Python does
    shape = (*v[0].shape[:axis], *index.shape, *v[0].shape[axis % v[0].ndim + 1 :])
    return v[0].index_select(axis, index.reshape(-1)).reshape(shape)


def _gemm(v: list[Any], a: Attributes) -> Any:
    left, right = (v[0].T if a.get("transA", 0) else v[0]), (v[1].T if a.get("transB", 0) else v[1])
    product = a.get("alpha", 1.0) * (left @ right)
    return product if len(v) < 3 or v[2] is None else product + a.get("beta", 1.0) * v[2]


def _layer_normalization(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    shape = v[0].shape[a.get("axis", -1) :]
    return F.layer_norm(v[0], shape, v[1], v[2] if len(v) > 2 else None, eps=a.get("epsilon", 1e-5))


def _reduce_mean(v: list[Any], a: Attributes) -> Any:
    axes = _numbers(v, 1, a, "axes") or range(v[0].ndim)
    return v[0].mean(dim=tuple(axes), keepdim=bool(a.get("keepdims", 1)))


def _reshape(v: list[Any], a: Attributes) -> Any:
    shape = [int(n) for n in v[1]]
    if not a.get("allowzero", 0):
        shape = [v[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return v[0].reshape(shape)


def _slice(v: list[Any], a: Attributes) -> Any:
    starts, ends = ([int(n) for n in value] for value in v[1:3])
    axes = [int(n) for n in v[3]] if len(v) > 3 and v[3] is not None else list(range(len(starts)))
    steps = [int(n) for n in v[4]] if len(v) > 4 and v[4] is not None else [1] * len(starts)
    if min(steps) < 1:
        raise _UnsupportedError("a negative step")
    index = [slice(None)] * v[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = slice(start, end, step)
    return v[0][tuple(index)]


def _sizes(v: list[Any], a: Attributes) -> list[int]:
    sizes = _numbers(v, 1, a, "split")
    if sizes:
        return sizes
    length, parts = int(v[0].shape[a.get("axis", 0)]), int(a["outputs"])
    part = -(-length // parts)
    return [part] * (parts - 1) + [length - part * (parts - 1)]


def _unsqueeze(v: list[Any], a: Attributes) -> Any:
    axes = _numbers(v, 1, a, "axes")
    x, ndim = v[0], v[0].ndim + len(axes)
    for axis in sorted(n % ndim for n in axes):
        x = x.unsqueeze(axis)
    return x


def _numbers(v: Sequence[Any], i: int, a: Attributes, name: str) -> list[int]:
    """What newer operator sets have as input `i` and older ones as an attribute."""
    value = v[i] if len(v) > i and v[i] is not None else a.get(name, [])
    return [int(n) for n in value]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
