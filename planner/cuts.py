"""Every place where one tensor separates a network into a head and a tail, and why the other places do not.

One sweep over the nodes in execution order keeps the set of live tensors: made before, read after. Every node of a
canonical graph lies on a path to an output, so a tensor that all paths cross is alone exactly once, right after its
maker, in any execution order. Linear in the edges; no search per tensor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from splitpoint.planner.types import Cut, Rejected
from splitpoint.profiles.graph import captures
from splitpoint.profiles.model import ModelGraph, Node

__all__ = ["CutList", "enumerate_cuts", "execution_order"]


def __dir__() -> list[str]:
    return __all__


SHOWN = 3  # crossing tensors that a reason names


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CutList:
    """The cuts in execution order, the model's input first, and the places between nodes that are none."""

    cuts: tuple[Cut, ...]
    rejected: tuple[Rejected, ...]


def enumerate_cuts(graph: ModelGraph) -> CutList:
    """Every single-tensor cut of `graph`. The input itself is cut 0; "all on the device" is no cut."""
    cuts: list[Cut] = []
    rejected: list[Rejected] = []
    order = execution_order(graph.nodes)
    capturing = _capturing(graph, order)
    macs = parameters = weight_bytes = 0
    for done, live in _places(graph, order):
        if done:
            node = order[done - 1]
            macs += node.macs or 0
            parameters += node.parameters
            weight_bytes += node.weight_bytes
        after = order[done - 1].name if done else "input"
        reason = _refusal(graph, live, done, capturing)
        if reason is not None:
            rejected.append(Rejected(tensors=live, after=after, reason=reason))
            continue
        tensor = graph.tensors[live[0]]
        cuts.append(
            Cut(
                index=len(cuts),
                tensors=live,
                after=after,
                head=tuple(sorted(node.index for node in order[:done])),
                elements=tensor.elements,
                bytes=tensor.bytes,
                head_macs=macs,
                head_parameters=parameters,
                head_weight_bytes=weight_bytes,
            )
        )
    return CutList(cuts=tuple(cuts), rejected=tuple(rejected))


def execution_order(nodes: Sequence[Node]) -> list[Node]:
    """The nodes in their order, but generators of random numbers, which read nothing, right before their reader."""
    makers = {name: node for node in nodes if not node.inputs for name in node.outputs}
    if not makers:
        return list(nodes)
    ordered: dict[int, Node] = {}
    for node in nodes:
        if node.inputs:
            for name in node.inputs:
                if name in makers:
                    ordered[makers[name].index] = makers[name]
            ordered[node.index] = node
    for node in makers.values():  # read by nobody: its output is the model's
        ordered.setdefault(node.index, node)
    return list(ordered.values())


def _places(graph: ModelGraph, order: Sequence[Node]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """For every place but the end: how many nodes are done, and the names of the tensors that cross, in order made."""
    unread = _reads(graph, order)
    live = {tensor.name: None for tensor in graph.inputs if unread.get(tensor.name)}
    yield 0, tuple(live)
    for done, node in enumerate(order[:-1], start=1):
        for name in node.inputs:
            unread[name] -= 1
            if not unread[name]:
                live.pop(name, None)
        live.update((name, None) for name in node.outputs if unread.get(name))
        yield done, tuple(live)


def _reads(graph: ModelGraph, order: Sequence[Node]) -> dict[str, int]:
    """How many nodes read each tensor; being an output of the model is one more, never done."""
    unread: dict[str, int] = {}
    for node in order:
        for name in node.inputs:
            unread[name] = unread.get(name, 0) + 1
    for tensor in graph.outputs:
        unread[tensor.name] = unread.get(tensor.name, 0) + 1
    return unread


def _capturing(graph: ModelGraph, order: Sequence[Node]) -> dict[str, tuple[int, Node]]:
    """Tensors that a subgraph (If, Loop, Scan) reads from outside, with the place and the node of the last reader."""
    inside = {node.name: list(captures(node)) for node in graph.model.graph}
    return {value.name or "": (place, node) for place, node in enumerate(order) for value in inside.get(node.name, ())}


def _refusal(
    graph: ModelGraph, live: tuple[str, ...], done: int, capturing: Mapping[str, tuple[int, Node]]
) -> str | None:
    outputs = {tensor.name for tensor in graph.outputs}
    made = [name for name in live if name in outputs]
    if made:
        return f"output {made[0]!r} is made before this place, and the tail would have to give it"
    unknown = [name for name in live if name not in graph.tensors]
    if unknown:
        return f"{unknown[0]!r} is not a tensor of known shape and type"
    if len(live) == 1:
        return None
    for name in live:
        place, reader = capturing.get(name, (-1, None))
        if reader is not None and place >= done:
            return f"node {reader.name!r} ({reader.op_type}) captures outer value {name!r}; {len(live)} tensors cross"
    names = ", ".join(repr(name) for name in live[:SHOWN])
    more = f" and {len(live) - SHOWN} more" if len(live) > SHOWN else ""
    return f"{len(live)} tensors cross: {names}{more}"
