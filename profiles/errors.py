"""The error of everything that a user gave and that cannot be used, and of decisions that cannot be made."""

from __future__ import annotations

import re

__all__ = ["CONTROLS", "ProfileError", "escape_controls", "shorten"]


def __dir__() -> list[str]:
    return __all__


# What a terminal would obey, not show: C0 but line feed and tab, DEL, C1, overrides of the writing direction, and
# halves of surrogate pairs, which cannot be printed at all.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LONGEST_QUOTE = 200  # characters of foreign text that a message repeats


class ProfileError(ValueError):
    """A file, model, option or decision cannot be had: what, where (`at`), got against expected, next step (`fix`).

    Text of others in it is printed as it is, so control characters are escaped here, whoever quoted them.
    """

    def __init__(self, message: str, *, at: str | None = None, fix: str | None = None) -> None:
        self.message = escape_controls(message)
        self.at = None if at is None else escape_controls(at)
        self.fix = None if fix is None else escape_controls(fix)
        super().__init__(self.message)

    def __str__(self) -> str:
        lines = [self.message]
        if self.at is not None:
            lines.append(f"  at    {self.at}")
        if self.fix is not None:
            lines.append(f"  fix   {self.fix}")
        return "\n".join(lines)


def escape_controls(text: str) -> str:
    r"""`text` with every control character but line feed and tab as an escape: "\x1b" for ESC."""
    return CONTROLS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def shorten(text: str) -> str:
    """`text`, cut behind 200 characters: a message quotes the beginning of what it refuses."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]} ..."
