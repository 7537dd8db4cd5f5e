"""A JSON Schema takes what the reader takes and refuses what it refuses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.fields import NOT_IN_FILES
from splitpoint.profiles.files.schemas import file_schema
from splitpoint.profiles.files.structs import decode_tree
from splitpoint.profiles.units import KINDS, ByteCount, Decibel, Fraction, NonNegativeSeconds, PositiveSeconds


class Circle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="circle"):
    """Round."""

    radius: float  # of it
    inner: Circle | None = None  # in the middle


class Square(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="square"):
    """Not round."""

    side: float  # of it


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All kinds of fields."""

    name: str  # text
    wait: NonNegativeSeconds | None = None  # a bare number does not say its unit
    least: PositiveSeconds | None = None  # not 0
    rtt_s: NonNegativeSeconds = 0.0  # its name says the unit
    room: ByteCount = 0  # a whole number of bytes
    size_bytes: ByteCount = 0  # its name says the unit
    share: Fraction = 0.0  # there is no unit
    snr_db: tuple[Decibel, ...] = ()  # may be below 0
    waits: dict[str, NonNegativeSeconds] = {}  # by name
    count: Annotated[int, msgspec.Meta(ge=1, lt=10)] = 1  # bounds
    side: Annotated[int, msgspec.Meta(extra_json_schema={"minimum": 1})] | None = None  # a bound that others check
    word: Literal["a", "b"] | int = "a"  # a choice, or a number
    pair: tuple[int, int] | None = None  # two
    few: Annotated[tuple[str, ...], msgspec.Meta(max_length=2)] = ()  # at most two
    operator: Annotated[str, msgspec.Meta(pattern="^[A-Z]")] | None = None  # a capital letter
    yes: bool = False  # or no
    anything: Any = None  # at all
    shape: Circle | Square | None = None  # of a kind
    shapes: tuple[Square, ...] = ()  # of one kind
    named: dict[str, Square] = {}  # by name
    internal: Annotated[int | None, NOT_IN_FILES] = None


SCHEMA = file_schema(Form)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def is_read(tree: object) -> bool:
    try:
        decode_tree(tree, Form, where="f.yaml")
    except ProfileError:
        return False
    return True


TAKEN: dict[str, list[Any]] = {
    "wait": ["15 ms", "0.015 s", ".5 h", "1e-3 s", "1_000 us", "2µs", " 3 s ", 0, None],
    "least": ["15 ms"],
    "rtt_s": ["15 ms", 0.015, 2, 0],
    "room": ["4 KiB", "16 kB", 0],
    "size_bytes": ["4 KiB", 4096, 4096.0],
    "share": ["1 %", "0.01", 0.01, 1],
    "snr_db": [["-3 dB", -3, "12 dB"], []],
    "waits": [{"a": "1 ms", "b": 0}, {}],
    "count": [1, 9, {"value": 3, "source": "a page", "quote": "three", "date": "2026-11-22"}, {"value": 3}],
    "side": [1, None],
    "word": ["a", 7],
    "pair": [[1, 2], None],
    "few": [["x", "y"], {"value": ["x"], "source": "a page"}, [{"value": "x", "source": None}]],
    "operator": ["Conv"],
    "yes": [True],
    "anything": [{"a": [1]}, "x", None],
    "shape": [{"kind": "circle", "radius": 1}, {"kind": "square", "side": {"value": 2, "quote": "2"}}, None],
    "shapes": [[{"kind": "square", "side": 1}]],
    "named": [{"a": {"kind": "square", "side": 1}}],
}
REFUSED: dict[str, list[Any]] = {
    "wait": [
        55,
        "55",
        "-1 s",
        "15 fish",
        "15 mbit",
        "1__0 s",
        "",
        True,
        [1],
        {"value": 55, "source": "a page"},
        "1" * 200,
    ],
    "least": [0, 1, "0"],
    "rtt_s": [-1, "15", "15 MB", 1e10, {"value": -1, "source": "a page"}],
    "room": [4000, 1.5, "4000"],
    "size_bytes": [1.5, -1, 2**62 + 1],
    "share": [2, -0.1, "1 s"],
    "snr_db": [[500], "3 dB", [True], [["1 dB"]]],
    "waits": [{"a": 5}, [], {"a": "soon"}],
    "count": [0, 10, 1.5, "1", True, None, {"value": 0}, {"value": 3, "page": "a"}, {"source": "a page"}],
    "side": ["1", 1.5],
    "word": ["c", None, 1.5],
    "pair": [[1], [1, 2, 3], 1],
    "few": [["x", "y", "z"], "x", [1], {"value": {"value": ["x"]}}],
    "operator": ["conv"],
    "yes": ["yes", 0, 1],
    "shape": [{"radius": 1}, {"kind": "oval"}, {"kind": "circle", "side": 1}, {"kind": "circle"}, "circle"],
    "shapes": [[{"kind": "square"}], {}],
    "named": [{"a": 1}, []],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in TAKEN for value in TAKEN[field]])
def test_what_the_reader_takes_is_valid(field: str, value: object) -> None:
    tree = {"name": "x", field: value}
    assert is_read(tree)
    VALIDATOR.validate(tree)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in REFUSED for value in REFUSED[field]])
def test_what_the_reader_refuses_is_not_valid(field: str, value: object) -> None:
    tree = {"name": "x", field: value}
    assert not is_read(tree)
    assert not VALIDATOR.is_valid(tree)


@pytest.mark.parametrize("tree", [{}, {"name": 3}, {"name": "x", "nam": 1}, [], "x", None])
def test_missing_and_unknown_fields_are_not_valid(tree: object) -> None:
    assert not is_read(tree)
    assert not VALIDATOR.is_valid(tree)


def test_every_field_has_a_case() -> None:
    properties = SCHEMA["$defs"]["Form"]["properties"]
    assert set(properties) == {"name", *TAKEN} == {"name", "anything", *REFUSED}  # "anything" refuses nothing


def test_a_schema_is_one_and_describes_its_fields() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    parts = [part for part in SCHEMA["$defs"].values() if part.get("properties")]
    assert all(part["description"] for part in parts)
    wait = SCHEMA["$defs"]["Form"]["properties"]["wait"]
    assert wait["description"] == "a bare number does not say its unit"
    assert wait["default"] is None
    text = wait["anyOf"][0]["anyOf"][0]
    assert text["description"] == 'a time such as "15 ms" (ns, us, µs, ms, s, min, h)'
    assert text["examples"] == ["15 ms"]
    clear = SCHEMA["$defs"]["Form"]["properties"]["rtt_s"]["anyOf"][0]
    assert clear["description"].endswith("min, h), or a number of s")


def test_what_a_schema_does_not_know_the_reader_checks() -> None:
    for tree in ({"name": "x", "rtt_s": "1e10 s"}, {"name": "x", "room": "1.5 B"}):
        assert VALIDATOR.is_valid(tree)
        assert not is_read(tree)
    assert is_read({"name": "x", "internal": 1})  # of the code: what a file says here is for others to refuse
    assert not VALIDATOR.is_valid({"name": "x", "internal": 1})
    assert is_read({"name": "x", "side": 0})
    assert not VALIDATOR.is_valid({"name": "x", "side": 0})


@pytest.mark.parametrize("kind", KINDS)
def test_every_unit_is_in_the_pattern_of_its_kind(kind: str) -> None:
    number = Annotated[float, msgspec.Meta(extra={"kind": kind})]
    form: Any = msgspec.defstruct("Quantity", [("q", Annotated[number, msgspec.Meta(description="a quantity")])])
    validator = jsonschema.Draft202012Validator(file_schema(form))
    for unit in KINDS[kind].units:
        assert validator.is_valid({"q": f"2 {unit}"})
        assert not validator.is_valid({"q": f"2 {unit}x"})
    assert validator.is_valid({"q": KINDS[kind].example})
