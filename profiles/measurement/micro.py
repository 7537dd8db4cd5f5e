"""Effective rates of this machine from tiny generated networks: what a device profile needs of it, in two seconds.

Peak rates do not predict and one rate for all operators is wrong by 3-8x across networks, so convolutions, 1x1
convolutions, depthwise convolutions and matrix products are measured apart, each as a short chain at ORT_ENABLE_ALL.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.runtime import CPU, Provider, open_session

__all__ = ["cold_s", "least_s", "micro_benchmarks"]


def __dir__() -> list[str]:
    return __all__


BUDGET_S: Final = 0.1  # of each measurement
LEAST_RUNS: Final = 5
OPSET: Final = 17
CHAIN: Final = 4  # layers: enough that the layout conversions at both ends do not count
LONG_CHAIN: Final = 200  # nodes of no work, for the overhead of a node

# Shapes from the middle of common networks (ResNet-18 stages 1-3, MobileNetV2 blocks 6-13, a ViT-S of 197 tokens):
# a class's rate is the rate of the sum of its shapes.
_DENSE: Final = ((64, 56), (128, 28), (256, 14))  # channels, side
_POINTWISE: Final = ((64, 56), (192, 28), (512, 14))
_DEPTHWISE: Final = ((96, 56), (192, 28), (576, 14))
_TOKENS: Final = 197
_FEATURES: Final = 384
_FC_SIDE: Final = 4096  # a 64 MB weight matrix read once: memory, not arithmetic, is what it costs


def micro_benchmarks(*, threads: int, provider: Provider = CPU) -> dict[str, float]:
    """The fields of `profiles.machine.device.Compute`, measured here: MAC/s, bytes/s, seconds.

    Raises `ProfileError` where `provider` cannot run all of the operators and the CPU may not.
    """
    timed = functools.partial(least_s, threads=threads, provider=provider)
    one_node_s = timed(_chain([_elementwise(0)], (1, 8)))
    many_nodes_s = timed(_chain([_elementwise(i) for i in range(LONG_CHAIN)], (1, 8)))
    node_s = max(0.0, many_nodes_s - one_node_s) / (LONG_CHAIN - 1)
    weight_bytes = 4 * _FC_SIDE * _FC_SIDE
    return {
        "dense_macs_s": _rate(_DENSE, 3, grouped=False, least_s=timed),
        "pointwise_macs_s": _rate(_POINTWISE, 1, grouped=False, least_s=timed),
        "depthwise_macs_s": _rate(_DEPTHWISE, 3, grouped=True, least_s=timed),
        "matmul_macs_s": CHAIN * _TOKENS * _FEATURES**2 / timed(_products(_TOKENS, _FEATURES, CHAIN)),
        "bytes_s": weight_bytes / timed(_products(1, _FC_SIDE, 1)),
        "node_overhead_s": node_s,
        "run_overhead_s": max(0.0, one_node_s - node_s),
    }


def cold_s(*, threads: int, provider: Provider = CPU) -> float:
    """Seconds of loading a chain of convolutions and its first inference, less a warm inference."""
    channels, side = _DENSE[0]
    model = _chain([_conv(channels, 3, 1) for _ in range(CHAIN)], (1, channels, side, side))
    begin = time.perf_counter()
    session = open_session(model, level="all", threads=threads, name="micro-benchmark", provider=provider)
    session.run(random_feeds(session.inputs))
    return max(0.0, time.perf_counter() - begin - least_s(model, threads=threads, provider=provider))


# Names of the input and the output -> the node and its weights.
Layer = Callable[[str, str], tuple[onnx.NodeProto, list[onnx.TensorProto]]]


def _rate(
    shapes: tuple[tuple[int, int], ...], kernel: int, *, grouped: bool, least_s: Callable[[bytes], float]
) -> float:
    macs = seconds = 0.0
    for channels, side in shapes:
        groups = channels if grouped else 1
        layers = [_conv(channels, kernel, groups) for _ in range(CHAIN)]
        macs += CHAIN * channels * (channels // groups) * kernel**2 * side**2
        seconds += least_s(_chain(layers, (1, channels, side, side)))
    return macs / seconds


def _conv(channels: int, kernel: int, groups: int) -> Layer:
    def layer(x: str, y: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        weight = _weight(f"{y}_w", (channels, channels // groups, kernel, kernel))
        pads = [kernel // 2] * 4
        return helper.make_node("Conv", [x, weight.name], [y], group=groups, pads=pads, name=f"{y}_conv"), [weight]

    return layer


def _elementwise(index: int) -> Layer:
    operator = ("Sin", "Cos")[index % 2]  # never fused or cancelled
    return lambda x, y: (helper.make_node(operator, [x], [y], name=f"{y}_{operator}"), [])


def _products(rows: int, features: int, count: int) -> bytes:
    def layer(x: str, y: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        weight = _weight(f"{y}_w", (features, features))
        return helper.make_node("MatMul", [x, weight.name], [y], name=f"{y}_matmul"), [weight]

    return _chain([layer] * count, (rows, features))


def _chain(layers: list[Layer], shape: tuple[int, ...]) -> bytes:
    """Layers one after the other, all tensors of `shape`."""
    nodes, weights = [], []
    for index, layer in enumerate(layers):
        node, more = layer(f"t{index}", f"t{index + 1}")
        nodes.append(node)
        weights += more
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("t0", f"t{len(layers)}")]
    graph = helper.make_graph(nodes, "micro", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _weight(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    values = np.random.default_rng(0).standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
    return numpy_helper.from_array(values.astype(np.float32), name)


def least_s(model: bytes, *, threads: int, provider: Provider = CPU) -> float:
    """Seconds of the fastest of several warm inferences of `model` on random inputs, at ORT_ENABLE_ALL."""
    session = open_session(model, level="all", threads=threads, name="micro-benchmark", provider=provider)
    feeds = random_feeds(session.inputs)
    session.run(feeds)
    least = float("inf")
    runs = 0
    begin = time.perf_counter()
    while runs < LEAST_RUNS or time.perf_counter() - begin < BUDGET_S:
        start = time.perf_counter()
        session.run(feeds)
        least = min(least, time.perf_counter() - start)
        runs += 1
    return least
