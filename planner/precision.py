"""A network with weights of lower precision: fp16, or int8 with activations quantized on calibration inputs (QDQ).

A runtime without fp16 arithmetic, as ONNX Runtime's on CPUs, widens fp16 weights when it loads them: the file halves,
memory and latency do not.
"""

from __future__ import annotations

from typing import Literal

from splitpoint.planner.data import Dataset, inputs
from splitpoint.planner.export import whole_bytes
from splitpoint.profiles.graph import load_graph
from splitpoint.profiles.model import ModelGraph
from splitpoint.profiles.runtime import to_float16, to_int8

__all__ = ["lower_precision"]


def __dir__() -> list[str]:
    return __all__


def lower_precision(graph: ModelGraph, precision: Literal["fp16", "int8"], calibration: Dataset) -> ModelGraph:
    """`graph` in another precision, inputs and outputs in their own types; raises `ProfileError` where it cannot be.

    int8 is static: ranges of activations are those of the calibration inputs, weights have a scale per channel.
    """
    model = whole_bytes(graph)
    if precision == "fp16":
        changed = to_float16(model, name=graph.name)
    else:
        name = graph.inputs[0].name
        changed = to_int8(model, ({name: x} for x in inputs(calibration)), name=graph.name)
    called = f"{graph.name} {precision}"
    # The first pass makes ORT insert Casts, the second settles their form: what is stored must be what is read again.
    settled = whole_bytes(load_graph(changed, name=called, source=graph.source))
    return load_graph(settled, name=called, source=graph.source)
