"""Values that are costly to make and may be made again: the least recently used go when their bytes exceed a budget."""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["DEFAULT_SHARE", "MOST_BYTES", "ByteCache", "default_budget"]


def __dir__() -> list[str]:
    return __all__


DEFAULT_SHARE = 0.25  # of the memory that is free when a plan begins
MOST_BYTES = 2 * 10**9

T = TypeVar("T")


def default_budget() -> int:
    """A quarter of the memory that is free now, at most 2 GB; bytes."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4 * MOST_BYTES
    return min(MOST_BYTES, int(DEFAULT_SHARE * free))


class ByteCache:
    """One budget for everything that a plan keeps; safe to use from several threads.

    A value larger than the whole budget is made and given, but not kept.
    """

    def __init__(self, budget_bytes: int) -> None:
        """`budget_bytes` bounds the sum of the sizes that `get` is told."""
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._entries: collections.OrderedDict[Hashable, tuple[Any, int]] = collections.OrderedDict()
        self._lock = threading.RLock()
        self._making: dict[Hashable, threading.RLock] = {}

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made now unless it is kept; `size` gives its bytes.

        While a thread makes it, others that ask for the same wait: `make` may ask for other keys, never in a circle.
        """
        with self._lock:
            if key in self._entries:
                found: T = self._kept(key)
                return found
            making = self._making.setdefault(key, threading.RLock())
        with making:
            with self._lock:
                if key in self._entries:
                    found = self._kept(key)
                    return found
            try:
                value = make()
                self._keep(key, value, size(value))
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._entries.clear()
            self.used_bytes = 0

    def _kept(self, key: Hashable) -> Any:
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def _keep(self, key: Hashable, value: object, size: int) -> None:
        with self._lock:
            if size > self.budget_bytes:
                return
            if key in self._entries:  # another thread made it meanwhile
                self.used_bytes -= self._entries.pop(key)[1]
            self._entries[key] = value, size
            self.used_bytes += size
            while self.used_bytes > self.budget_bytes:
                self.used_bytes -= self._entries.popitem(last=False)[1][1]
