"""The last screen of a plan: the answer, what fits of its front, and legend and plot where there is room."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from splitpoint.planner.output.documents.point import PointRow
from splitpoint.planner.output.terminal.figures import command_line, next_step
from splitpoint.planner.output.terminal.points import LEAST_ROWS, points_legend, points_plot, points_table

__all__ = ["LastScreen"]


def __dir__() -> list[str]:
    return __all__


FEWEST = 1  # points that are shown however small the screen is
PROMPT = 1  # line of the shell under what a command printed
AROUND_PLOT = 5  # lines of a plot beside its rows: a gap, the names of the axes, the axis and its ticks
SHORT_LEGEND = "The columns are explained by: splitpoint show --help"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LastScreen:
    """A front between what comes before and after it, in the height of a terminal; a file or a pipe gets all of it."""

    before: RenderableType
    front: Sequence[PointRow]
    title: str
    more: str | None  # the plan directory, which shows what has no room; None: everything is shown
    others: Sequence[PointRow]  # of a table before, whose words the legend explains, too
    share: float | None
    deadline_s: float | None
    after: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fit the points, then the legend, then the plot into the lines that are left."""
        width = options.max_width

        def lines(*parts: RenderableType) -> int:
            return len(console.render_lines(Group(*parts), options))

        limited = self.more is not None and console.is_terminal
        room = console.height - PROMPT - lines(self.before, self.after) if limited else None
        rows = list(self.front)
        while room is not None and len(rows) > FEWEST and lines(*self._table(rows, width), SHORT_LEGEND) > room:
            rows = self._around_the_answer(len(rows) - 1)
        table = self._table(rows, width)
        legend = points_legend(self.others, rows, share=self.share, width=width)
        if room is not None and lines(*table, legend) > room:
            legend = Text(SHORT_LEGEND, style="dim")
        yield self.before
        yield from table
        yield legend
        left = AROUND_PLOT + 100 if room is None else room - lines(*table, legend)
        if left >= AROUND_PLOT + LEAST_ROWS:
            yield points_plot(self.front, deadline_s=self.deadline_s, width=width, height=left - AROUND_PLOT)
        yield self.after

    def _table(self, rows: Sequence[PointRow], width: int) -> list[RenderableType]:
        hidden = len(self.front) - len(rows)
        more = [command_line(f"(+ {hidden} more: {next_step('show', self.more or '')})", style="dim")] if hidden else []
        return [points_table(rows, self.title, share=self.share, width=width), *more]

    def _around_the_answer(self, count: int) -> list[PointRow]:
        """`count` neighbours in the front, the recommended point among them."""
        answer = next((i for i, row in enumerate(self.front) if "recommended" in row.notes), 0)
        first = max(0, min(answer - count // 2, len(self.front) - count))
        return list(self.front[first : first + count])
