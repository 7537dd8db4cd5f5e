"""Write a plan directory: built and measured in a hidden folder, then put in its place whole.

A crash, Ctrl-C or full disk leaves either the old directory or none, never half a plan.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.codecs.store import load_coders, save_coders
from splitpoint.planner.answers.record import encode_record, make_record
from splitpoint.planner.cuts.enumeration import cut_of_tensors
from splitpoint.planner.deploy.cost import LatencyInterval
from splitpoint.planner.deploy.file_names import (
    CODEC,
    CONFIG,
    FRONT,
    MEASURED,
    PLAN,
    POINT,
    POINTS,
    REFERENCE,
    REPORT,
    VARIANTS,
    WHOLE,
    is_plan_file,
)
from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import FORMAT, CodecChoice, CutChoice, PlanFile, PointFile
from splitpoint.planner.plandir.describe import describe_plan, now
from splitpoint.planner.plandir.front import front_text, parse_front
from splitpoint.planner.plandir.payload_range import measure_payload_range
from splitpoint.planner.plandir.placing import Place, claimed, placed
from splitpoint.planner.plandir.report import Reported, check_trusted, declared, kept_report, run_report
from splitpoint.planner.plandir.running_files import device_files, picture_files, split_files
from splitpoint.planner.plandir.variant_files import (
    io_tensor,
    reference_bytes,
    stored_variant,
    stored_variants,
    variant_files,
)
from splitpoint.planner.quality.metrics.registry import stored_metric
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.store.results import Results
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import decode_yaml, dump_yaml
from splitpoint.profiles.network.graph import load_canonical
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["export_point", "write_plan"]


def __dir__() -> list[str]:
    return __all__


def write_plan(
    result: SearchResult,
    point: Evaluated,
    directory: Path | Place,
    *,
    keep_data: bool = True,
    advance: Callable[[], None] = lambda: None,
    results: Results | None = None,
) -> Plan:
    """Write `point` of the result's front with every other front point beside it; gives the plan as written.

    The report set runs through the written files before they are moved into place, unless `results` keeps what it said
    of files of the same bytes. Without `keep_data` the whole model and the report inputs are left out then; plan.yaml
    keeps their hashes and where they came from.
    """
    front = result.decision.front
    points = front if point in front else (point, *front)
    network = result.network(point.candidate.variant)
    others = any(p.candidate.variant != result.given.name for p in points)
    reference = reference_bytes(result.given) if others else None
    with claimed(directory) as place:
        with placed(place) as folder:
            shared = variant_files(network, None if network.name == result.given.name else reference)
            _write_all(folder, shared | stored_variants(result.networks, points, reference))
            (folder / CONFIG).write_text(dump_yaml(result.problem.config))
            (folder / FRONT).write_text(front_text(result.points, points, result.aim.errors))
            (folder / MEASURED).write_bytes(encode_record(make_record(result, points)))
            files = [_point_files(result, other, number) for number, other in enumerate(points, start=1)]
            for number, content in enumerate(files, start=1):
                _write_all(folder / POINTS / str(number), content)
            describe = functools.partial(describe_plan, result, network, points)
            file = _finish(folder, network.graph, files[points.index(point)], describe, advance, results)
            _write_description(folder, file if keep_data else _drop_data(folder, file, result))
        return Plan.load(place.target)


def export_point(
    source: Path,
    number: int,
    directory: Path | Place,
    *,
    trust_code: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Plan:
    """Write point `number` of the front stored in `source` as a plan directory of its own, without searching.

    Every file is compared with its hash before it is used; code that the plan names is run only with `trust_code`.
    Raises `ProfileError` for a number that is not on the front.
    """
    plan = Plan.load(source)
    check_trusted(plan.file.task, trust_code=trust_code)
    stored = plan.stored
    if plan.file.external:
        raise ProfileError(
            "this plan was written with --no-data, so its network is not here to cut again",
            at=str(source),
            fix="plan again without --no-data",
        )
    prefix = f"{POINTS}/{number}/"
    names = [name for name in plan.file.contents if name.startswith(prefix)]
    point = {name.removeprefix(prefix): plan.read(name) for name in names}
    if POINT not in point:
        known = sorted(int(name.split("/")[1]) for name in plan.file.contents if name.endswith(f"/{POINT}"))
        points = f"points: {known[0]} to {known[-1]}" if known else "plan again"
        raise ProfileError(f"no point {number} in this plan", at=str(source), fix=points)
    variant = stored.read_struct(prefix + POINT, PointFile).variant
    origin, template = "", plan.file
    if any(name.startswith(f"{VARIANTS}/") for name in plan.file.contents):
        origin, found = stored_variant(stored, variant)
        template = msgspec.structs.replace(template, model=found.model, input=found.input)
    elif variant != plan.file.variant:
        raise ProfileError(f"the network of point {number} ({variant}) is not in this plan", at=str(source))
    whole = plan.read(origin + WHOLE)
    graph = load_canonical(whole, name=template.model.name, source=template.model.source)
    if graph.sha256 != template.model.sha256:
        raise ProfileError("the canonical form of whole.onnx changed", at=stored.at(origin + WHOLE), fix="plan again")

    row = next(row for row in parse_front(plan.read(FRONT), at=stored.at(FRONT)) if row.number == number)
    ends = {"low_s": row.latency_low_s, "high_s": row.latency_high_s}
    interval = None if None in ends.values() else msgspec.convert(ends, LatencyInterval)

    def describe(chosen: PointFile, files: Mapping[str, str]) -> PlanFile:
        return msgspec.structs.replace(
            template,
            format=FORMAT,
            created=now(),
            point=chosen.number,
            placement=chosen.placement,
            variant=chosen.variant,
            files=dict(files),
            contents={},
            cut=chosen.cut,
            codec=chosen.codec,
            predicted=chosen.predicted,
            latency_interval=interval,
            search=chosen.search,
            report=None,
            payload_range=None,
        )

    with claimed(directory) as place:
        with placed(place) as folder:
            _write_all(folder, {name: plan.read(name) for name in plan.file.contents})
            listed = {**plan.file.files, **plan.file.contents}
            kept = [name for name in (WHOLE, REPORT, REFERENCE) if origin + name in listed]
            _write_all(folder, {name: plan.read(origin + name) for name in kept})
            _write_description(folder, _finish(folder, graph, point, describe, advance))
        return Plan.load(place.target)


def _finish(
    folder: Path,
    graph: ModelGraph,
    point: Mapping[str, bytes],
    describe: Callable[[PointFile, Mapping[str, str]], PlanFile],
    advance: Callable[[], None],
    results: Results | None = None,
) -> PlanFile:
    """Make the point's running files in `folder` and measure the report set through them; gives plan.yaml's content.

    `point` are the point's own files by name, `describe` makes plan.yaml of the point and the hashes.
    """
    chosen = decode_yaml(point[POINT].decode(), PointFile, where=POINT)
    _write_all(folder, _running_files(graph, chosen, point))
    hashes = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if is_plan_file(path.name)}
    file = describe(chosen, hashes)
    (folder / PLAN).write_text(dump_yaml(file))
    plan = Plan.load(folder)

    def measure() -> Reported:
        dataset = load_npz(folder / REPORT, file.input, inputs=declared(file.model))
        metric = stored_metric(file.task, file.model.outputs, file.metric, input_shape=file.model.inputs[0].shape)
        lengths: list[int] = []

        def sent(length: int) -> None:
            lengths.append(length)
            advance()

        accuracy = run_report(plan, dataset, metric, sent=sent)
        return Reported(accuracy=accuracy, payload_range=measure_payload_range(plan, dataset, lengths))

    found = kept_report(file, results, measure)
    return msgspec.structs.replace(file, report=found.accuracy, payload_range=found.payload_range)


def _write_description(folder: Path, file: PlanFile) -> None:
    """Write plan.yaml with every file that it does not list yet among its `contents`."""
    others = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    contents = {name: _sha256(path) for name, path in others.items() if name not in file.files and name != PLAN}
    (folder / PLAN).write_text(dump_yaml(msgspec.structs.replace(file, contents=contents)))


def _drop_data(folder: Path, file: PlanFile, result: SearchResult) -> PlanFile:
    """Remove what only verify and export read; the result says where it came from."""
    config = result.problem.config
    origins = {WHOLE: config.model, REPORT: config.data.source, REFERENCE: config.model}
    external = {name: origin for name, origin in origins.items() if name in file.files}
    for name in external:
        (folder / name).unlink()
    shutil.rmtree(folder / VARIANTS, ignore_errors=True)
    return msgspec.structs.replace(file, external=external)


def _running_files(graph: ModelGraph, chosen: PointFile, point: Mapping[str, bytes]) -> dict[str, bytes]:
    if chosen.cut is None:
        return device_files(graph) if chosen.placement == "device" else picture_files(graph)
    if CODEC not in point:
        raise ProfileError(f"a split without {CODEC}", at=f"{POINTS}/{chosen.number}", fix="plan again")
    cut = cut_of_tensors(graph, [tensor.name for tensor in chosen.cut.tensors], at=POINT)

    def graphs(side: str) -> list[bytes | None]:
        return [point.get(f"{side}{i}.onnx") for i in range(len(cut.tensors))]

    return split_files(graph, cut, graphs("encoder"), graphs("decoder"), load_coders(point[CODEC]))


def _point_files(result: SearchResult, point: Evaluated, number: int) -> dict[str, bytes]:
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
            tables=result.quant_tables.get(candidate),
        ),
        predicted=point.cost,
        search=point.accuracy,
    )
    return {POINT: dump_yaml(chosen).encode(), **files}


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
