"""The two consoles of the command line, which print text from files as it is, and the progress bars of its stages."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from splitpoint.planner.output.escape import printable, printable_line
from splitpoint.planner.output.streams import can_encode
from splitpoint.planner.values.progress import time_left_text
from splitpoint.profiles.units import format_seconds

__all__ = ["PlainConsole", "StageBars", "consoles"]


def __dir__() -> list[str]:
    return __all__


Write = Callable[[str, bool], None]  # takes a line, and whether the next one may take its place
LINE_EVERY_S = 2.0  # between two lines of a stage where standard error is a file or a pipe


class PlainConsole(Console):
    """A console that takes text as it is: no markup, no emoji by name, and control characters as visible escapes.

    Only styles of views and codes of rich itself (cursor, lines of progress bars) reach the terminal.
    """

    def __init__(self, **options: Any) -> None:
        """`options` are those of rich's `Console`."""
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def show(self, view: RenderableType) -> None:
        """Print a view; lines that it does not break (`command_line`) may be longer than the console is wide.

        `print` joins texts that are in no group into one, which it wraps.
        """
        self.print(Group(view), crop=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with the text of every segment through `printable`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def consoles() -> tuple[PlainConsole, PlainConsole]:
    """Standard output for answers, standard error for progress and warnings; NO_COLOR and pipes are respected."""
    return PlainConsole(soft_wrap=False), PlainConsole(stderr=True)


class StageBars:
    """One progress bar a stage on standard error, then one line that stays; a file, a pipe, a notebook gets lines.

    Both say how many steps are done, how long the stage still takes, how long the whole command has taken and, where
    stages to come are expected, how long it still takes ("over" that, while this stage's own time is not known).
    """

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float] = time.perf_counter,
        every_s: float = LINE_EVERY_S,
        write: Write | None = None,
    ) -> None:
        """`clock` gives seconds; where there is no terminal a line comes every `every_s`, also between two steps.

        With `write` lines go there, and not to `console`.
        """
        self._console, self._clock, self._every_s, self._write = console, clock, every_s, write
        self._begin = clock()
        self._expected: dict[str, float] = {}  # seconds of stages that have not begun

    def expect(self, name: str, seconds: float) -> None:
        """What a stage that has not begun is thought to take."""
        self._expected[name] = seconds

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """A bar (a spinner when the number of steps is not known) until the block ends, then its last text."""
        begin, last, done = self._clock(), "", 0
        expected = self._expected.pop(name, None)
        shown = self._console.is_terminal and self._write is None
        progress = Progress(
            SpinnerColumn("dots" if can_encode("⠋", self._console.encoding) else "line"),
            TextColumn(f"{name:<10}", markup=False),
            BarColumn(bar_width=12),
            *([MofNCompleteColumn(), TimeRemainingColumn(compact=True)] if total else []),
            TextColumn("{task.description}", markup=False),
            _Whole(lambda: whole()),
            console=self._console,
            transient=True,
            disable=not shown,
        )

        def step(text: str) -> None:
            nonlocal last, done
            last, done = printable_line(text) or last, done + (0 if text else 1)
            progress.update(task, advance=0 if text else 1, description=last)

        def left() -> float | None:
            """Seconds of this stage, by its own steps where it has made some."""
            spent = self._clock() - begin
            if total and done:
                return spent * max(0, total - done) / done
            return None if expected is None else max(0.0, expected - spent)

        def whole() -> str:
            so_far, later = f"{_duration(self._clock() - self._begin)} in all", sum(self._expected.values())
            if not later:
                return so_far
            mine = left()
            about = "over" if mine is None else "about"
            return f"{so_far}, {about} {time_left_text(later + (mine or 0.0))}"

        def say() -> None:
            """One line: what, how many, how long still, how long so far, how long the whole command still takes."""
            parts = [f"{done} of {total}"] if total else []
            parts += [last] if last else []
            mine = left()
            if mine is not None and done != total:
                parts.append(time_left_text(mine))
            parts.append(whole())
            self._line(Text(f"… {name:<10} {' · '.join(parts)}"), passing=True)

        task = progress.add_task("", total=total)
        try:
            progress.start()
            with contextlib.nullcontext() if shown else _repeated(say, self._every_s):
                yield step
        finally:
            progress.stop()  # gives the cursor back, also when a signal came while it started
        seconds = format_seconds(self._clock() - begin)
        wide = max(0, min(54, self._console.width - 24)) if shown else 54
        line = Text.assemble(("✓ ", "green"), f"{name:<10} {last:<{wide}} ", (f"{seconds:>8}", "dim"))
        if shown:
            self._console.print(line)
        else:
            self._line(line, passing=False)

    def _line(self, line: Text, *, passing: bool) -> None:
        if self._write is None:
            self._console.print(line, soft_wrap=True)
        else:
            self._write(printable_line(line.plain), passing)


class _Whole(ProgressColumn):
    """How long the command has taken and still takes."""

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text

    def render(self, task: Task) -> Text:
        return Text(self._text(), style="dim")


def _duration(seconds: float) -> str:
    """Minutes and seconds: "1:05"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


@contextlib.contextmanager
def _repeated(action: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `action` every `every_s` seconds, from a thread, until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
