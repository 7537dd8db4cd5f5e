"""Rows as a table: a pandas DataFrame where pandas is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import msgspec

__all__ = ["as_table"]


def __dir__() -> list[str]:
    return __all__


def as_table(rows: Sequence[msgspec.Struct]) -> Any:
    """A pandas DataFrame with a row each and the fields as columns, or the rows as a tuple where pandas is missing."""
    if importlib.util.find_spec("pandas") is None:
        return tuple(rows)
    import pandas  # type: ignore[import-untyped]  # its stubs are no dependency

    return pandas.DataFrame([msgspec.structs.asdict(row) for row in rows])
