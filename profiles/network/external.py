"""Refuse ONNX models that declare weights in other files (external data), before any library opens one.

A walk over the bytes of the message as protobuf writes them, with the field numbers of onnx.proto: parsers merge fields
that come twice and take numbers that are longer than need be, so every occurrence counts, whatever a parser makes of
it. What parsers may read in different ways (groups, tags of more than 32 bits, another wire type) is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from splitpoint.profiles.errors import ProfileError

__all__ = ["refuse_external_data"]


def __dir__() -> list[str]:
    return __all__


LIMIT_BYTES: Final = 1 << 31  # of a protobuf message
MOST_FIELDS: Final = 4_000_000  # read in some seconds; a large network has some hundred thousand
DEEPEST: Final = 128  # messages inside messages; protobuf reads 100
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are groups, 6 and 7 do not exist

TENSOR: Final = "TensorProto"
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
# The fields of each message that lead to tensors, with the message that they hold.
PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: TENSOR, 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: TENSOR, 6: "GraphProto", 22: "SparseTensorProto"},
        **{10: TENSOR, 11: "GraphProto", 23: "SparseTensorProto"},
    },
    "SparseTensorProto": {1: TENSOR, 2: TENSOR},
    TENSOR: {},
}


class _DamagedError(ValueError):
    """The bytes are no protobuf message that all parsers read alike."""


class _Field(NamedTuple):
    number: int
    wire: int
    value: int  # of a VARINT
    start: int
    end: int


def refuse_external_data(model: bytes, *, at: str) -> None:
    """Raise `ProfileError` when any tensor of a serialized model, at whatever depth, is declared to lie elsewhere.

    Also for bytes that are no protobuf message, and for 2 GiB and more. Time grows with the number of fields, memory
    with the depth, and both have bounds. `at` is where the model is, for the error.
    """
    if len(model) >= LIMIT_BYTES:
        raise ProfileError(
            f"a model of {len(model)} bytes is above protobuf's limit of {LIMIT_BYTES}",
            at=at,
            fix="use a smaller network: a model with its weights inside has less than 2 GiB",
        )
    try:
        place = _find_external(model)
    except _DamagedError as error:
        raise ProfileError(
            f"not an ONNX model, or damaged: {error}", at=at, fix="export or download the model again"
        ) from None
    if place is not None:
        raise ProfileError(
            f"a tensor of the model is declared as external data (byte {place}): its values are in another file",
            at=at,
            fix="save the model with its weights inside: onnx.save(onnx.load(FILE), FILE)",
        )


def _find_external(model: bytes) -> int | None:
    """Where the first declaration of external data stands, or None."""
    if model[4:8] == b"ORTM":  # ONNX Runtime takes it for its own format, whatever it is as a protobuf message
        raise _DamagedError("a model in ONNX Runtime's own format")
    stack = [("ModelProto", _fields(model, 0, len(model)))]
    count = 0
    while stack:
        message, fields = stack[-1]
        field = next(fields, None)
        if field is None:
            stack.pop()
            continue
        if (count := count + 1) > MOST_FIELDS:
            raise _DamagedError(f"more than {MOST_FIELDS} fields")
        if message == TENSOR and field.number in (EXTERNAL_DATA, DATA_LOCATION):
            if field.number == EXTERNAL_DATA or field.wire != VARINT or field.value != 0:
                return field.start
        elif (part := PARTS[message].get(field.number)) is not None:
            if field.wire != LENGTH:
                raise _DamagedError(f"field {field.number} of a {message} has wire type {field.wire}")
            if len(stack) == DEEPEST:
                raise _DamagedError(f"messages nested more than {DEEPEST} deep")
            stack.append((part, _fields(model, field.start, field.end)))
    return None


def _fields(data: bytes, at: int, end: int) -> Iterator[_Field]:
    """The fields of the message in data[at:end]; raises `_DamagedError`."""
    while at < end:
        tag, at = _varint(data, at, end, longest=5)
        number, wire, value = tag >> 3, tag & 7, 0
        if number == 0 or tag >= 1 << 32:
            raise _DamagedError(f"there is no field of tag {tag} (byte {at})")
        start = at
        if wire == VARINT:
            value, at = _varint(data, at, end, longest=10)
        elif wire == LENGTH:
            length, start = _varint(data, at, end, longest=5)
            at = start + length
        elif wire in (FIXED64, FIXED32):
            at += 8 if wire == FIXED64 else 4
        else:
            raise _DamagedError(f"field {number} has wire type {wire} (byte {at})")
        if at > end:
            raise _DamagedError(f"field {number} ends behind its message (byte {start})")
        yield _Field(number, wire, value, start, at)


def _varint(data: bytes, at: int, end: int, *, longest: int) -> tuple[int, int]:
    """Protobuf's base-128 number at `at` and the place behind it; raises `_DamagedError`."""
    if at < end and data[at] < 0x80:  # most numbers
        return data[at], at + 1
    value = 0
    for place in range(longest):
        if at + place >= end:
            raise _DamagedError(f"cut short (byte {at})")
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise _DamagedError(f"a number of more than {longest} bytes (byte {at})")
