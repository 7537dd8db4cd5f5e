"""Typed files: YAML 1.2 scalars, duplicate keys, quantities with units, provenance, paths in errors, atomic writes."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import structs
from splitpoint.profiles.units import BitRate, ByteCount, NonNegativeSeconds


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    uplink_bit_s: BitRate
    delay: NonNegativeSeconds | None = None
    rtt_s: NonNegativeSeconds = 0.0
    room: ByteCount = 0


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    link: Inner
    name: str = ""
    factor: float = 1.0
    times_s: tuple[NonNegativeSeconds, ...] = ()
    table_bit_s: dict[str, BitRate] = {}
    rates: dict[str, BitRate] = {}
    waits: tuple[NonNegativeSeconds, ...] = ()


class Circle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="circle"):
    radius: float


class Square(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="square"):
    side: float


class Drawing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shape: Circle | Square


def read(text: str) -> Outer:
    return structs.decode_yaml(text, Outer, where="f.yaml")


def test_quantities_take_numbers_units_and_sources() -> None:
    text = """
link: {uplink_bit_s: {value: 20 Mbit/s, source: a page, quote: about 20, date: 2026-11-22}, delay: 15 ms, room: 4 KiB}
times_s: [1 ms, 2e-3]
table_bit_s: {a: 1e6, b: 2 Mbit/s}
"""
    value = read(text)
    assert value.link == Inner(uplink_bit_s=2e7, delay=0.015, room=4096)
    assert value.times_s == (0.001, 0.002)
    assert value.table_bit_s == {"a": 1e6, "b": 2e6}
    sources = structs.decode_sources(text, Outer, where="f.yaml")
    assert sources == {
        "$.link.uplink_bit_s": structs.Source(value="20 Mbit/s", source="a page", quote="about 20", date="2026-11-22")
    }


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("link: {uplink_bit_s: 20 mbit}", '"20 mbit" - at `$.link.uplink_bit_s`', 'did you mean "20 Mbit/s"?'),
        ("link: {uplink_bit_s: 0}", "more than 0", None),
        ("link: {uplink_bit_s: -5 Mbit/s}", "more than 0", None),
        ("link: {uplink_bit_s: .inf}", "not finite - at `$.link.uplink_bit_s`", None),
        ("link: {uplink_bit_s: .nan}", "not finite", None),
        ("link: {uplink_bit_s: true}", "got True", None),
        ("link: {uplink_bit_s: [1]}", "got [1]", None),
        ("link: {uplink_bit_s: {value: 3 fish, source: x}}", '"3 fish" - at `$.link.uplink_bit_s`', None),
        ("link: {uplink_bit_s: 1, rtt_s: 20}", None, None),
        ("link: {uplink_bit_s: 1, room: 1.5 B}", "whole number, got '1.5 B' - at `$.link.room`", None),
        ("link: {uplink_bit_s: 1, delay: 20}", 'got "20" - at `$.link.delay`', 'did you mean "20 ms"?'),
        ("link: {uplink_bit_s: 1, delay: {value: 20, source: x}}", 'got "20" - at `$.link.delay`', None),
        ("link: {uplink_bit_s: 1, room: 4000}", 'got "4000" - at `$.link.room`', 'did you mean "4000 B"?'),
        ("link: {uplink_bit_s: 1}\nwaits: [1 ms, 2]", 'got "2" - at `$.waits[1]`', 'did you mean "2 ms"?'),
        ("link: {uplink_bit_s: 1}\nrates: {a: 2}", 'got "2" - at `$.rates.a`', 'did you mean "2 Mbit/s"?'),
        ("link: {uplink_bt_s: 1}", "unknown field 'uplink_bt_s' - at `$.link`", "did you mean 'uplink_bit_s'?"),
        ("link: {}", "missing field 'uplink_bit_s' - at `$.link`", 'add a rate, such as uplink_bit_s: "20 Mbit/s"'),
        ("link: {uplink_bit_s: 1}\nfactor: .inf", "finite number, got inf - at `$.factor`", None),
        ("link: {uplink_bit_s: 1}\nfactor: fast", "Expected `float`, got `str` - at `$.factor`", None),
        ("link: {uplink_bit_s: 1}\nname: 3", "Expected `str`, got `int` - at `$.name`", None),
        ("link: {uplink_bit_s: 1}\ntimes_s: [1, -1]", "at least 0", None),
        ("link: {uplink_bit_s: 1}\ntable_bit_s: {b: soon}", "`$.table_bit_s.b`", None),
        ("link: {uplink_bit_s: 1}\nlink: {uplink_bit_s: 2}", "line 2: key 'link' appears twice, first in line 1", None),
        ("link: [", "line 1", None),
        ("link: *a", "undefined alias", None),
        ("a: &a [1]\nlink: *a", "an alias may stand for a scalar only", None),
        ("2: x", "expected text as a key", None),
        ("- 1", "Expected `object`, got `array`", None),
        ("", "Expected `object`, got `null`", None),
        (
            "link: !!python/object:os.system {}",
            "the tag tag:yaml.org,2002:python/object:os.system is not allowed",
            None,
        ),
        ("link: {uplink_bit_s: !!int abc}", "the tag tag:yaml.org,2002:int is not allowed", None),
        ("\0", "unacceptable character", None),
        ("[" * 3000, "nested too deeply", None),
    ],
)
def test_errors_say_what_where_and_what_next(text: str, message: str | None, fix: str | None) -> None:
    if message is None:
        assert read(text).link.rtt_s == 20
        return
    with pytest.raises(ProfileError) as caught:
        read(text)
    assert caught.value.message.startswith("f.yaml")
    assert message in caught.value.message
    assert fix is None or caught.value.fix == fix


def test_yaml_1_2_scalars() -> None:
    text = "link: {uplink_bit_s: 20e6}\nname: on\nfactor: 1e-3"
    assert read(text) == Outer(link=Inner(uplink_bit_s=2e7), name="on", factor=0.001)
    assert read("link: {uplink_bit_s: 010}").link.uplink_bit_s == 10
    assert read("link: {uplink_bit_s: 1}\nname: 2026-11-22").name == "2026-11-22"
    assert read("link: {uplink_bit_s: 1}\nname: 1:30").name == "1:30"


def test_a_tag_picks_the_struct_and_a_slip_is_named() -> None:
    drawing = structs.decode_yaml("shape: {kind: square, side: 2}", Drawing, where="f.yaml")
    assert drawing == Drawing(shape=Square(side=2.0))
    with pytest.raises(ProfileError, match=r"unknown kind 'sqare' - at `\$.shape.kind`") as caught:
        structs.decode_yaml("shape: {kind: sqare, side: 2}", Drawing, where="f.yaml")
    assert caught.value.fix == "did you mean 'square'?"
    with pytest.raises(ProfileError, match="missing field 'kind'"):
        structs.decode_yaml("shape: {side: 2}", Drawing, where="f.yaml")
    with pytest.raises(ProfileError, match=r"unknown field 'side' - at `\$.shape`"):
        structs.decode_yaml("shape: {kind: circle, side: 2}", Drawing, where="f.yaml")


@given(st.text(st.sampled_from("link:uplink_bit_s{}[]&*!|>-%@`#'\"\\\n 0123456789.eE~?,<\t"), max_size=60))
def test_any_text_is_a_value_or_a_profile_error(text: str) -> None:
    try:
        value = read(text)
    except ProfileError as error:
        assert error.message.startswith("f.yaml")  # noqa: PT017 - either outcome is right, an escape is not
    else:
        assert isinstance(value, Outer)


OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # of the writing direction
names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters=OVERRIDES), max_size=20
)


def test_a_mapping_may_have_a_key_called_value() -> None:
    outer = Outer(link=Inner(uplink_bit_s=1.0), rates={"value": 1.0})
    assert read(structs.dump_yaml(outer)) == outer


@given(
    st.builds(
        Outer,
        link=st.builds(
            Inner,
            uplink_bit_s=st.floats(min_value=1.1e-3, max_value=1e18),
            delay=st.none() | st.floats(min_value=0, max_value=1e9),
            rtt_s=st.floats(min_value=0, max_value=1e9),
            room=st.integers(min_value=0, max_value=2**62),
        ),
        name=names | st.sampled_from(["20e6", "on", "null", "1:30", "010", "~", ".5", "- x", "a: b", "2026-11-22"]),
        factor=st.floats(allow_nan=False, allow_infinity=False),
        times_s=st.lists(st.floats(min_value=0, max_value=1e9), max_size=3).map(tuple),
        table_bit_s=st.dictionaries(names, st.floats(min_value=1, max_value=1e12), max_size=3),
        rates=st.dictionaries(names, st.floats(min_value=1, max_value=1e12), max_size=3),
        waits=st.lists(st.floats(min_value=0, max_value=1e9), max_size=3).map(tuple),
    )
)
def test_dump_and_decode_round_trip(value: Outer) -> None:
    assert read(structs.dump_yaml(value)) == value


def test_write_replaces_atomically_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.yaml"
    structs.write_yaml(path, Inner(uplink_bit_s=1.0))
    structs.write_yaml(path, Inner(uplink_bit_s=2.0))
    assert structs.read_yaml(path, Inner) == Inner(uplink_bit_s=2.0)

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        structs.write_yaml(path, Inner(uplink_bit_s=3.0))
    assert structs.read_yaml(path, Inner) == Inner(uplink_bit_s=2.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.yaml"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such file"):
        structs.read_text(tmp_path / "none.yaml")
    with pytest.raises(ProfileError, match="cannot be read"):
        structs.read_text(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"ab\xff")
    with pytest.raises(ProfileError, match="UTF-8 text, got byte 0xff at 2"):
        structs.read_text(tmp_path / "b.yaml")
    with pytest.raises(ProfileError, match="cannot be written"):
        structs.write_text(tmp_path / "no" / "x.yaml", "")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ProfileError, match="expected a mapping"):
        structs.parse_yaml_mapping(tmp_path / "list.yaml")


def test_numbers_without_end_are_not_finite() -> None:
    for digits in (400, 5000):
        with pytest.raises(ProfileError, match="not finite"):
            read("link: {uplink_bit_s: " + "9" * digits + "}")
    assert math.isfinite(read("link: {uplink_bit_s: " + "9" * 18 + "}").link.uplink_bit_s)
