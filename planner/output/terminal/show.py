"""The view of a stored plan: its point, what that costs and loses, and the front."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from splitpoint.planner.output.documents.show import ShowDocument
from splitpoint.planner.output.terminal.answer import answer_rows, answer_title
from splitpoint.planner.output.terminal.answers.policy import hypervolume_text, policy_table, relax_lines
from splitpoint.planner.output.terminal.figures import (
    latency_text,
    metric_text,
    payload_range_text,
    quality_text,
    size_text,
)
from splitpoint.planner.output.terminal.points import points_legend, points_plot, points_table
from splitpoint.planner.values.candidate import GIVEN
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.units import format_interval

__all__ = ["notes_view", "show_view"]


def __dir__() -> list[str]:
    return __all__


def notes_view(document: ShowDocument) -> RenderableType:
    """The answer of ``splitpoint show --notes``: every note of the plan in full."""
    left_out = f", {document.left_out} left out" if document.left_out else ""
    lines = [f"{count_text(len(document.notes), 'note')}{left_out}", *(f"  {text}" for text in document.notes)]
    return Text("\n".join(lines))


def show_view(document: ShowDocument, *, width: int) -> RenderableType:
    """The answer of ``splitpoint show``, at most `width` columns wide."""
    network = "" if document.variant == GIVEN else f"{document.variant} · "
    size = size_text(document.payload_bytes, document.channel_uses)
    latency = format_interval(document.parts.latency_s, document.latency_low_s, document.latency_high_s)
    about = [
        document.header,
        f"task     {metric_text(document.task, document.metric)}",
        f"need     {document.need}",
    ]
    texts = [
        f"point    {document.point}: {network}{document.cut} · {document.codec} · {size} · {latency} {document.how}",
        latency_text(document.parts, document.halves),
        f"search set: {quality_text(document.search, symbols=document.symbols)}",
    ]
    if document.report is not None:
        texts.append(f"report set: {quality_text(document.report, symbols=document.symbols)}")
    if document.payload_range is not None:
        texts.append(payload_range_text(document.payload_range, symbols=document.symbols))
    share = document.deadline_share
    return Group(
        Text("\n".join(about)),
        *_answer(document),
        Text("\n".join(texts)),
        *(Text(f"! {text}", style="red") for text in document.misses),
        Text(""),
        points_table(document.front, "Pareto front (search set)", share=share, width=width),
        points_legend(document.front, share=share, width=width),
        points_plot(document.front, deadline_s=document.deadline_s, width=width),
        *relax_lines(document.relax),
        *hypervolume_text(document.hypervolume),
        *policy_table(document.policy),
        Text(f"\ncreated  {document.created}\nsha256   {document.sha256}"),
        *([Text(f"\nnotes {len(document.notes)}: --notes", style="dim")] if document.notes else []),
    )


def _answer(document: ShowDocument) -> list[RenderableType]:
    """What was recommended and why; nothing for a plan that was written without a choice."""
    answer = document.answer
    row = None if answer is None else next((row for row in document.front if row.number == answer.number), None)
    if answer is None or row is None:
        return []
    return [
        Text.assemble("\n", ("Answer: ", "bold"), (answer_title(row, answer.kind), "bold")),
        answer_rows(row, answer.reason, answer.instead, None, answer.not_certain),
        Text(""),
    ]
