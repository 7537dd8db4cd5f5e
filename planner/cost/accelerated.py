"""Which operators an accelerator runs itself, which fall back to the CPU beside it, and what the crossings cost.

The rule is that of runtimes with execution providers: the accelerator runs every operator that it can, whether or not
the CPU would be faster. Input and output of a network cross in the overhead of a run, which is in the profile; every
other tensor that one unit makes and the other reads takes the seconds and bytes a second that the profile states.

A quantized network has QuantizeLinear and DequantizeLinear around each operator (QDQ): an accelerator's compiler makes
one int8 operator of them, so that they run where that operator does and take no time of their own there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from splitpoint.planner.cost.memory import QUANTIZED
from splitpoint.profiles.machine.device import PRECISION_BYTES, Accelerator, Device
from splitpoint.profiles.network.model import ModelGraph, Node

__all__ = ["Assignment", "Crossing", "assign", "processors"]


def __dir__() -> list[str]:
    return __all__


QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
ABSORBED = frozenset({"Relu", "Clip"})  # by the int8 operator that they read: no QDQ is between
SHOWN = 3  # layers that a reason or a note names


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """A tensor that one unit makes and nodes of the other read."""

    maker: int
    readers: frozenset[int]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Assignment:
    """The nodes of one graph on the units of one device; all nodes that are not named are the accelerator's."""

    device: Device
    lacking: Mapping[int, str]  # nodes that the accelerator does not run itself: "layer conv1: Conv in float"
    on_cpu: frozenset[int]  # `lacking` and the QDQ of those nodes; empty where the device refuses them
    folded: frozenset[int]  # QDQ that the accelerator's operators contain
    crossings: tuple[Crossing, ...]

    def overhead_s(self, nodes: Sequence[int]) -> float:
        """Seconds beside those of the operators: of each unit's run, and of the crossings inside `nodes`."""
        inside = frozenset(nodes)
        cpu = None if self.device.accelerator is None else _cpu(self.device.accelerator)
        runs_s = self.device.compute.run_overhead_s if inside - self.on_cpu else 0.0
        if cpu is not None and inside & self.on_cpu:
            runs_s += cpu.compute.run_overhead_s
        return runs_s + sum(
            crossing.seconds
            for crossing in self.crossings
            if crossing.maker in inside and not inside.isdisjoint(crossing.readers)
        )

    def refusal(self, nodes: Sequence[int]) -> str | None:
        """Why the device cannot run these nodes: "layer X: Softmax not run by coral"; None where it can."""
        missing = [] if self.on_cpu else [self.lacking[index] for index in sorted({*nodes} & self.lacking.keys())]
        return f"{_several(missing)} not run by {self.device.name}" if missing else None

    def fallen_back(self, nodes: Sequence[int]) -> list[int]:
        """Those of `nodes` that the CPU runs, without QDQ."""
        return [index for index in nodes if index in self.on_cpu and index in self.lacking]

    def note(self) -> str | None:
        """Which layers fall back; None where none does."""
        if not self.on_cpu or self.device.accelerator is None:
            return None
        cpu = _cpu(self.device.accelerator)
        layers = [self.lacking[index] for index in sorted(self.lacking)]
        one = len(layers) == 1
        return (
            f"{self.device.name}: {len(layers)} operator{'' if one else 's'} of the network fall{'s' if one else ''}"
            f" back to its CPU ({'' if cpu is None else cpu.name}): {_several(layers)}; between the two cross"
            f" {len(self.crossings)} tensors"
        )


def assign(device: Device, graph: ModelGraph) -> Assignment | None:
    """The units that run the nodes of `graph`; None for a device that is one unit."""
    accelerator = device.accelerator
    if accelerator is None:
        return None
    lacking = dict(_lacking(accelerator, graph))
    makers = {name: node for node in graph.nodes for name in node.outputs}
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    outside = set(lacking)
    for node in graph.nodes:  # QDQ, which run where the operator does that they are for
        if node.op_type == DEQUANTIZE:
            served = [reader.index for name in node.outputs for reader in readers.get(name, [])]
        elif node.op_type == QUANTIZE:
            served = [makers[name].index for name in node.inputs if name in makers]
        else:
            continue
        if any(index in lacking for index in served):
            outside.add(node.index)
    int8 = device.runtime.precision == "int8"
    folded = {node.index for node in graph.nodes if int8 and node.op_type in (QUANTIZE, DEQUANTIZE)} - outside
    if _cpu(accelerator) is None:
        outside = set()
    return Assignment(
        device=device,
        lacking=lacking,
        on_cpu=frozenset(outside),
        folded=frozenset(folded),
        crossings=tuple(_crossings(device, graph, frozenset(outside), readers)),
    )


def processors(device: Device, units: Assignment | None, count: int) -> list[tuple[Device, list[int]]]:
    """The machines that run a graph of `count` nodes, `device` first, each with its nodes.

    QDQ that the accelerator's operators contain are nobody's.
    """
    if units is None:
        return [(device, list(range(count)))]
    own = [index for index in range(count) if index not in units.on_cpu and index not in units.folded]
    cpu = None if device.accelerator is None else _cpu(device.accelerator)
    return [(device, own)] if cpu is None else [(device, own), (cpu, sorted(units.on_cpu))]


def _lacking(accelerator: Accelerator, graph: ModelGraph) -> Iterator[tuple[int, str]]:
    """The nodes that the accelerator does not run itself, in order, and why; QDQ are of the operators around them."""
    precisions = _precisions(graph)
    stopped: str | None = None
    for node in graph.nodes:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            continue
        precision = precisions[node.index]
        reason = None
        if not accelerator.has_operator(node.op_type):
            reason = node.op_type
        elif accelerator.takes is not None and precision is not None and precision not in accelerator.takes:
            reason = f"{node.op_type} in {precision}"
        elif stopped is not None:
            reason = f"{node.op_type} behind {stopped}"
        if reason is None:
            continue
        if accelerator.first_part_only and stopped is None:
            stopped = node.name
        yield node.index, f"layer {node.name}: {reason}"


def _precisions(graph: ModelGraph) -> dict[int, str | None]:
    """ "int8" or "float" for each node; None for those of integers alone, such as shapes.

    fp16 and fp32 are not told apart: on CPUs ONNX Runtime widens fp16, so that a canonical graph computes in fp32.
    """
    makers = {name: node for node in graph.nodes for name in node.outputs}
    found: dict[int, str | None] = {}
    for node in graph.nodes:
        floats = [name for name in node.inputs if name in graph.tensors and "float" in graph.tensors[name].dtype]
        before = [makers.get(name) for name in floats]
        if node.op_type in QUANTIZED or (before and all(_gives_int8(maker, node, found) for maker in before)):
            found[node.index] = "int8"
        else:
            found[node.index] = "float" if floats else None
    return found


def _gives_int8(maker: Node | None, node: Node, found: Mapping[int, str | None]) -> bool:
    """Whether what `node` reads from `maker` is a number of 8 bits, though its type is float."""
    if maker is None:
        return False
    return maker.op_type == DEQUANTIZE or (node.op_type in ABSORBED and found[maker.index] == "int8")


def _crossings(
    device: Device, graph: ModelGraph, on_cpu: frozenset[int], readers: Mapping[str, Sequence[Node]]
) -> Iterator[Crossing]:
    fallback = None if device.accelerator is None else device.accelerator.fallback
    if fallback is None or not on_cpu:
        return
    for node in graph.nodes:
        for name in node.outputs:
            other = [r.index for r in readers.get(name, []) if (r.index in on_cpu) != (node.index in on_cpu)]
            if not other:
                continue
            tensor = graph.tensors.get(name)
            size = -(-tensor.bytes // tensor.elements) if tensor is not None and tensor.elements else 4
            scale = min(1.0, PRECISION_BYTES[device.runtime.precision] / size)
            seconds = fallback.crossing_s + scale * graph.bytes_of(name) / fallback.crossing_bytes_s
            yield Crossing(maker=node.index, readers=frozenset(other), seconds=seconds)


def _cpu(accelerator: Accelerator) -> Device | None:
    return None if accelerator.fallback is None else accelerator.fallback.device


def _several(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"{', '.join(texts[:SHOWN])}{more}"
