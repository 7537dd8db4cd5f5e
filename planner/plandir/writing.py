"""Write a plan directory: built and measured in a temporary folder, then moved into place whole.

A crash, Ctrl-C or full disk leaves either the old directory or none, never half a plan.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

import splitpoint
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.codecs.store import load_coders, save_coders
from splitpoint.planner.cuts.enumeration import cut_of_tensors
from splitpoint.planner.deploy.plan import CODEC, PLAN, REPORT, WHOLE, Plan, sha256_file
from splitpoint.planner.deploy.schema import (
    FORMAT,
    CodecChoice,
    CutChoice,
    PlanFile,
    PointFile,
    ProfileSource,
    SearchReport,
)
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.plandir.answer import make_answer
from splitpoint.planner.plandir.contents import CONFIG, FRONT, POINT, POINTS
from splitpoint.planner.plandir.front import front_text
from splitpoint.planner.plandir.report import REFERENCE, declared, run_report
from splitpoint.planner.plandir.running_files import device_files, picture_files, split_files
from splitpoint.planner.plandir.variant_files import (
    VARIANTS,
    io_tensor,
    model_source,
    reference_bytes,
    stored_variant,
    stored_variants,
    variant_files,
)
from splitpoint.planner.quality.metrics.registry import stored_metric
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml, read_yaml
from splitpoint.profiles.files.writable import check_folder_writable
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.network.graph import load_canonical
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["NotWrittenError", "check_place", "check_replaceable", "export_point", "write_plan"]


def __dir__() -> list[str]:
    return __all__


class NotWrittenError(ProfileError):
    """The plan directory cannot be made at this place; at another it may be."""


OTHER_PLACE = "choose another --out, or move what is there"
VERSIONED = ("splitpoint", "numpy", "onnx", "onnxruntime", "onnx-ir", "pillow", "zstandard", "numba")


def write_plan(
    result: SearchResult,
    point: Evaluated,
    directory: Path,
    *,
    keep_data: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Plan:
    """Write `point` of the result's front with every other front point beside it; gives the plan as written.

    The report set runs through the written files before they are moved into place. Without `keep_data` the whole model
    and the report inputs are left out then; plan.yaml keeps their hashes and where they came from.
    """
    front = result.decision.front
    points = front if point in front else (point, *front)
    network = result.network(point.candidate.variant)
    others = any(p.candidate.variant != result.given.name for p in points)
    reference = reference_bytes(result.given) if others else None
    with _placed(directory) as folder:
        shared = variant_files(network, None if network.name == result.given.name else reference)
        _write_all(folder, shared | stored_variants(result.networks, points, reference))
        (folder / CONFIG).write_text(dump_yaml(result.problem.config))
        (folder / FRONT).write_text(front_text(result.points, points))
        for number, other in enumerate(points, start=1):
            _write_point(folder / POINTS / str(number), result, other, number)
        template = _template(result, network, shared, points)
        _finish(folder, template, network.graph, folder / POINTS / str(points.index(point) + 1), advance)
        if not keep_data:
            _drop_data(folder, result)
        _list_contents(folder)
    return Plan.load(directory)


def check_place(directory: Path) -> None:
    """Raise `ProfileError` unless a plan can be written there now: replaceable, and tried."""
    check_replaceable(directory)
    check_folder_writable(directory)


def check_replaceable(directory: Path) -> None:
    """Raise `NotWrittenError` unless `directory` is absent, empty, or a plan directory that holds nothing else.

    A plan directory is one whose plan.yaml this version reads; every other file in it must be listed there, unchanged.
    """
    target = _resolved(directory)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    fix = OTHER_PLACE
    if not target.is_dir() or not (target / PLAN).is_file():
        raise NotWrittenError("it exists and is no plan directory, so it is not replaced", at=str(directory), fix=fix)
    try:
        file = Plan.load(target).file
    except ProfileError as error:
        raise NotWrittenError(
            f"its {PLAN} is not a plan that this version wrote, so the folder is not replaced",
            at=str(directory),
            fix=fix,
        ) from error
    listed = {PLAN: None, **file.files, **file.contents}
    for path in sorted(target.rglob("*")):
        name = path.relative_to(target).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name not in listed or path.is_symlink():
            raise NotWrittenError(
                f"{name} is not part of the plan there, so the folder is not replaced", at=str(path), fix=fix
            )
        if name != PLAN and sha256_file(path) != listed[name]:
            raise NotWrittenError(f"{name} was changed, so the folder is not replaced", at=str(path), fix=fix)


def export_point(source: Path, number: int, directory: Path, *, advance: Callable[[], None] = lambda: None) -> Plan:
    """Write point `number` of the front stored in `source` as a plan directory of its own, without searching.

    Raises `ProfileError` for a number that is not on the front.
    """
    plan = Plan.load(source)
    if plan.file.external:
        raise ProfileError(
            "this plan was written with --no-data, so its network is not here to cut again",
            at=str(source),
            fix="plan again without --no-data",
        )
    chosen = source / POINTS / str(number)
    if not (chosen / POINT).is_file():
        known = sorted(int(p.name) for p in (source / POINTS).iterdir() if p.name.isdigit())
        raise ProfileError(f"no point {number} in this plan", at=str(source), fix=f"points: {known[0]} to {known[-1]}")
    variant = read_yaml(chosen / POINT, PointFile).variant
    origin, template = source, plan.file
    if (source / VARIANTS).is_dir():
        origin, stored = stored_variant(source, variant)
        template = msgspec.structs.replace(template, model=stored.model, input=stored.input)
    elif variant != plan.file.variant:
        raise ProfileError(f"the network of point {number} ({variant}) is not in this plan", at=str(source))
    graph = load_canonical((origin / WHOLE).read_bytes(), name=template.model.name, source=template.model.source)
    if graph.sha256 != template.model.sha256:
        raise ProfileError("the canonical form of whole.onnx changed", at=str(origin / WHOLE), fix="plan again")
    kept = [name for name in (WHOLE, REPORT, REFERENCE) if (origin / name).is_file()]
    with _placed(directory) as folder:
        for path in (*(origin / name for name in kept), source / CONFIG, source / FRONT):
            shutil.copy2(path, folder / path.name)
        for name in (POINTS, VARIANTS):
            if (source / name).is_dir():
                shutil.copytree(source / name, folder / name)
        hashes = {name: sha256_file(folder / name) for name in kept}
        template = msgspec.structs.replace(template, files=hashes, created=_now())
        _finish(folder, template, graph, folder / POINTS / str(number), advance)
        _list_contents(folder)
    return Plan.load(directory)


def _list_contents(folder: Path) -> None:
    """Add every file that plan.yaml does not list yet to its `contents`."""
    file = read_yaml(folder / PLAN, PlanFile)
    others = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {name: sha256_file(path) for name, path in others.items() if name not in file.files and name != PLAN}
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, contents=contents)))


def _drop_data(folder: Path, result: SearchResult) -> None:
    """Remove what only verify and export read, and say in plan.yaml where it came from."""
    file = read_yaml(folder / PLAN, PlanFile)
    config = result.problem.config
    origins = {WHOLE: config.model, REPORT: config.data.source, REFERENCE: config.model}
    external = {name: origin for name, origin in origins.items() if name in file.files}
    for name in external:
        (folder / name).unlink()
    shutil.rmtree(folder / VARIANTS, ignore_errors=True)
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, external=external)))


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
    dataset = load_npz(folder / REPORT, file.input, inputs=declared(file.model))
    metric = stored_metric(file.task, file.model.outputs, file.metric, input_shape=file.model.inputs[0].shape)
    accuracy = run_report(plan, dataset, metric, advance=advance)
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, report=accuracy)))


def _running_files(graph: ModelGraph, chosen: PointFile, point: Path) -> dict[str, bytes]:
    if chosen.placement == "device":
        return device_files(graph)
    if chosen.placement == "server":
        return picture_files(graph)
    assert chosen.cut is not None  # a split has a cut; PointFile checked it
    cut = cut_of_tensors(graph, [tensor.name for tensor in chosen.cut.tensors], at=str(point))

    def graphs(side: str) -> list[bytes | None]:
        paths = [point / f"{side}{i}.onnx" for i in range(len(cut.tensors))]
        return [path.read_bytes() if path.is_file() else None for path in paths]

    return split_files(graph, cut, graphs("encoder"), graphs("decoder"), load_coders(point / CODEC))


def _write_point(folder: Path, result: SearchResult, point: Evaluated, number: int) -> None:
    """One point of the front: what it is, its coder tables and its codec graphs."""
    files: dict[str, bytes] = {}
    candidate = point.candidate
    network = result.network(candidate.variant)
    cut_choice = None
    boundary: str = "none" if candidate.placement == "device" else "picture"
    if candidate.placement == "split":
        cut = network.cut(candidate.cut)
        fitted = result.codecs[candidate]
        boundary = REGISTRY[candidate.codec].boundary
        cut_choice = CutChoice(
            tensors=tuple(io_tensor(network.graph.tensors[name]) for name in cut.tensors),
            after=cut.after,
            layer=cut.layer,
            head_share=cut.head_share,
        )
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
        predicted=point.cost,
        search=point.accuracy,
    )
    _write_all(folder, {POINT: dump_yaml(chosen).encode(), **files})


def _task_of(problem: Problem, graph: ModelGraph) -> Task:
    """The task with the names that the outputs have in `graph`, which are the given network's by position."""
    given = [tensor.name for tensor in problem.graph.outputs]
    names = tuple(graph.outputs[given.index(name)].name for name in problem.metric.task.outputs)
    return msgspec.structs.replace(problem.metric.task, outputs=names)


def _template(
    result: SearchResult, network: Network, shared: Mapping[str, bytes], points: Sequence[Evaluated]
) -> PlanFile:
    """Everything of plan.yaml that does not depend on the point; the first point's values hold the place."""
    problem, profile = result.problem, result.profile
    config = problem.config
    some = result.points[0]
    return PlanFile(
        format=FORMAT,
        created_by=f"splitpoint {splitpoint.__version__}",
        created=_now(),
        point=1,
        placement="device",
        variant=some.candidate.variant,
        files={name: hashlib.sha256(data).hexdigest() for name, data in shared.items()},
        model=model_source(network.graph),
        input=network.variant.spec,
        task=_task_of(problem, network.graph),
        metric=problem.metric.use,
        cut=None,
        codec=CodecChoice(name="-", id=0, rate=0, rate_label="-", boundary="none", needs_splitpoint=()),
        predicted=some.cost,
        search=some.accuracy,
        report=None,
        skipped=len(problem.split.search.skipped),
        answer=make_answer(result.decision, result.aim.prefer, points),
        requirements=problem.needs,
        found_by=SearchReport(
            seed=config.search.seed,
            trials=config.search.evaluations,
            evaluations=len(result.points),
            candidates=result.table_size,
            objectives=config.objectives,
        ),
        device=_source(config.device, result.device),
        server=_source(config.server, result.server),
        link=_source(config.link, problem.link),
        profile_sha256=_sha(profile),
        planned_on=this_machine(threads=problem.threads),
        profiled_on=profile.machine,
        versions={name: importlib.metadata.version(name) for name in VERSIONED},
    )


@contextlib.contextmanager
def _placed(directory: Path) -> Iterator[Path]:
    """A temporary folder beside `directory` that takes its place when the block ends well, and vanishes otherwise.

    An existing directory is replaced only as `check_replaceable` allows; raises `NotWrittenError` otherwise.
    """
    check_replaceable(directory)
    target = _resolved(directory)
    tag = secrets.token_hex(4)
    folder, old = (target.with_name(f".{target.name}.{tag}.{kind}") for kind in ("new", "old"))
    try:
        folder.mkdir(parents=True)
        yield folder
        check_replaceable(directory)  # planning takes minutes: something may have been put there
        if target.exists():
            target.rename(old)
        folder.rename(target)
    except OSError as error:
        where = str(error.filename or directory)
        raise NotWrittenError(f"cannot be written: {error.strerror}", at=where, fix=OTHER_PLACE) from error
    except ProfileError as error:
        if folder.is_dir() or isinstance(error, NotWrittenError):
            raise
        text = "its folder was removed while the plan was written"
        raise NotWrittenError(text, at=str(directory), fix=OTHER_PLACE) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _resolved(directory: Path) -> Path:
    try:
        return directory.resolve()
    except OSError as error:  # the folder of this process was removed
        raise NotWrittenError(f"cannot be written: {error.strerror}", at=str(directory), fix=OTHER_PLACE) from error


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _source(name: str, profile: msgspec.Struct) -> ProfileSource:
    return ProfileSource(name=Path(name).stem if name.endswith((".yaml", ".yml")) else name, sha256=_sha(profile))


def _sha(value: msgspec.Struct) -> str:
    return hashlib.sha256(dump_yaml(value).encode()).hexdigest()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
