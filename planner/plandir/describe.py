"""What plan.yaml says of a point of a search's front."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import splitpoint
from splitpoint.planner.answers.policy import plan_policy
from splitpoint.planner.answers.question import question_of
from splitpoint.planner.choice.intervals import latency_interval
from splitpoint.planner.deploy.schema import FORMAT, PlanFile, PointFile, ProfileSource, SearchReport
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.plandir.answer import make_answer
from splitpoint.planner.plandir.variant_files import model_source
from splitpoint.planner.search.notes import plan_notes
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.files.structs import dump_yaml
from splitpoint.profiles.machine.machine import onnxruntime_version, this_machine
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["describe_plan", "now"]


def __dir__() -> list[str]:
    return __all__


VERSIONED = ("splitpoint", "numpy", "onnx", "onnxruntime", "onnx-ir", "pillow", "zstandard", "numba")


def describe_plan(
    result: SearchResult, network: Network, points: Sequence[Evaluated], chosen: PointFile, files: Mapping[str, str]
) -> PlanFile:
    """plan.yaml of the point `chosen`, whose directory has `files` (name -> SHA-256); without figures of the report.

    `points` are those of the front in the order of their numbers.
    """
    problem, profile = result.problem, result.profile
    config = problem.config
    return PlanFile(
        format=FORMAT,
        created_by=f"splitpoint {splitpoint.__version__}",
        created=now(),
        point=chosen.number,
        placement=chosen.placement,
        variant=chosen.variant,
        files=dict(files),
        model=model_source(network.graph),
        input=network.variant.spec,
        task=_task_of(problem, network.graph),
        metric=problem.metric.use,
        cut=chosen.cut,
        codec=chosen.codec,
        predicted=chosen.predicted,
        latency_interval=latency_interval(chosen.predicted, result.aim.errors),
        search=chosen.search,
        report=None,
        skipped=len(problem.split.search.skipped),
        answer=make_answer(result.decision, question_of(result), points),
        policy=plan_policy(question_of(result), {p.candidate: number for number, p in enumerate(points, start=1)}),
        requirements=problem.needs,
        found_by=SearchReport(
            seed=config.search.seed,
            trials=config.search.evaluations,
            evaluations=len(result.points),
            candidates=result.table_size,
            objectives=config.objectives,
            notes=plan_notes(result),
            left_out=len(result.left_out),
        ),
        device=_source(config.device, result.device),
        server=_source(config.server, result.server),
        link=_source(config.link, problem.link),
        profile_sha256=_sha(profile),
        planned_on=this_machine(threads=problem.threads),
        profiled_on=profile.machine,
        versions={name: _version(name) for name in VERSIONED},
    )


def now() -> str:
    """The time of day in UTC, so that later text is greater."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _task_of(problem: Problem, graph: ModelGraph) -> Task:
    """The task with the names that the outputs have in `graph`, which are the given network's by position."""
    given = [tensor.name for tensor in problem.graph.outputs]
    names = tuple(graph.outputs[given.index(name)].name for name in problem.metric.task.outputs)
    return msgspec.structs.replace(problem.metric.task, outputs=names)


def _source(name: str, profile: msgspec.Struct) -> ProfileSource:
    return ProfileSource(name=Path(name).stem if name.endswith((".yaml", ".yml")) else name, sha256=_sha(profile))


def _sha(value: msgspec.Struct) -> str:
    return hashlib.sha256(dump_yaml(value).encode()).hexdigest()


def _version(package: str) -> str:
    """The installed version; ONNX Runtime's wheel may have another name."""
    return onnxruntime_version() if package == "onnxruntime" else importlib.metadata.version(package)
