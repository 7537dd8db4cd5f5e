"""The view of a plan: baselines, the answer, its front and plot and where the notes are, or the nearest misses."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from splitpoint.planner.output.documents.plan import PlanDocument, Recommendation
from splitpoint.planner.output.documents.point import PointRow
from splitpoint.planner.output.terminal.answer import answer_rows, answer_title
from splitpoint.planner.output.terminal.answers.policy import relax_lines
from splitpoint.planner.output.terminal.answers.screen import LastScreen
from splitpoint.planner.output.terminal.figures import command_line, metric_text, next_step
from splitpoint.planner.output.terminal.points import points_legend, points_table
from splitpoint.planner.values.plurals import count_text

__all__ = ["plan_view"]


def __dir__() -> list[str]:
    return __all__


def plan_view(document: PlanDocument, *, width: int) -> RenderableType:
    """The answer of ``splitpoint plan``, at most `width` columns wide.

    What was asked and the baselines come first, so that the last screen of a terminal holds the answer.
    """
    share = document.deadline_share
    head: list[RenderableType] = [
        Text.assemble("\n", document.header, "\n", ("task  ", "dim"), metric_text(document.task, document.metric)),
        Text.assemble(("need  ", "dim"), document.need),
    ]
    baselines = points_table(document.baselines, f"Baselines ({_origin(document)})", share=share, width=width)
    if document.recommended is None or document.directory is None:
        head += [Text("\n".join(f"note  {text}" for text in document.notes), style="yellow")] * bool(document.notes)
    if document.recommended is None:
        return Group(*head, baselines, *_nothing_fits(document, width=width), *_warnings(document))
    return Group(
        *head,
        baselines,
        LastScreen(
            before=Group(*_warnings(document), *_answer(document, document.recommended)),
            front=document.front,
            title="Pareto front (as above)",
            more=document.directory,
            others=document.baselines,
            share=share,
            deadline_s=document.deadline_s,
            after=Group(*_end(document)),
        ),
    )


def _warnings(document: PlanDocument) -> list[RenderableType]:
    """The loudest lines: with other levels or labels than the network was trained on no figure is true."""
    found = [("THE NETWORK DOES NOT FIT THE LABELS", text) for text in document.doubts]
    if document.guess is not None:
        found.append(("THE INPUT WAS GUESSED", document.guess.replace("assumed", "ASSUMED", 1)))
    return [
        Panel(Text(text, style="bold"), title=title, box=box.HEAVY, border_style="bold red") for title, text in found
    ]


def _origin(document: PlanDocument) -> str:
    rows = [*document.baselines, *document.front]
    how, metric = " or ".join(dict.fromkeys(row.latency_how for row in rows)), rows[0].metric
    return f"search set, {document.search_set}; latency {how}, payload and {metric} measured"


def _answer(document: PlanDocument, recommended: Recommendation) -> list[RenderableType]:
    row, report = document.front[recommended.number - 1], document.report
    checked = None
    if report is not None:
        inputs = f"{count_text(report.n, 'input')} in {count_text(report.groups, 'group')} that were never searched"
        lost = f"loses {100 * report.drop:.1f} points [{100 * report.drop_low:.1f}, {100 * report.drop_high:.1f}]"
        checked = f"{report.metric} {report.value:.2f}, {lost} on {inputs}"
    return [
        Text.assemble("\n", ("Answer: ", "bold"), (answer_title(row, recommended.kind), "bold")),
        answer_rows(row, recommended.reason, recommended.instead, checked, recommended.not_certain),
        Text(""),
    ]


def _end(document: PlanDocument) -> list[RenderableType]:
    """What contradicts the answer, where the notes are, what was written, and what to do next."""
    parts: list[RenderableType] = []
    where = document.directory
    if document.contradicted is not None:
        parts.append(Text(f"CONTRADICTED: {document.contradicted}. The recommended point stays as it is.", style="red"))
        if document.safer is not None:
            safer = document.safer
            export = next_step("export", where or "DIR", "--point", str(safer.number), "--out")
            parts += [
                Text(f"next point of higher quality: {safer.number} ({safer.cut}, {safer.codec} {safer.rate})"),
                command_line(f"→ {export} DIR"),
            ]
    if where is None:
        return parts
    if document.notes:
        left_out = f", {document.left_out} left out" if document.left_out else ""
        parts.append(
            command_line(("notes ", "dim"), f"{len(document.notes)}{left_out}: {next_step('show', where, '--notes')}")
        )
    kept = "" if document.kept is None else f" (the plan that was there is {document.kept})"
    steps = f"{next_step('verify', where)} · splitpoint show|map|what-if|export"
    parts.append(command_line(("wrote ", "dim"), f"{where}/{kept} → {steps}"))
    return parts


def _nothing_fits(document: PlanDocument, *, width: int) -> list[RenderableType]:
    share = document.deadline_share
    parts: list[RenderableType] = [
        Text(f"\nNo candidate meets {document.need}.", style="bold"),
        points_table(document.nearest, "Nearest", share=share, width=width),
        points_legend(document.baselines, document.nearest, share=share, width=width),
    ]
    parts += [Text(f"{_name(row)} {' and '.join(row.notes)}") for row in document.nearest]
    if document.would_fit:
        parts.append(Text("would fit with " + ", or ".join(document.would_fit)))
    return [*parts, *relax_lines(document.relax)]


def _name(row: PointRow) -> str:
    return row.cut if row.placement == "device" else f"{row.cut}, {row.codec} {row.rate}"
