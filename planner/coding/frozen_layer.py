"""The convolution that gives a cut tensor before its activation: found in a network, with what a codec needs of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from splitpoint.codecs.contract.frozen import Activation, Convolution, FrozenLayer
from splitpoint.codecs.contract.protocol import Array
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Found", "convolution_of"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """A convolution and the name of the tensor that it reads."""

    input: str
    layer: FrozenLayer


def convolution_of(graph: ModelGraph, tensor: str) -> Found | str:
    """The convolution that gives `tensor`, or why there is none.

    A 1x1 convolution behind a depthwise one, with or without an activation between, is one layer with it where nothing
    else reads what is between: the input is then the depthwise convolution's.
    """
    values = {str(value.name): value for node in graph.model.graph for value in node.outputs}
    node = values[tensor].producer() if tensor in values else None
    if node is None:
        return "it is the network's input"
    if node.op_type != "Conv":
        return f"it comes from {node.op_type}; cut before the activation, after the convolution itself"
    last = _convolution(node)
    if isinstance(last, str):
        return last
    source = _read(node)
    if source is None:
        return "the convolution reads a constant"
    steps: list[Convolution | Activation] = [last]
    if last.weight.shape[2:] == (1, 1) and last.groups == 1:
        before = _depthwise(source)
        if before is not None:
            source, steps = before[0], [*before[1], last]
    if len(source.shape or ()) != 4:
        return "its convolution reads no map"
    return Found(input=str(source.name), layer=FrozenLayer(steps=tuple(steps), behind=_behind(values[tensor])))


def _convolution(node: ir.Node) -> Convolution | str:
    """A convolution of two dimensions with constant weights, or why it is none."""
    weight = _constant(node.inputs[1])
    if weight is None or weight.ndim != 4:
        return "its convolution has no constant kernels of two dimensions"
    if _attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return f"its convolution has auto_pad {_attribute(node, 'auto_pad', '')}; export the model with explicit pads"
    bias = _constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if bias is None and len(node.inputs) > 2 and node.inputs[2] is not None:
        return "its convolution's bias is no constant"
    strides, dilations = _attribute(node, "strides", (1, 1)), _attribute(node, "dilations", (1, 1))
    pads = _attribute(node, "pads", (0, 0, 0, 0))
    return Convolution(
        weight=np.ascontiguousarray(weight, np.float32),
        bias=np.zeros(len(weight), np.float32) if bias is None else np.ascontiguousarray(bias, np.float32),
        strides=(int(strides[0]), int(strides[1])),
        pads=(int(pads[0]), int(pads[1]), int(pads[2]), int(pads[3])),
        dilations=(int(dilations[0]), int(dilations[1])),
        groups=int(_attribute(node, "group", 1)),
    )


def _depthwise(value: ir.Value) -> tuple[ir.Value, list[Convolution | Activation]] | None:
    """The input of a depthwise convolution that gives `value`, perhaps through an activation, and both as steps."""
    between, made = _activation_of(value)
    if made is None or len(_readers(made)) != (1 if between is None or between.kind != "silu" else 2):
        return None
    node = made.producer()
    if node is None or node.op_type != "Conv":
        return None
    found = _convolution(node)
    source = _read(node)
    if isinstance(found, str) or source is None or not found.groups == len(found.weight) > 1:
        return None
    return source, [found] if between is None else [found, between]


def _activation_of(value: ir.Value) -> tuple[Activation | None, ir.Value | None]:
    """The activation that gives `value` and what it reads; None and `value` itself where none does."""
    node = value.producer()
    if node is None:
        return None, None
    if node.op_type == "Mul":
        for gate, x in (node.inputs, tuple(reversed(node.inputs))):
            sigmoid = None if gate is None else gate.producer()
            if sigmoid is not None and sigmoid.op_type == "Sigmoid" and sigmoid.inputs[0] is x:
                alone = len(_readers(value)) == 1
                return (Activation(kind="silu"), x) if alone else (None, None)
    known = _simple(node)
    if known is None:
        return None, value
    return (known, node.inputs[0]) if len(_readers(value)) == 1 else (None, None)


def _behind(value: ir.Value) -> Activation | None:
    """The activation that reads `value`, where nothing else does."""
    readers = _readers(value)
    if len(readers) == 1:
        return _simple(readers[0])
    if sorted(node.op_type for node in readers) == ["Mul", "Sigmoid"]:
        mul, sigmoid = sorted(readers, key=lambda node: node.op_type)
        if {mul.inputs[0], mul.inputs[1]} == {value, sigmoid.outputs[0]}:
            return Activation(kind="silu")
    return None


def _simple(node: ir.Node) -> Activation | None:
    """An activation that is one operator."""
    if node.op_type == "Relu":
        return Activation(kind="relu")
    if node.op_type == "LeakyRelu":
        return Activation(kind="leaky", slope=float(_attribute(node, "alpha", 0.01)))
    if node.op_type == "Clip":
        bounds = [_constant(given) for given in [*node.inputs[1:3], None, None][:2]]
        low, high = (None if bound is None else float(bound) for bound in bounds)
        return Activation(kind="clip", low=-np.inf if low is None else low, high=np.inf if high is None else high)
    return None


def _read(node: ir.Node) -> ir.Value | None:
    """The tensor that a convolution reads."""
    value = node.inputs[0]
    return None if value is None or value.const_value is not None else value


def _readers(value: ir.Value) -> Sequence[ir.Node]:
    return [use.node for use in value.uses()]


def _attribute(node: ir.Node, name: str, default: Any) -> Any:
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.value


def _constant(value: ir.Value | None) -> Array | None:
    constant = None if value is None else value.const_value
    return None if constant is None else constant.numpy()
