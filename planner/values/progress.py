"""Where stages of a plan say how far they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["Progress", "Silent"]


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
