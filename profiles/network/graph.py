"""A network as a graph of the operators that depend on its input, with MACs, bytes and weights.

`load_model` reads an ONNX file and brings it to canonical form; `load_graph` does the same for bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import (
    canonicalize,
    infer_missing,
    open_model,
    parse_model,
    random_feeds,
    read_model,
)
from splitpoint.profiles.network.input_shapes import Shapes, fix_inputs
from splitpoint.profiles.network.model import ModelGraph, Node, Tensor
from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators.node_work import node_work
from splitpoint.profiles.network.operators.observed_shapes import Observation, complete_shapes
from splitpoint.profiles.network.operators.subgraphs import captures, inner_tensors
from splitpoint.profiles.network.runtime import Array
from splitpoint.profiles.network.wire import message_chunks

__all__ = ["describe_model", "load_canonical", "load_graph", "load_model", "tensor_of"]


def __dir__() -> list[str]:
    return __all__


# They make other numbers at every run, so they are no constants although they read no input.
_RANDOM_OPS: Final = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
# Weights of these types are parameters; int64 and bool inputs are shapes, axes and indices.
_PARAMETER_KINDS: Final = frozenset(
    kind
    for kind in ir.DataType
    if kind.name.startswith(("FLOAT", "BFLOAT", "DOUBLE", "INT4", "INT8", "UINT4", "UINT8"))
)


def load_model(
    source: Path | str,
    *,
    input_shapes: Shapes | None = None,
    constants: Mapping[str, Any] | None = None,
) -> ModelGraph:
    """The network in an ONNX file, in canonical form.

    `input_shapes` fixes inputs whose dimensions are symbolic: by name, or the shape of the one input. A symbolic first
    dimension, the batch, becomes 1 by itself. Inputs in `constants` become weights.
    Raises `ProfileError` when the file cannot be read or planned.
    """
    path = Path(source)
    model, digest = read_model(path)
    fixed = fix_inputs(model, input_shapes, constants=constants, at=str(path))
    canonical, outputs = canonicalize(model, at=str(path))
    observed = complete_shapes(canonical, at=str(path))
    graph = _build(canonical, outputs, observed, name=path.stem, source=str(path), source_sha256=digest)
    return dataclasses.replace(graph, fixed=fixed)


def load_graph(
    model: bytes,
    *,
    name: str = "model",
    source: str = "memory",
    input_shapes: Shapes | None = None,
    constants: Mapping[str, Any] | None = None,
) -> ModelGraph:
    """As `load_model`, for a serialized model that keeps its weights inside."""
    parsed = parse_model(model, at=source)
    fixed = fix_inputs(parsed, input_shapes, constants=constants, at=source)
    canonical, outputs = canonicalize(parsed, at=source)
    observed = complete_shapes(canonical, at=source)
    digest = hashlib.sha256(model).hexdigest()
    graph = _build(canonical, outputs, observed, name=name, source=source, source_sha256=digest)
    return dataclasses.replace(graph, fixed=fixed)


def load_canonical(model: bytes, *, name: str = "model", source: str = "memory") -> ModelGraph:
    """The graph of a model that is in canonical form already (whole.onnx of a plan), bit for bit as it stands.

    Optimizing again would give the names of quantized networks' nodes anew, and another version of ONNX Runtime might
    find more to fold.
    """
    parsed = parse_model(model, at=source)
    infer_missing(parsed)
    session = open_model(parsed, level="basic", threads=1, name=source)
    outputs = session.run(random_feeds(session.inputs))
    observed = complete_shapes(parsed, at=source)
    digest = hashlib.sha256(model).hexdigest()
    return _build(parsed, outputs, observed, name=name, source=source, source_sha256=digest)


def describe_model(model: bytes, *, name: str = "model") -> ModelGraph:
    """The graph of a small model as it stands: shapes inferred, nothing folded and nothing run.

    For graphs that are joined to a network (a codec's), whose inputs only take values that random ones would not be.
    """
    import onnx

    proto = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(model), data_prop=True)
    return _build(ir.serde.deserialize_model(proto), {}, Observation(), name=name, source=name, source_sha256="")


def tensor_of(value: ir.Value) -> Tensor | None:
    """The value as a tensor of fixed shape; None for a sequence, a string, or a shape that is not known."""
    if not isinstance(value.type, ir.TensorType) or value.shape is None or value.name is None:
        return None
    kind = value.type.dtype
    if kind in (ir.DataType.UNDEFINED, ir.DataType.STRING):
        return None
    shape = tuple(dim for dim in value.shape.dims if isinstance(dim, int))
    if len(shape) != len(value.shape.dims):
        return None
    elements = math.prod(shape)
    return Tensor(
        name=value.name,
        shape=shape,
        dtype=kind.numpy().name,
        elements=elements,
        bytes=math.ceil(elements * kind.bitwidth / 8),
    )


def _build(
    model: ir.Model,
    ran: Mapping[str, Array],
    observed: Observation,
    *,
    name: str,
    source: str,
    source_sha256: str,
) -> ModelGraph:
    tensors: dict[str, Tensor] = {}
    depends: set[ir.Value] = set(model.graph.inputs)
    for value in model.graph.inputs:
        _note(tensors, value)
    weights = _Weights()
    nodes: list[Node] = []
    uncounted: Counter[str] = Counter()
    for node in model.graph:
        reads = dict.fromkeys([value for value in node.inputs if value is not None] + list(captures(node)))
        fed = [value for value in reads if value in depends]
        if not fed and node.op_type not in _RANDOM_OPS:
            weights.forward(node, reads)
            continue
        depends.update(node.outputs)
        for value in node.outputs:
            _note(tensors, value)
        parameters, weight_bytes = weights.claim(node, [value for value in reads if value not in depends])
        work = node_work(node, observed.calls)
        uncounted.update([work.uncounted] if work.uncounted else [])
        nodes.append(
            Node(
                index=len(nodes),
                name=node.name or "",
                op_type=node.op_type,
                op_class=work.op_class,
                inputs=tuple(value.name or "" for value in fed),
                outputs=tuple(value.name for value in node.outputs if value.name),
                macs=work.macs,
                parameters=parameters,
                weight_bytes=weight_bytes,
                operators=work.operators,
                inner_bytes=work.inner_bytes,
                kernel=work.kernel,
            )
        )
    constant = [value.name for value in model.graph.outputs if value not in depends]
    if constant:
        raise ProfileError(
            f"output {constant[0]!r} does not depend on the input, so there is nothing to split",
            at=source,
            fix="remove this output, or check that the export did not freeze the input into a constant",
        )
    return ModelGraph(
        name=name,
        sha256=_sha256(model),
        model=model,
        inputs=tuple(tensors[value.name or ""] for value in model.graph.inputs),
        outputs=tuple(_output(value, tensors, ran, at=source) for value in model.graph.outputs),
        tensors=tensors,
        nodes=tuple(nodes),
        opset=model.graph.opset_imports[""],
        uncounted=dict(sorted(uncounted.items())),
        source=source,
        source_sha256=source_sha256,
        unsized=observed.unsized,
    )


class _Weights:
    """Constants, each claimed once: by the first input-dependent node that reads it, directly or through constants.

    What the bodies of If, Loop and Scan hold is claimed by the node, every branch: all of it is stored.
    """

    def __init__(self) -> None:
        # Output of a node without input dependence -> the initializers and Constant nodes' outputs it is made of.
        self._behind: dict[ir.Value, list[ir.Value]] = {}
        self._held: dict[ir.Value, list[ir.TensorProtocol]] = {}  # output of a node -> constants inside the node
        self._claimed: set[ir.Value] = set()

    def forward(self, node: ir.Node, reads: Mapping[ir.Value, None]) -> None:
        """Remember what a node without input dependence (DequantizeLinear of a weight) is made of."""
        sources = [source for value in reads for source in self._behind.get(value, [value])]
        held = list(inner_tensors(node))
        if held:
            self._held[node.outputs[0]] = held
            sources.append(node.outputs[0])
        for output in node.outputs:
            self._behind[output] = sources

    def claim(self, node: ir.Node, constants: list[ir.Value]) -> tuple[int, int]:
        """Parameters and bytes of the constants inside `node`, and of those it reads that no earlier node has read."""
        tensors = list(inner_tensors(node))
        for constant in constants:
            for source in self._behind.get(constant, [constant]):
                if source not in self._claimed:
                    self._claimed.add(source)
                    tensors += self._held.get(source, [] if source.const_value is None else [source.const_value])
        parameters = sum(tensor.size for tensor in tensors if tensor.dtype in _PARAMETER_KINDS)
        return parameters, sum(tensor.nbytes for tensor in tensors)


def _note(tensors: dict[str, Tensor], value: ir.Value) -> None:
    tensor = tensor_of(value)
    if tensor is not None:
        tensors[tensor.name] = tensor


def _output(value: ir.Value, tensors: Mapping[str, Tensor], ran: Mapping[str, Array], *, at: str) -> Tensor:
    """The output as a tensor; where its size depends on the data (detections), of the size that one run gave."""
    name = value.name or ""
    if name in tensors:
        return tensors[name]
    array = ran[name]
    if not isinstance(array, np.ndarray):
        raise ProfileError(
            f"output {name!r} is not a tensor: {value.type}", at=at, fix="export a model that gives tensors"
        )
    return Tensor(name=name, shape=array.shape, dtype=array.dtype.name, elements=array.size, bytes=array.nbytes)


def _sha256(model: ir.Model) -> str:
    digest = hashlib.sha256()
    for chunk in message_chunks(model):
        digest.update(chunk)
    return digest.hexdigest()
