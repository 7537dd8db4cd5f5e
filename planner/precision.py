"""A network with weights of lower precision: fp16, or int8 with activations quantized on calibration inputs (QDQ)."""

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
    return load_graph(changed, name=f"{graph.name} {precision}", source=graph.source)
