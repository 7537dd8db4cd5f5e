"""The document of ``splitpoint plan``: baselines, Pareto front, recommendation and its figures on the report set."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import msgspec

from splitpoint.planner.answers.hypervolume import hypervolume_series
from splitpoint.planner.answers.policy import plan_policy
from splitpoint.planner.answers.question import Question, question_of
from splitpoint.planner.answers.relax import Relaxation, relax_limits
from splitpoint.planner.choice.certainty import is_certain
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import Alternative, Kind, PayloadRange, PolicyRow
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.measuring.unsplit import is_doubt_of_network
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.documents.latency import Halves, LatencySum, halves, latency_sum
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.escape import printable_line
from splitpoint.planner.plandir.answer import make_answer
from splitpoint.planner.plandir.front import front_row
from splitpoint.planner.search.contradiction import contradiction, safer_point
from splitpoint.planner.search.decide import Decision, violations
from splitpoint.planner.search.notes import plan_notes
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import place_text
from splitpoint.planner.values.plurals import count_text
from splitpoint.profiles.link.link import describe
from splitpoint.profiles.network.inputs import is_guess_of_levels
from splitpoint.profiles.units import format_flops

__all__ = ["PlanDocument", "Recommendation", "SaferPoint", "plan_document"]


def __dir__() -> list[str]:
    return __all__


INFEASIBLE = "infeasible"  # the violation of a message that can never arrive


class Recommendation(Value, frozen=True, kw_only=True):
    """The recommended point."""

    number: int  # on the front, from 1
    kind: Kind  # all on the device, the input sent, or a split
    prefer: str  # what it is best in, among points that meet every limit
    reason: str
    not_certain: str | None  # the deadline that its latency's interval contains, and what to measure
    instead: tuple[Alternative, ...]  # the best point of every other kind, with its price beside the recommended one
    by_rate: tuple[PolicyRow, ...]  # the policy over the uplink rate
    parts: LatencySum
    halves: Halves


class SaferPoint(Value, frozen=True, kw_only=True):
    """The next point of the front with a higher quality."""

    number: int
    cut: str
    codec: str
    rate: str


class PlanDocument(Document, frozen=True, kw_only=True, tag="plan"):
    """The answer of ``splitpoint plan``."""

    header: str
    task: Task
    metric: MetricUse  # name, unit and definition of the quality in every table
    need: str
    guess: str | None  # the input's levels where the configuration does not give them: every figure depends on it
    doubts: tuple[str, ...] = ()  # of the unsplit network, which does not fit the labels
    notes: tuple[str, ...]  # what was assumed, left out or noticed, a line each
    left_out: int  # codecs, cuts and candidates that were not searched
    baselines: tuple[PointRow, ...]
    front: tuple[PointRow, ...]  # fewest bytes first; empty when nothing meets the requirements
    search_set: str
    deadline_s: float | None
    deadline_share: float | None  # of cases in which the deadline must hold; None: on average
    recommended: Recommendation | None
    relax: tuple[Relaxation, ...]  # what a limit that binds would give if it were a tenth looser
    hypervolume: tuple[float, ...]  # after each measured point, as a share of the last
    nearest: tuple[PointRow, ...]  # when nothing fits: least missed first
    would_fit: tuple[str, ...]  # requirements, each relaxed alone, under which something fits
    report: Accuracy | None
    payload_range: PayloadRange | None  # on the report inputs
    contradicted: str | None  # how the report set misses the quality floor that the search set met
    safer: SaferPoint | None
    evaluated: int
    tail_runs: int
    tail_reused: int
    recalled: int  # candidates that an earlier run had measured
    directory: str | None  # where the plan was written
    kept: str | None  # where the plan is that was there before
    sha256: str | None  # of its plan.yaml, which has the hashes of all other files


def plan_document(
    result: SearchResult, plan: Plan | None, directory: Path, *, kept: Path | None = None
) -> PlanDocument:
    """The whole answer of ``splitpoint plan``; `plan` is None when nothing was feasible.

    `kept` is where the plan is that was in `directory` before.
    """
    problem, decision = result.problem, result.decision
    search, report = problem.split.search, None if plan is None else plan.file.report
    question = question_of(result)
    notes = plan_notes(result)
    return PlanDocument(
        header=_header(result),
        task=problem.metric.task,
        metric=problem.metric.use,
        need=needs_text(problem.needs, problem.metric.use.name),
        guess=next((note for note in notes if is_guess_of_levels(note)), None),
        doubts=tuple(note for note in notes if is_doubt_of_network(note)),
        notes=tuple(note for note in notes if not (is_guess_of_levels(note) or is_doubt_of_network(note))),
        left_out=len(result.left_out),
        baselines=tuple(
            point_row(
                front_row(point, result.aim.errors, number=None),
                label=label,
                **_misses(point, question),
            )
            for label, point in result.baselines
        ),
        front=tuple(
            point_row(
                front_row(point, result.aim.errors, number=number),
                notes=_notes(decision, point),
                not_certain=_in_doubt(point, question),
            )
            for number, point in enumerate(decision.front, start=1)
        ),
        search_set=f"{count_text(len(search), 'input')}, {count_text(search.group_count, 'group')}",
        deadline_s=problem.needs.value("latency"),
        deadline_share=problem.needs.deadline_share,
        recommended=_recommendation(result, plan),
        relax=relax_limits(question, decision.recommended),
        hypervolume=hypervolume_series(question),
        nearest=tuple(
            point_row(
                front_row(point, result.aim.errors, number=None),
                **_misses(point, question),
            )
            for point in decision.nearest
        ),
        would_fit=decision.would_fit,
        report=None if report is None else msgspec.structs.replace(report, groups=problem.split.report.group_count),
        payload_range=None if plan is None else plan.file.payload_range,
        contradicted=None
        if report is None or decision.recommended is None
        else contradiction(decision.recommended, report, problem.needs),
        safer=None if plan is None else _safer(decision),
        evaluated=len(result.points),
        tail_runs=result.tail_runs,
        tail_reused=result.tail_reused,
        recalled=result.recalled,
        directory=None if plan is None else str(directory),
        kept=None if kept is None else str(kept),
        sha256=None if plan is None else plan.sha256,
    )


def _recommendation(result: SearchResult, plan: Plan | None) -> Recommendation | None:
    decision = result.decision
    numbers = {point.candidate: number for number, point in enumerate(decision.front, start=1)}
    answer = make_answer(decision, question_of(result), decision.front)
    if decision.recommended is None or answer is None:
        return None
    return Recommendation(
        number=answer.number,
        kind=answer.kind,
        prefer=answer.prefer,
        reason=answer.reason,
        not_certain=answer.not_certain,
        instead=answer.instead,
        by_rate=plan_policy(question_of(result), numbers) if plan is None else plan.file.policy,
        parts=latency_sum(decision.recommended.cost),
        halves=halves(decision.recommended.cost),
    )


def _header(result: SearchResult) -> str:
    problem = result.problem
    graph = problem.graph
    shapes = {tensor.name: "x".join(map(str, tensor.shape)) for tensor in graph.inputs}
    shape = ", ".join(f"{name} {text}" if len(shapes) > 1 else text for name, text in shapes.items())
    device, server = result.device, result.server
    lines = (
        f"{graph.name} ({graph.parameters / 1e6:.1f} M parameters, {format_flops(graph.macs)}) · {shape}",
        f"{device.name} ({count_text(device.runtime.threads, 'thread')}) ──{describe(problem.link)}──> {server.name}",
    )
    return "\n".join(map(printable_line, lines))


def _notes(decision: Decision, point: Evaluated) -> list[str]:
    marked = {"recommended": decision.recommended, "knee": decision.knee}
    return [note for note, other in marked.items() if other is not None and other.candidate == point.candidate]


class _Misses(TypedDict):
    notes: list[str]
    not_certain: bool
    misses: list[str]


def _in_doubt(point: Evaluated, question: Question) -> bool:
    return not is_certain(point.cost, question.needs, question.aim.errors)


def _misses(point: Evaluated, question: Question) -> _Misses:
    """What a point misses, in every table alike: "misses latency by 4 ms", "cannot be sent: over 222 bytes"."""
    missed = violations(point, question.needs)
    texts = [
        violation.text.replace(INFEASIBLE, "cannot be sent", 1)
        if violation.name == INFEASIBLE
        else f"misses {violation.text}"
        for violation in missed
    ]
    names = [violation.name for violation in missed]
    return {"notes": texts, "misses": names, "not_certain": _in_doubt(point, question)}


def _safer(decision: Decision) -> SaferPoint | None:
    number = safer_point(decision)
    if number is None:
        return None
    point = decision.front[number - 1]
    return SaferPoint(
        number=number,
        cut=place_text(point, with_variant=True),
        codec=point.candidate.codec,
        rate=point.label,
    )
