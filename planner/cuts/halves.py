"""Head and tail of a cut as ONNX models, alone or with a codec's two graphs joined to them.

Ensured by `split`: every input-dependent operator is in exactly one side, the head's outputs and the tail's inputs are
the cut's tensors, and nothing else is needed; weights that both sides read are in both. Equal inputs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx

from splitpoint.planner.deploy.names import codec_prefix
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import to_bytes, write_model
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.onnxir import ir, passes

__all__ = ["join_decoder", "join_encoder", "split", "split_models", "whole_bytes", "write_split"]


def __dir__() -> list[str]:
    return __all__


CODEC_INPUT: Final = "x"  # of an encoder graph (codecs.contract.protocol.FittedCodec)
CODEC_OUTPUT: Final = "y"  # of a decoder graph


def whole_bytes(graph: ModelGraph) -> bytes:
    """The canonical model itself: the head of "all on the device", the tail of "send the input"."""
    return to_bytes(graph.model)


def split(graph: ModelGraph, cut: Cut) -> tuple[bytes, bytes]:
    """Serialized head and tail; the head of the cut at the input gives its input back unchanged.

    Raises `ProfileError` when the two sides would not make up the whole.
    """
    head, tail = split_models(graph, cut)
    return to_bytes(head), to_bytes(tail)


def split_models(graph: ModelGraph, cut: Cut) -> tuple[ir.Model, ir.Model]:
    """As `split`, not serialized: weights are shared with `graph.model`, so this needs no memory for them."""
    head_names = {graph.nodes[index].name for index in cut.head}
    tail_names = {node.name for node in graph.nodes} - head_names
    inputs = [tensor.name for tensor in graph.inputs]
    outputs = [tensor.name for tensor in graph.outputs]
    head = _extract(graph, inputs, cut.tensors, cut=cut, expected=head_names)
    tail = _extract(graph, cut.tensors, outputs, cut=cut, expected=tail_names)
    return head, tail


def write_split(graph: ModelGraph, cut: Cut, folder: Path) -> tuple[Path, Path]:
    """Write ``head.onnx`` and ``tail.onnx``; the weights of a side above 2 GB go to ``<side>.onnx.data``."""
    paths = folder / "head.onnx", folder / "tail.onnx"
    for side, path in zip(split_models(graph, cut), paths, strict=True):
        write_model(side, path)
    return paths


def join_encoder(head: bytes, encoders: Mapping[str, bytes]) -> bytes:
    """The head with an encoder graph behind each named output, which no longer leaves the device itself.

    An output without an encoder stays. The new outputs are ``codec<i>/<name>``, i being the tensor's place among the
    head's outputs. Raises `ProfileError` when a codec's operators do not exist in the head's opset.
    """
    model = _parse(head)
    _check_names(encoders, model.graph.outputs, "output")
    outputs: list[ir.Value] = []
    for index, tensor in enumerate(list(model.graph.outputs)):
        encoder = encoders.get(tensor.name or "")
        if encoder is None:
            outputs.append(tensor)
            continue
        codec = _prepared(encoder, model, prefix=codec_prefix(index), tensor=tensor)
        (entry,) = codec.graph.inputs
        codec_outputs = list(codec.graph.outputs)
        nodes = _detach(codec.graph, model.graph)
        if entry.shape == tensor.shape:
            ir.convenience.replace_all_uses_with(entry, tensor)
        else:
            reshape = _reshape(tensor, entry.shape, model.graph)
            ir.convenience.replace_all_uses_with(entry, reshape.outputs[0])
            nodes.insert(0, reshape)
        model.graph.extend(nodes)
        outputs.extend(codec_outputs)
    model.graph.outputs.clear()
    model.graph.outputs.extend(outputs)
    return _finish(model)


def join_decoder(tail: bytes, decoders: Mapping[str, bytes]) -> bytes:
    """The tail with a decoder graph before each named input; the new inputs are ``codec<i>/<name>``.

    Raises `ProfileError` as `join_encoder` does.
    """
    model = _parse(tail)
    _check_names(decoders, model.graph.inputs, "input")
    inputs: list[ir.Value] = []
    for index, tensor in enumerate(list(model.graph.inputs)):
        decoder = decoders.get(tensor.name or "")
        if decoder is None:
            inputs.append(tensor)
            continue
        codec = _prepared(decoder, model, prefix=codec_prefix(index), tensor=tensor)
        (result,) = codec.graph.outputs
        codec_inputs = list(codec.graph.inputs)
        nodes = _detach(codec.graph, model.graph)
        if result.shape != tensor.shape:
            nodes.append(_reshape(result, tensor.shape, model.graph))
            result = nodes[-1].outputs[0]
        ir.convenience.replace_all_uses_with(tensor, result, replace_graph_outputs=True)
        result.name, tensor.name = tensor.name, f"{codec_prefix(index)}replaced"
        first = model.graph[0] if len(model.graph) else None
        if first is None:
            model.graph.extend(nodes)
        else:
            model.graph.insert_before(first, nodes)
        inputs.extend(codec_inputs)
    model.graph.inputs.clear()
    model.graph.inputs.extend(inputs)
    return _finish(model)


def _extract(
    graph: ModelGraph, inputs: Sequence[str], outputs: Sequence[str], *, cut: Cut, expected: set[str]
) -> ir.Model:
    place = f"cut after {cut.after!r} (sends {', '.join(map(repr, cut.tensors))})"
    try:
        part = ir.convenience.extract(graph.model.graph, list(inputs), list(outputs))
    except ValueError as error:
        raise ProfileError(f"the model cannot be cut here: {error}", at=place, fix="splitpoint cuts MODEL") from error
    dependent = {node.name for node in graph.nodes}
    found = {node.name for node in part if node.name in dependent}
    if found != expected:
        wrong = sorted(found ^ expected)
        raise ProfileError(
            f"operator {wrong[0]!r} would be {'in both sides' if wrong[0] in found else 'in neither side'}",
            at=place,
            fix="choose one of the cuts that `splitpoint cuts MODEL` lists",
        )
    weights = sorted(part.initializers.items())
    part.initializers.clear()
    part.initializers.update(weights)
    part.opset_imports.clear()
    part.opset_imports.update(graph.model.graph.opset_imports)
    model = ir.Model(part, ir_version=graph.model.ir_version, producer_name=graph.model.producer_name)
    passes.RemoveUnusedOpsetsPass()(model)
    return model


def _prepared(codec: bytes, model: ir.Model, *, prefix: str, tensor: ir.Value) -> ir.Model:
    """The codec graph at the model's opset, every name with `prefix`, so that nothing clashes."""
    target = model.graph.opset_imports[""]
    proto = onnx.load_model_from_string(codec)
    (version,) = (entry.version for entry in proto.opset_import if entry.domain == "")
    if version > target:
        raise ProfileError(
            f"the codec's graph needs opset {version}, the model has opset {target}",
            at=f"tensor {tensor.name!r}",
            fix=f"export the model with opset {version} or newer, or choose the codec fp32 or fp16",
        )
    if version < target:
        try:
            proto = onnx.version_converter.convert_version(proto, target)
        except RuntimeError as error:
            raise ProfileError(
                f"the codec's graph cannot be raised from opset {version} to the model's {target}: {error}",
                at=f"tensor {tensor.name!r}",
            ) from error
    joined = ir.serde.deserialize_model(proto)
    for domain, number in joined.graph.opset_imports.items():
        if model.graph.opset_imports.setdefault(domain, number) != number:
            raise ProfileError(
                f"the codec uses version {number} of operator set {domain!r}, the model another",
                at=f"tensor {tensor.name!r}",
            )
    model.ir_version = max(model.ir_version, joined.ir_version)
    if any(value.producer() is None for value in joined.graph.outputs):
        raise ProfileError("a codec graph gives its input back; leave it out instead", at=f"tensor {tensor.name!r}")
    for value in (*joined.graph.inputs, *joined.graph.initializers.values()):
        value.name = prefix + (value.name or "")
    for node in joined.graph:
        node.name = prefix + (node.name or node.op_type)
        for value in node.outputs:
            if value.name:
                value.name = prefix + value.name
    return joined


def _reshape(value: ir.Value, shape: ir.Shape | None, graph: ir.Graph) -> ir.Node:
    """A node that gives `value` the batch axis that codecs want, or takes it away, for tensors that have none."""
    assert shape is not None  # crossing tensors and codecs have fixed shapes
    sizes = np.array([size for size in shape.dims if isinstance(size, int)], np.int64)
    name = f"{value.name}/reshaped"
    wanted = ir.Value(name=f"{name}/shape", const_value=ir.Tensor(sizes, name=f"{name}/shape"))
    graph.register_initializer(wanted)
    made = ir.Value(name=name, shape=shape, type=value.type)
    return ir.Node("", "Reshape", [value, wanted], outputs=[made], name=name)


def _detach(codec: ir.Graph, model: ir.Graph) -> list[ir.Node]:
    """Take the codec's nodes out of its graph and move its constants to the model's."""
    nodes = list(codec)
    codec.outputs.clear()
    codec.inputs.clear()
    codec.remove(nodes)
    constants = list(codec.initializers.values())
    codec.initializers.clear()
    for value in constants:
        model.register_initializer(value)
    return nodes


def _finish(model: ir.Model) -> bytes:
    data = to_bytes(model)
    try:
        onnx.checker.check_model(onnx.load_model_from_string(data))
    except onnx.checker.ValidationError as error:
        raise ProfileError(f"the joined model is not valid: {error}") from error
    return data


def _parse(data: bytes) -> ir.Model:
    return ir.serde.deserialize_model(onnx.load_model_from_string(data))


def _check_names(codecs: Mapping[str, bytes], values: Sequence[ir.Value], what: str) -> None:
    names = [value.name for value in values]
    for name in codecs:
        if name not in names:
            raise ProfileError(f"no {what} {name!r} to join a codec to", fix=f"there are {names}")
