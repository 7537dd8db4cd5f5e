"""Fields of structs with what they mean, from descriptions, comments and docstrings."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import inspect as shapes

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.fields import NOT_IN_FILES, Field, kind_of, list_fields, list_structs
from splitpoint.profiles.units import ByteCount, NonNegativeSeconds


class Part(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="part"):
    """A part of it.

    With more to say.
    """

    share: float = 1.0  # of the whole


class Other(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="other"):
    """Another one."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    kept: int = 3  # of the base


class Whole(Base, frozen=True, kw_only=True):
    name: str  # behind
    # Above it,
    # in two lines.
    above: str | None = None
    # Not this one.
    both: bool = False  # this one; None: neither
    room: ByteCount = 4_000_000_000  # of memory
    choice: list[
        str  # of words
    ] = []
    wait: NonNegativeSeconds = 0.25  # without a unit in its name
    wait_s: NonNegativeSeconds = 0.25  # with it
    odd: ByteCount = 1_000_003  # too many digits to shorten
    part: Part | None = None
    either: Part | Other = Part()  # one of two
    described: Annotated[float, msgspec.Meta(description="by its type")] | None = None  # not by this
    internal: Annotated[int | None, NOT_IN_FILES] = None
    renamed: tuple[int, ...] = msgspec.field(default=(1, 2), name="from")  # another name in files


class Silent(msgspec.Struct, frozen=True):
    said: int  # something

    unsaid: int


class TwoParts(msgspec.Struct, frozen=True):
    either: Part | Other


MADE = msgspec.defstruct("MADE", [("width", Annotated[int, msgspec.Meta(description="in metres")], 1)], module=__name__)


def fields(struct: type[Any]) -> dict[str, Field]:
    return {field.name: field for field in list_fields(struct)}


def test_meanings() -> None:
    assert {name: field.meaning for name, field in fields(Whole).items()} == {
        "kept": "of the base",
        "name": "behind",
        "above": "Above it, in two lines.",
        "both": "this one; null: neither",
        "room": "of memory",
        "choice": "of words",
        "wait": "without a unit in its name",
        "wait_s": "with it",
        "odd": "too many digits to shorten",
        "part": "A part of it.",
        "either": "one of two",
        "described": "by its type",
        "from": "another name in files",
    }


def test_a_struct_without_a_class_statement_has_descriptions() -> None:
    assert fields(MADE)["width"].meaning == "in metres"


@pytest.mark.parametrize(("struct", "name"), [(Silent, "unsaid"), (TwoParts, "either")])
def test_a_field_of_which_nothing_is_said_is_refused(struct: type[Any], name: str) -> None:
    with pytest.raises(ProfileError, match=f"nothing says what {name} means - at `.*test_fields.{struct.__name__}`"):
        list_fields(struct)


def test_defaults_are_what_a_file_would_say() -> None:
    found = fields(Whole)
    assert found["name"].required
    assert found["kept"].default == 3
    assert (found["room"].default, found["odd"].default) == ("4 GB", "1000003 B")
    assert (found["wait"].default, found["wait_s"].default) == ("250 ms", 0.25)
    assert found["either"].default == {"kind": "part"}
    assert found["choice"].default == []
    assert fields(Part)["share"].default == 1
    assert isinstance(fields(Part)["share"].default, int)


def test_kinds_and_structs_of_shapes() -> None:
    found = fields(Whole)
    assert kind_of(found["wait"].shape) == "s"
    assert kind_of(found["name"].shape) is None
    assert list_structs(found["either"].shape) == (Part, Other)
    assert list_structs(shapes.type_info(dict[str, tuple[Part, ...]])) == (Part,)
    assert list_structs(found["choice"].shape) == ()
