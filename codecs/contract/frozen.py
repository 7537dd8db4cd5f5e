"""The convolution that makes a tensor, as values: what a codec may run again behind its own decoder.

It is a convolution, or a depthwise one, an activation and a 1x1 convolution (one layer of mobile networks), with batch
normalization folded in. `append_layer` writes it as ONNX operators; `planner` finds it in a network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.protocol import Array

__all__ = ["Activation", "Convolution", "FrozenLayer", "append_layer"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convolution:
    """A two-dimensional convolution with ONNX's settings."""

    weight: Array  # (out, in / groups, height, width) float32
    bias: Array  # (out,) float32
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    dilations: tuple[int, int]
    groups: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """A function of each value: max(x, 0), x or slope x below 0, x sigmoid(x), or x within bounds."""

    kind: Literal["relu", "leaky", "silu", "clip"]
    slope: float = 0.0
    low: float = -np.inf
    high: float = np.inf


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FrozenLayer:
    """From its input X (N, Q, H', W') to the tensor Z (N, P, H, W), and the activation that reads Z next."""

    steps: tuple[Convolution | Activation, ...]  # the last is the convolution that gives Z
    behind: Activation | None  # None: Z is read as it is, or in several ways

    @property
    def stride(self) -> tuple[int, int]:
        """Of Z's positions in X: down, across."""
        strides = [step.strides for step in self.steps if isinstance(step, Convolution)]
        return int(np.prod([down for down, _ in strides])), int(np.prod([across for _, across in strides]))


def append_layer(graph: Graph, x: str, steps: Sequence[Convolution | Activation]) -> str:
    """Append X -> Z."""
    for step in steps:
        x = _append_convolution(graph, x, step) if isinstance(step, Convolution) else _append_activation(graph, x, step)
    return x


def _append_convolution(graph: Graph, x: str, step: Convolution) -> str:
    return graph.op(
        "Conv",
        x,
        graph.constant(step.weight),
        graph.constant(step.bias),
        strides=list(step.strides),
        pads=list(step.pads),
        dilations=list(step.dilations),
        group=step.groups,
    )


def _append_activation(graph: Graph, x: str, step: Activation) -> str:
    match step.kind:
        case "relu":
            return graph.op("Relu", x)
        case "leaky":
            return graph.op("LeakyRelu", x, alpha=step.slope)
        case "silu":
            return graph.op("Mul", x, graph.op("Sigmoid", x))
        case "clip":
            low, high = (graph.constant(np.float32(bound)) for bound in (step.low, step.high))
            return graph.op("Clip", x, low, high)
