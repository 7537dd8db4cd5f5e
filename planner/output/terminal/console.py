"""The two consoles of the command line, and the progress bars of its stages."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from splitpoint.profiles.units import format_seconds

__all__ = ["StageBars", "consoles"]


def __dir__() -> list[str]:
    return __all__


def consoles() -> tuple[Console, Console]:
    """Standard output for answers, standard error for progress and warnings; NO_COLOR and pipes are respected."""
    return Console(highlight=False, soft_wrap=False), Console(stderr=True, highlight=False)


class StageBars:
    """One progress bar a stage on standard error, then one line that stays."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """A bar (a spinner when the number of steps is not known) until the block ends, then its last text."""
        begin, last = time.perf_counter(), ""
        progress = Progress(
            SpinnerColumn(),
            TextColumn(f"{name:<10}"),
            BarColumn(bar_width=24),
            *([MofNCompleteColumn(), TimeRemainingColumn(compact=True)] if total else []),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

        def step(text: str) -> None:
            nonlocal last
            last = text or last
            progress.update(task, advance=0 if text else 1, description=last)

        with progress:
            task = progress.add_task("", total=total)
            yield step
        seconds = format_seconds(time.perf_counter() - begin)
        self._console.print(Text.assemble(("✓ ", "green"), f"{name:<10} {last:<54} ", (f"{seconds:>8}", "dim")))
