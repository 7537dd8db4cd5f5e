"""One small network for each task, on the digits that scikit-learn ships: seeded convolutions and fitted last layers.

Two convolutions with random weights give features; the last layers are ridge regressions from them, solved in closed
form in under a second. Inputs are 8x8 pictures as tensors (N, 1, 8, 8) in 0..1, or rows of three digits (N, 1, 8, 24).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from splitpoint.profiles.network.runtime import open_session

Array = NDArray[Any]
TRAINED, PLANNED, CHANNELS, RIDGE = 900, 100, 12, 0.1
DIGITS_A_ROW = 3
CENTRE = "centre"  # an output with two numbers: where the ink is


@dataclasses.dataclass(frozen=True)
class TaskNet:
    """An ONNX model with inputs and labels to plan with."""

    model: bytes
    x: Array
    y: Array


def digits() -> tuple[Array, Array]:
    """Pictures (N, 1, 8, 8) in 0..1 and their digits (N,)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(3).permutation(len(data.target))
    return (data.images[order, None] / 16).astype(np.float32), data.target[order]


def classifier() -> TaskNet:
    """Scores of ten classes (1, 10)."""
    x, y = digits()
    head = _ridge(_features(x).reshape(len(x), -1)[:TRAINED], np.eye(10)[y[:TRAINED]])
    return _net(_flat_head("scores", head), {"scores": (1, 10)}, x, y)


def two_outputs() -> TaskNet:
    """Scores of ten classes, and the centre of the ink."""
    x, y = digits()
    flat = _features(x).reshape(len(x), -1)[:TRAINED]
    scores, centre = _ridge(flat, np.eye(10)[y[:TRAINED]]), _ridge(flat, centres(x)[:TRAINED])
    nodes, weights = _flat_head("scores", scores)
    more, others = _flat_head(CENTRE, centre)
    return _net((nodes + more, weights + others), {"scores": (1, 10), CENTRE: (1, 2)}, x, y)


def regressor() -> TaskNet:
    """The centre of the ink, in pixels (1, 2)."""
    x, _ = digits()
    head = _ridge(_features(x).reshape(len(x), -1)[:TRAINED], centres(x)[:TRAINED])
    return _net(_flat_head(CENTRE, head), {CENTRE: (1, 2)}, x, centres(x))


def embedder() -> TaskNet:
    """A vector of the differences between classes (1, 9), without the ten scores' common part."""
    x, y = digits()
    head = _ridge(_features(x).reshape(len(x), -1)[:TRAINED], np.eye(10)[y[:TRAINED]])
    axes = np.linalg.svd(np.eye(10) - 0.1)[0][:, :9]
    return _net(_flat_head("vector", head @ axes), {"vector": (1, 9)}, x, y)


def segmenter() -> TaskNet:
    """Scores (1, 3, 8, 8) of paper, pale ink and dark ink at each pixel."""
    x, _ = digits()
    masks = np.digitize(x[:, 0], (0.25, 0.7))
    features = np.moveaxis(_features(x), 1, -1)
    head = _ridge(features[:TRAINED].reshape(-1, CHANNELS), np.eye(3)[masks[:TRAINED].ravel()])
    weights = [
        numpy_helper.from_array(head[:-1].T.reshape(3, CHANNELS, 1, 1).astype(np.float32), "seg"),
        numpy_helper.from_array(head[-1].astype(np.float32), "seg_bias"),
    ]
    node = helper.make_node("Conv", ["features", "seg", "seg_bias"], ["map"], "segment")
    return _net(([node], weights), {"map": (1, 3, 8, 8)}, x, masks)


def reader() -> TaskNet:
    """Scores (1, 5, 11) along a row of three digits, for CTC with the blank at index 10."""
    x, y = digits()
    count = len(x) // DIGITS_A_ROW
    rows = np.concatenate(np.split(x[: count * DIGITS_A_ROW].reshape(count, DIGITS_A_ROW, 8, 8), DIGITS_A_ROW, 1), 3)
    labels = y[: count * DIGITS_A_ROW].reshape(count, DIGITS_A_ROW)
    features = _features(rows)
    windows = [features[..., at : at + 8].reshape(count, -1) for at in range(0, 8 * DIGITS_A_ROW - 7, 4)]
    targets = [labels[:, at // 2] if at % 2 == 0 else np.full(count, 10) for at in range(len(windows))]
    seen = slice(0, count - PLANNED)
    head = _ridge(np.concatenate([w[seen] for w in windows]), np.eye(11)[np.concatenate([t[seen] for t in targets])])
    weights = [
        numpy_helper.from_array(head[:-1].T.reshape(11, CHANNELS, 8, 8).astype(np.float32), "ctc"),
        numpy_helper.from_array(head[-1].astype(np.float32), "ctc_bias"),
        numpy_helper.from_array(np.array([2]), "axes"),
    ]
    nodes = [
        helper.make_node("Conv", ["features", "ctc", "ctc_bias"], ["columns"], "windows", strides=[1, 4]),
        helper.make_node("Squeeze", ["columns", "axes"], ["rows"], "squeeze"),
        helper.make_node("Transpose", ["rows"], ["text"], "transpose", perm=[0, 2, 1]),
    ]
    return _net((nodes, weights), {"text": (1, len(windows), 11)}, rows, labels)


def centres(x: Array) -> Array:
    """Row and column of the ink's centre (N, 2), pixels."""
    ink = x[:, 0] / x[:, 0].sum(axis=(1, 2), keepdims=True)
    at = np.arange(8)
    return np.stack([(ink.sum(axis=2) * at).sum(axis=1), (ink.sum(axis=1) * at).sum(axis=1)], axis=1)


Head = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def _flat_head(name: str, head: Array) -> Head:
    """A linear layer over the flattened features; the last row of `head` is its bias."""
    weights = [
        numpy_helper.from_array(head[:-1].astype(np.float32), f"{name}_weight"),
        numpy_helper.from_array(head[-1].astype(np.float32), f"{name}_bias"),
    ]
    nodes = [
        helper.make_node("Flatten", ["features"], [f"{name}_flat"], f"{name}_flatten"),
        helper.make_node("Gemm", [f"{name}_flat", f"{name}_weight", f"{name}_bias"], [name], f"{name}_linear"),
    ]
    return nodes, weights


def _net(head: Head, outputs: Mapping[str, Sequence[int]], x: Array, y: Array) -> TaskNet:
    return TaskNet(_model(head, outputs, x.shape[2:]), x[-PLANNED:], y[-PLANNED:])


def _model(head: Head, outputs: Mapping[str, Sequence[int]], size: Sequence[int]) -> bytes:
    rng = np.random.default_rng(5)
    nodes, weights, name, channels = [], [], "x", 1
    for i in range(2):
        kernel = rng.normal(size=(CHANNELS, channels, 3, 3)) / np.sqrt(4.5 * channels)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [name, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        name, channels = "features" if i else "r0", CHANNELS
        nodes.append(helper.make_node("Relu", [f"c{i}"], [name], f"relu{i}"))
    graph = helper.make_graph(
        nodes + head[0],
        "digits",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 1, *size))],
        [helper.make_tensor_value_info(key, onnx.TensorProto.FLOAT, shape) for key, shape in outputs.items()],
        weights + head[1],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _features(x: Array) -> Array:
    """(N, CHANNELS, H, W)."""
    size = x.shape[2:]
    session = open_session(_model(([], []), {"features": (1, CHANNELS, *size)}, size), level="all", threads=1)
    return np.concatenate([session.run({"x": row[None]})["features"] for row in x])


def _ridge(features: Array, targets: Array) -> Array:
    """(D + 1, K): least squares with a small penalty; the last row is the bias."""
    table = np.concatenate([features, np.ones((len(features), 1))], axis=1).astype(np.float64)
    return np.linalg.solve(table.T @ table + RIDGE * np.eye(table.shape[1]), table.T @ targets)
