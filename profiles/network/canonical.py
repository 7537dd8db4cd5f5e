"""From any ONNX file to one canonical model: fixed input shape, constants folded, shapes inferred, names unique.

The canonical model is what everything else means by "the whole model". Folding at ORT_ENABLE_BASIC leaves no
fusible pair inside, so head and tail cut from it give the same bits as the whole.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no stubs

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.scratch import explain_full_folder, make_scratch_folder, remove_scratch_folder
from splitpoint.profiles.network.input_shapes import Shapes, fix_inputs
from splitpoint.profiles.network.layer_names import name_by_module
from splitpoint.profiles.network.message import normalize_message
from splitpoint.profiles.network.onnxir import ir, passes
from splitpoint.profiles.network.runtime import (
    Array,
    IoSpec,
    Level,
    Session,
    open_session,
    optimize_basic,
)
from splitpoint.profiles.network.wire import (
    PROTOBUF_LIMIT,
    message_chunks,
    skeleton,
    weight_bytes,
    write_external,
)

__all__ = [
    "canonicalize",
    "infer_missing",
    "open_model",
    "parse_model",
    "random_feeds",
    "read_model",
    "to_bytes",
    "write_model",
]


def __dir__() -> list[str]:
    return __all__


OLDEST_OPSET: Final = 13  # below it, codecs' QuantizeLinear with an axis does not exist
TARGET_OPSET: Final = 17
CONVERSION_TOLERANCE: Final = 1e-5  # of the largest output; a converted model does the same arithmetic in other ops
MOST_PASSES: Final = 4  # of ORT's optimizer after the first; most networks need none
SHAPE_ELEMENTS: Final = 1024  # constants up to this size may be shapes, which inference needs to know

_NO_MODEL_FIX: Final = "export or download the model again; the file should be an ONNX model (.onnx)"
_KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})


def read_model(path: Path) -> tuple[ir.Model, str]:
    """Parse the file and check that all its data is there; the model and the SHA-256 of file and external data.

    Raises `ProfileError` for an absent, empty or truncated file, and for external data that is missing, too short,
    or outside the model's folder.
    """
    at = str(path)
    if not path.is_file():
        raise ProfileError("no such model file", at=at, fix="give the path of an .onnx file, or module:factory")
    proto, digest = _read_message(path)
    normalize_message(proto, at=at)
    model = _deserialize(proto, at=at)
    for file in _external_files(model, path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 24):
                digest.update(block)
    return model, digest.hexdigest()


def parse_model(data: bytes, *, at: str) -> ir.Model:
    """Bytes as a model; raises `ProfileError` when they are empty, cut short or something else."""
    proto = _parse_message(data, at=at)
    normalize_message(proto, at=at)
    return _deserialize(proto, at=at)


def _read_message(path: Path) -> tuple[onnx.ModelProto, hashlib._Hash]:
    """The file as a protobuf message, and its running SHA-256; the file's bytes are released on return."""
    data = path.read_bytes()
    return _parse_message(data, at=str(path)), hashlib.sha256(data)


def _parse_message(data: bytes, *, at: str) -> onnx.ModelProto:
    if not data:
        raise ProfileError("the model file is empty (0 bytes)", at=at, fix=_NO_MODEL_FIX)
    try:
        proto = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ProfileError(f"not an ONNX model, or cut short ({len(data)} bytes)", at=at, fix=_NO_MODEL_FIX) from error
    if not proto.graph.output:
        raise ProfileError(
            f"not an ONNX model: no graph with outputs in its {len(data)} bytes", at=at, fix=_NO_MODEL_FIX
        )
    return proto


def _deserialize(proto: onnx.ModelProto, *, at: str) -> ir.Model:
    try:
        model = ir.serde.deserialize_model(proto)
    except (ir.serde.SerdeError, ValueError, TypeError, KeyError) as error:
        raise ProfileError(f"the ONNX model is damaged: {error}", at=at, fix=_NO_MODEL_FIX) from error
    for graph in model.graphs():
        for value in graph.initializers.values():
            _unpack(value)
        for node in graph:
            for key, attribute in node.attributes.items():
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[key] = ir.AttrTensor(key, _own(attribute.as_tensor()))
    return model


def canonicalize(model: ir.Model, *, at: str, input_shapes: Shapes | None = None) -> tuple[ir.Model, dict[str, Array]]:
    """The canonical form of `model`, which may be changed on the way, and its outputs for one random input.

    The run finds shapes that do not fit one another and kernels that ORT does not have. Raises `ProfileError` when
    the input's shape cannot be fixed or ORT cannot load or run the model.
    """
    large = weight_bytes(model) > PROTOBUF_LIMIT
    if not large:
        ir.external_data.load_to_model(model)
    if model.functions:
        passes.InlinePass()(model)
    passes.RemoveInitializersFromInputsPass()(model)
    fix_inputs(model, input_shapes, at=at)
    passes.RemoveUnusedNodesPass()(model)
    _refuse_unknown_operators(model, at=at)
    name_by_module(model)
    _fix_names(model)  # ORT refuses two nodes of one name
    if not large:
        model = _convert_opset(model, at=at)
    given = _node_names(model)
    optimized, outputs = _optimize(model, at=at, large=large)
    # ORT repeats its rules, but of nodes that it made itself (of a transformer's axes) it finds more in its own result.
    for _ in range(0 if large else MOST_PASSES):
        names = _node_names(_tidy(optimized))
        if names <= given:
            break
        given = names
        optimized, outputs = _optimize(optimized, at=at, large=large)
    return _tidy(optimized), outputs


def _node_names(model: ir.Model) -> set[str]:
    return {node.name or "" for node in ir.traversal.RecursiveGraphIterator(model.graph)}


def _stores_half(model: ir.Model) -> bool:
    """Whether weights are kept in fp16 and widened when the model is loaded: folding would double the file."""
    casts = (node.inputs[0] for node in model.graph if node.op_type == "Cast")
    return any(value is not None and _is_half(value.const_value) for value in casts)


def _is_half(tensor: ir.TensorProtocol | None) -> bool:
    return tensor is not None and tensor.dtype == ir.DataType.FLOAT16


def to_bytes(model: ir.Model) -> bytes:
    """Serialize; equal models give equal bytes. Raises `ProfileError` above protobuf's 2 GB."""
    size = weight_bytes(model)
    if size > PROTOBUF_LIMIT:
        raise ProfileError(
            f"{size / 1e9:.1f} GB of weights do not fit one ONNX message",
            fix="write the model to a file with its weights beside it (profiles.network.canonical.write_model)",
        )
    return b"".join(message_chunks(model))


def write_model(model: ir.Model, path: Path) -> None:
    """Write to `path`; above 2 GB the weights go to ``<path>.data`` beside it."""
    if weight_bytes(model) > PROTOBUF_LIMIT:
        write_external(model, path)
        return
    with path.open("wb") as stream:
        stream.writelines(message_chunks(model))


def open_model(
    model: ir.Model,
    *,
    level: Level = "all",
    threads: int | None = None,
    profile_to: Path | None = None,
    optimized_to: Path | None = None,
    name: str | None = None,
    prepack: bool = True,
) -> Session:
    """As `runtime.open_session`, whatever the size; weights above 2 GB are mapped, not copied into a message."""
    data, weights = (to_bytes(model), None) if weight_bytes(model) <= PROTOBUF_LIMIT else _mapped(model)
    return open_session(
        data,
        level=level,
        threads=threads,
        profile_to=profile_to,
        optimized_to=optimized_to,
        name=name,
        weights=weights,
        prepack=prepack,
    )


def random_feeds(inputs: tuple[IoSpec, ...], *, seed: int = 0) -> dict[str, Array]:
    """Standard normal floats, uniform bytes, and zeros for wider integers, which may be indices."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in inputs:
        shape = tuple(1 if dim is None else dim for dim in spec.shape)
        if spec.dtype in ("float16", "float32", "float64"):
            feeds[spec.name] = rng.standard_normal(shape).astype(spec.dtype)
        elif spec.dtype in ("uint8", "int8"):
            feeds[spec.name] = rng.integers(0, 128, shape).astype(spec.dtype)
        else:
            feeds[spec.name] = np.zeros(shape, spec.dtype)
    return feeds


def _external_files(model: ir.Model, path: Path) -> list[Path]:
    """Files that hold weights, each once; sets where the model's tensors read them from."""
    folder = path.parent.resolve()
    ir.external_data.set_base_dir(model.graph, folder)
    files: dict[Path, None] = {}
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if not isinstance(tensor, ir.ExternalTensor):
                continue
            location = str(tensor.location)
            file = (folder / location).resolve()
            if not file.is_relative_to(folder):
                raise ProfileError(
                    f"external data of weight {value.name!r} is outside the model's folder: {location!r}",
                    at=str(path),
                    fix="save the model again with its data file beside it",
                )
            if not file.is_file():
                raise ProfileError(
                    f"external data of weight {value.name!r} is missing: {location!r}",
                    at=str(path),
                    fix=f"put {location!r} beside the model, in {path.parent}",
                )
            need = (tensor.offset or 0) + (tensor.nbytes if tensor.length is None else tensor.length)
            if file.stat().st_size < need:
                raise ProfileError(
                    f"external data file {location!r} is cut short: weight {value.name!r} ends at byte {need}, "
                    f"the file has {file.stat().st_size}",
                    at=str(path),
                    fix="download or export the model again",
                )
            files[file] = None
    return list(files)


def _fix_names(model: ir.Model) -> None:
    """Give nodes and values unique names, but leave outputs that are not asked for without one: it would ask.

    Nodes inside If, Loop and Scan get names that no node outside has: ORT's profiler lists them by name alone.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    absent = [value for node in nodes for value in node.outputs if not value.name and not value.uses()]
    asked = {value for graph in model.graphs() for value in graph.outputs}
    passes.NameFixPass()(model)
    for value in absent:
        if value not in asked:
            value.name = ""
    used: set[str] = set()
    for node in nodes:
        name, number = node.name or "", 1
        while node.name in used:
            number += 1
            node.name = f"{name}_{number}"
        used.add(node.name or "")


def _refuse_unknown_operators(model: ir.Model, *, at: str) -> None:
    known = _KNOWN_DOMAINS | {function.domain for function in model.functions.values()}
    nodes = [node for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.domain not in known]
    if nodes:
        kinds = sorted({f"{node.domain}:{node.op_type}" for node in nodes})
        raise ProfileError(
            f"operator {', '.join(kinds)} is unknown to ONNX Runtime ({len(nodes)} nodes)",
            at=f"{at}, node {nodes[0].name or nodes[0].outputs[0].name!r}",
            fix="export the model with standard ONNX operators, or cut the part behind it off before planning",
        )


def _optimize(model: ir.Model, *, at: str, large: bool) -> tuple[ir.Model, dict[str, Array]]:
    """The model as ORT optimized it, and its outputs for one random input; the weights of `model` are given up.

    Weights go to ORT by file or by address, never inside a message, which would hold them three times. Those of a
    `large` model come back in a file that is removed with the model. Raises `ProfileError`, also for a full TMPDIR.
    """
    folder = make_scratch_folder()
    target = folder / "basic.onnx"
    try:
        with explain_full_folder(folder):
            outputs = _run_optimized(model, target, at=at, large=large)
        optimized = parse_model(target.read_bytes(), at=at)
        ir.external_data.set_base_dir(optimized.graph, folder)
        if not large:
            _read_weights(optimized)
            remove_scratch_folder(folder)
    except BaseException:
        if folder.exists():
            remove_scratch_folder(folder)
        raise
    if large:
        weakref.finalize(optimized, remove_scratch_folder, folder)
    return optimized, outputs


def _run_optimized(model: ir.Model, target: Path, *, at: str, large: bool) -> dict[str, Array]:
    fold = not _stores_half(model)
    if large:
        data, weights = _mapped(model)
        session = optimize_basic(data, target, weights=weights, name=at, fold=fold)
    else:
        given = target.with_name("given.onnx")
        write_external(model, given)
        for value in model.graph.initializers.values():
            value.const_value = None
        session = optimize_basic(given, target, name=at, fold=fold)
    return session.run(random_feeds(session.inputs))


def _read_weights(model: ir.Model) -> None:
    """Read the weights that are in files into memory, one after the other."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.Tensor(tensor.numpy().copy(), dtype=tensor.dtype, name=tensor.name)
                tensor.release()  # of the map of the file


def _mapped(model: ir.Model) -> tuple[bytes, dict[str, Array]]:
    data, outside = skeleton(model, location="weights")
    return data, {value.name or "": value.const_value.numpy() for value in outside if value.const_value is not None}


def _convert_opset(model: ir.Model, *, at: str) -> ir.Model:
    """An old model at `TARGET_OPSET` when that gives the same outputs on random inputs, else as it is."""
    version = model.graph.opset_imports.get("", TARGET_OPSET)
    if version >= OLDEST_OPSET:
        return model
    proto = ir.to_proto(model)
    proto.ir_version = max(proto.ir_version, 4)  # below 4 the converter wants initializers among the inputs
    try:
        converted = onnx.version_converter.convert_version(proto, TARGET_OPSET)
    except (RuntimeError, ValueError):  # an operator that has no adapter
        return model
    before = open_session(to_bytes(model), level="disabled", name=at)
    try:
        after = open_session(converted.SerializeToString(), level="disabled", name=at)
        feeds = random_feeds(before.inputs)
        same = _close(before.run(feeds), after.run(feeds))
    except ProfileError:
        return model
    return ir.serde.deserialize_model(converted) if same else model


def _close(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    def near(a: Array, b: Array) -> bool:
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        if not np.issubdtype(a.dtype, np.floating):
            return bool(np.array_equal(a, b))
        scale = float(np.max(np.abs(a), initial=0.0))
        return bool(np.allclose(a, b, rtol=0, atol=CONVERSION_TOLERANCE * scale, equal_nan=True))

    return list(first) == list(second) and all(near(first[name], second[name]) for name in first)


def _tidy(model: ir.Model) -> ir.Model:
    """Drop what ORT and exporters add, name what has no name, infer missing shapes, order the weights."""
    passes.ClearMetadataAndDocStringPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    _fix_names(model)
    for graph in model.graphs():
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)):
            value.metadata_props.clear()
            value.doc_string = None
    infer_missing(model)
    weights = sorted(model.graph.initializers.items())
    model.graph.initializers.clear()
    model.graph.initializers.update(weights)
    model.metadata_props.clear()
    model.producer_name, model.producer_version, model.domain, model.doc_string = "splitpoint", None, None, None
    model.model_version = None
    model.graph.name = "model"
    return model


def _unpack(value: ir.Value) -> None:
    if value.const_value is not None:
        value.const_value = _own(value.const_value)


def _own(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """The tensor as an array; one inside a protobuf message keeps all of the message and is copied at every look."""
    if isinstance(tensor, ir.serde.TensorProtoTensor) and tensor.dtype != ir.DataType.STRING:
        return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
    return tensor


def infer_missing(model: ir.Model) -> None:
    """Ask ONNX for the types and shapes of the graph's tensors that are not known; it knows its own operators only."""
    graph = model.graph
    missing = [value for node in graph for value in node.outputs if value.name and None in (value.type, value.shape)]
    if not missing:
        return
    large = [value for value in graph.initializers.values() if _elements(value) > SHAPE_ELEMENTS]
    small = [value for value in graph.initializers.values() if _elements(value) <= SHAPE_ELEMENTS]
    view = ir.GraphView([*graph.inputs, *large], graph.outputs, nodes=list(graph), initializers=small, name=graph.name)
    proto = onnx.ModelProto(
        ir_version=model.ir_version,
        graph=ir.serde.serialize_graph(view),  # type: ignore[arg-type]  # see profiles.network.wire
        opset_import=[onnx.helper.make_opsetid(domain, version) for domain, version in graph.opset_imports.items()],
    )
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except onnx.shape_inference.InferenceError:  # of an operator that ONNX knows otherwise than ORT, which runs it
        return
    kinds = {info.name: info.type for info in (*inferred.value_info, *inferred.output)}
    for value in missing:
        kind = kinds.get(value.name or "")
        if kind is not None:
            value.type = value.type or ir.serde.deserialize_type_proto_for_type(kind)
            value.shape = value.shape or ir.serde.deserialize_type_proto_for_shape(kind)


def _elements(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.size
