"""The view of the shipped profiles."""

from __future__ import annotations

from rich import box
from rich.table import Table

from splitpoint.planner.output.documents.profiles import ProfilesDocument

__all__ = ["profiles_view"]


def __dir__() -> list[str]:
    return __all__


def profiles_view(document: ProfilesDocument) -> Table:
    """Shipped profiles by kind."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("kind", "name", "description"):
        table.add_column(name, overflow="fold")
    for row in document.profiles:
        table.add_row(row.kind, row.name, row.description)
    return table
