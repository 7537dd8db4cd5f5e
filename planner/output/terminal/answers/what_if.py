"""The view of ``splitpoint what-if``: one answer, or a table of answers by rate or SNR, and what is worth measuring."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splitpoint.planner.output.documents.answers.what_if import StretchRow, UnmeasuredPart, WhatIfDocument
from splitpoint.planner.output.terminal.answer import answer_rows, answer_title
from splitpoint.planner.output.terminal.answers.policy import NOTHING, relax_lines
from splitpoint.planner.output.terminal.points import points_legend, points_table
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_bytes, format_rate, format_seconds

__all__ = ["what_if_view"]


def __dir__() -> list[str]:
    return __all__


def what_if_view(document: WhatIfDocument, *, width: int) -> RenderableType:
    """The answer of ``splitpoint what-if``, at most `width` columns wide."""
    head = [Text(f"\n{document.header}"), Text.assemble(("need  ", "dim"), document.need)]
    body = _answer(document, width=width) if document.unit is None else [_rows(document)]
    return Group(*head, *body, *_unmeasured(document.unmeasured))


def _answer(document: WhatIfDocument, *, width: int) -> list[RenderableType]:
    row, kind = document.row, document.answer_kind
    if row is None or kind is None:
        would = [Text("would fit with " + ", or ".join(document.would_fit))] if document.would_fit else []
        return [
            Text(f"\nNo measured point meets {document.need}.", style="bold"),
            points_table(document.nearest, "Nearest", share=None, width=width),
            points_legend(document.nearest, width=width),
            *would,
            *relax_lines(document.relax),
        ]
    number = "" if row.number is None else f" (point {row.number})"
    return [
        Text.assemble("\n", ("Answer: ", "bold"), (f"{answer_title(row, kind)}{number}", "bold")),
        answer_rows(row, document.reason, document.instead, None, document.not_certain),
        *relax_lines(document.relax),
    ]


def _rows(document: WhatIfDocument) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("from", "to", "#"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold", ratio=1)
    table.add_column("payload", justify="right", no_wrap=True)
    table.add_column("latency", justify="right", overflow="fold")
    for row in document.rows:
        if row.what is None or row.payload_bytes is None:
            table.add_row(*_ends(row, document.unit), "", NOTHING, "", "", style="dim")
            continue
        number = "" if row.number is None else str(row.number)
        seconds = [None if s is None else format_seconds(s) for s in (row.latency_low_s, row.latency_high_s)]
        latency = " to ".join(dict.fromkeys(text or "never" for text in seconds))
        table.add_row(*_ends(row, document.unit), number, row.what, format_bytes(row.payload_bytes), latency)
    return table


def _ends(row: StretchRow, unit: str | None) -> tuple[str, str]:
    if unit == "dB":
        return f"{row.low:.4g} dB", f"{row.high:.4g} dB"
    return format_rate(row.low), format_rate(row.high)


def _unmeasured(part: UnmeasuredPart) -> list[RenderableType]:
    if part.command is None:
        return []
    more = f" and {part.count - len(part.first)} more" if part.count > len(part.first) else ""
    return [
        Text(
            f"\n{count_text(part.count, 'candidate')} that {'was' if part.count == 1 else 'were'} not measured could be"
            f" better by the estimates of the table: {'; '.join(part.first)}{more}"
        ),
        Text(f"measure: {part.command}", overflow="fold"),
    ]
