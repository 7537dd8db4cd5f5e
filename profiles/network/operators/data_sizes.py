"""Which tensors of a graph have a size that follows from the numbers in the input, not from its shape alone.

Two runs can agree by accident (no box passes a threshold in either), so this is found from the graph: a value is
followed by its numbers and by its size, and a few operators turn numbers into sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators.subgraphs import captures

__all__ = ["find_data_sized"]


def __dir__() -> list[str]:
    return __all__


# Operator -> the inputs whose numbers decide the size of its outputs.
_SIZING: Final[Mapping[str, tuple[int, ...]]] = {
    "CenterCropPad": (1,),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "NonMaxSuppression": (0, 1, 2, 3, 4),
    "NonZero": (0,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unique": (0,),
    "Upsample": (1,),
}


def find_data_sized(graph: ir.Graph) -> set[ir.Value]:
    """Values whose size depends on the numbers of the graph's inputs, by the graph's own operators.

    Of a Loop whose number of trips is such a number, what it stacks trip by trip. Branches of an If, and trips that a
    condition inside a Loop ends, are for runs to compare.
    """
    numbers: set[ir.Value] = set(graph.inputs)  # values whose numbers depend on the input
    sizes: set[ir.Value] = set()
    for node in graph:
        reads = [value for value in (*node.inputs, *captures(node)) if value is not None]
        sized = any(value in sizes for value in reads)
        if node.op_type in ("Shape", "Size"):
            numbers.update(node.outputs if sized else ())
            continue
        if any(value in numbers for value in reads) or sized:
            numbers.update(node.outputs)
        if node.op_type == "Loop" and any(value in numbers for value in node.inputs[:2]):
            sizes.update(node.outputs[len(node.inputs) - 2 :])
        deciding = (node.inputs[place] for place in _SIZING.get(node.op_type, ()) if place < len(node.inputs))
        if sized or any(value in numbers for value in deciding):
            sizes.update(node.outputs)
    return sizes
