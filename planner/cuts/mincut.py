"""The best of all cuts, of any number of tensors, when costs add up: a minimum cut of a flow network.

It is the exact check on single-tensor cuts: when it finds less, it says which tensors would have to cross together.
Costs that do not add up (the fixed cost of a run, a codec's choice) are the caller's to add.

A cut of the flow network puts each node with the source (device) or with the sink (server) and costs the capacity of
the edges from the first side to the second. The least such cost equals the maximum flow (the max-flow min-cut theorem,
Ford and Fulkerson 1956), which Dinic's algorithm finds in O(V^2 E).

References: Hu et al. 2019 (DADS), "Dynamic adaptive DNN surgery for inference acceleration on the edge", for the
network; Picard 1976, "Maximal closure of a graph", for the edges of infinite capacity; Dinic 1970 for the flow.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Gain", "Optimum", "gain_of_several", "optimum"]


def __dir__() -> list[str]:
    return __all__


PICOSECONDS: Final = 1e12  # capacities are whole picoseconds, so that the flow is exact
_SOURCE: Final = 0  # the device
_SINK: Final = 1  # the server


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Optimum:
    """The head of least cost: the nodes on the device, the tensors that cross (none: all on the device), the cost."""

    head: tuple[int, ...]  # Node.index
    tensors: tuple[str, ...]
    seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What crossing with several tensors at once would save over the best of the cuts given."""

    best: Optimum
    fixed_s: float  # of every cut, whatever it sends
    single_s: float  # of the best of the cuts given, all on the device included

    @property
    def fraction(self) -> float:
        """Part of the best given cut's seconds that would be saved."""
        return 1 - (self.best.seconds + self.fixed_s) / self.single_s

    def __str__(self) -> str:
        names = ", ".join(repr(name) for name in self.best.tensors)
        together_s = self.best.seconds + self.fixed_s
        return (
            f"sending {len(self.best.tensors)} tensors together ({names}) would take {together_s * 1e3:.3g} ms"
            f" where the best cut looked at takes {self.single_s * 1e3:.3g} ms ({self.fraction:.1%} less)"
        )


def gain_of_several(
    graph: ModelGraph,
    cuts: Sequence[Cut],
    *,
    head_s: Sequence[float],
    tail_s: Sequence[float],
    send_s: Mapping[str, float],
    fixed_s: float = 0.0,
    least: float = 0.01,
) -> Gain | None:
    """Whether a cut that is not among `cuts` would take less by a fraction of at least `least`; None when not.

    Costs are those of `optimum`, and `fixed_s` for whatever is sent; the cuts are priced by the same sums, and so is
    all on the device, which sends nothing.
    """
    best = optimum(graph, head_s=head_s, tail_s=tail_s, send_s=send_s)
    single_s = sum(head_s)
    for cut in cuts:
        if all(name in send_s for name in cut.tensors):
            head = set(cut.head)
            nodes_s = sum(head_s[i] if i in head else tail_s[i] for i in range(len(graph.nodes)))
            single_s = min(single_s, nodes_s + sum(send_s[name] for name in cut.tensors) + fixed_s)
    if not best.tensors:
        return None
    gain = Gain(best=best, fixed_s=fixed_s, single_s=single_s)
    return gain if gain.fraction >= least else None


def optimum(
    graph: ModelGraph, *, head_s: Sequence[float], tail_s: Sequence[float], send_s: Mapping[str, float]
) -> Optimum:
    """Least sum of head, sending and tail over all heads that could be exported.

    `head_s` and `tail_s` are seconds of each node on the device and on the server; `send_s` of each tensor, sent once
    however many nodes read it; a tensor without an entry cannot be sent. An output of the model that is made on the
    device needs no sending, but then all of the model is on the device.
    """
    flow = _Flow(2)
    # Above the sum of all finite capacities, so that no minimum cut contains such an edge: it states a constraint.
    infinite = 1 + round(PICOSECONDS * (sum(head_s) + sum(tail_s) + sum(send_s.values())))
    places = {node.index: flow.vertex() for node in graph.nodes}
    makers = {name: places[node.index] for node in graph.nodes for name in node.outputs}
    sent: dict[str, int] = {}
    for node in graph.nodes:
        place = places[node.index]
        flow.edge(place, _SINK, round(PICOSECONDS * head_s[node.index]))  # cut when the node is on the device
        flow.edge(_SOURCE, place, round(PICOSECONDS * tail_s[node.index]))  # cut when it is on the server
        for name in node.inputs:
            maker = makers.get(name, _SOURCE)
            if name not in sent:
                # A vertex for the tensor between its maker and its readers: one edge is cut however many readers are
                # on the server, so the tensor is paid for once (DADS pays once too).
                sent[name] = flow.vertex()
                capacity = round(PICOSECONDS * send_s[name]) if name in send_s else infinite
                flow.edge(maker, sent[name], capacity)
            flow.edge(sent[name], place, infinite)
            if maker != _SOURCE:
                # Closure: an infinite edge against the direction of the data. A node on the device whose input is
                # made on the server would cut it, so the head is a down-set (Picard 1976).
                flow.edge(place, maker, infinite)
    last = [makers[tensor.name] for tensor in graph.outputs if tensor.name in makers]
    for first in last:
        for other in last:
            if first != other:
                flow.edge(first, other, infinite)
        for place in places.values():  # nothing is left for the server once an output is made
            if first != place:
                flow.edge(first, place, infinite)
    cost = flow.maximum(_SOURCE, _SINK)
    # What the source still reaches in the residual network is its side of a minimum cut, the smallest one.
    device = flow.reachable(_SOURCE)
    head = tuple(node.index for node in graph.nodes if places[node.index] in device)
    tensors = tuple(
        name for name, vertex in sent.items() if makers.get(name, _SOURCE) in device and vertex not in device
    )
    return Optimum(head=head, tensors=tensors, seconds=cost / PICOSECONDS)


class _Flow:
    """Dinic's maximum flow: breadth-first levels, then paths along them until none is left (a blocking flow).

    Each round of levels makes the shortest path longer, so there are fewer rounds than vertices.
    """

    def __init__(self, vertices: int) -> None:
        self._edges: list[list[int]] = [[] for _ in range(vertices)]  # numbers of the edges that leave a vertex
        self._to: list[int] = []
        self._left: list[int] = []  # capacity left; edge e's reverse is e ^ 1

    def vertex(self) -> int:
        self._edges.append([])
        return len(self._edges) - 1

    def edge(self, start: int, stop: int, capacity: int) -> None:
        for vertex, other, left in ((start, stop, capacity), (stop, start, 0)):
            self._edges[vertex].append(len(self._to))
            self._to.append(other)
            self._left.append(left)

    def maximum(self, source: int, sink: int) -> int:
        total = 0
        while (levels := self._levels(source))[sink] >= 0:
            tried = [0] * len(self._edges)  # edges of each vertex that lead nowhere at these levels
            while pushed := self._push(source, sink, levels, tried):
                total += pushed
        return total

    def reachable(self, source: int) -> set[int]:
        return {vertex for vertex, level in enumerate(self._levels(source)) if level >= 0}

    def _levels(self, source: int) -> list[int]:
        levels = [-1] * len(self._edges)
        levels[source] = 0
        queue = collections.deque([source])
        while queue:
            vertex = queue.popleft()
            for edge in self._edges[vertex]:
                if self._left[edge] and levels[self._to[edge]] < 0:
                    levels[self._to[edge]] = levels[vertex] + 1
                    queue.append(self._to[edge])
        return levels

    def _push(self, source: int, sink: int, levels: list[int], tried: list[int]) -> int:
        """Send what one path takes; 0 when the levels hold no more path. Without recursion: paths are long."""
        path: list[int] = []
        vertex = source
        while vertex != sink:
            if tried[vertex] == len(self._edges[vertex]):
                if vertex == source:
                    return 0
                vertex = self._to[path.pop() ^ 1]  # a dead end: back to where its edge starts
                tried[vertex] += 1  # and never along this edge again at these levels
                continue
            edge = self._edges[vertex][tried[vertex]]
            if self._left[edge] and levels[self._to[edge]] == levels[vertex] + 1:
                path.append(edge)
                vertex = self._to[edge]
            else:
                tried[vertex] += 1
        amount = min(self._left[edge] for edge in path)
        for edge in path:
            self._left[edge] -= amount
            self._left[edge ^ 1] += amount  # what was sent can be taken back by a later path
        return amount
