"""Where stages of a plan say how far they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["Progress", "Silent", "time_left_text"]


def __dir__() -> list[str]:
    return __all__


class Progress(Protocol):
    """Where stages say how far they are."""

    def stage(self, name: str, total: int | None) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """A context whose value, called after each step, takes a short text (empty keeps the last)."""
        ...


class Silent:
    """Progress that says nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """Ignore every step."""
        yield lambda text: None


def time_left_text(seconds: float) -> str:
    """How long something still takes: "40 s left", "4 min left", "1 h 20 min left"."""
    if seconds < 90:
        return f"{seconds:.0f} s left"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min left" if hours else f"{minutes} min left"
