"""What all documents share: their kind and their version stand in them."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Document", "Value"]


def __dir__() -> list[str]:
    return __all__


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a document."""


class Document(Value, frozen=True, kw_only=True, tag_field="kind"):
    """The answer of one command; a new version removes a field or changes what one means."""

    version: Literal[1] = 1
