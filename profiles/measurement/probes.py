"""Small networks of common families with random weights, by which a calibration is checked: no rate is fitted to them.

Proportions are those of the families, narrower or less deep, at the sizes of pictures that they are used for: what fits
into caches decides as much as the operators do. Chains of 3x3 convolutions with pooling (Simonyan and Zisserman 2015),
residual blocks (He et al. 2016), inverted residuals with depthwise convolutions (Sandler et al. 2018), squeeze and
expand with concatenation (Iandola et al. 2016), and attention (Dosovitskiy et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["PROBES"]


def __dir__() -> list[str]:
    return __all__


OPSET: Final = 17
CLASSES: Final = 100


class _Net:
    """A network under construction; each method adds nodes behind a tensor and gives the name of what they make."""

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, operator: str, *inputs: str, **settings: Any) -> str:
        y = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [y], name=f"{operator}{len(self._nodes)}", **settings))
        return y

    def weight(self, *shape: int) -> str:
        values = self._random.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]) or 1)
        return self.constant(values.astype(np.float32))

    def constant(self, values: Any) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> str:
        weight, bias = self.weight(outputs, inputs // groups, kernel, kernel), self.weight(outputs)
        pads = [kernel // 2] * 4
        return self.add("Conv", x, weight, bias, pads=pads, strides=[stride] * 2, group=groups)

    def relu_conv(self, x: str, inputs: int, outputs: int, kernel: int, **settings: int) -> str:
        return self.add("Relu", self.conv(x, inputs, outputs, kernel, **settings))

    def pool(self, x: str) -> str:
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def classify(self, x: str, channels: int) -> bytes:
        x = self.add("Flatten", self.add("GlobalAveragePool", x))
        return self.model(self.add("Gemm", x, self.weight(CLASSES, channels), self.weight(CLASSES), transB=1))

    def model(self, y: str) -> bytes:
        value = helper.make_tensor_value_info
        ends = [value("x", TensorProto.FLOAT, self._shape)], [value(y, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self._nodes, "probe", *ends, self._weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        data: bytes = made.SerializeToString()
        return data


def _plain() -> bytes:
    net, x, inputs = _Net(1, 3, 112, 112), "x", 3
    for outputs in (32, 64, 128, 256):
        x = net.relu_conv(net.relu_conv(x, inputs, outputs, 3), outputs, outputs, 3)
        x, inputs = net.pool(x), outputs
    return net.classify(x, inputs)


def _residual() -> bytes:
    net = _Net(1, 3, 224, 224)
    x, inputs = net.pool(net.relu_conv("x", 3, 32, 7, stride=2)), 32
    for outputs, stride in ((32, 1), (64, 2), (128, 2), (256, 2)):
        for step in (stride, 1):
            y = net.conv(net.relu_conv(x, inputs, outputs, 3, stride=step), outputs, outputs, 3)
            same = x if (step, inputs) == (1, outputs) else net.conv(x, inputs, outputs, 1, stride=step)
            x, inputs = net.add("Relu", net.add("Add", y, same)), outputs
    return net.classify(x, inputs)


def _inverted() -> bytes:
    net = _Net(1, 3, 224, 224)
    low, high = net.constant(np.float32(0)), net.constant(np.float32(6))

    def clipped(x: str, inputs: int, outputs: int, kernel: int, **settings: int) -> str:
        return net.add("Clip", net.conv(x, inputs, outputs, kernel, **settings), low, high)

    x, inputs = clipped("x", 3, 16, 3, stride=2), 16
    for outputs, stride, blocks in ((24, 2, 2), (32, 2, 3), (64, 2, 4), (96, 1, 3), (160, 2, 3)):
        for block in range(blocks):
            step, wide = stride if block == 0 else 1, 6 * inputs
            y = clipped(clipped(x, inputs, wide, 1), wide, wide, 3, stride=step, groups=wide)
            y = net.conv(y, wide, outputs, 1)
            x, inputs = net.add("Add", x, y) if (step, inputs) == (1, outputs) else y, outputs
    return net.classify(clipped(x, inputs, 640, 1), 640)


def _squeeze() -> bytes:
    net = _Net(1, 3, 224, 224)
    x, inputs = net.pool(net.relu_conv("x", 3, 64, 3, stride=2)), 64
    for place, narrow in enumerate((16, 16, 32, 32, 48, 64)):
        if place in (2, 4):
            x = net.pool(x)
        y = net.relu_conv(x, inputs, narrow, 1)
        x = net.add("Concat", net.relu_conv(y, narrow, 4 * narrow, 1), net.relu_conv(y, narrow, 4 * narrow, 3), axis=1)
        inputs = 8 * narrow
    return net.classify(x, inputs)


def _attention() -> bytes:
    tokens, width, heads, blocks = 197, 192, 3, 4
    net, x = _Net(1, tokens, width), "x"
    split, joined = (
        net.constant(np.array([1, tokens, heads, width // heads])),
        net.constant(np.array([1, tokens, width])),
    )
    scale, half = net.constant(np.float32((width // heads) ** -0.5)), net.constant(np.float32(0.5))
    root, one = net.constant(np.float32(2**-0.5)), net.constant(np.float32(1))

    def normalized(x: str) -> str:
        return net.add("LayerNormalization", x, net.weight(width), net.weight(width), axis=-1)

    def dense(x: str, inputs: int, outputs: int) -> str:
        return net.add("Add", net.add("MatMul", x, net.weight(inputs, outputs)), net.weight(outputs))

    def projected(x: str, order: Sequence[int]) -> str:
        return net.add("Transpose", net.add("Reshape", dense(x, width, width), split), perm=order)

    for _ in range(blocks):
        y = normalized(x)
        query, key, value = (projected(y, order) for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)))
        weights = net.add("Softmax", net.add("Mul", net.add("MatMul", query, key), scale), axis=-1)
        y = net.add("Transpose", net.add("MatMul", weights, value), perm=(0, 2, 1, 3))
        x = net.add("Add", x, dense(net.add("Reshape", y, joined), width, width))
        y = dense(normalized(x), width, 4 * width)
        gate = net.add("Add", net.add("Erf", net.add("Mul", y, root)), one)  # GELU
        x = net.add("Add", x, dense(net.add("Mul", net.add("Mul", y, gate), half), 4 * width, width))
    return net.model(x)


PROBES: Final[Mapping[str, Callable[[], bytes]]] = {
    "3x3 convolutions": _plain,
    "residual blocks": _residual,
    "inverted residuals": _inverted,
    "squeeze and expand": _squeeze,
    "attention": _attention,
}
