"""What a worker needs to measure candidates of a study: written by the planner as artifacts, read on another machine.

Models in canonical form, the calibration set and the search set as npz, profiles and settings as msgpack; no pickles,
no paths that must be there, and no report set, which nobody but the planner sees. Every part is read by its hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.plandir.report import report_bytes
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.samples.dataset import Dataset, Split
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.setup.trust import code_of_config, code_of_task
from splitpoint.planner.study.artifacts import Artifacts, Blob
from splitpoint.planner.study.sampler import Space
from splitpoint.planner.study.storage import Opened
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.keys import code_sha256
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.link.types import AwgnLink, FixedLink, RayleighBlockLink, TraceLink
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_canonical
from splitpoint.profiles.network.input_shapes import DeclaredInput
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Bundle", "PlannerParts", "read_bundle", "read_problem", "write_bundle"]


def __dir__() -> list[str]:
    return __all__


BUNDLE = "bundle"  # study attribute: where the bundle is
LOCATION = "artifacts"  # study attribute: where artifacts are, as the planner names it
HOST = "host"


class SetPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the sets of inputs."""

    npz: Blob
    classes: tuple[str, ...] | None
    sha256: str  # `Dataset.sha256`


class VariantPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network with its inputs and its profile."""

    name: str
    kind: str
    model: Blob
    model_name: str
    model_sha256: str  # of the canonical form
    source: str  # a file, or the factory of a torch module
    after: tuple[str, ...] | None
    spec: InputSpec
    calibration: SetPart
    search: SetPart
    profile: ModelProfile | None


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A problem, its table and what was asked."""

    code_sha256: str  # of the package that wrote it
    config: PlanConfig
    task: Task
    against: str
    needs: Requirements
    objectives: tuple[str, ...]
    link: FixedLink | AwgnLink | RayleighBlockLink | TraceLink
    device: Device | None  # None: the planner's host, whose profile is in the networks'
    server: Device | None
    threads: int
    host: Device  # the planner's
    variants: tuple[VariantPart, ...]
    options: tuple[tuple[tuple[Candidate, ...], ...], ...]
    first: tuple[Candidate, ...]
    cuts: dict[str, tuple[str, ...]]  # searched, by variant
    codecs: tuple[str, ...]  # of the table
    kept: tuple[tuple[str, str, Blob], ...]  # results that need no second computation: kind, key, content

    @property
    def code(self) -> tuple[str, ...]:
        """Code of the user's that measuring runs or reads: metrics, decoders, factories of torch modules."""
        models = [code for field, code in code_of_config(self.config) if field.startswith(("model", "models"))]
        return tuple(dict.fromkeys((*models, *code_of_task(self.task))))

    @property
    def space(self) -> Space:
        """The candidates."""
        return Space(options=self.options, first=self.first)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PlannerParts:
    """What the planner has of a problem beside its table of candidates."""

    problem: Problem
    networks: Sequence[Network]
    host: Device
    cuts: Mapping[str, Sequence[str]]  # names of those that are searched, by variant
    codecs: Sequence[str]  # of the table
    kept: Mapping[tuple[str, str], bytes]  # results by kind and key that workers need not compute again


def write_bundle(
    parts: PlannerParts, space: Space, objectives: Sequence[str], *, opened: Opened, artifacts: Artifacts
) -> None:
    """Write everything that a worker needs, unless the study has it."""
    problem, networks = parts.problem, parts.networks
    study = opened.trials.study
    if BUNDLE in study.user_attrs:
        return
    blobs: dict[str, Blob] = {}

    def put(content: bytes, name: str) -> Blob:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in blobs:
            blobs[digest] = artifacts.put(content, name, study)
        return blobs[digest]

    def part(data: Dataset, name: str) -> SetPart:
        return SetPart(npz=put(report_bytes(data), f"{name}.npz"), classes=data.classes, sha256=data.sha256())

    def variant(network: Network) -> VariantPart:
        given, graph = network.variant, network.graph
        return VariantPart(
            name=given.name,
            kind=given.kind,
            model=put(whole_bytes(graph), "model.onnx"),
            model_name=graph.name,
            model_sha256=graph.sha256,
            source=graph.source,
            after=None if given.after is None else tuple(sorted(given.after)),
            spec=given.spec,
            calibration=part(given.split.calibration, "calibration"),
            search=part(given.split.search, "search"),
            profile=network.profile,
        )

    config = problem.config
    bundle = Bundle(
        code_sha256=code_sha256(),
        config=config,
        task=problem.metric.task,
        against=problem.metric.against,
        needs=problem.needs,
        objectives=tuple(objectives),
        link=problem.link,
        device=None if config.device == HOST else networks[0].edge.device,
        server=None if config.server == HOST else networks[0].server.device,
        threads=problem.threads,
        host=parts.host,
        variants=tuple(variant(network) for network in networks),
        options=tuple(tuple(tuple(rates) for rates in codecs) for codecs in space.options),
        first=tuple(space.first),
        cuts={name: tuple(names) for name, names in parts.cuts.items()},
        codecs=tuple(parts.codecs),
        kept=tuple((kind, key, put(content, kind)) for (kind, key), content in parts.kept.items()),
    )
    blob = artifacts.put(msgspec.msgpack.encode(bundle), "problem.msgpack", study)
    study.set_user_attr(LOCATION, artifacts.location)
    study.set_user_attr(BUNDLE, msgspec.to_builtins(blob))


def read_bundle(opened: Opened, location: str | None) -> tuple[Bundle, Artifacts]:
    """What the planner wrote, from `location` (default: where the planner wrote it).

    Raises `ProfileError` where there is nothing, and where another version of splitpoint wrote it.
    """
    attributes = opened.trials.study.user_attrs
    if BUNDLE not in attributes:
        raise ProfileError(
            f"the study {opened.name} has no artifacts, so nobody can join it",
            fix="splitpoint plan ... --storage URL --artifacts DIR or s3://BUCKET/PREFIX",
        )
    artifacts = Artifacts(location or attributes[LOCATION])
    content = artifacts.get(msgspec.convert(attributes[BUNDLE], Blob))
    try:
        bundle = msgspec.msgpack.decode(content, type=Bundle)
    except (msgspec.MsgspecError, ProfileError) as error:
        raise ProfileError(f"the problem of {opened.name} cannot be read: {error}", at=artifacts.location) from error
    if bundle.code_sha256 != code_sha256():
        raise ProfileError(
            f"another version of splitpoint made the study {opened.name}",
            fix="install the same version on every machine",
        )
    return bundle, artifacts


def read_problem(
    bundle: Bundle, artifacts: Artifacts, folder: Path, *, threads: int
) -> tuple[Problem, list[Variant], list[ModelProfile | None]]:
    """The problem, its networks (the given one first) and their profiles; `folder` gets files of profiles.

    The problem has no report set: the search set takes its place, and nobody asks for it.
    """
    sets: dict[str, Dataset] = {}
    variants = [_variant(part, artifacts, sets) for part in bundle.variants]
    given = variants[0]
    outputs = [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in given.graph.outputs]
    metric = make_metric(bundle.task, outputs, bundle.against, input_shape=given.graph.inputs[0].shape)  # type: ignore[arg-type]  # a literal
    config = bundle.config
    for field, device in (("device", bundle.device), ("server", bundle.server)):
        if device is not None:
            write_yaml(folder / f"{field}.yaml", device)
            config = msgspec.structs.replace(config, **{field: str(folder / f"{field}.yaml")})
    problem = Problem(
        config=config,
        graph=given.graph,
        split=given.split,
        metric=metric,
        needs=bundle.needs,
        link=bundle.link,
        notes=(),
        threads=threads,
    )
    return problem, variants, [part.profile for part in bundle.variants]


def _variant(part: VariantPart, artifacts: Artifacts, sets: dict[str, Dataset]) -> Variant:
    graph = load_canonical(artifacts.get(part.model), name=part.model_name, source=part.source)
    if graph.sha256 != part.model_sha256:
        raise ProfileError(f"{part.model_name} is another network here than where it was planned", at=part.name)
    calibration, search = (_set(data, part, graph, artifacts, sets) for data in (part.calibration, part.search))
    return Variant(
        name=part.name,
        kind=part.kind,  # type: ignore[arg-type]  # a literal
        graph=graph,
        split=Split(calibration=calibration, search=search, report=search),
        after=None if part.after is None else frozenset(part.after),
    )


def _set(
    data: SetPart, part: VariantPart, graph: ModelGraph, artifacts: Artifacts, sets: dict[str, Dataset]
) -> Dataset:
    if data.sha256 not in sets:
        inputs = tuple(DeclaredInput(name=t.name, dims=t.shape, dtype=t.dtype) for t in graph.inputs)
        read = load_npz(artifacts.get(data.npz), part.spec, at=f"inputs of {part.name}", inputs=inputs)
        sets[data.sha256] = dataclasses.replace(read, classes=data.classes)
    if sets[data.sha256].sha256() != data.sha256:
        raise ProfileError("the inputs are not those of the study: their hash differs", at=part.name)
    return sets[data.sha256]
