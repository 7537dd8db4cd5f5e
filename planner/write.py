"""Write a plan directory: built and measured in a temporary folder, then moved into place whole.

A crash, Ctrl-C or full disk leaves either the old directory or none, never half a plan.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import datetime
import hashlib
import importlib.metadata
import io
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

import splitpoint
from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.store import load_coders, save_coders
from splitpoint.planner.build import device_files, picture_files, split_files
from splitpoint.planner.cuts import enumerate_cuts
from splitpoint.planner.flow import Outcome
from splitpoint.planner.loaders import load_npz
from splitpoint.planner.plan import CODEC, PLAN, REPORT, WHOLE, Plan
from splitpoint.planner.planfile import (
    FORMAT,
    AccuracyReport,
    CodecChoice,
    CostReport,
    CutChoice,
    IOTensor,
    ModelSource,
    PlanFile,
    PointFile,
    ProfileSource,
    SearchReport,
)
from splitpoint.planner.report import report_bytes, run_report
from splitpoint.planner.rows import point_row
from splitpoint.planner.table import cut_name
from splitpoint.planner.types import Evaluated, PlannerError
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import dump_yaml, read_yaml
from splitpoint.profiles.graph import load_graph
from splitpoint.profiles.machine import this_machine
from splitpoint.profiles.model import ModelGraph, Tensor
from splitpoint.profiles.runtime import open_session

__all__ = ["CONFIG", "FRONT", "POINT", "POINTS", "export_point", "write_plan"]


def __dir__() -> list[str]:
    return __all__


CONFIG, FRONT, POINTS, POINT = "config.yaml", "front.csv", "points", "point.yaml"
VERSIONED = ("splitpoint", "numpy", "onnx", "onnxruntime", "onnx-ir", "pillow", "zstandard", "numba")


def write_plan(
    outcome: Outcome, point: Evaluated, directory: Path, *, advance: Callable[[], None] = lambda: None
) -> Plan:
    """Write `point` of the outcome's front with every other front point beside it; gives the plan as written.

    The report set runs through the written files before they are moved into place.
    """
    problem, front = outcome.problem, outcome.decision.front
    points = front if point in front else (point, *front)
    with _placed(directory) as folder:
        graph = problem.graph
        shared = {WHOLE: device_files(graph)["head.onnx"], REPORT: report_bytes(problem.split.report)}
        _write_all(folder, shared)
        (folder / CONFIG).write_text(dump_yaml(problem.config))
        (folder / FRONT).write_text(_front_csv(outcome, points))
        for number, other in enumerate(points, start=1):
            _write_point(folder / POINTS / str(number), outcome, other, number)
        template = _template(outcome, shared)
        _finish(folder, template, graph, folder / POINTS / str(points.index(point) + 1), advance)
    return Plan.load(directory)


def export_point(source: Path, number: int, directory: Path, *, advance: Callable[[], None] = lambda: None) -> Plan:
    """Write point `number` of the front stored in `source` as a plan directory of its own, without searching.

    Raises `ProfileError` for a number that is not on the front.
    """
    plan = Plan.load(source)
    chosen = source / POINTS / str(number)
    if not (chosen / POINT).is_file():
        known = sorted(int(p.name) for p in (source / POINTS).iterdir() if p.name.isdigit())
        raise ProfileError(f"no point {number} in this plan", at=str(source), fix=f"points: {known[0]} to {known[-1]}")
    whole = plan.path(WHOLE).read_bytes()
    graph = load_graph(whole, name=plan.file.model.name, source=plan.file.model.source)
    if graph.sha256 != plan.file.model.sha256:
        raise ProfileError("the canonical form of whole.onnx changed", at=str(source / WHOLE), fix="plan again")
    with _placed(directory) as folder:
        for name in (WHOLE, REPORT, CONFIG, FRONT):
            shutil.copy2(source / name, folder / name)
        shutil.copytree(source / POINTS, folder / POINTS)
        kept = {name: plan.file.files[name] for name in (WHOLE, REPORT)}
        template = msgspec.structs.replace(plan.file, files=kept, created=_now())
        _finish(folder, template, graph, folder / POINTS / str(number), advance)
    return Plan.load(directory)


def _finish(folder: Path, template: PlanFile, graph: ModelGraph, point: Path, advance: Callable[[], None]) -> None:
    """Make the point's running files in `folder`, measure the report set through them, and write plan.yaml."""
    chosen = read_yaml(point / POINT, PointFile)
    files = _running_files(graph, chosen, point)
    _write_all(folder, files)
    hashes = dict(template.files) | {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    file = msgspec.structs.replace(
        template,
        point=chosen.number,
        placement=chosen.placement,
        variant=chosen.variant,
        files=dict(sorted(hashes.items())),
        cut=chosen.cut,
        codec=chosen.codec,
        predicted=chosen.predicted,
        search=chosen.search,
        report=None,
    )
    (folder / PLAN).write_text(dump_yaml(file))
    plan = Plan.load(folder)
    dataset = load_npz(folder / REPORT, file.input)
    whole = open_session(folder / WHOLE, level="all")
    accuracy = run_report(plan, dataset, whole, chosen.search.metric, advance=advance)
    report = AccuracyReport(**dataclasses.asdict(accuracy))
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, report=report)))


def _running_files(graph: ModelGraph, chosen: PointFile, point: Path) -> dict[str, bytes]:
    if chosen.placement == "device":
        return device_files(graph)
    if chosen.placement == "server":
        return picture_files(graph)
    assert chosen.cut is not None  # a split has a cut; PointFile checked it
    wanted = tuple(tensor.name for tensor in chosen.cut.tensors)
    cut = next((cut for cut in enumerate_cuts(graph).cuts if cut.tensors == wanted), None)
    if cut is None:
        raise PlannerError(f"the model has no cut {'+'.join(wanted)}", at=str(point))

    def graphs(side: str) -> list[bytes | None]:
        paths = [point / f"{side}{i}.onnx" for i in range(len(wanted))]
        return [path.read_bytes() if path.is_file() else None for path in paths]

    return split_files(graph, cut, graphs("encoder"), graphs("decoder"), load_coders(point / CODEC))


def _write_point(folder: Path, outcome: Outcome, point: Evaluated, number: int) -> None:
    """One point of the front: what it is, its coder tables and its codec graphs."""
    files: dict[str, bytes] = {}
    candidate, graph = point.candidate, outcome.problem.graph
    cut_choice = None
    boundary: str = "none" if candidate.placement == "device" else "picture"
    if candidate.placement == "split":
        cut = next(cut for cut in outcome.cuts.cuts if cut_name(cut) == candidate.cut)
        fitted = outcome.bench.fit(cut, candidate.codec, candidate.rate)
        boundary = fitted[0].boundary
        cut_choice = CutChoice(tensors=tuple(_io(graph.tensors[name]) for name in cut.tensors), after=cut.after)
        files[CODEC] = save_coders([codec.coder for codec in fitted])
        for i, codec in enumerate(fitted):
            files |= {f"encoder{i}.onnx": codec.encoder} if codec.encoder is not None else {}
            files |= {f"decoder{i}.onnx": codec.decoder} if codec.decoder is not None else {}
    chosen = PointFile(
        number=number,
        variant=candidate.variant,
        placement=candidate.placement,
        cut=cut_choice,
        codec=CodecChoice(
            name=candidate.codec,
            id=CODEC_IDS["raw" if candidate.placement == "device" else candidate.codec],
            rate=candidate.rate,
            rate_label=point.label,
            boundary=boundary,  # type: ignore[arg-type]  # one of the literals above
            needs_splitpoint=() if candidate.placement == "device" else ("device", "server"),
        ),
        predicted=CostReport(**dataclasses.asdict(point.cost)),
        search=AccuracyReport(**dataclasses.asdict(point.accuracy)),
    )
    _write_all(folder, {POINT: dump_yaml(chosen).encode(), **files})


def _template(outcome: Outcome, shared: Mapping[str, bytes]) -> PlanFile:
    """Everything of plan.yaml that does not depend on the point; the first point's values hold the place."""
    problem, profile = outcome.problem, outcome.profile
    config, graph = problem.config, problem.graph
    some = outcome.points[0]
    return PlanFile(
        format=FORMAT,
        created_by=f"splitpoint {splitpoint.__version__}",
        created=_now(),
        point=1,
        placement="device",
        variant=some.candidate.variant,
        files={name: hashlib.sha256(data).hexdigest() for name, data in shared.items()},
        model=ModelSource(
            name=graph.name,
            source=graph.source,
            source_sha256=graph.source_sha256,
            sha256=graph.sha256,
            input=_io(graph.inputs[0]),
            outputs=tuple(_io(tensor) for tensor in graph.outputs),
        ),
        input=problem.spec,
        cut=None,
        codec=CodecChoice(name="-", id=0, rate=0, rate_label="-", boundary="none", needs_splitpoint=()),
        predicted=CostReport(**dataclasses.asdict(some.cost)),
        search=AccuracyReport(**dataclasses.asdict(some.accuracy)),
        report=None,
        requirements=problem.needs,
        found_by=SearchReport(
            seed=config.search.seed,
            trials=config.search.evaluations,
            evaluations=len(outcome.points),
            candidates=outcome.table_size,
            objectives=config.objectives,
        ),
        device=_source(config.device, outcome.edge.device),
        server=_source(config.server, outcome.server.device),
        link=_source(config.link, problem.link),
        profile_sha256=_sha(profile),
        planned_on=this_machine(threads=problem.threads),
        profiled_on=profile.machine,
        versions={name: importlib.metadata.version(name) for name in VERSIONED},
    )


def _front_csv(outcome: Outcome, front: Sequence[Evaluated]) -> str:
    """Every candidate that was evaluated; front points by their number."""
    rows = []
    for point in outcome.points:
        row = point_row(point, number=front.index(point) + 1 if point in front else None)
        parts = {f"{name}_s": seconds for name, seconds in row.pop("latency_parts_s").items()}
        del row["notes"], row["label"]
        rows.append(row | parts)
    rows.sort(key=lambda row: (row["number"] is None, row["number"] or 0, row["payload_bytes"], row["latency_s"] or 0))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@contextlib.contextmanager
def _placed(directory: Path) -> Iterator[Path]:
    """A temporary folder beside `directory` that takes its place when the block ends well, and vanishes otherwise.

    An existing directory is replaced only when it is a plan (or empty); raises `ProfileError` otherwise.
    """
    target = directory.resolve()
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / PLAN).is_file())):
        raise ProfileError(
            "it exists and is no plan directory, so it is not replaced", at=str(directory), fix="choose another --out"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    tag = secrets.token_hex(4)
    folder, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            target.rename(old)
        folder.rename(target)
    except OSError as error:
        raise ProfileError(f"cannot be written: {error.strerror}", at=str(error.filename or directory)) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _io(tensor: Tensor) -> IOTensor:
    return IOTensor(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)


def _source(name: str, profile: msgspec.Struct) -> ProfileSource:
    return ProfileSource(name=Path(name).stem if name.endswith((".yaml", ".yml")) else name, sha256=_sha(profile))


def _sha(value: msgspec.Struct) -> str:
    return hashlib.sha256(dump_yaml(value).encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
