"""Whether a record agrees with itself: what types do not say, so that every answer from it is a number or an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.setup.config import SEEDS
from splitpoint.planner.values.candidate import Candidate, Evaluated

if TYPE_CHECKING:
    from splitpoint.planner.answers.record import NetworkRecord, PlanRecord

__all__ = ["check_record"]


def __dir__() -> list[str]:
    return __all__


MOST_SECONDS = 1e9
MOST_BYTES = 2.0**62


def check_record(record: PlanRecord) -> None:
    """Raise `ValueError` with what contradicts the rest of the record."""
    _require(record.networks and record.points, "there are no networks or no points")
    _require(record.networks[0].profile is not None, "the given network has no profile")
    for network in record.networks:
        _check_network(network)
    _require(0 <= record.seed < SEEDS and 0 <= record.server_load <= MOST_SECONDS, "a seed or a load out of range")
    names = [bound.limit for bound in record.asked.bounds]
    _require(set(names) <= LIMITS.keys(), "a limit that there is not")
    _require(set(record.objectives) <= OBJECTIVES.keys() and record.objectives, "an objective that there is not")
    _require(record.aim.prefer in PREFERENCES, "a preference that there is not")
    _require(
        all(1 <= value <= MOST_SECONDS for value in msgspec.structs.astuple(record.aim.errors)), "an error below 1"
    )
    _check_candidates(record)
    for point in record.points:
        _check_point(point)
    _require(
        all(_finite(estimate.payload_bytes, estimate.error) for estimate in record.table), "an estimate is no number"
    )
    sizes = [point.cost.payload_bytes for point in record.points] + [row.payload_bytes for row in record.table]
    _require(max(sizes) <= MOST_BYTES, "a payload that no message holds")


def _check_network(network: NetworkRecord) -> None:
    graph, profile = network.graph, network.profile
    known = {tensor.name for tensor in graph.inputs}
    for place, node in enumerate(graph.nodes):
        _require(node.index == place, "the nodes of a network are not in their order")
        _require(known.issuperset(node.inputs), f"node {node.name!r} reads what no node before it gives")
        numbers = (node.macs or 0, node.parameters, node.weight_bytes, node.operators, node.inner_bytes)
        _require(min(numbers) >= 0, f"a count of node {node.name!r} is negative")
        known.update(node.outputs)
    sizes = [tensor.bytes for tensor in (*graph.inputs, *graph.outputs, *graph.tensors.values())]
    elements = [tensor.elements for tensor in graph.tensors.values()]
    _require(graph.nodes and min([*sizes, *elements], default=0) >= 0 and network.pixels >= 0, "a size is negative")
    cuts = {cut.name for cut in network.cuts}
    for cut in network.cuts:
        _require(all(0 <= index < len(graph.nodes) for index in cut.head), f"cut {cut.name!r} has nodes that are none")
        _require(min(cut.bytes, cut.head_weight_bytes) >= 0, f"a size of cut {cut.name!r} is negative")
    if profile is not None:
        seconds = {timing.name: timing.seconds for timing in profile.nodes}
        _require({node.name for node in graph.nodes} <= seconds.keys(), "a node has no seconds")
        _require(all(0 <= s <= MOST_SECONDS for s in seconds.values()) and sum(seconds.values()) > 0, "bad seconds")
        _require(0 < profile.whole.min_s <= MOST_SECONDS, "the network takes no time")
        _require(0 <= profile.retest_error <= 100, "a retest error out of range")
    for timing in network.halves:
        _require("+".join(timing.tensors) in cuts, "halves of a cut that is none")
        _require(all(0 < half.min_s <= MOST_SECONDS for half in (timing.head, timing.tail)), "halves take no time")
        _require(all(_finite(half.mad_s) for half in (timing.head, timing.tail)), "a deviation is no number")


def _check_candidates(record: PlanRecord) -> None:
    """Every candidate is of a network, and every split of a cut and of work that are in the record."""
    cuts = {network.name: {cut.name for cut in network.cuts} for network in record.networks}
    places = dict(record.work_of)
    _require(all(0 <= place < len(record.works) for place in places.values()), "a work that is not there")
    measured: Sequence[Candidate] = [point.candidate for point in record.points]
    for candidate in (*measured, *(estimate.candidate for estimate in record.table), *record.front):
        _require(candidate.variant in cuts, "a candidate of a network that is not there")
        if candidate.placement == "split":
            _require(candidate.cut in cuts[candidate.variant], "a candidate of a cut that is not there")
            _require(candidate in places, "a candidate without its work")
    _require(all(estimate.candidate.placement == "split" for estimate in record.table), "an estimate of no split")
    for work in record.works:
        numbers = [work.table_bytes, work.weight_bytes, work.head_weight_bytes, *(count for _, count in work.symbols)]
        for op in (*work.encoder, *work.decoder):
            numbers += [
                op.macs or 0,
                op.read_bytes,
                op.write_bytes,
                op.weight_bytes,
                op.operators,
                op.element_bytes - 1,
            ]
        _require(min(numbers) >= 0, "a count of work is negative")


def _check_point(point: Evaluated) -> None:
    cost, accuracy = point.cost, point.accuracy
    seconds = [value for name in cost.__struct_fields__ if name.endswith("_s") and (value := getattr(cost, name))]
    _require(not any(math.isnan(value) for value in seconds) and cost.latency_s > 0, "a point takes no time")
    parts = (cost.head_s, cost.tail_s, cost.encode_s, cost.decode_s, cost.prepare_s)
    _require(_finite(*parts, cost.payload_bytes), "a part of a cost is no number")
    _require(max(parts) <= MOST_SECONDS, "a part of a cost takes for ever")
    known = [cost.compute_j, cost.radio_j, cost.idle_j, cost.server_usd, cost.link_usd, point.head_share]
    quality = [accuracy.value, accuracy.low, accuracy.high, accuracy.drop, accuracy.drop_low, accuracy.drop_high]
    quality += [accuracy.lost, accuracy.lost_low, accuracy.lost_high, *(figure.value for figure in accuracy.also)]
    _require(_finite(*(value for value in (*known, *quality) if value is not None)), "a figure is no number")
    if point.outcomes is not None:
        counts = [count for row in point.outcomes.inputs for count in row.counts]
        _require(_finite(*counts, *point.outcomes.payload_bytes), "an outcome is no number")


def _finite(*values: float) -> bool:
    return all(map(math.isfinite, values))


def _require(holds: object, text: str) -> None:
    if not holds:
        raise ValueError(text)
