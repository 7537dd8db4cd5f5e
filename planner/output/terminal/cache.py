"""The view of what earlier runs kept."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from splitpoint.planner.output.documents.cache import CacheDocument
from splitpoint.planner.output.plurals import count_text
from splitpoint.profiles.units import format_bytes

__all__ = ["cache_view"]


def __dir__() -> list[str]:
    return __all__


def cache_view(document: CacheDocument) -> RenderableType:
    """A line a kind, and what was done."""
    total = sum(row.size_bytes for row in document.kinds)
    lines = [f"{document.folder}: {format_bytes(total)} of at most {format_bytes(document.limit_bytes)}"]
    lines += [
        f"  {row.kind:<14} {count_text(row.entries, 'result'):>16} {format_bytes(row.size_bytes):>10}"
        for row in document.kinds
    ]
    if document.verified is not None:
        bad = f"{document.damaged} damaged and removed" if document.damaged else "none is damaged"
        lines.append(f"{count_text(document.verified, 'result')} read, {bad}")
    if document.cleared is not None:
        lines.append(f"{count_text(document.cleared, 'result')} removed")
    return Group(Text("\n".join(lines)))
