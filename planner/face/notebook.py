"""Progress in a notebook: one output of the cell, whose last line is replaced while a stage runs."""

from __future__ import annotations

from typing import Any

__all__ = ["CellLines"]


def __dir__() -> list[str]:
    return __all__


class CellLines:
    """Lines as one plain text below the cell: bars of a terminal would leave an output for each of their changes."""

    def __init__(self) -> None:
        """The output appears with the first line."""
        self._lines: list[str] = []
        self._passing = False
        self._handle: Any = None  # of IPython, which runs where a notebook does

    def __call__(self, line: str, passing: bool) -> None:
        """Add `line`, in the place of the last one where that was `passing`."""
        if self._passing:
            self._lines.pop()
        self._lines.append(line)
        self._passing = passing
        text = {"text/plain": "\n".join(self._lines)}
        if self._handle is None:
            from IPython.display import display  # type: ignore[import-not-found]  # there where a notebook is

            self._handle = display(text, raw=True, display_id=True)
        else:
            self._handle.update(text, raw=True)
