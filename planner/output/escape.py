"""Text from files and from others' code, made safe to print: a name may hold codes that move the cursor or erase lines.

`profiles.files.user_code.strip_escapes` is another matter: it removes the colours of messages that libraries write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

__all__ = ["error_text", "json_text", "printable", "printable_line", "printable_lines"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")

# Controls but newline (C0, DEL, C1), halves of surrogate pairs, other ends of lines, and what reorders text (UAX 9).
UNSAFE = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
COMPOSED = ("header",)  # fields of several lines, which documents make of names that are `printable_line` already
INDENT = "  "  # of every line of an error but its first


def printable(text: str) -> str:
    r"""`text` with every control, bidirectional and surrogate character but newline as its escape, such as \x1b."""
    return UNSAFE.sub(_escaped, text)


def printable_line(text: str) -> str:
    r"""As `printable`, with newlines as \n: a name cannot begin a line of its own."""
    return printable(text).replace("\n", "\\n")


def printable_lines(value: T) -> T:
    """`value` (a struct, a mapping, a sequence, a leaf) with `printable_line` of every text in it."""
    return _each_text(value)  # type: ignore[no-any-return]  # of the value's own type


def error_text(text: str) -> str:
    """An error as it is printed, through `printable`: only its first line begins in the first column."""
    first, *rest = printable(text).split("\n")
    return "\n".join([first, *(line if line.startswith(INDENT) else INDENT + line for line in rest)])


def json_text(value: object) -> str:
    """`value` (of plain types) as indented JSON with unsafe characters escaped; raises `ValueError` for NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _each_text(value: Any) -> Any:
    if isinstance(value, str):
        return printable_line(value)
    if isinstance(value, msgspec.Struct):
        fields = {name: _each_text(getattr(value, name)) for name in value.__struct_fields__ if name not in COMPOSED}
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, Mapping):
        return {_each_text(key): _each_text(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(_each_text(item) for item in value)
    return value
