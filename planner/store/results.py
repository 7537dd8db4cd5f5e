"""Results of one runtime: looked up by content, else computed and kept."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.keys import Runtime, runtime_on
from splitpoint.profiles.machine.machine import this_machine

__all__ = ["Results", "results_here"]


def __dir__() -> list[str]:
    return __all__


T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Results:
    """A store, and the runtime whose results are asked for."""

    store: Store
    runtime: Runtime
    fresh: bool = False  # compute everything, and keep it
    asked: Counter[str] = dataclasses.field(default_factory=Counter)  # results that were asked for, by kind
    recalled: Counter[str] = dataclasses.field(default_factory=Counter)  # results that were there, by kind
    used: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # kinds and keys that were asked for, in turn
    # What other machines have of this very runtime, by kind and key; None where it cannot be read.
    offered: dict[tuple[str, str], Callable[[], bytes | None]] = dataclasses.field(default_factory=dict)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock, repr=False)

    def get(
        self,
        kind: str,
        key: str,
        compute: Callable[[], T],
        *,
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
        keep: Callable[[T], bool] = lambda result: True,
    ) -> tuple[T, bool]:
        """The result under `key`, and whether it was there; what cannot be decoded is computed again.

        A computed result is kept where `keep` says so.
        """
        with self._lock:
            self.asked[kind] += 1
            self.used.append((kind, key))
        content = None if self.fresh else self.store.get(kind, key)
        if content is None and (kind, key) in self.offered:
            content = self.offered[kind, key]()
            if content is not None:
                self.store.put(kind, key, content)
        if content is not None:
            try:
                result = decode(content)
            except (CodecError, ValueError):  # msgspec's errors are ValueErrors
                pass
            else:
                with self._lock:
                    self.recalled[kind] += 1
                return result, True
        result = compute()
        if keep(result):
            self.store.put(kind, key, encode(result))
        return result, False


def results_here(store: Store, *, threads: int, fresh: bool = False) -> Results:
    """The results of `store` for what this process computes with `threads`."""
    return Results(store=store, runtime=runtime_on(this_machine(threads=threads)), fresh=fresh)
