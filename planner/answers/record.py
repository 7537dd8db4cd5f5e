"""What one plan measured, as one value: enough to price every point on other machines and to decide again.

A plan directory stores it as measured.bin: MessagePack of a `PlanRecord` in one zstd frame. Outcomes of inputs are
stored by column; the boxes of detectors, on which no decision depends, are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import zstandard

from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.answers.record_checks import check_record
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.price import CodingWork
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.need import asked
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.search.table import Entry
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.types import Link
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile
from splitpoint.profiles.network.model import ModelGraph, Node, Tensor, Unsized

__all__ = ["Estimate", "GraphRecord", "NetworkRecord", "PlanRecord", "decode_record", "encode_record", "make_record"]


def __dir__() -> list[str]:
    return __all__


FORMAT = 1
LEVEL = 9  # of zstd: a record is written once
UNPACKED_BYTES = 1 << 30  # of a record that is read
WITHOUT = "matches", "unsplit_matches"  # fields of an input's outcome that are not stored


class GraphRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network's operators and tensors, without its weights: the fields of `ModelGraph`."""

    name: str
    sha256: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    opset: int
    uncounted: dict[str, int]
    unsized: dict[str, Unsized]


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A network that was searched: what its seconds and bytes depend on, on any machine."""

    name: str  # the variant's
    graph: GraphRecord
    profile: ModelProfile | None  # None: modelled after the given network's
    halves: tuple[HalvesTiming, ...]  # timed on the host of the profile
    cuts: tuple[Cut, ...]  # of the candidates and of `halves`
    pixels: int  # of a picture at its input; 0: tensors


class Estimate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A candidate of the table: what it was taken for before anything of it was measured."""

    candidate: Candidate
    label: str  # of its rate
    payload_bytes: float
    error: float  # estimated distance of the outputs from the exact ones


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that was measured for one plan, and the question that it answered."""

    format: int = FORMAT
    networks: tuple[NetworkRecord, ...]  # the given one first
    host: Device  # where it was measured
    device: Device
    server: Device
    device_is_host: bool  # of which no limits, power or price are known
    server_is_host: bool
    link: Link
    link_name: str  # as the configuration names it
    server_load: float
    seed: int
    asked: Requirements  # without the device's own limits
    against: Literal["labels", "unsplit"]  # what quality is compared with
    figures: tuple[str, ...]  # of the metric, that may have a limit
    objectives: tuple[str, ...]
    aim: Aim
    points: tuple[Evaluated, ...]  # with costs for `device`, `server` and `link`, in the order of their measurement
    front: tuple[Candidate, ...]  # by their number, from 1
    works: tuple[CodingWork, ...]
    work_of: tuple[tuple[Candidate, int], ...]  # of every split in `points` and `table`: its place in `works`
    table: tuple[Estimate, ...]


def make_record(result: SearchResult, front: Sequence[Evaluated]) -> PlanRecord:
    """The record of a search; `front` are its points in the order of their numbers."""
    problem, config = result.problem, result.problem.config
    splits = [point.candidate for point in result.points if point.candidate.placement == "split"]
    work_of = _nearest_works(result.works, [*splits, *(entry.candidate for entry in result.table)])
    works = tuple(dict.fromkeys(work_of.values()))
    place = {work: number for number, work in enumerate(works)}
    return PlanRecord(
        networks=tuple(_network(network, result) for network in result.networks),
        host=result.profile.host,
        device=result.device,
        server=result.server,
        device_is_host=config.device == "host",
        server_is_host=config.server == "host",
        link=problem.link,
        link_name=config.link,
        server_load=config.requests_s,
        seed=config.search.seed,
        asked=_asked(problem.needs, asked(config.need)),
        against=problem.metric.against,
        figures=tuple(problem.metric.figures),
        objectives=tuple(config.objectives),
        aim=result.aim,
        points=result.points,
        front=tuple(point.candidate for point in front),
        works=works,
        work_of=tuple((candidate, place[work]) for candidate, work in work_of.items()),
        table=tuple(_estimate(entry) for entry in result.table),
    )


def encode_record(record: PlanRecord) -> bytes:
    """The bytes of measured.bin; equal records give equal bytes."""
    plain = msgspec.to_builtins(msgspec.structs.replace(record, points=()))
    plain["points"] = [_columns(point) for point in record.points]
    content = msgspec.msgpack.encode(plain)
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(content)


def decode_record(data: bytes, *, at: str) -> PlanRecord:
    """The record in the bytes of measured.bin; raises `ProfileError` for anything else."""
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= UNPACKED_BYTES:
            raise ProfileError(f"expected up to {UNPACKED_BYTES} bytes unpacked, got {size}", at=at, fix="plan again")
        plain = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=UNPACKED_BYTES))
        if not isinstance(plain, dict) or plain.get("format") != FORMAT:
            raise ProfileError(f"expected a record of format {FORMAT}", at=at, fix="plan again with this version")
        points = tuple(_point(point) for point in plain.pop("points"))
        record = msgspec.structs.replace(msgspec.convert(plain | {"points": []}, PlanRecord), points=points)
        check_record(record)
    except (zstandard.ZstdError, ValueError, KeyError, TypeError, AttributeError) as error:  # msgspec's: ValueError
        raise ProfileError(f"not what a plan measured: {error}", at=at, fix="plan again") from error
    return record


def _network(network: Network, result: SearchResult) -> NetworkRecord:
    profile = network.profile
    halves = result.halves.get(network.name, () if profile is None else profile.halves)
    used = {entry.candidate.cut for entry in result.table} | {point.candidate.cut for point in result.points}
    used |= {"+".join(timing.tensors) for timing in halves}
    return NetworkRecord(
        name=network.name,
        graph=_graph(network.graph),
        profile=profile,
        halves=halves,
        cuts=tuple(cut for cut in network.cuts.cuts if cut.name in used),
        pixels=network.pixels,
    )


def _graph(graph: ModelGraph) -> GraphRecord:
    return GraphRecord(
        name=graph.name,
        sha256=graph.sha256,
        inputs=graph.inputs,
        outputs=graph.outputs,
        tensors=dict(graph.tensors),
        nodes=graph.nodes,
        opset=graph.opset,
        uncounted=dict(graph.uncounted),
        unsized=dict(graph.unsized),
    )


def _asked(needs: Requirements, own: Mapping[str, float]) -> Requirements:
    """`needs` with what was asked for, `own`, in place of the device's limits."""
    bounds = {bound.limit: bound for bound in needs.bounds if not bound.device}
    bounds = {name: Bound(limit=name, value=value) for name, value in own.items()} | bounds
    return msgspec.structs.replace(needs, bounds=tuple(bounds[name] for name in LIMITS if name in bounds))


def _nearest_works(known: Mapping[Candidate, CodingWork], wanted: Sequence[Candidate]) -> dict[Candidate, CodingWork]:
    """The work of each candidate: its own, or that of the nearest rate of its codec at its cut that was fitted."""
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in sorted(known):
        groups.setdefault((candidate.variant, candidate.cut, candidate.codec), []).append(candidate)
    found = {}
    for candidate in wanted:
        near = groups.get((candidate.variant, candidate.cut, candidate.codec), ())
        if near:
            found[candidate] = known[min(near, key=functools.partial(_steps, candidate.rate))]
    return found


def _steps(rate: int, other: Candidate) -> int:
    return abs(other.rate - rate)


def _estimate(entry: Entry) -> Estimate:
    candidate = entry.candidate
    return Estimate(
        candidate=candidate,
        label=REGISTRY[candidate.codec].rates[candidate.rate].label,
        payload_bytes=entry.cost.payload_bytes,
        error=entry.error,
    )


def _columns(point: Evaluated) -> dict[str, Any]:
    """A point as plain values, its outcomes by column."""
    plain: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(point, outcomes=None))
    if point.outcomes is None:
        return plain
    names = [name for name in InputOutcome.__struct_fields__ if name not in WITHOUT]
    columns = {name: [getattr(row, name) for row in point.outcomes.inputs] for name in names}
    rest = msgspec.to_builtins(msgspec.structs.replace(point.outcomes, inputs=()))
    return {**plain, "outcomes": {**rest, "inputs": columns}}


def _point(plain: dict[str, Any]) -> Evaluated:
    """A point from plain values, as `_columns` gives them."""
    outcomes = plain.pop("outcomes", None)
    point = msgspec.convert(plain, Evaluated)
    if outcomes is None:
        return point
    columns = outcomes["inputs"]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return msgspec.structs.replace(point, outcomes=msgspec.convert({**outcomes, "inputs": rows}, Outcomes))
