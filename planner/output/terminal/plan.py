"""The view of a plan: baselines, front, plot, recommendation and report set, or the nearest misses."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from splitpoint.planner.output.documents.plan import PlanDocument, Recommendation
from splitpoint.planner.output.documents.point import PointRow
from splitpoint.planner.output.plurals import count_text
from splitpoint.planner.output.terminal.answer import answer_rows, answer_title
from splitpoint.planner.output.terminal.answers.policy import hypervolume_text, policy_table, relax_lines
from splitpoint.planner.output.terminal.figures import latency_text, metric_text, payload_range_text, quality_text
from splitpoint.planner.output.terminal.points import points_legend, points_plot, points_table

__all__ = ["plan_view"]


def __dir__() -> list[str]:
    return __all__


def plan_view(document: PlanDocument, *, width: int) -> RenderableType:
    """The answer of ``splitpoint plan``, at most `width` columns wide."""
    share = document.deadline_share
    head: list[RenderableType] = [
        Text.assemble("\n", document.header, "\n", ("task  ", "dim"), metric_text(document.task, document.metric)),
        Text.assemble(("need  ", "dim"), document.need),
        *([Text("\n".join(f"note  {text}" for text in document.notes), style="yellow")] if document.notes else []),
    ]
    baselines = points_table(document.baselines, f"Baselines ({_origin(document)})", share=share, width=width)
    if document.recommended is None:
        return Group(*head, baselines, *_nothing_fits(document, width=width), *_guess(document.guess))
    return Group(
        *head,
        *_guess(document.guess),
        *_answer(document, document.recommended),
        baselines,
        points_table(document.front, f"Pareto front ({_origin(document)})", share=share, width=width),
        points_legend([*document.baselines, *document.front], share=share),
        points_plot(document.front, deadline_s=document.deadline_s, width=width),
        *_recommendation(document, document.recommended),
        *_report(document),
    )


def _guess(text: str | None) -> list[RenderableType]:
    """The loudest line of the output: with other levels than the network was trained on no figure is true."""
    if text is None:
        return []
    line = Text(text.replace("assumed", "ASSUMED", 1), style="bold")
    return [Panel(line, title="THE INPUT WAS GUESSED", box=box.HEAVY, border_style="bold red")]


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
        answer_rows(row, recommended.reason, recommended.instead, checked),
        Text(""),
    ]


def _recommendation(document: PlanDocument, recommended: Recommendation) -> list[RenderableType]:
    return [
        Text(f"\nPoint {recommended.number}, the answer:"),
        Text(latency_text(recommended.parts, recommended.halves)),
        *relax_lines(document.relax),
        *hypervolume_text(document.hypervolume),
        *policy_table(recommended.by_rate),
    ]


def _report(document: PlanDocument) -> list[RenderableType]:
    parts: list[RenderableType] = []
    chosen = document.recommended
    symbols = None if chosen is None else document.front[chosen.number - 1].symbols
    if document.report is not None:
        quality = quality_text(document.report, symbols=symbols)
        parts.append(Text(f"\nReport set (not used in the search): {quality}"))
    if document.payload_range is not None:
        parts.append(Text(payload_range_text(document.payload_range, symbols=symbols)))
    where = document.directory
    if document.contradicted is not None:
        parts.append(Text(f"CONTRADICTED: {document.contradicted}. The recommended point stays as it is.", style="red"))
        if document.safer is not None:
            safer = document.safer
            parts.append(
                Text(
                    f"next point of higher quality: {safer.number} ({safer.cut}, {safer.codec} {safer.rate})"
                    f" → splitpoint export {where} --point {safer.number} --out DIR"
                )
            )
    if where is not None:
        parts.append(
            Text(
                f"wrote {where}/ → splitpoint verify {where} · splitpoint map {where} ·"
                f" splitpoint export {where} --point N --out DIR"
            )
        )
    return parts


def _nothing_fits(document: PlanDocument, *, width: int) -> list[RenderableType]:
    share = document.deadline_share
    parts: list[RenderableType] = [
        Text(f"\nNo candidate meets {document.need}.", style="bold"),
        points_table(document.nearest, "Nearest", share=share, width=width),
        points_legend([*document.baselines, *document.nearest], share=share),
    ]
    parts += [Text(f"{_name(row)} {' and '.join(row.notes)}") for row in document.nearest]
    if document.would_fit:
        parts.append(Text("would fit with " + ", or ".join(document.would_fit)))
    return [*parts, *relax_lines(document.relax)]


def _name(row: PointRow) -> str:
    return row.cut if row.placement == "device" else f"{row.cut}, {row.codec} {row.rate}"
