"""The document of ``splitpoint cache``: what earlier runs kept, and what was done to it."""

from __future__ import annotations

from collections import Counter

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.store.store import Store

__all__ = ["CacheDocument", "KindRow", "cache_document"]


def __dir__() -> list[str]:
    return __all__


class KindRow(Value, frozen=True, kw_only=True):
    """What is kept of one kind."""

    kind: str  # "outcomes", "fitted-codec"
    entries: int
    size_bytes: int


class CacheDocument(Document, frozen=True, kw_only=True, tag="cache"):
    """The answer of ``splitpoint cache``."""

    folder: str
    limit_bytes: int
    kinds: tuple[KindRow, ...]
    verified: int | None  # entries that were read; None: they were not
    damaged: int  # of them, which are removed
    cleared: int | None  # entries that were removed; None: none were to be


def cache_document(store: Store, *, verify: bool, clear: bool) -> CacheDocument:
    """What is in `store`, after `verify` (read everything, remove what is damaged) and `clear` (remove everything)."""
    count = sum(1 for _ in store.entries()) if verify else None
    damaged = len(store.verify()) if verify else 0
    cleared = store.clear() if clear else None
    entries, sizes = Counter[str](), Counter[str]()
    for entry in store.entries():
        entries[entry.kind] += 1
        sizes[entry.kind] += entry.size_bytes
    return CacheDocument(
        folder=str(store.folder),
        limit_bytes=store.limit_bytes,
        kinds=tuple(KindRow(kind=kind, entries=entries[kind], size_bytes=sizes[kind]) for kind in sorted(entries)),
        verified=count,
        damaged=damaged,
        cleared=cleared,
    )
