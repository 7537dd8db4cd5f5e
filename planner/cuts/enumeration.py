"""Every place where one tensor, or up to k, separates a network into a head and a tail, and why others do not.

One sweep over the nodes in execution order keeps the set of live tensors: made before, read after. Every node of a
canonical graph lies on a path to an output, so a tensor that all paths cross is alone exactly once, right after its
maker, in any execution order. Linear in the edges; no search per tensor. Frontiers of several tensors lie between
these places (planner.cuts.frontiers).
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence

from splitpoint.planner.cuts.frontiers import Frontier, find_frontiers
from splitpoint.planner.cuts.layers import module_path, with_layers
from splitpoint.planner.values.cut import Cut, Rejected
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.model import CARRIED_TYPES, ModelGraph, Node
from splitpoint.profiles.network.operators.subgraphs import captures

__all__ = ["CutList", "cut_of_tensors", "enumerate_cuts", "execution_order", "find_cut"]


def __dir__() -> list[str]:
    return __all__


MOST_TENSORS = 15  # in one message (codecs.container)
NEAR = 4  # cuts that an error names
SHOWN = 3  # crossing tensors that a reason names


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CutList:
    """The cuts in execution order, the model's input first, and the places between nodes that are none."""

    cuts: tuple[Cut, ...]
    rejected: tuple[Rejected, ...]


def enumerate_cuts(graph: ModelGraph, *, k: int = 1) -> CutList:
    """Every cut of at most `k` tensors, and one more for each further input of the network.

    The input itself is cut 0; "all on the device" is no cut.

    A weight that two nodes share counts with the first of them, so a head of several tensors that holds only the
    second is given without it.
    """
    k = min(k + len(graph.inputs) - 1, MOST_TENSORS)
    order = execution_order(graph.nodes)
    capturing = _capturing(graph, order)
    totals = _Totals(graph, order)
    found: list[Frontier] = []
    rejected: list[Rejected] = []
    for done, live in _places(graph, order):
        reason = _refusal(graph, live, done, capturing, k)
        if reason is not None:
            rejected.append(Rejected(tensors=live, after=totals.after(done), reason=reason))
        elif len(live) == 1:
            found.append(Frontier(tensors=live, head=tuple(range(done))))
    if k > 1:
        several = find_frontiers(graph, order, [len(single.head) for single in found], k=k)
        found += [
            frontier for frontier in several.found if not any(_why_not_sent(graph, name) for name in frontier.tensors)
        ]
        found.sort(key=lambda frontier: (frontier.head[-1:], len(frontier.head)))
        for first, last, size in several.skipped:
            reason = f"too many nodes up to {order[last].name!r}: heads that end in more than {size} were not tried"
            rejected.append(Rejected(tensors=(), after=totals.after(first), reason=reason))
    cuts = with_layers(graph, [totals.cut(index, frontier) for index, frontier in enumerate(found)])
    return CutList(cuts=cuts, rejected=tuple(rejected))


class _Totals:
    """Sums over heads: cumulative over the first nodes of the order, added up for other heads."""

    def __init__(self, graph: ModelGraph, order: Sequence[Node]) -> None:
        self._graph = graph
        self._order = order
        self._macs = [0, *itertools.accumulate(node.macs or 0 for node in order)]
        self._parameters = [0, *itertools.accumulate(node.parameters for node in order)]
        self._weight_bytes = [0, *itertools.accumulate(node.weight_bytes for node in order)]

    def after(self, done: int) -> str:
        return self._order[done - 1].name if done else "input"

    def cut(self, index: int, frontier: Frontier) -> Cut:
        tensors = [self._graph.tensors[name] for name in frontier.tensors]
        done = len(frontier.head)
        head = [self._order[place] for place in frontier.head]
        first = frontier.head[-1:] in ((), (done - 1,))  # the first nodes of the order, none left out
        return Cut(
            index=index,
            tensors=frontier.tensors,
            after=head[-1].name if head else "input",
            head=tuple(sorted(node.index for node in head)),
            elements=sum(tensor.elements for tensor in tensors),
            bytes=sum(tensor.bytes for tensor in tensors),
            head_macs=self._macs[done] if first else sum(node.macs or 0 for node in head),
            head_parameters=self._parameters[done] if first else sum(node.parameters for node in head),
            head_weight_bytes=self._weight_bytes[done] if first else sum(node.weight_bytes for node in head),
        )


def find_cut(graph: ModelGraph, text: str, *, at: str, several: str = "") -> Cut:
    """The single-tensor cut after the layer or node, or of the tensor, called `text`; raises `ProfileError`.

    The error says why a place that the network has is no cut, and `several` where several tensors cross there.
    """
    found = enumerate_cuts(graph)
    cuts = found.cuts
    for cut in cuts:
        if text in (cut.layer, cut.after, cut.name):
            return cut
    made = {node.name: node.outputs for node in graph.nodes}
    for place in reversed(found.rejected):
        if text in (place.after, ".".join(module_path(place.after)), *made.get(place.after, ())):
            more = several if len(place.tensors) > 1 else ""
            raise ProfileError(
                f"the network cannot be cut after {text!r}: {place.reason}{more}",
                at=at,
                fix="splitpoint cuts MODEL lists the places where it can",
            )
    names = [cut.layer for cut in cuts]
    near = ", ".join(difflib.get_close_matches(text, names, NEAR, cutoff=0.4) or names[1 : NEAR + 1])
    raise ProfileError(
        f"the network has no cut after {text!r}", at=at, fix=f"splitpoint cuts MODEL lists them: {near}, ..."
    )


def cut_of_tensors(graph: ModelGraph, tensors: Sequence[str], *, at: str | None = None) -> Cut:
    """The cut at which exactly these tensors cross; raises `ProfileError`."""
    for cut in enumerate_cuts(graph, k=len(tensors)).cuts:
        if cut.tensors == tuple(tensors):
            return cut
    raise ProfileError(f"the network has no cut {'+'.join(tensors)}", at=at, fix="splitpoint cuts MODEL")


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
    graph: ModelGraph, live: tuple[str, ...], done: int, capturing: Mapping[str, tuple[int, Node]], k: int
) -> str | None:
    outputs = {tensor.name for tensor in graph.outputs}
    made = [name for name in live if name in outputs]
    if made:
        return f"output {made[0]!r} is made before this place, and the tail would have to give it"
    reasons = [reason for name in live if (reason := _why_not_sent(graph, name)) is not None]
    if reasons:
        return reasons[0]
    if len(live) <= k:
        return None
    for name in live:
        place, reader = capturing.get(name, (-1, None))
        if reader is not None and place >= done:
            return f"node {reader.name!r} ({reader.op_type}) captures outer value {name!r}; {len(live)} tensors cross"
    names = ", ".join(repr(name) for name in live[:SHOWN])
    more = f" and {len(live) - SHOWN} more" if len(live) > SHOWN else ""
    return f"{len(live)} tensors cross: {names}{more}"


def _why_not_sent(graph: ModelGraph, name: str) -> str | None:
    """Why no payload can hold this tensor; None when one can."""
    if name in graph.unsized:
        return f"{name!r} has no fixed shape: {graph.unsized[name].reason}"
    if name not in graph.tensors:
        return f"{name!r} is not a tensor of known shape and type"
    tensor = graph.tensors[name]
    if tensor.dtype not in CARRIED_TYPES:
        return f"{name!r} holds {tensor.dtype}, which no payload here can carry"
    return None if tensor.elements else f"{name!r} is empty: its shape is {list(tensor.shape)}"
