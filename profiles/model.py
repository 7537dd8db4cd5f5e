"""Value types of a network: its graph (what it is) and its profile (what was measured of it).

`profiles.graph` makes a `ModelGraph` from an ONNX file; `profiles.measure` makes a `ModelProfile` on a machine.
1 MAC = one multiply-add; tables print FLOPs = 2 x MACs beside MACs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import msgspec
import onnx_ir as ir

from splitpoint.profiles.device import Device
from splitpoint.profiles.machine import Machine

__all__ = ["HalvesTiming", "ModelGraph", "ModelProfile", "Node", "NodeTiming", "OpClass", "Samples", "Tensor"]


def __dir__() -> list[str]:
    return __all__


OpClass = Literal["dense", "pointwise", "depthwise", "matmul", "other"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A named tensor of fixed shape (batch axis included)."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a numpy name
    elements: int
    bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One operator of the canonical graph, in topological order."""

    index: int
    name: str  # unique
    op_type: str
    op_class: OpClass
    inputs: tuple[str, ...]  # input-dependent tensors read, captures of subgraphs included
    outputs: tuple[str, ...]
    macs: int | None  # None: this operator is not counted (listed, never silently zero)
    parameters: int
    weight_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelGraph:
    """A network in canonical form: fixed shape, folded at ORT_ENABLE_BASIC, shapes inferred.

    `nodes` holds only what depends on the input; constants are weights of the node that reads them.
    """

    name: str
    sha256: str  # of the canonical serialized model
    model: ir.Model  # do not mutate; planner.export clones
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: Mapping[str, Tensor]  # input-dependent tensors of known shape and type
    nodes: tuple[Node, ...]
    opset: int
    uncounted: Mapping[str, int]  # op_type -> how many nodes have no MAC count
    source: str  # file or import path it came from
    source_sha256: str

    @property
    def macs(self) -> int:
        """MACs of one inference, of the operators that are counted."""
        return sum(node.macs or 0 for node in self.nodes)

    @property
    def parameters(self) -> int:
        """Number of scalars in the weights that input-dependent nodes read."""
        return sum(node.parameters for node in self.nodes)


class Samples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Repeated timings of one thing: minimum, median and median absolute deviation, seconds."""

    n: int
    min_s: float
    median_s: float
    mad_s: float


class NodeTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds of one node, fused and layout nodes attributed to it, rescaled to the unprofiled total."""

    name: str
    seconds: float


class HalvesTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cut whose exported halves were timed in turn with the whole, rescaled to the whole's seconds in the profile."""

    tensors: tuple[str, ...]  # that cross
    head: Samples
    tail: Samples


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of one model on one machine; written by ``splitpoint profile --out``."""

    format: int
    model: str
    model_sha256: str  # of the canonical model
    machine: Machine
    measured: str  # date
    whole: Samples
    nodes: tuple[NodeTiming, ...]
    host: Device  # this machine as a device profile, measured in the same run
    retest_error: float  # |first half - second half| / whole of the interleaved rounds
    halves: tuple[HalvesTiming, ...] = ()  # anchors: what the nodes cannot tell of a network in two parts
