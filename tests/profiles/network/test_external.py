"""External data is found wherever a tensor can be in a model, in every spelling that a parser takes."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from google.protobuf.descriptor import Descriptor  # type: ignore[import-untyped]  # protobuf ships no stubs
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.external import PARTS, TENSOR, refuse_external_data

EXTERNAL = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
EXTERNAL.external_data.add(key="location", value="../../etc/passwd")
SECONDS = 60  # generous: only a hang is longer


def refused(data: bytes) -> str | None:
    try:
        refuse_external_data(data, at="model.onnx")
    except ProfileError as error:
        assert error.at == "model.onnx"  # noqa: PT017 - either outcome is right, another exception is not
        return error.message
    return None


def leads_to_tensors(descriptor: Descriptor, seen: frozenset[str] = frozenset()) -> bool:
    if descriptor.name == TENSOR:
        return True
    parts = [field.message_type for field in descriptor.fields if field.message_type is not None]
    return any(leads_to_tensors(part, seen | {descriptor.name}) for part in parts if part.name not in seen)


def test_the_table_is_that_of_onnx() -> None:
    """Every field of onnx.proto that leads to a tensor is in the table, and nothing else is."""
    expected: dict[str, dict[int, str]] = {}
    left = [onnx.ModelProto.DESCRIPTOR]
    while left:
        descriptor = left.pop()
        parts = {field.number: field.message_type for field in descriptor.fields if field.message_type is not None}
        rows = {number: part for number, part in parts.items() if leads_to_tensors(part)}
        expected[descriptor.name] = {number: part.name for number, part in rows.items()}
        left += [part for part in rows.values() if part.name not in expected]
    expected[TENSOR] = {}
    assert expected == {name: dict(rows) for name, rows in PARTS.items()}


def places() -> Iterator[Callable[[onnx.TensorProto], onnx.ModelProto]]:
    """Every way from a model to a tensor, each kind of message at most once."""

    def extend(path: list[tuple[str, bool]], descriptor: Descriptor, seen: frozenset[str]) -> Iterator[Any]:
        for field in descriptor.fields:
            part = field.message_type
            if part is None or part.name in seen:
                continue
            step = [*path, (field.name, field.is_repeated)]
            if part.name == TENSOR:
                yield step
            elif leads_to_tensors(part):
                yield from extend(step, part, seen | {part.name})

    def make(path: list[tuple[str, bool]], tensor: onnx.TensorProto) -> onnx.ModelProto:
        model = onnx.ModelProto(ir_version=8)
        message: Any = model
        for name, repeated in path:
            message = getattr(message, name).add() if repeated else getattr(message, name)
            message.SetInParent()
        message.CopyFrom(tensor)
        return model

    for path in extend([], onnx.ModelProto.DESCRIPTOR, frozenset()):
        yield functools.partial(make, path)


def test_external_data_is_found_in_every_place() -> None:
    found = list(places())
    assert len(found) > 30
    inside = onnx.TensorProto(data_type=1, dims=[1], float_data=[1.0], data_location=onnx.TensorProto.DEFAULT)
    only_location = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    only_data = onnx.TensorProto()
    only_data.external_data.add(key="location", value="x")
    for make in found:
        assert refused(make(inside).SerializeToString()) is None
        for tensor in (EXTERNAL, only_location, only_data):
            assert "external data" in (refused(make(tensor).SerializeToString()) or "")


@st.composite
def messages(draw: st.DrawFn, kind: type[Message] = onnx.ModelProto, depth: int = 5) -> Message:
    """A random message with any of the fields of onnx.proto."""
    message = kind()
    for field in draw(st.lists(st.sampled_from(list(kind.DESCRIPTOR.fields)), max_size=4)):
        if field.message_type is not None:
            if depth == 0:
                continue
            part = draw(messages(field.message_type._concrete_class, depth - 1))
            target = getattr(message, field.name)
            target.add().CopyFrom(part) if field.is_repeated else target.MergeFrom(part)
            continue
        value = draw(scalar(field))
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    return message


def scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    kinds = {
        field.CPPTYPE_STRING: st.text(max_size=3) if field.type == field.TYPE_STRING else st.binary(max_size=3),
        field.CPPTYPE_FLOAT: st.floats(width=32),
        field.CPPTYPE_DOUBLE: st.floats(),
        field.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    }
    return kinds.get(field.cpp_type, st.integers(-(2**63), 2**63 - 1))


def declares_external(message: Any) -> bool:
    if isinstance(message, onnx.TensorProto):
        return message.data_location == onnx.TensorProto.EXTERNAL or len(message.external_data) > 0
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = value if field.is_repeated else [value]
            if any(declares_external(part) for part in parts):
                return True
    return False


@given(messages())
@settings(max_examples=400)
def test_random_models_are_judged_as_onnx_reads_them(model: onnx.ModelProto) -> None:
    assert (refused(model.SerializeToString()) is not None) == declares_external(model)


@given(messages(), messages(), st.data())
@settings(max_examples=400)
def test_nothing_external_that_a_parser_sees_in_damaged_bytes_is_missed(
    first: onnx.ModelProto, second: onnx.ModelProto, data: st.DataObject
) -> None:
    broken = bytearray(first.SerializeToString() + second.SerializeToString())  # parsers merge the two
    for _ in range(data.draw(st.integers(0, 3)) if broken else 0):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = onnx.ModelProto.FromString(bytes(broken))
    except DecodeError:
        return
    if declares_external(model):
        assert refused(bytes(broken)) is not None


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


LOCATION = b"\x70\x01"  # TensorProto.data_location = EXTERNAL
SPELLINGS = {  # parsers take these for the same
    "plain": field(7, field(5, LOCATION)),
    "a long number": field(7, field(5, b"\x70\x81\x80\x80\x00")),
    "a long tag": field(7, field(5, b"\xf0\x80\x00\x01")),
    "a number of 65 bits": field(7, field(5, b"\x70\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02")),
    "a long length": b"\x3a\x84\x00" + field(5, LOCATION),
    "then the default": field(7, field(5, LOCATION + b"\x70\x00")),
    "in a second graph": field(7, b"") + field(7, field(5, LOCATION)),
    "an unknown location": field(7, field(5, b"\x70\x02")),
    "behind what is unknown": b"\xfa\x7f\x02\x01\x02" + field(7, b"\x9d\x06\0\0\0\0" + field(5, LOCATION)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_of_external_is_refused(name: str) -> None:
    assert "declared as external data" in (refused(SPELLINGS[name]) or "")


DAMAGED = {
    "cut short in a tag": b"\x80",
    "cut short in a length": b"\x3a",
    "longer than the message": b"\x3a\x05\x00",
    "longer than its message inside": field(7, b"\x2a\x05"),
    "a group": b"\x3b\x3c",
    "the end of a group": b"\x3c",
    "wire type 6": b"\x3e",
    "field 0": b"\x02\x00",
    "a tag of 33 bits": b"\xba\x80\x80\x80\x10\x00",
    "a tag of 6 bytes": b"\xba\x80\x80\x80\x80\x00\x00",
    "a number of 11 bytes": b"\x08" + b"\x80" * 10 + b"\x00",
    "a graph that is a number": b"\x38\x01",
    "a location that is text": field(7, field(5, field(14, b"\x01"))),
    "the format of ONNX Runtime": b"\x12\x06\x00\x00ORTM",
    "deep": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_parsers_may_read_in_different_ways_is_refused(name: str) -> None:
    data = DAMAGED[name]
    if name == "deep":
        message = onnx.ModelProto()
        graph = message.graph
        for _ in range(100):
            graph = graph.node.add().attribute.add().g
        data = message.SerializeToString()
    assert refused(data) is not None


def test_two_gibibytes_are_refused_by_name() -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return 1 << 31

    assert "above protobuf's limit" in (refused(Large()) or "")


def test_time_and_memory_have_bounds() -> None:
    started = time.monotonic()
    tracemalloc.start()
    flat = b"\x08\x01" * 200_000
    assert refused(flat) is None
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert refused(b"\x08\x01" * 4_400_000) == "not an ONNX model, or damaged: more than 4000000 fields"
    assert time.monotonic() - started < SECONDS


def test_neither_onnx_nor_torch_is_imported() -> None:
    code = "import sys, splitpoint.profiles.network.external; print({'onnx', 'torch', 'google'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
