"""The two consoles of the command line, which print text from files as it is, and the progress bars of its stages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from splitpoint.planner.output.escape import printable, printable_line
from splitpoint.profiles.units import format_seconds

__all__ = ["PlainConsole", "StageBars", "consoles"]


def __dir__() -> list[str]:
    return __all__


LOGGED_EVERY_S = 60.0  # between two lines of a stage where standard error is a file or a pipe


class PlainConsole(Console):
    """A console that takes text as it is: no markup, no emoji by name, and control characters as visible escapes.

    Only styles of views and codes of rich itself (cursor, lines of progress bars) reach the terminal.
    """

    def __init__(self, **options: Any) -> None:
        """`options` are those of rich's `Console`."""
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with the text of every segment through `printable`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def consoles() -> tuple[Console, Console]:
    """Standard output for answers, standard error for progress and warnings; NO_COLOR and pipes are respected."""
    return PlainConsole(soft_wrap=False), PlainConsole(stderr=True)


class StageBars:
    """One progress bar a stage on standard error, then one line that stays; a file gets a line a minute instead."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._console, self._clock = console, clock

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """A bar (a spinner when the number of steps is not known) until the block ends, then its last text."""
        begin, last = self._clock(), ""
        logged, shown = begin, self._console.is_terminal
        progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{name:<10}", markup=False),
            BarColumn(bar_width=12),
            *([MofNCompleteColumn(), TimeRemainingColumn(compact=True)] if total else []),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not shown,
        )

        def step(text: str) -> None:
            nonlocal last, logged
            last = printable_line(text) or last
            progress.update(task, advance=0 if text else 1, description=last)
            if not shown and last and self._clock() >= logged + LOGGED_EVERY_S:
                logged = self._clock()
                self._console.print(f"… {name:<10} {last}", soft_wrap=True)

        task = progress.add_task("", total=total)
        try:
            progress.start()
            yield step
        finally:
            progress.stop()  # gives the cursor back, also when a signal came while it started
        seconds = format_seconds(self._clock() - begin)
        self._console.print(Text.assemble(("✓ ", "green"), f"{name:<10} {last:<54} ", (f"{seconds:>8}", "dim")))
