"""The cost of a candidate: a pure function of frozen inputs, whose parts add up. No I/O, no ONNX Runtime, no search.

latency = prepare + head + encode + link + wait + decode + tail, of one inference on an idle device and link; wait is
the queue of a shared server. The link part is the payload to the server and the answer to the device, half a round trip
each (see profiles/link/link.py). Energy is that of the device: idle power over the whole latency, plus what computing
and the radio add.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Coder, FittedCodec, MultiRateCoder
from splitpoint.planner.cost.accelerated import Assignment, assign, processors
from splitpoint.planner.cost.coverage import Coverage
from splitpoint.planner.cost.memory import stored_scale
from splitpoint.planner.cost.message import ANSWER_BYTES, Channel, send
from splitpoint.planner.cost.uncounted import bound_uncounted, uncounted_seconds
from splitpoint.planner.deploy.cost import Cost, How, Symbols
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.link.energy import compute_j, link_usd, radio_j, server_usd, wait_j
from splitpoint.profiles.link.symbols import as_bits
from splitpoint.profiles.machine.device import Device, OpWork, predict_s, serial_s
from splitpoint.profiles.machine.machine import check_settings
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import describe_model
from splitpoint.profiles.network.model import ModelGraph, Node

__all__ = [
    "PREPROCESS",
    "CodingWork",
    "Party",
    "at_speed",
    "cost_of_picture",
    "cost_of_split",
    "cost_on_device",
    "op_work",
    "other_half",
    "over",
    "party",
    "predict_graph_s",
    "work_of",
]


def __dir__() -> list[str]:
    return __all__


PREPROCESS = "preprocess"  # the name under which resizing and normalization are measured, per pixel


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Party:
    """A device or server with the seconds it takes for each node of one graph."""

    device: Device
    node_s: NDArray[np.float64]  # (nodes,)
    run_s: float  # constant of each inference
    how: How
    retest_error: float | None = None  # of the profile that the seconds come from; None: modelled
    units: Assignment | None = None  # of a modelled accelerator beside a CPU; None: one unit runs every node
    coverage: Coverage | None = None  # of a profile fitted to published networks

    def seconds(self, nodes: Sequence[int]) -> float:
        """Seconds to run these nodes; 0 for no nodes."""
        if not len(nodes):
            return 0.0
        overhead_s = self.run_s if self.units is None else self.units.overhead_s(nodes)
        return overhead_s + float(self.node_s[list(nodes)].sum())

    def extra_error(self, nodes: Sequence[int]) -> float:
        """Standard error of the logarithm of the seconds of these nodes, beyond that of usual networks."""
        return 0.0 if self.coverage is None else self.coverage.extra_error(nodes)

    def refusal(self, nodes: Sequence[int]) -> str | None:
        """Why it cannot run these nodes; None where it can."""
        return None if self.units is None else self.units.refusal(nodes)

    def timed(self, nodes: Sequence[int]) -> Timed:
        """As `seconds`, and how they are known; a profile measured the seconds of the whole network."""
        seconds = self.seconds(nodes)
        if self.retest_error is None:
            return Timed(seconds=seconds, how=self.how, spread_s=None)
        whole = len(nodes) == len(self.node_s)
        return Timed(
            seconds=seconds,
            how="measured" if whole else self.how,
            spread_s=self.retest_error * seconds if seconds else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CodingWork:
    """What a fitted codec makes the two sides compute and store, whichever machines they are."""

    symbols: tuple[tuple[str, int], ...]  # (coder, symbols it codes) per crossing tensor
    encoder: tuple[OpWork, ...]
    decoder: tuple[OpWork, ...]
    table_bytes: int  # one-time: codec.npz
    weight_bytes: int  # one-time: added to the graphs
    sent: Symbols | None = None  # as channel symbols, in place of bits
    encoder_weight_bytes: int | None = None  # of weight_bytes, on the device; None: all (records of format 5.0)

    @property
    def head_weight_bytes(self) -> int:
        """What the codec adds to the weights of head.onnx: a trained decoder is the server's."""
        return self.weight_bytes if self.encoder_weight_bytes is None else self.encoder_weight_bytes

    @property
    def side_bytes(self) -> int:
        """One-time bytes of the codec."""
        return self.table_bytes + self.weight_bytes


def other_half(graph: ModelGraph, cut: Cut) -> list[int]:
    """Indices of the nodes after the cut: its tail."""
    head = set(cut.head)
    return [node.index for node in graph.nodes if node.index not in head]


def party(device: Device, graph: ModelGraph, profile: ModelProfile) -> Party:
    """Seconds of `graph` on `device`: profiled where the model profile was measured on it, else modelled.

    Raises `ProfileError` when both are of one processor with different threads, provider or precision.
    """
    if device.machine is not None:
        check_settings(profile.machine, device.machine, what=f"the model profile of {profile.model}", at=device.name)
    if device.fingerprint is not None and device.fingerprint == profile.machine.fingerprint:
        seconds = {timing.name: timing.seconds for timing in profile.nodes}
        node_s = np.array([seconds[node.name] for node in graph.nodes])
        run_s = min(device.compute.run_overhead_s, profile.whole.min_s)
        node_s *= (profile.whole.min_s - run_s) / node_s.sum()
        return Party(device=device, node_s=node_s, run_s=run_s, how="profiled", retest_error=profile.retest_error)
    units, node_s = predict_graph_s(device, graph, uncounted_seconds(graph, profile), host=profile.host)
    return Party(device=device, node_s=node_s, run_s=device.compute.run_overhead_s, how="modelled", units=units)


def predict_graph_s(
    device: Device, graph: ModelGraph, uncounted_s: Mapping[int, float], *, host: Device, scale: float = 1.0
) -> tuple[Assignment | None, NDArray[np.float64]]:
    """Modelled seconds of every node on the unit of `device` that runs it, times `scale`; and the units.

    `uncounted_s` are the seconds on `host` of nodes without a count, which bound theirs; not scaled.
    """
    units = assign(device, graph)
    node_s = np.zeros(len(graph.nodes))
    for machine, nodes in processors(device, units, len(graph.nodes)):
        node_s[nodes] = scale * predict_s(machine, [op_work(graph, graph.nodes[index]) for index in nodes])
        bounds = {index: uncounted_s[index] for index in nodes if index in uncounted_s}
        node_s = bound_uncounted(node_s, machine, host, bounds)
    return units, node_s


def op_work(graph: ModelGraph, node: Node) -> OpWork:
    """The arithmetic and the memory traffic of a node."""

    def total(names: Iterable[str]) -> int:
        return sum(graph.bytes_of(name) for name in names)

    known = [graph.tensors[name] for name in node.outputs if name in graph.tensors and graph.tensors[name].elements]
    return OpWork(
        op_class=node.op_class,
        macs=node.macs,
        # What the operators of a body read holds their weights, each time that they are read.
        read_bytes=node.inner_bytes or total(node.inputs),
        write_bytes=total(node.outputs),
        weight_bytes=0 if node.inner_bytes else node.weight_bytes,
        element_bytes=-(-known[0].bytes // known[0].elements) if known else 4,
        # Of a quantized network activations are float32 between QDQ, and weights are one byte.
        weight_element_bytes=max(1, node.weight_bytes // node.parameters) if node.parameters else None,
        operators=node.operators,
        kernel=node.kernel,
    )


def work_of(fitted: Sequence[FittedCodec], *, table_bytes: int) -> CodingWork:
    """The work of the codecs at one cut; `table_bytes` is the length of their codec.npz."""
    return CodingWork(
        symbols=tuple((codec.coder.name, _symbols(codec.coder)) for codec in fitted),
        encoder=tuple(op for codec in fitted for op in _graph_ops(codec.encoder)),
        decoder=tuple(op for codec in fitted for op in _graph_ops(codec.decoder)),
        table_bytes=table_bytes,
        weight_bytes=sum(codec.weight_bytes for codec in fitted),
        sent=_sent(fitted),
        encoder_weight_bytes=sum(_weight_bytes(codec.encoder) for codec in fitted),
    )


def _sent(fitted: Sequence[FittedCodec]) -> Symbols | None:
    """What codecs send as channel symbols; None where they send bits."""
    senders = [codec for codec in fitted if codec.channel is not None]
    if not senders or senders[0].channel is None:
        return None
    count = sum(spec.elements for codec in senders for spec in codec.coder.specs)
    return Symbols(count=count, channel=senders[0].channel)


def _symbols(coder: Coder) -> int:
    """How many symbols a payload codes, side information among them."""
    if isinstance(coder, MultiRateCoder):
        return coder.symbols
    return sum(spec.elements for spec in coder.specs)


def cost_of_split(
    *,
    graph: ModelGraph,
    cut: Cut,
    work: CodingWork,
    payload_bytes: float,
    peak_bytes: int,
    prepare_symbols: int,
    edge: Party,
    server: Party,
    host: Device,
    channel: Channel,
    head: Timed | None = None,
    tail: Timed | None = None,
) -> Cost:
    """Cost of a cut inside the network (or at its input): the device preprocesses, runs the head and encodes.

    `head` and `tail` are the seconds of the halves where timings of them exist; None: from `edge` and `server`.
    """
    head = head or edge.timed(cut.head)
    tail = tail or server.timed(other_half(graph, cut))
    encode_s = sum(serial_s(edge.device, host, name, n, direction="encode") for name, n in work.symbols)
    decode_s = sum(serial_s(server.device, host, name, n, direction="decode") for name, n in work.symbols)
    scale = stored_scale(edge.device, graph)
    cost = Cost(
        prepare_s=_prepare_s(edge.device, host, prepare_symbols),
        head_s=head.seconds,
        # The codec's graph is part of head.onnx: its operators take time, but there is no overhead of a second run.
        encode_s=encode_s + float(predict_s(_coding_unit(edge), work.encoder).sum()),
        link_s=0.0,
        decode_s=decode_s + float(predict_s(_coding_unit(server), work.decoder).sum()),
        tail_s=tail.seconds,
        how=_how(head, tail),
        head_how=head.how,
        tail_how=tail.how,
        head_spread_s=head.spread_s,
        tail_spread_s=tail.spread_s,
        payload_bytes=payload_bytes,
        symbols=work.sent,
        side_bytes=work.side_bytes,
        head_bytes=cut.head_weight_bytes + work.head_weight_bytes,
        head_peak_bytes=round(scale * (peak_bytes + work.head_weight_bytes)),
        head_file_bytes=round(scale * (cut.head_weight_bytes + work.head_weight_bytes)) + work.table_bytes,
        head_extra_error=edge.extra_error(cut.head),
        tail_extra_error=server.extra_error(other_half(graph, cut)),
        refused=edge.refusal(cut.head) or server.refusal(other_half(graph, cut)),
    )
    return over(cost, channel, edge.device, server.device)


def cost_on_device(*, graph: ModelGraph, peak_bytes: int, prepare_symbols: int, edge: Party, host: Device) -> Cost:
    """Cost without a split: the whole model runs on the device and nothing is sent."""
    weight_bytes = sum(node.weight_bytes for node in graph.nodes)
    scale = stored_scale(edge.device, graph)
    head = edge.timed([node.index for node in graph.nodes])
    cost = Cost(
        prepare_s=_prepare_s(edge.device, host, prepare_symbols),
        head_s=head.seconds,
        encode_s=0.0,
        link_s=0.0,
        decode_s=0.0,
        tail_s=0.0,
        how=head.how,
        head_how=head.how,
        head_spread_s=head.spread_s,
        payload_bytes=0.0,
        side_bytes=0,
        head_bytes=weight_bytes,
        head_peak_bytes=round(scale * peak_bytes),
        head_file_bytes=round(scale * weight_bytes),
        radio_j=0.0,
        server_usd=0.0,
        link_usd=0.0,
        head_extra_error=edge.extra_error([node.index for node in graph.nodes]),
        refused=edge.refusal([node.index for node in graph.nodes]),
    )
    if cost.refused is not None:
        cost = msgspec.structs.replace(cost, link_s=math.inf, infeasible=cost.refused)
    return _powered(cost, edge.device)


def cost_of_picture(
    *,
    graph: ModelGraph,
    coder: str,
    pixels: int,
    payload_bytes: float,
    prepare_symbols: int,
    edge: Party,
    server: Party,
    host: Device,
    channel: Channel,
) -> Cost:
    """Cost without a split: the coded picture is sent to the server, which preprocesses it and runs the whole model."""
    tail = server.timed([node.index for node in graph.nodes])
    cost = Cost(
        prepare_s=_prepare_s(server.device, host, prepare_symbols),
        prepared_by="server",
        head_s=0.0,
        encode_s=serial_s(edge.device, host, coder, pixels, direction="encode"),
        link_s=0.0,
        decode_s=serial_s(server.device, host, coder, pixels, direction="decode"),
        tail_s=tail.seconds,
        how=_how(edge.timed([]), tail),
        tail_how=tail.how,
        tail_spread_s=tail.spread_s,
        payload_bytes=payload_bytes,
        side_bytes=0,
        head_bytes=0,
        head_peak_bytes=0,
        tail_extra_error=server.extra_error([node.index for node in graph.nodes]),
        refused=server.refusal([node.index for node in graph.nodes]),
    )
    return over(cost, channel, edge.device, server.device)


def over(cost: Cost, channel: Channel, edge: Device, server: Device) -> Cost:
    """`cost` with the parts of its message over `channel`: seconds, queue, radio, money, or why it can never arrive."""
    sent, link = send(channel, cost.payload_bytes, cost.server_s, cost.symbols), channel.link
    symbols, up_bytes = 0, cost.payload_bytes
    arrives = cost.symbols is None or sent.infeasible is None
    if cost.symbols is not None and arrives:
        symbols, up_bytes = cost.symbols.count, as_bits(link, cost.symbols.count) / 8
    cost = msgspec.structs.replace(
        cost,
        link_s=sent.link_s if cost.refused is None else math.inf,
        wait_s=sent.wait_s,
        deadline_link_s=sent.deadline_s,
        air_s=sent.air_s,
        channel_uses=sent.channel_uses,
        infeasible=cost.refused or sent.infeasible,
        radio_j=radio_j(link, 8 * up_bytes, 8 * ANSWER_BYTES, symbols=symbols) if arrives else None,
        server_usd=server_usd(server, cost.server_s),
        link_usd=link_usd(link, up_bytes + ANSWER_BYTES) if arrives else None,
    )
    return _powered(cost, edge)


def at_speed(cost: Cost, factor: float, edge: Device) -> Cost:
    """`cost` on a device that is `factor` times as fast as `edge`, in all that it computes, at the same power."""
    mine = ["head_s", "encode_s", "head_spread_s", *(["prepare_s"] if cost.prepared_by == "device" else [])]
    known = {name: seconds for name in mine if (seconds := getattr(cost, name)) is not None}
    faster = {name: seconds / factor for name, seconds in known.items()}
    return _powered(msgspec.structs.replace(cost, **faster), edge)


def _powered(cost: Cost, device: Device) -> Cost:
    """`cost` with the energy of the device; None for a request that never gets an answer."""
    if cost.infeasible is not None:
        return msgspec.structs.replace(cost, compute_j=None, idle_j=None)
    return msgspec.structs.replace(
        cost, compute_j=compute_j(device, cost.device_s), idle_j=wait_j(device, cost.latency_s)
    )


def _coding_unit(side: Party) -> Device:
    """What runs a codec's graph: the CPU where the accelerator has one beside it that runs what it cannot."""
    accelerator = side.device.accelerator
    cpu = None if accelerator is None or accelerator.fallback is None else accelerator.fallback.device
    return side.device if cpu is None or side.units is None else cpu


def _how(*halves: Timed) -> How:
    certain: tuple[How, ...] = ("modelled", "profiled", "measured")
    return min((half.how for half in halves), key=certain.index)


def _prepare_s(device: Device, host: Device, symbols: int) -> float:
    return serial_s(device, host, PREPROCESS, symbols, direction="encode") if symbols else 0.0


def _graph_ops(model: bytes | None) -> tuple[OpWork, ...]:
    """The nodes of a codec's graph, counted in the same way as those of any network."""
    return () if model is None else _structure_ops(_structure(model))


def _weight_bytes(model: bytes | None) -> int:
    """Of the initializers of a codec's graph, each of which one node reads."""
    return sum(op.weight_bytes for op in _graph_ops(model))


@functools.lru_cache(maxsize=256)
def _structure_ops(model: bytes) -> tuple[OpWork, ...]:
    graph = describe_model(model, name="codec")
    return tuple(op_work(graph, node) for node in graph.nodes)


def _structure(model: bytes) -> bytes:
    """The model with zeros for its float weights, so that all rates of a codec at a tensor give equal bytes.

    Integer constants (shapes) keep their values.
    """
    import onnx

    proto = onnx.load_model_from_string(model)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.raw_data = bytes(len(tensor.raw_data))
    return bytes(proto.SerializeToString(deterministic=True))
