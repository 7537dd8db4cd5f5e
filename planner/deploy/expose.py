"""Give inner tensors of a model as extra outputs, to look at many cuts in one run."""

from __future__ import annotations

from collections.abc import Iterable

from splitpoint.profiles.errors import ProfileError

__all__ = ["expose"]


def __dir__() -> list[str]:
    return __all__


def expose(model: bytes, tensors: Iterable[str]) -> bytes:
    """`model` (serialized ONNX) with `tensors` as outputs beside its own; the order of the old outputs stays.

    Raises `ProfileError` when the bytes are no model.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

    try:
        proto = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise ProfileError(f"the ONNX model is damaged: {error}", fix="copy the plan directory again") from error
    present = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    return bytes(proto.SerializeToString())
