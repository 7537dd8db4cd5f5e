"""Multiply-adds of a torch module by type of its parts: the graph's count beside fvcore's, and why they differ.

The graph is what is planned: exported to ONNX, BatchNorm merged, attention as its products. fvcore counts the torch
module before any of that. The exporter names a node "path.of.module/Operator", and ONNX Runtime adds to the end of
the names that it merges, so a node belongs to the module whose path its name begins with. A convolution that the
exporter merges with the BatchNorm behind it has the name of the BatchNorm and the weight of the convolution; it
belongs to the module of its weight.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from splitpoint.profiles.network.model import ModelGraph, Node
from splitpoint.profiles.network.runtime import IoSpec
from splitpoint.profiles.network.torch_model import ModuleOperators, forward_inputs, fvcore_operators, load_module

__all__ = ["NOT_MAPPED", "ModuleCount", "compare_counts", "count_torch_source"]


def __dir__() -> list[str]:
    return __all__


NOT_MAPPED: Final = "(no module)"
DEPTHWISE: Final = " (depthwise)"

# What fvcore (0.1.5, fvcore/nn/jit_handles.py) counts as flops although it is no sum of products.
_NO_PRODUCTS: Final[Mapping[str, str]] = {
    "adaptive_avg_pool2d": "one addition an input element",
    "adaptive_avg_pool3d": "one addition an input element",
    "batch_norm": "one or two operations an element; ONNX Runtime merges it into the convolution before it",
    "grid_sampler": "four operations an output element",
    "group_norm": "four or five operations an element",
    "instance_norm": "four or five operations an element",
    "layer_norm": "four or five operations an element",
    "upsample_bilinear2d": "four operations an output element",
    "upsample_nearest2d": "one operation an output element",
}
# Operators of torch that contain sums of products, and that fvcore has no rule for.
_PRODUCTS_SKIPPED: Final = frozenset(
    {
        "_native_multi_head_attention",
        "_transformer_encoder_layer_fwd",
        "baddbmm",
        "gru",
        "lstm",
        "rnn_relu",
        "rnn_tanh",
        "scaled_dot_product_attention",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModuleCount:
    """Multiply-adds of all parts of one type, parts inside them not included."""

    module_type: str  # name of the class; NOT_MAPPED for nodes that belong to no part
    modules: int  # parts of this type that either side counts something for
    macs: int  # of the graph's nodes
    fvcore_macs: int
    reason: str  # empty when the two are equal and every operator is counted

    @property
    def difference_macs(self) -> int:
        """The graph's count minus fvcore's."""
        return self.macs - self.fvcore_macs


def count_torch_source(source: str, graph: ModelGraph) -> tuple[ModuleCount, ...] | None:
    """The rows for a graph that was exported from the factory `source`; raises `ProfileError` without torch, fvcore."""
    module = load_module(source)
    given = {tensor.name: IoSpec(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype) for tensor in graph.inputs}
    names = list(given) if len(given) == 1 else list(forward_inputs(module))
    if set(names) != set(given):
        return None  # parameters that are constant or have defaults: fvcore calls the module with inputs alone
    return compare_counts(graph, fvcore_operators(module, [given[name] for name in names]))


def compare_counts(graph: ModelGraph, parts: Sequence[ModuleOperators]) -> tuple[ModuleCount, ...]:
    """A row for each type of part, in order of first use; the sums of the columns are the two totals."""
    by_path = {path: part for part in parts for path in part.paths}
    nodes: dict[str | None, list[Node]] = {}  # by the first path of their part
    weights = {
        node.name or "": [value.name or "" for value in node.inputs if value is not None and value.is_initializer()]
        for node in graph.model.graph
    }
    for node in graph.nodes:
        owner = _owner(node, weights.get(node.name, []), by_path)
        nodes.setdefault(None if owner is None else owner.paths[0], []).append(node)
    groups: dict[str, list[ModuleOperators]] = {}
    for part in parts:
        mine = nodes.get(part.paths[0], [])
        if part.counted or any(node.macs is None or node.macs for node in mine):
            depthwise = any(node.op_class == "depthwise" for node in mine)
            groups.setdefault(part.type + (DEPTHWISE if depthwise else ""), []).append(part)
    rows = [
        _row(name, members, [node for part in members for node in nodes.get(part.paths[0], [])])
        for name, members in groups.items()
    ]
    stray = [node for node in nodes.get(None, []) if node.macs is None or node.macs]
    return tuple([*rows, _row(NOT_MAPPED, [], stray)] if stray else rows)


def _owner(node: Node, weights: Sequence[str], by_path: Mapping[str, ModuleOperators]) -> ModuleOperators | None:
    """The innermost part whose path the node's name begins with; None when there is none."""
    place = node.name
    while "/" in place:
        place = place.rpartition("/")[0]
        named = by_path.get(place) if place else None
        if named is not None:
            merged = node.macs and "batch_norm" in named.counted
            return (_weight_owner(weights, by_path) or named) if merged else named
    # The exporter names what the outermost module calls itself "Operator" or "Operator_2".
    outermost = re.fullmatch(rf"{re.escape(node.op_type)}(_\d+)?", node.name)
    return by_path.get("") if outermost else None


def _weight_owner(weights: Sequence[str], by_path: Mapping[str, ModuleOperators]) -> ModuleOperators | None:
    """The part that holds the first of the weights that any part holds: "stem.0.weight" is in "stem.0"."""
    found = (by_path.get(name.rpartition(".")[0]) for name in weights if "." in name)
    return next((part for part in found if part is not None), None)


def _row(name: str, members: Sequence[ModuleOperators], nodes: Sequence[Node]) -> ModuleCount:
    counted: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for part in members:
        counted.update(part.counted)
        skipped.update(part.skipped)
    macs = sum(node.macs or 0 for node in nodes)
    fvcore_macs = sum(counted.values())
    missing = sorted({node.op_type for node in nodes if node.macs is None})
    return ModuleCount(
        module_type=name,
        modules=len(members),
        macs=macs,
        fvcore_macs=fvcore_macs,
        reason="; ".join(_reasons(macs, counted, skipped, missing, mapped=bool(members))),
    )


def _reasons(
    macs: int, counted: Mapping[str, int], skipped: Mapping[str, int], missing: Sequence[str], *, mapped: bool
) -> list[str]:
    """Every known cause of a difference, and the number of multiply-adds that no cause explains."""
    reasons = [
        f"fvcore counts {counted[name]:,} for {name}: {why}" for name, why in _NO_PRODUCTS.items() if counted.get(name)
    ]
    if missing:
        reasons.append(f"the graph's {', '.join(missing)} has no multiply-adds of products and is not counted")
    left = macs - sum(count for name, count in counted.items() if name not in _NO_PRODUCTS)
    products = sorted(_PRODUCTS_SKIPPED & skipped.keys())
    if left > 0 and not mapped:
        reasons.append("ONNX Runtime or the exporter gave these nodes names without a module")
    elif left > 0 and products:
        reasons.append(f"fvcore does not count {', '.join(products)}: {left:,} multiply-adds")
    elif left:
        reasons.append(f"{abs(left):,} multiply-adds {'more' if left > 0 else 'fewer'} in the graph, cause unknown")
    return reasons
