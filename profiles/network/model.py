"""A network as a graph of operators and tensors: what `profiles.network.graph` makes of an ONNX file.

1 MAC = one multiply-add; tables print FLOPs = 2 x MACs beside MACs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final, Literal

from numpy.typing import NDArray

from splitpoint.profiles.network.onnxir import ir

__all__ = ["CARRIED_TYPES", "Kernel", "ModelGraph", "Node", "OpClass", "Tensor", "Unsized"]


def __dir__() -> list[str]:
    return __all__


# Element types, by numpy's names, that data, payloads and ONNX Runtime's Python interface can carry: strings have no
# size, and there are no arrays of bfloat16, float8 and 4-bit numbers.
CARRIED_TYPES: Final = frozenset(
    {
        *("bool", "float16", "float32", "float64"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    }
)

Array = NDArray[Any]
OpClass = Literal["dense", "pointwise", "depthwise", "matmul", "other"]
# Kernels that runtimes have of their own within a class: 3x3 of stride 1 (Winograd), depthwise above 3x3, groups that
# are not depthwise, operators that only move elements, activations that the convolution before them does.
Kernel = Literal["plain", "winograd", "wide", "grouped", "moves", "boxes", "fused"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """A named tensor of fixed shape (batch axis included)."""

    name: str
    shape: tuple[int, ...]
    dtype: str  # a numpy name
    elements: int
    bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Unsized:
    """A tensor without a fixed size: why, and the bytes of the largest that was seen."""

    reason: str
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
    operators: int = 1  # that run: If, Loop and Scan run those of their bodies, a Loop at every trip
    inner_bytes: int = 0  # that the operators of bodies read and write
    kernel: Kernel = "plain"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelGraph:
    """A network in canonical form: fixed shape, folded at ORT_ENABLE_BASIC, shapes inferred.

    `nodes` holds only what depends on the input; constants are weights of the node that reads them.
    """

    name: str
    sha256: str  # of the canonical serialized model
    model: ir.Model  # do not mutate; planner.cuts.halves clones
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: Mapping[str, Tensor]  # input-dependent tensors of known shape and type
    nodes: tuple[Node, ...]
    opset: int
    uncounted: Mapping[str, int]  # op_type -> how many nodes have no MAC count
    source: str  # file or import path it came from
    source_sha256: str
    unsized: Mapping[str, Unsized] = dataclasses.field(default_factory=dict)  # tensors whose size depends on the data
    fixed: tuple[str, ...] = ()  # what was decided of the inputs: dimensions fixed, constants, inputs left out

    def bytes_of(self, name: str) -> int:
        """Bytes of a tensor; of one without a fixed size, those of the largest that was seen; 0: not known."""
        if name in self.tensors:
            return self.tensors[name].bytes
        return self.unsized[name].bytes if name in self.unsized else 0

    def feeds(self, x: Array | Mapping[str, Array]) -> dict[str, Array]:
        """The inputs by name: `x` itself, or the one array of a network of one input."""
        if isinstance(x, Mapping):
            return dict(x)
        if len(self.inputs) != 1:
            raise ValueError(f"{self.name} has {len(self.inputs)} inputs: give arrays by name")
        return {self.inputs[0].name: x}

    @property
    def macs(self) -> int:
        """MACs of one inference, of the operators that are counted."""
        return sum(node.macs or 0 for node in self.nodes)

    @property
    def parameters(self) -> int:
        """Number of scalars in the weights that input-dependent nodes read."""
        return sum(node.parameters for node in self.nodes)
