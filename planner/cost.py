"""What a candidate costs: a pure function of frozen inputs whose parts add up. No I/O, no ONNX Runtime, no search.

latency = prepare + head + encode + link + decode + tail, all of one inference on an idle device, link and server.
The link part is the payload's way up and the answer's way down, half a round trip each (see profiles/link.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.protocol import FittedCodec
from splitpoint.planner.types import Cost, Cut, How
from splitpoint.profiles.device import Device, OpWork, predict_s, serial_s
from splitpoint.profiles.link import Link, downlink_s, uplink_s
from splitpoint.profiles.model import ModelGraph, ModelProfile, Node

__all__ = [
    "ANSWER_BYTES",
    "PREPROCESS",
    "CodingWork",
    "Party",
    "cost_of_picture",
    "cost_of_split",
    "cost_on_device",
    "op_work",
    "party",
    "work_of",
]


def __dir__() -> list[str]:
    return __all__


ANSWER_BYTES = 64  # what the server sends back: a class, a score, a few boxes; one packet on every link
PREPROCESS = "preprocess"  # the name under which resizing and normalization are measured, per pixel


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Party:
    """A device or server with the seconds it takes for each node of one graph."""

    device: Device
    node_s: NDArray[np.float64]  # (nodes,)
    run_s: float  # constant of each inference
    how: How

    def seconds(self, nodes: Sequence[int]) -> float:
        """Seconds to run these nodes; nothing to run takes no time."""
        return self.run_s + float(self.node_s[list(nodes)].sum()) if len(nodes) else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CodingWork:
    """What a fitted codec asks of the two sides, independent of who they are."""

    symbols: tuple[tuple[str, int], ...]  # (coder, symbols it codes) per crossing tensor
    encoder: tuple[OpWork, ...]
    decoder: tuple[OpWork, ...]
    side_bytes: int  # one-time: tables and added weights
    weight_bytes: int


def party(device: Device, graph: ModelGraph, profile: ModelProfile) -> Party:
    """`device` running `graph`: profiled where the model profile was measured on it, else modelled."""
    if device.fingerprint is not None and device.fingerprint == profile.machine.fingerprint:
        seconds = {timing.name: timing.seconds for timing in profile.nodes}
        node_s = np.array([seconds[node.name] for node in graph.nodes])
        run_s = min(device.compute.run_overhead_s, profile.whole.min_s)
        node_s *= (profile.whole.min_s - run_s) / node_s.sum()
        return Party(device=device, node_s=node_s, run_s=run_s, how="profiled")
    node_s = predict_s(device, [op_work(graph, node) for node in graph.nodes])
    return Party(device=device, node_s=node_s, run_s=device.compute.run_overhead_s, how="modelled")


def op_work(graph: ModelGraph, node: Node) -> OpWork:
    """A node as arithmetic and memory traffic."""

    def total(names: Iterable[str]) -> int:
        return sum(graph.tensors[name].bytes for name in names if name in graph.tensors)

    known = [graph.tensors[name] for name in node.outputs if name in graph.tensors]
    return OpWork(
        op_class=node.op_class,
        macs=node.macs,
        read_bytes=total(node.inputs),
        write_bytes=total(node.outputs),
        weight_bytes=node.weight_bytes,
        element_bytes=np.dtype(known[0].dtype).itemsize if known else 4,
    )


def work_of(fitted: Sequence[FittedCodec], *, table_bytes: int) -> CodingWork:
    """The work of the codecs of one cut; `table_bytes` is the length of their codec.npz."""
    return CodingWork(
        symbols=tuple((codec.coder.name, sum(spec.elements for spec in codec.coder.specs)) for codec in fitted),
        encoder=tuple(op for codec in fitted for op in _graph_ops(codec, codec.encoder, codec.encoder_macs)),
        decoder=tuple(op for codec in fitted for op in _graph_ops(codec, codec.decoder, codec.decoder_macs)),
        side_bytes=table_bytes + sum(codec.weight_bytes for codec in fitted),
        weight_bytes=sum(codec.weight_bytes for codec in fitted),
    )


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
    link: Link,
) -> Cost:
    """A cut inside the network (or at its input): the device prepares, runs the head and encodes."""
    tail = [node.index for node in graph.nodes if node.index not in set(cut.head)]
    encode_s = sum(serial_s(edge.device, host, name, n, direction="encode") for name, n in work.symbols)
    decode_s = sum(serial_s(server.device, host, name, n, direction="decode") for name, n in work.symbols)
    return _cost(
        edge=edge,
        server=server,
        prepare_s=_prepare_s(edge.device, host, prepare_symbols),
        head_s=edge.seconds(cut.head),
        # The codec's graph is part of head.onnx: its operators cost, another run's overhead does not.
        encode_s=encode_s + float(predict_s(edge.device, work.encoder).sum()),
        link_s=_link_s(link, payload_bytes),
        decode_s=decode_s + float(predict_s(server.device, work.decoder).sum()),
        tail_s=server.seconds(tail),
        payload_bytes=payload_bytes,
        side_bytes=work.side_bytes,
        head_bytes=cut.head_weight_bytes + work.weight_bytes,
        head_peak_bytes=peak_bytes,
    )


def cost_on_device(*, graph: ModelGraph, peak_bytes: int, prepare_symbols: int, edge: Party, host: Device) -> Cost:
    """Do not split: the whole model on the device, nothing sent."""
    return _cost(
        edge=edge,
        server=None,
        prepare_s=_prepare_s(edge.device, host, prepare_symbols),
        head_s=edge.seconds([node.index for node in graph.nodes]),
        head_bytes=sum(node.weight_bytes for node in graph.nodes),
        head_peak_bytes=peak_bytes,
    )


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
    link: Link,
) -> Cost:
    """Do not split: the coded picture to the server, which prepares it and runs the whole model."""
    return _cost(
        edge=edge,
        server=server,
        prepare_s=_prepare_s(server.device, host, prepare_symbols),
        encode_s=serial_s(edge.device, host, coder, pixels, direction="encode"),
        link_s=_link_s(link, payload_bytes),
        decode_s=serial_s(server.device, host, coder, pixels, direction="decode"),
        tail_s=server.seconds([node.index for node in graph.nodes]),
        payload_bytes=payload_bytes,
    )


def _cost(
    *,
    edge: Party,
    server: Party | None,
    prepare_s: float,
    head_s: float = 0.0,
    encode_s: float = 0.0,
    link_s: float = 0.0,
    decode_s: float = 0.0,
    tail_s: float = 0.0,
    payload_bytes: float = 0.0,
    side_bytes: int = 0,
    head_bytes: int = 0,
    head_peak_bytes: int = 0,
) -> Cost:
    parties = [edge] if server is None else [edge, server]
    power = edge.device.power
    return Cost(
        prepare_s=prepare_s,
        head_s=head_s,
        encode_s=encode_s,
        link_s=link_s,
        decode_s=decode_s,
        tail_s=tail_s,
        how="modelled" if any(p.how == "modelled" for p in parties) else "profiled",
        payload_bytes=payload_bytes,
        side_bytes=side_bytes,
        head_bytes=head_bytes,
        head_peak_bytes=head_peak_bytes,
        energy_j=None if power is None else (power.active_w - power.idle_w) * (head_s + encode_s),
    )


def _prepare_s(device: Device, host: Device, symbols: int) -> float:
    return serial_s(device, host, PREPROCESS, symbols, direction="encode") if symbols else 0.0


def _link_s(link: Link, payload_bytes: float) -> float:
    return uplink_s(link, 8 * payload_bytes) + downlink_s(link, 8 * ANSWER_BYTES)


def _graph_ops(codec: FittedCodec, model: bytes | None, macs: int) -> list[OpWork]:
    """One OpWork a node of a codec's graph: each reads and writes about the whole tensor, the first does the MACs."""
    if model is None:
        return []
    import onnx

    nodes = len(onnx.load_model_from_string(model).graph.node)
    tensor_bytes = 4 * int(np.prod(codec.shape, dtype=np.int64))
    return [
        OpWork(
            op_class="pointwise" if first else "other",
            macs=macs if first else 0,
            read_bytes=tensor_bytes,
            write_bytes=tensor_bytes,
            weight_bytes=0,
        )
        for first in [True] + [False] * (nodes - 1)
    ]
