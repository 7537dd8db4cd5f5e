"""Serialize ONNX models without passing the weights through protobuf, which copies and re-allocates them.

A message is its fields one after the other in any order, so a model is a small header, the graph without its weights,
and then each weight as one more field of the graph whose payload is the tensor's own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import onnx
import onnx_ir as ir

__all__ = ["message_chunks", "weight_bytes"]


def __dir__() -> list[str]:
    return __all__


# Field numbers of onnx.proto, as tags of length-delimited fields: number << 3 | 2.
_MODEL_GRAPH: Final = bytes([7 << 3 | 2])
_GRAPH_INITIALIZER: Final = bytes([5 << 3 | 2])
_TENSOR_RAW_DATA: Final = bytes([9 << 3 | 2])


def message_chunks(model: ir.Model) -> list[bytes]:
    """The serialized model as chunks to be written one after the other; equal models give equal bytes.

    Weights stand in the order of `graph.initializers`. The caller sees to it that protobuf's 2 GB are not exceeded.
    """
    if model.functions:  # before ORT has inlined them; rare, and small
        return [ir.to_proto(model).SerializeToString(deterministic=True)]
    graph = model.graph
    inside, outside = _divide(list(graph.initializers.values()))
    view = ir.GraphView(
        graph.inputs,
        graph.outputs,
        nodes=list(graph),
        initializers=inside,
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        name=graph.name,
        metadata_props=graph.metadata_props,
    )
    # onnx_ir serializes views, but types what it takes more narrowly than its own GraphView.
    body = ir.serde.serialize_graph(view).SerializeToString(deterministic=True)  # type: ignore[arg-type]
    weights = [chunk for value in outside for chunk in _initializer(value)]
    header = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        opset_import=[onnx.helper.make_opsetid(domain, version) for domain, version in graph.opset_imports.items()],
    )
    length = len(body) + sum(map(len, weights))
    return [header.SerializeToString(deterministic=True), _MODEL_GRAPH, _varint(length), body, *weights]


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _divide(values: Sequence[ir.Value]) -> tuple[list[ir.Value], list[ir.Value]]:
    """Weights that are left to protobuf (strings, and graph inputs' defaults) and those written as raw bytes."""

    def raw(value: ir.Value) -> bool:
        return value.const_value is not None and value.const_value.dtype != ir.DataType.STRING

    return [value for value in values if not raw(value)], [value for value in values if raw(value)]


def _initializer(value: ir.Value) -> Iterator[bytes]:
    tensor = value.const_value
    assert tensor is not None
    data = tensor.tobytes()
    header = onnx.TensorProto(
        name=value.name or "", data_type=tensor.dtype.value, dims=[int(dim) for dim in tensor.shape.numpy()]
    ).SerializeToString(deterministic=True)
    size = _varint(len(data))
    yield _GRAPH_INITIALIZER + _varint(len(header) + 1 + len(size) + len(data)) + header + _TENSOR_RAW_DATA + size
    yield data


def _varint(value: int) -> bytes:
    """Protobuf's base-128 number: seven bits a byte, least significant first, the top bit set on all but the last."""
    chunk = bytearray()
    while value > 0x7F:
        chunk.append(value & 0x7F | 0x80)
        value >>= 7
    chunk.append(value)
    return bytes(chunk)
