"""Standard output and standard error of a command: closed, full or without a reader, nothing is lost or left unsaid."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

__all__ = ["OutputError", "can_encode", "guard_streams", "occupy_descriptors"]


def __dir__() -> list[str]:
    return __all__


STANDARD = 3  # file descriptors 0, 1 and 2
# What views draw, for encodings without it; a width of one stays one, so that tables stay in line.
PLAIN = str.maketrans(
    {
        **dict.fromkeys("─━═╺╸┄", "-"),
        **dict.fromkeys("│┃┊▕▏", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼┏┓┗┛┣┫✓", "+"),
        **dict.fromkeys("█▉▊▋▌▍▎▇▆▅▄▃▂▁", "#"),
        **dict.fromkeys("\u2012\u2013\u2014\u2212", "-"),
        **{"★": "*", "▸": ">", "…": ".", "·": "|", "→": ">", "←": "<", "✗": "x", "\u00d7": "x", "∘": "o", "±": "+-"},
        **{"µ": "u", "≤": "<=", "≥": ">="},
    }
)


class OutputError(Exception):
    """Standard output cannot be written; what the command wrote to files is there."""


@contextlib.contextmanager
def guard_streams() -> Iterator[None]:
    """Within the block, what standard output does not take raises `OutputError`, and standard error takes everything.

    Both take characters that their encoding has not: lines and marks of views as ASCII, others as escapes.
    """
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w", encoding="utf-8") as nothing:
        closed = "it is closed" if sys.stdout is None else None
        sys.stdout = cast(TextIO, _Guarded(sys.stdout or nothing, _raise, broken=closed))
        sys.stderr = cast(TextIO, _Guarded(sys.stderr or nothing, lambda reason: None))
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


def can_encode(text: str, encoding: str) -> bool:
    """Whether `text` can be written in `encoding`."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def occupy_descriptors() -> None:
    """Open what is closed of the three standard descriptors: else the next file opened would get everything printed."""
    descriptor = 0
    while descriptor < STANDARD:
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)


class _Guarded:
    """A text stream whose failures go to `fail` with their reason, once written to no more; else as `stream`."""

    def __init__(self, stream: TextIO, fail: Callable[[str], None], *, broken: str | None = None) -> None:
        self._stream = stream
        self._fail = fail
        self._broken = broken

    def write(self, text: str) -> int:
        if self._broken is None:
            self._attempt(lambda: self._write(text))
        if self._broken is not None:
            self._fail(self._broken)
        return len(text)

    def flush(self) -> None:
        if self._broken is None:
            self._attempt(self._stream.flush)
            if self._broken is not None:
                self._fail(self._broken)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError as error:
            known = "".join(c if can_encode(c, error.encoding) else c.translate(PLAIN) for c in text)
            self._stream.write(known.encode(error.encoding, "backslashreplace").decode(error.encoding))

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._broken = error.strerror or str(error)
            _discard(self._stream)


def _raise(reason: str) -> None:
    raise OutputError(f"standard output cannot be written: {reason}")


def _discard(stream: TextIO) -> None:
    """Let what `stream` still holds go nowhere: Python writes it at exit and would complain there again."""
    with contextlib.suppress(OSError):  # a stream without a descriptor
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
