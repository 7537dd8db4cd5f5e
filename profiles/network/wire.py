"""Write ONNX models without passing the weights through protobuf, which copies and re-allocates them.

Nothing is parsed here: onnx reads, onnx-ir serializes the graph, and this module adds the weights. The reason, on a
model of 102 MB (2 cores, minimum of 5): ``onnx_ir.to_proto(model).SerializeToString()`` takes 0.24 s and 340 MB,
``onnx_ir.save`` 0.23 s and 320 MB, `message_chunks` 0.03 s and no memory; ``save(external_data=...)`` is as lean,
but gives two files. Every cut that is exported or timed is written twice, so this is most of the time of a split.

A message is its fields one after the other in any order, so a model is a small header, the graph without its weights,
and then each weight as one more field of the graph whose payload is the tensor's own bytes. Above protobuf's 2 GB the
weights go to a second file beside the model (ONNX's external data), which has no limit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from splitpoint.profiles.network.onnxir import ir

__all__ = ["PROTOBUF_LIMIT", "data_path", "message_chunks", "skeleton", "weight_bytes", "write_external"]


def __dir__() -> list[str]:
    return __all__


Chunk = bytes | memoryview

PROTOBUF_LIMIT: Final = (1 << 31) - (1 << 20)  # bytes of weights; a message holds less than 2 GiB, graph included
SMALL_BYTES: Final = 1 << 10  # weights up to this size stay in the model: shapes and axes must be known to load it
NATIVE: Final = sys.byteorder == "little"  # as ONNX stores numbers
ALIGNMENT: Final = 1 << 12  # of weights in a data file, so that they can be mapped to memory as they are

# Field numbers of onnx.proto, as tags of length-delimited fields: number << 3 | 2.
_MODEL_GRAPH: Final = bytes([7 << 3 | 2])
_GRAPH_INITIALIZER: Final = bytes([5 << 3 | 2])
_TENSOR_RAW_DATA: Final = bytes([9 << 3 | 2])


def message_chunks(model: ir.Model) -> Iterator[Chunk]:
    """The serialized model as chunks to be written one after the other; equal models give equal bytes.

    Weights are in the order of `graph.initializers` and are read one at a time. The model has no local functions.
    """
    inside, outside = _divide(model, small_bytes=0)
    body = _graph_without(model, inside)
    headers = [_initializer_header(value) for value in outside]
    length = len(body) + sum(len(header) + _nbytes(value) for header, value in zip(headers, outside, strict=True))
    yield _model_header(model) + _MODEL_GRAPH + _varint(length)
    yield body
    for header, value in zip(headers, outside, strict=True):
        yield header
        yield _payload(value)


def skeleton(
    model: ir.Model, *, location: str, offsets: Mapping[str, int] | None = None
) -> tuple[bytes, list[ir.Value]]:
    """The serialized model with its large weights declared as external data at `location`, and those weights."""
    inside, outside = _divide(model, small_bytes=SMALL_BYTES)
    graph = onnx.GraphProto.FromString(_graph_without(model, inside))
    for value in outside:
        proto = graph.initializer.add()
        proto.CopyFrom(_declaration(value))
        proto.data_location = onnx.TensorProto.EXTERNAL
        offset = 0 if offsets is None else offsets[value.name or ""]
        for key, entry in (("location", location), ("offset", str(offset)), ("length", str(_nbytes(value)))):
            proto.external_data.add(key=key, value=entry)
    body = graph.SerializeToString(deterministic=True)
    return _model_header(model) + _MODEL_GRAPH + _varint(len(body)) + body, outside


def write_external(model: ir.Model, path: Path) -> None:
    """Write the model to `path` and its large weights to `data_path(path)`."""
    _, outside = _divide(model, small_bytes=SMALL_BYTES)
    offsets: dict[str, int] = {}
    position = 0
    with data_path(path).open("wb") as stream:
        for value in outside:
            position += stream.write(bytes(-position % ALIGNMENT))
            offsets[value.name or ""] = position
            position += stream.write(_payload(value))
    path.write_bytes(skeleton(model, location=data_path(path).name, offsets=offsets)[0])


def data_path(path: Path) -> Path:
    """Where the weights of a model above 2 GB lie."""
    return path.with_name(path.name + ".data")


def weight_bytes(model: ir.Model) -> int:
    """Bytes of all initializers."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _divide(model: ir.Model, *, small_bytes: int) -> tuple[list[ir.Value], list[ir.Value]]:
    """Weights that are left to protobuf (strings, small ones) and those written as raw bytes."""

    def raw(value: ir.Value) -> bool:
        tensor = value.const_value
        return tensor is not None and tensor.dtype != ir.DataType.STRING and tensor.nbytes >= small_bytes

    values = list(model.graph.initializers.values())
    return [value for value in values if not raw(value)], [value for value in values if raw(value)]


def _graph_without(model: ir.Model, inside: Sequence[ir.Value]) -> bytes:
    graph = model.graph
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
    data: bytes = ir.serde.serialize_graph(view).SerializeToString(deterministic=True)  # type: ignore[arg-type]
    return data


def _model_header(model: ir.Model) -> bytes:
    imports = model.graph.opset_imports.items()
    header = onnx.ModelProto(
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        opset_import=[onnx.helper.make_opsetid(domain, version) for domain, version in imports],
    )
    data: bytes = header.SerializeToString(deterministic=True)
    return data


def _initializer_header(value: ir.Value) -> bytes:
    """Everything of the graph's field that comes before the tensor's bytes."""
    declaration: bytes = _declaration(value).SerializeToString(deterministic=True)
    size = _varint(_nbytes(value))
    length = len(declaration) + len(_TENSOR_RAW_DATA) + len(size) + _nbytes(value)
    # The field's tag and length, the declaration's fields, the tag and the length of the bytes that follow.
    return _GRAPH_INITIALIZER + _varint(length) + declaration + _TENSOR_RAW_DATA + size


def _declaration(value: ir.Value) -> onnx.TensorProto:
    tensor = _tensor(value)
    return onnx.TensorProto(
        name=value.name or "", data_type=tensor.dtype.value, dims=[int(dim) for dim in tensor.shape.numpy()]
    )


def _tensor(value: ir.Value) -> ir.TensorProtocol:
    tensor = value.const_value
    assert tensor is not None  # _divide chose it for having one
    return tensor


def _payload(value: ir.Value) -> Chunk:
    """The weight's bytes; those of an array in memory are not copied."""
    tensor = _tensor(value)
    array = tensor.raw if isinstance(tensor, ir.Tensor) else None
    if isinstance(array, np.ndarray) and array.nbytes == tensor.nbytes and array.flags.c_contiguous and NATIVE:
        return array.reshape(-1).view(np.uint8).data
    return tensor.tobytes()


def _nbytes(value: ir.Value) -> int:
    return int(_tensor(value).nbytes)


def _varint(value: int) -> bytes:
    """Protobuf's base-128 number: seven bits a byte, least significant first, the top bit set on all but the last."""
    chunk = bytearray()
    while value > 0x7F:
        chunk.append(value & 0x7F | 0x80)
        value >>= 7
    chunk.append(value)
    return bytes(chunk)
