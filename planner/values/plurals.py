"""Numbers with their nouns, in the right number."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["count_text", "uncounted_text"]


def __dir__() -> list[str]:
    return __all__


def count_text(count: int, noun: str) -> str:
    """`count` and `noun`, which takes an s in the plural: "1 group", "2 groups"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def uncounted_text(uncounted: Mapping[str, int]) -> str:
    """Operators whose MACs are not known, by type: "2 operators not counted: Erf (2)"."""
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(uncounted.items()))
    return f"{count_text(sum(uncounted.values()), 'operator')} not counted: {listed}"
