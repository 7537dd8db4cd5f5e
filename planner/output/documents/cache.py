"""The document of ``splitpoint cache``: what earlier runs kept, and what was done to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.store.store import Store

__all__ = ["CacheDocument", "KindRow", "cache_document"]


def __dir__() -> list[str]:
    return __all__


class KindRow(Value, frozen=True, kw_only=True):
    """What is kept of one kind."""

    kind: str  # "outcomes", "fitted-codec"; "checkpoints"
    entries: int  # or files
    size_bytes: int


class CacheDocument(Document, frozen=True, kw_only=True, tag="cache"):
    """The answer of ``splitpoint cache``."""

    folder: str
    limit_bytes: int
    kinds: tuple[KindRow, ...]
    working: tuple[KindRow, ...]  # files that trainings need until they end; not of the limit
    verified: int | None  # entries that were read; None: they were not
    damaged: int  # of them, which are removed
    cleared: int | None  # entries that were removed; None: none were to be
    cleared_files: int | None  # of trainings


def cache_document(store: Store, *, verify: bool, clear: bool) -> CacheDocument:
    """What is in `store`, after `verify` (read everything, remove what is damaged) and `clear` (remove everything)."""
    count = sum(1 for _ in store.entries()) if verify else None
    damaged = len(store.verify()) if verify else 0
    cleared, cleared_files = (store.clear(), store.clear_working()) if clear else (None, None)
    return CacheDocument(
        folder=str(store.folder),
        limit_bytes=store.limit_bytes,
        kinds=_rows((entry.kind, entry.size_bytes) for entry in store.entries()),
        working=_rows((folder, size_bytes) for folder, _, size_bytes in store.working()),
        verified=count,
        damaged=damaged,
        cleared=cleared,
        cleared_files=cleared_files,
    )


def _rows(sizes: Iterable[tuple[str, int]]) -> tuple[KindRow, ...]:
    """One row a kind, in the order of their names, from the kind and bytes of every file."""
    entries, total = Counter[str](), Counter[str]()
    for kind, size_bytes in sizes:
        entries[kind] += 1
        total[kind] += size_bytes
    return tuple(KindRow(kind=kind, entries=entries[kind], size_bytes=total[kind]) for kind in sorted(entries))
