"""The document of ``splitpoint plan``: baselines, Pareto front, recommendation and its figures on the report set."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.documents.latency import Halves, LatencySum, halves, latency_sum
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.documents.profile import RETEST_WARNING
from splitpoint.planner.output.plurals import count_text, uncounted_text
from splitpoint.planner.plandir.front import front_row
from splitpoint.planner.profiling.noise import describe_noise
from splitpoint.planner.search.contradiction import contradiction, safer_point
from splitpoint.planner.search.decide import Decision, Violation, violations
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.search.what_if import RateRange, by_rate
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import place_text
from splitpoint.profiles.link.link import describe
from splitpoint.profiles.network.inputs import is_guess_of_levels
from splitpoint.profiles.units import format_flops, format_fraction

__all__ = ["PlanDocument", "Recommendation", "SaferPoint", "plan_document"]


def __dir__() -> list[str]:
    return __all__


INFEASIBLE = "infeasible"  # the violation of a message that can never arrive
NAMED = 3  # names listed of what was left out for one reason


class Recommendation(Value, frozen=True, kw_only=True):
    """The recommended point."""

    number: int  # on the front, from 1
    reason: str
    by_rate: tuple[RateRange, ...]
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
    need: str
    guess: str | None  # the input's levels where nobody said them: every figure depends on it
    notes: tuple[str, ...]
    baselines: tuple[PointRow, ...]
    front: tuple[PointRow, ...]  # fewest bytes first; empty when nothing meets the requirements
    search_set: str
    deadline_s: float | None
    deadline_share: float | None  # of cases in which the deadline must hold; None: on average
    recommended: Recommendation | None
    nearest: tuple[PointRow, ...]  # when nothing fits: least missed first
    would_fit: tuple[str, ...]  # requirements, each relaxed alone, under which something fits
    report: Accuracy | None
    contradicted: str | None  # how the report set misses the quality floor that the search set met
    safer: SaferPoint | None
    evaluated: int
    tail_runs: int
    tail_reused: int
    directory: str | None  # where the plan was written


def plan_document(result: SearchResult, plan: Plan | None, directory: Path) -> PlanDocument:
    """The whole answer of ``splitpoint plan``; `plan` is None when nothing was feasible."""
    problem, decision = result.problem, result.decision
    search, report = problem.split.search, None if plan is None else plan.file.report
    notes = (*problem.notes, *result.notes, *_warnings(result))
    return PlanDocument(
        header=_header(result),
        need=needs_text(problem.needs, problem.metric.use.name),
        guess=next((note for note in notes if is_guess_of_levels(note)), None),
        notes=tuple(note for note in notes if not is_guess_of_levels(note)),
        baselines=tuple(
            point_row(
                front_row(point, number=None),
                label=label,
                notes=[_miss_text(violation, violation.name) for violation in violations(point, problem.needs)],
                misses=[violation.name for violation in violations(point, problem.needs)],
            )
            for label, point in result.baselines
        ),
        front=tuple(
            point_row(front_row(point, number=number), notes=_notes(decision, point))
            for number, point in enumerate(decision.front, start=1)
        ),
        search_set=f"{count_text(len(search), 'input')}, {count_text(search.group_count, 'group')}",
        deadline_s=problem.needs.value("latency"),
        deadline_share=problem.needs.deadline_share,
        recommended=_recommendation(result),
        nearest=tuple(
            point_row(
                front_row(point, number=None),
                notes=[_miss_text(violation, violation.text) for violation in violations(point, problem.needs)],
                misses=[violation.name for violation in violations(point, problem.needs)],
            )
            for point in decision.nearest
        ),
        would_fit=decision.would_fit,
        report=None if report is None else msgspec.structs.replace(report, groups=problem.split.report.group_count),
        contradicted=None
        if report is None or decision.recommended is None
        else contradiction(decision.recommended, report, problem.needs),
        safer=None if plan is None else _safer(decision),
        evaluated=len(result.points),
        tail_runs=result.tail_runs,
        tail_reused=result.tail_reused,
        directory=None if plan is None else str(directory),
    )


def _recommendation(result: SearchResult) -> Recommendation | None:
    decision = result.decision
    if decision.recommended is None:
        return None
    candidates = [point.candidate for point in decision.front]
    return Recommendation(
        number=candidates.index(decision.recommended.candidate) + 1,
        reason=decision.reason,
        by_rate=tuple(by_rate(result)),
        parts=latency_sum(decision.recommended.cost),
        halves=halves(decision.recommended.cost),
    )


def _header(result: SearchResult) -> str:
    problem = result.problem
    graph = problem.graph
    shape = "x".join(map(str, graph.inputs[0].shape))
    device, server = result.device, result.server
    return (
        f"{graph.name} ({graph.parameters / 1e6:.1f} M parameters, {format_flops(graph.macs)}) · {shape}\n"
        f"{device.name} ({count_text(device.runtime.threads, 'thread')}) ──{describe(problem.link)}──> {server.name}"
    )


def _warnings(result: SearchResult) -> list[str]:
    texts = []
    split = result.problem.split
    search, report = split.search.group_count, split.report.group_count
    if min(search, report) < len(split.report) / 4:
        texts.append(f"demonstration: n = {count_text(report, 'scene')} in the report set, {search} in the search set")
    if result.profile.retest_error > RETEST_WARNING:
        texts.append(f"noisy host: the retest error of the profile is {format_fraction(result.profile.retest_error)}")
    texts += describe_noise([result.profile.host, result.device, result.server])
    if result.problem.graph.uncounted:
        texts.append(uncounted_text(result.problem.graph.uncounted))
    reasons: dict[str, list[str]] = {}
    for name, reason in sorted(result.left_out.items()):
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        texts.append(f"left out {', '.join(names[:NAMED])}{more}: {reason}")
    if result.problem.spec.kind == "tensor":
        texts.append("the input is a tensor: picture codecs are left out, fp16 and 8-bit codecs of the input take part")
    return texts


def _notes(decision: Decision, point: Evaluated) -> list[str]:
    marked = {"recommended": decision.recommended, "knee": decision.knee}
    return [note for note, other in marked.items() if other is not None and other.candidate == point.candidate]


def _miss_text(violation: Violation, text: str) -> str:
    """A miss as a note: "misses latency by 4 ms", "cannot be sent: over 222 bytes"."""
    return text.replace(INFEASIBLE, "cannot be sent", 1) if violation.name == INFEASIBLE else f"misses {text}"


def _safer(decision: Decision) -> SaferPoint | None:
    number = safer_point(decision)
    if number is None:
        return None
    point = decision.front[number - 1]
    return SaferPoint(
        number=number,
        cut=place_text(point.candidate, with_variant=True),
        codec=point.candidate.codec,
        rate=point.label,
    )
