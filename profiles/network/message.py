"""One spelling for what an ONNX message can say in several ways: the default operator set's name, sparse weights.

ONNX Runtime reads all of them and onnx-ir does not, so a message is rewritten in place before it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import onnx

from splitpoint.profiles.errors import ProfileError

__all__ = ["normalize_message"]


def __dir__() -> list[str]:
    return __all__


DEFAULT_DOMAIN = "ai.onnx"  # the full name of the operator set that is usually written ""


def normalize_message(proto: onnx.ModelProto, *, at: str) -> None:
    """Write the default operator set as "" and sparse weights as dense ones, as ONNX Runtime does on loading."""
    for imports in (proto, *proto.functions):
        _normalize_imports(imports, at=at)
    for function in proto.functions:
        function.domain = "" if function.domain == DEFAULT_DOMAIN else function.domain
        _normalize_nodes(function.node, at=at)
    _normalize_graph(proto.graph, at=at)


def _normalize_imports(proto: onnx.ModelProto | onnx.FunctionProto, *, at: str) -> None:
    versions = {entry.version for entry in proto.opset_import if entry.domain in ("", DEFAULT_DOMAIN)}
    if len(versions) > 1:
        raise ProfileError(
            f"the default operator set is imported in {len(versions)} versions: {sorted(versions)}",
            at=at,
            fix="export the model again with one version of the operator set ai.onnx",
        )
    others = [entry for entry in proto.opset_import if entry.domain not in ("", DEFAULT_DOMAIN)]
    if versions and len(others) < len(proto.opset_import):
        default = [onnx.helper.make_opsetid("", version) for version in versions]
        kept = [onnx.helper.make_opsetid(entry.domain, entry.version) for entry in others]
        del proto.opset_import[:]
        proto.opset_import.extend([*default, *kept])


def _normalize_graph(graph: onnx.GraphProto, *, at: str) -> None:
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, name=sparse.values.name, at=at))
    del graph.sparse_initializer[:]
    _normalize_nodes(graph.node, at=at)


def _normalize_nodes(nodes: Iterable[onnx.NodeProto], *, at: str) -> None:
    for node in nodes:
        if node.domain == DEFAULT_DOMAIN:
            node.domain = ""
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR and node.op_type == "Constant":
                dense = _dense(attribute.sparse_tensor, name=node.output[0], at=at)
                attribute.CopyFrom(onnx.helper.make_attribute("value", dense))
            for graph in _graphs(attribute):
                _normalize_graph(graph, at=at)


def _graphs(attribute: onnx.AttributeProto) -> Iterator[onnx.GraphProto]:
    if attribute.type == onnx.AttributeProto.GRAPH:
        yield attribute.g
    yield from attribute.graphs


def _dense(sparse: onnx.SparseTensorProto, *, name: str, at: str) -> onnx.TensorProto:
    """The weight with its zeros; indices are places in the flattened tensor, or one row of coordinates a value."""
    try:
        shape = tuple(sparse.dims)
        values = onnx.numpy_helper.to_array(sparse.values)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
        dense = np.zeros(math.prod(shape), values.dtype)
        dense[places] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ProfileError(
            f"the sparse weight {name!r} is damaged: {error}", at=at, fix="export the model with dense weights"
        ) from error
    return onnx.numpy_helper.from_array(dense.reshape(shape), name)
