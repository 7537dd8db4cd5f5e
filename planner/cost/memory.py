"""Memory of a head: weights and peak live activations over its execution order."""

from __future__ import annotations

from splitpoint.planner.cuts.enumeration import execution_order
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["peak_bytes"]


def __dir__() -> list[str]:
    return __all__


def peak_bytes(graph: ModelGraph, cut: Cut | None) -> int:
    """Weights plus the most bytes of activations alive at once while the head runs; the whole model for `cut` None.

    A tensor lives from the node that makes it (the input: from the start) to its last reader; a node's inputs and
    outputs are alive together. ONNX Runtime may reuse buffers in place and so need less.
    """
    inside = None if cut is None else set(cut.head)
    order = [node for node in execution_order(graph.nodes) if inside is None or node.index in inside]
    kept = {tensor.name for tensor in graph.outputs} if cut is None else set(cut.tensors)
    last = {name: step for step, node in enumerate(order) for name in node.inputs}
    alive = {tensor.name: tensor.bytes for tensor in graph.inputs}
    peak = sum(alive.values())
    for step, node in enumerate(order):
        alive.update({name: graph.tensors[name].bytes for name in node.outputs if name in graph.tensors})
        peak = max(peak, sum(alive.values()))
        for name in [name for name in alive if last.get(name, -1) <= step and name not in kept]:
            del alive[name]
    return peak + sum(node.weight_bytes for node in order)
