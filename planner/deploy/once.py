"""Values that are made on first use and kept, by one thread while the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast

__all__ = ["Once"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")


class Once:
    """Makes each value once; `functools.cached_property` makes it in every thread that comes too early."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # making one value may need another
        self._values: dict[str, object] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The value called `name`, made by `make` unless it is there; what `make` raises is raised each time."""
        if name not in self._values:
            with self._lock:
                if name not in self._values:
                    self._values[name] = make()
        return cast(T, self._values[name])
