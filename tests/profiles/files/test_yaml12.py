"""YAML of others: bounds on depth, nodes, aliases and lengths, text that a terminal would obey, escapes without end."""

from __future__ import annotations

import time

import pytest

from splitpoint.profiles.errors import ProfileError, escape_controls, shorten
from splitpoint.profiles.files import yaml12
from splitpoint.profiles.files.yaml12 import load
from splitpoint.profiles.units import UnitError, parse, parse_exact

HANG_S = 30  # far above what any of these takes, and far below what they took without bounds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "line 1: nested too deeply, expected at most 64 levels"),
        ("{a: " * 100_000, "line 1: nested too deeply"),
        ("[{a: " * 100_000, "line 1: nested too deeply"),
        ("- " * 100_000, "line 1: nested too deeply"),
        ("? " * 100_000, "line 1: nested too deeply"),
        ("\n".join(" " * i + "a:" for i in range(2000)), "line 64: nested too deeply"),
        ("a: &a x\nb: [" + "*a ," * 200_000 + "]", "line 2: expected at most 1,000 aliases in the file, got more"),
        ("a: &a x\nb:\n" + "- *a\n" * 200_000, "line 1003: expected at most 1,000 aliases"),
        ("a: " + "x" * 70_000, "line 1: expected a value of at most 65,536 characters, got 70,000"),
        ("a: |\n" + " x\n" * 100_000, "expected a value of at most 65,536 characters"),
        ("? " + "x" * 2000 + "\n: 1", "line 1: expected a key of at most 1,024 characters, got 2,000"),
        ("#" * (2 * 2**20 + 1), "expected at most 2,097,152 characters of YAML, got 2,097,153"),
        ('"\\UFFFFFFFF"', "f.yaml: "),
        ('"\\U00110000"', "f.yaml: "),
        ("%YAML 1." + "9" * 5000 + "\n--- 1", "f.yaml"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else "",
)
def test_too_much_is_refused_with_the_line(text: str, message: str) -> None:
    begun = time.perf_counter()
    with pytest.raises(ProfileError) as caught:
        load(text, "f.yaml")
    assert message in caught.value.message
    assert len(str(caught.value)) < 1000
    assert time.perf_counter() - begun < HANG_S


def test_what_is_at_the_bounds_is_read() -> None:
    assert load("[" * 63 + "1" + "]" * 63, "f.yaml")
    assert load("a: &a x\nb: [" + ", ".join(["*a"] * 1000) + "]", "f.yaml")
    assert load("a: " + "x" * 2**16, "f.yaml")


def test_nodes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml12, "MOST_NODES", 1000)
    assert load("[" + "1," * 999 + "]", "f.yaml")
    with pytest.raises(ProfileError, match="line 1: expected at most 1,000 values in the file, got more"):
        load("[" + "1," * 1000 + "]", "f.yaml")


ESCAPES = ("\\e", "\\0", "\\x07", "\\r", "\\x7f", "\\N", "\\x9b", "\\u202e", "\\u2066", "\\uD800")


@pytest.mark.parametrize("escape", ESCAPES)
def test_control_characters_are_refused_with_the_path_and_escaped(escape: str) -> None:
    for text, path in (
        (f'a: [x, {{b: "1{escape}2"}}]', "`$.a[1].b`"),
        (f'a: {{"1{escape}2": x}}', "`$.a`"),
    ):
        with pytest.raises(ProfileError) as caught:
            load(text, "f.yaml")
        assert path in caught.value.message
        assert str(caught.value) == escape_controls(str(caught.value))
        assert "control characters" in caught.value.message


def test_line_feeds_tabs_and_windows_line_ends_are_text() -> None:
    assert load('a: "1\\n2\\t3"\r\nb: |\r\n  x\r\n  y\r\n', "f.yaml") == {"a": "1\n2\t3", "b": "x\ny\n"}


def test_a_tag_in_a_message_is_escaped() -> None:
    with pytest.raises(ProfileError, match=r"the tag tag:yaml.org,2002:\\x1b\[31m is not allowed"):
        load("a: !!%1b[31m x", "f.yaml")


def test_errors_escape_what_they_quote_and_quote_its_beginning() -> None:
    error = ProfileError("a \x1b[31m\u202e b", at="c\x9b\ud800", fix="line\n\tnext \x07")
    assert str(error) == "a \\x1b[31m\\u202e b\n  at    c\\x9b\\ud800\n  fix   line\n\tnext \\x07"
    assert error.args == (error.message,)
    assert shorten("x" * 200) == "x" * 200
    assert shorten("x" * 201) == "x" * 200 + " ..."


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1_ s", id="float() does not take it"),
        pytest.param("1__0 s", id="nor this"),
        pytest.param("1" * 100_000 + "x\ny", id="splits of the digits"),
        pytest.param("1e-999999999 s", id="a power of ten of gigabytes"),
        pytest.param("0e999999999 s", id="the same for zero"),
        pytest.param("x" * 1_000_000, id="long"),
    ],
)
def test_text_that_is_no_quantity_is_one_short_error(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text, "s", ge=0)
    assert len(str(caught.value)) < 1000


def test_digits_may_be_grouped() -> None:
    assert parse("1_000.5 s", "s") == 1000.5
    assert parse_exact("1_000 B", "bytes") == 1000


def test_a_bound_is_shown_with_its_unit() -> None:
    with pytest.raises(UnitError, match="a rate at most 100 bit/s such as"):
        parse("1 kbit/s", "bit_s", le=100)
