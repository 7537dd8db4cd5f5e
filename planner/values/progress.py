"""Where stages of a plan say how far they are."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["Logged", "Progress", "Silent", "time_left_text"]


def __dir__() -> list[str]:
    return __all__


LOG = logging.getLogger("splitpoint")


class Progress(Protocol):
    """Where stages say how far they are."""

    def stage(self, name: str, total: int | None) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """A context whose value, called after each step, takes a short text (empty keeps the last)."""
        ...

    def expect(self, name: str, seconds: float) -> None:
        """What a stage that has not begun is thought to take, from what was measured so far; the last word counts."""
        ...


class Silent:
    """Progress that says nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """Ignore every step."""
        yield lambda text: None

    def expect(self, name: str, seconds: float) -> None:
        """Ignore it."""


class Logged:
    """Progress that also logs under the name "splitpoint": the end of each stage as INFO, each text as DEBUG."""

    def __init__(self, shown: Progress) -> None:
        """`shown` is told everything too."""
        self._shown = shown

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """The stage of `shown`, logged."""
        begin, last = time.perf_counter(), ""

        def logged(text: str) -> None:
            nonlocal last
            step(text)
            if text:
                last = text
                LOG.debug("%s: %s", name, text)

        with self._shown.stage(name, total) as step:
            yield logged
        LOG.info("%s: %s (%.3g s)", name, last, time.perf_counter() - begin)

    def expect(self, name: str, seconds: float) -> None:
        """What `shown` expects."""
        self._shown.expect(name, seconds)


def time_left_text(seconds: float) -> str:
    """How long something still takes: "40 s left", "4 min left", "1 h 20 min left"."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min left"
