"""A network with weights of lower precision: fp16, or int8 with activations quantized on calibration inputs (QDQ).

A runtime without fp16 arithmetic, as ONNX Runtime's on CPUs, widens fp16 weights when it loads them: the file halves,
memory and latency do not.
"""

from __future__ import annotations

from typing import Literal

from splitpoint.planner.cost.price import other_half
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import to_float16, to_int8

__all__ = ["lower_precision", "same_places"]


def __dir__() -> list[str]:
    return __all__


def lower_precision(
    graph: ModelGraph, precision: Literal["fp16", "int8"], calibration: Dataset, *, head: Cut | None = None
) -> ModelGraph:
    """`graph`, or only the head of a cut of it, in another precision; inputs and outputs keep their types.

    int8 is static: ranges of activations are those of the calibration inputs, weights have a scale per channel.
    Raises `ProfileError` where ONNX Runtime cannot convert or run it.
    """
    model = whole_bytes(graph)
    keep = [] if head is None else [graph.nodes[index].name for index in other_half(graph, head)]
    if precision == "fp16":
        changed = to_float16(model, keep=keep, name=graph.name)
    else:
        changed = to_int8(model, (graph.feeds(x) for x in NetworkInputs(calibration)), keep=keep, name=graph.name)
    called = f"{graph.name} {precision}" + ("" if head is None else f" before {head.after}")
    # The first pass makes ORT insert Casts, the second brings them to their final form: reading the stored model again
    # must give the same model.
    settled = whole_bytes(load_graph(changed, name=called, source=graph.source))
    return load_graph(settled, name=called, source=graph.source)


def same_places(graph: ModelGraph, cut: Cut) -> frozenset[str]:
    """Nodes of `graph` after which it has done as many MACs as the head of `cut`: the cut's tensor, in any type.

    `graph` is a network of which `lower_precision` converted the head.
    """
    return frozenset(c.after for c in enumerate_cuts(graph).cuts if c.head_macs == cut.head_macs)
