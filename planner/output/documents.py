"""What each command answers, as one JSON document; the terminal prints the same document."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.cuts.enumeration import CutList
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import PlanFile, PointFile
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.plandir.verify import Check
from splitpoint.planner.plandir.writing import FRONT, POINT, POINTS
from splitpoint.planner.search.contradiction import contradiction, safer_point
from splitpoint.planner.search.decide import Decision, violations
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.search.what_if import by_rate
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.rows import PARTS, cut_row, place, point_row, rejected_row
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.library.catalog import list_profiles
from splitpoint.profiles.link.link import describe
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.units import (
    format_flops,
    format_fraction,
    format_macs,
    format_seconds,
)

__all__ = [
    "cuts_answer",
    "plan_answer",
    "profile_answer",
    "profiles_answer",
    "show_answer",
    "verify_answer",
]


def __dir__() -> list[str]:
    return __all__


Document = dict[str, Any]
SLOWEST = 8  # operators that a profile names
NAMED = 3  # of what was left out for one reason
RETEST_WARNING = 0.05  # of the latency between two halves of one run (DESIGN: warn above 5 %)


def plan_answer(result: SearchResult, plan: Plan | None, directory: Path) -> Document:
    """The whole answer of ``splitpoint plan``; `plan` is None when nothing was feasible."""
    problem, decision = result.problem, result.decision
    numbers = {id(point): number for number, point in enumerate(decision.front, start=1)}
    report = None if plan is None else plan.file.report
    return {
        "header": _header(result),
        "need": needs_text(problem.needs, problem.metric),
        "notes": [*problem.notes, *result.notes, *_warnings(result)],
        "baselines": [
            point_row(point, number=None, label=label, notes=_misses(point, problem.needs))
            for label, point in result.baselines
        ],
        "front": [point_row(point, number=numbers[id(point)], notes=_notes(result, point)) for point in decision.front],
        "search_set": f"{len(problem.split.search)} inputs, {problem.split.search.group_count} groups",
        "deadline_s": problem.needs.value("latency"),
        "deadline_share": problem.needs.deadline_share,
        "recommended": None
        if decision.recommended is None
        else {
            "number": numbers[id(decision.recommended)],
            "reason": decision.reason,
            "by_rate": by_rate(result),
            "parts": _parts(msgspec.to_builtins(decision.recommended.cost), decision.recommended.cost.latency_s),
            "halves": _halves(msgspec.to_builtins(decision.recommended.cost)),
        },
        "nearest": [
            point_row(point, number=None, notes=["misses " + v.text for v in violations(point, problem.needs)])
            for point in decision.nearest
        ],
        "would_fit": list(decision.would_fit),
        "report": None if report is None else _report(report, problem.split.report.group_count),
        "contradicted": None
        if report is None or decision.recommended is None
        else contradiction(decision.recommended, report, problem.needs),
        "safer": None if plan is None else _safer(result.decision),
        "evaluated": len(result.points),
        "tail_runs": result.tail_runs,
        "tail_reused": result.tail_reused,
        "directory": None if plan is None else str(directory),
    }


def profile_answer(graph: ModelGraph, profile: ModelProfile) -> Document:
    """Totals, the slowest operators and what was not counted."""
    seconds = {timing.name: timing.seconds for timing in profile.nodes}
    total = sum(seconds.values())
    slowest = sorted(graph.nodes, key=lambda node: -seconds[node.name])[:SLOWEST]
    whole = profile.whole
    lines = [
        f"{graph.name}: {len(graph.nodes)} operators, {graph.parameters / 1e6:.2f} M parameters,"
        f" {format_flops(graph.macs)} ({format_macs(graph.macs)})",
        f"latency {format_seconds(whole.min_s)} measured on {profile.machine.cpu}, {profile.machine.threads} threads"
        f" (median {format_seconds(whole.median_s)}, {whole.n} runs, retest error"
        f" {format_fraction(profile.retest_error)})",
    ]
    if profile.retest_error > RETEST_WARNING:
        lines.append(f"warning: noisy host, two halves of the run differ by {format_fraction(profile.retest_error)}")
    if graph.uncounted:
        lines.append(uncounted_text(graph.uncounted))
    return {
        "lines": lines,
        "slowest": [
            {
                "name": node.name,
                "op_type": node.op_type,
                "macs": node.macs,
                "weight_bytes": node.weight_bytes,
                "seconds": seconds[node.name],
                "share": seconds[node.name] / total,
            }
            for node in slowest
        ],
        "profile": msgspec.to_builtins(profile),
    }


def uncounted_text(uncounted: Mapping[str, int]) -> str:
    """Operators whose MACs are not known."""
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(uncounted.items()))
    return f"{sum(uncounted.values())} operators not counted: {listed}"


def cuts_answer(graph: ModelGraph, cuts: CutList) -> Document:
    """Every cut, every refused place, and the operators that are not counted."""
    return {
        "model": graph.name,
        "macs": graph.macs,
        "parameters": graph.parameters,
        "cuts": [cut_row(graph, cut) for cut in cuts.cuts],
        "refused": [rejected_row(rejected) for rejected in cuts.rejected],
        "uncounted": dict(graph.uncounted),
    }


def show_answer(directory: Path, number: int | None) -> Document:
    """A stored plan: its own point or another of its front, and the front."""
    plan = Plan.load(directory)
    file = plan.file
    with (directory / FRONT).open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["number"]]
    chosen: PlanFile | PointFile = file
    if number is not None and number != file.point:
        chosen = read_yaml(directory / POINTS / str(number) / POINT, PointFile)
    crossing = [] if chosen.cut is None else [tensor.name for tensor in chosen.cut.tensors]
    return {
        "header": f"{file.model.name} · {file.device.name} ──{file.link.name}──> {file.server.name}",
        "need": needs_text(file.requirements, file.search.metric),
        "created": f"{file.created} by {file.created_by}",
        "point": number or file.point,
        "variant": chosen.variant,
        "cut": {"device": "all on device", "server": "send picture"}.get(chosen.placement) or "+".join(crossing),
        "codec": f"{chosen.codec.name} {chosen.codec.rate_label}",
        "parts": _parts(msgspec.to_builtins(chosen.predicted), chosen.predicted.latency_s),
        "halves": _halves(msgspec.to_builtins(chosen.predicted)),
        "how": chosen.predicted.how,
        "payload_bytes": chosen.predicted.payload_bytes,
        "search": msgspec.to_builtins(chosen.search),
        "report": msgspec.to_builtins(file.report) if file.report is not None and chosen is file else None,
        "front": [_stored_row(row, recommended=int(row["number"]) == file.point) for row in rows],
        "deadline_s": file.requirements.value("latency"),
        "deadline_share": file.requirements.deadline_share,
    }


def verify_answer(checks: Sequence[Check]) -> Document:
    """Every check and the count by status."""
    count = {status: sum(c.status == status for c in checks) for status in ("passed", "failed", "warning", "not made")}
    return {"checks": [dataclasses.asdict(check) for check in checks], "count": count}


def profiles_answer() -> Document:
    """Shipped profiles by kind."""
    return {
        "profiles": [
            {"kind": shipped.kind, "name": shipped.name, "description": shipped.profile.description}
            for shipped in list_profiles()
        ]
    }


def _header(result: SearchResult) -> str:
    problem = result.problem
    graph = problem.graph
    shape = "x".join(map(str, graph.inputs[0].shape))
    edge, server = result.device, result.server
    return (
        f"{graph.name} ({graph.parameters / 1e6:.1f} M parameters, {format_flops(graph.macs)}) · {shape}\n"
        f"{edge.name} ({edge.runtime.threads} threads) ──{describe(problem.link)}──> {server.name}"
    )


def _warnings(result: SearchResult) -> list[str]:
    texts = []
    groups = {name: getattr(result.problem.split, name).group_count for name in ("search", "report")}
    if min(groups.values()) < len(result.problem.split.report) / 4:
        texts.append(
            f"demonstration: n = {groups['report']} scenes in the report set, {groups['search']} in the search set"
        )
    if result.profile.retest_error > RETEST_WARNING:
        texts.append(f"noisy host: the retest error of the profile is {format_fraction(result.profile.retest_error)}")
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


def _notes(result: SearchResult, point: Evaluated) -> list[str]:
    found = []
    if point is result.decision.recommended:
        found.append("recommended")
    if point is result.decision.knee:
        found.append("knee")
    return found


def _misses(point: Evaluated, needs: Requirements) -> list[str]:
    return [f"misses {violation.name}" for violation in violations(point, needs)]


def _safer(decision: Decision) -> Document | None:
    number = safer_point(decision)
    if number is None:
        return None
    point = decision.front[number - 1]
    return {"number": number, "cut": place(point), "codec": point.candidate.codec, "rate": point.label}


def _report(report: Accuracy, groups: int) -> Document:
    return {**msgspec.to_builtins(report), "groups": groups}


def _parts(cost: Mapping[str, Any], latency_s: float) -> Document:
    parts = {name: cost[f"{name}_s"] for name in PARTS}
    return {"latency_s": latency_s, **{f"{name}_s": seconds for name, seconds in parts.items()}}


def _halves(cost: Mapping[str, Any]) -> Document:
    """How the seconds of the halves that there are were obtained, and their spread."""
    return {
        side: {"how": cost[f"{side}_how"], "spread_s": cost[f"{side}_spread_s"]}
        for side in ("head", "tail")
        if cost[f"{side}_s"] and cost[f"{side}_how"] is not None
    }


def _stored_row(row: Mapping[str, str], *, recommended: bool) -> Document:
    numbers = ("payload_bytes", "side_bytes", "latency_s", "deadline_latency_s", "value", "low", "high")
    return {
        **row,
        **{name: float(row[name]) for name in numbers},
        "number": int(row["number"]),
        "label": None,
        "notes": ["recommended"] if recommended else [],
    }
