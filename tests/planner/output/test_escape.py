"""Characters that a terminal obeys, or that reorder text, are shown as their escapes; JSON decodes to the same text."""

from __future__ import annotations

import json
import unicodedata

import msgspec
import pytest

from splitpoint.planner.output.escape import error_text, json_text, printable, printable_line, printable_lines

EVERY = "".join(map(chr, [*range(0x3000), *range(0xD7F0, 0xE010)]))
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # Unicode's classes of explicit formatting


def is_unsafe(character: str) -> bool:
    """By Unicode's own categories: controls, surrogates, separators of lines, explicit directions and marks of them."""
    marks = unicodedata.category(character) == "Cf" and unicodedata.bidirectional(character) in ("L", "R", "AL")
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in BIDI
        or (marks and character in "\u200e\u200f\u061c")
    )


def test_every_unsafe_character_and_no_other_is_escaped() -> None:
    changed = {character for character in EVERY if printable(character) != character}
    assert changed == {character for character in EVERY if is_unsafe(character)} - {"\n"}
    assert not any(is_unsafe(character) for character in printable_line(EVERY))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2K\rALL PASSED", r"\x1b[2K\rALL PASSED"),
        ("\x9b2K\x7f\t", r"\x9b2K\x7f\t"),
        ("a\u202eb\u2066\ud800", r"a\u202eb\u2066\ud800"),
        ("blocks.3/ünï ★ 層", "blocks.3/ünï ★ 層"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_name_cannot_begin_a_line() -> None:
    assert printable("a\nb") == "a\nb"
    assert printable_line("a\nb") == r"a\nb"
    assert error_text("bad\nALL PASSED\n  at    x") == "bad\n  ALL PASSED\n  at    x"


class Part(msgspec.Struct, frozen=True):
    """Texts at every place of a struct."""

    header: str
    names: tuple[str, ...]
    counts: dict[str, int]
    inner: tuple[Part, ...] = ()
    number: float | None = None


def test_every_text_of_a_struct_is_made_printable_but_a_composed_header() -> None:
    part = Part(header="two\nlines", names=("a\n", "b\x1b"), counts={"c\r": 1}, number=0.5)
    outer = Part(header="", names=(), counts={}, inner=(part,))
    assert printable_lines(outer).inner == (
        Part(header="two\nlines", names=(r"a\n", r"b\x1b"), counts={r"c\r": 1}, number=0.5),
    )


def test_json_is_escaped_and_decodes_to_the_same_text() -> None:
    given = "".join(c for c in EVERY if unicodedata.category(c) != "Cs") + "\udc80"  # a byte of a file name, not UTF-8
    text = json_text({given: [given, "層"]})
    assert json.loads(text) == {given: [given, "層"]}
    assert {character for character in text if is_unsafe(character)} == {"\n"}
    assert "層" in text
