"""Cuts of several tensors: every down-set of the graph whose frontier has at most k tensors.

A head is a down-set: with a node it holds all that the node reads. Its frontier is what crosses, each tensor once
however many nodes of the tail read it (a skip connection is sent once). A down-set is made by its last nodes, which
all have an output that crosses, so heads with at most k crossing tensors are the ancestors of at most k nodes that do
not depend on each other. Between two neighbouring single-tensor cuts such nodes are found by trying all of them; no
frontier of several tensors reaches across a single-tensor cut.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from splitpoint.profiles.network.model import ModelGraph, Node

__all__ = ["MAX_HEADS", "Frontier", "Frontiers", "find_frontiers"]


def __dir__() -> list[str]:
    return __all__


MAX_HEADS = 100_000  # sets of last nodes tried between two single-tensor cuts; dense blocks have more from k = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """The tensors that leave a head, in the order they are made, and the places of the head's nodes in the order."""

    tensors: tuple[str, ...]
    head: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Frontiers:
    """Frontiers of 2..k tensors, and the segments with too many sets of last nodes to try all.

    A skipped segment is the places of its first and last node and the size up to which sets were tried.
    """

    found: tuple[Frontier, ...]
    skipped: tuple[tuple[int, int, int], ...]


def find_frontiers(graph: ModelGraph, order: Sequence[Node], singles: Sequence[int], *, k: int) -> Frontiers:
    """Every frontier of 2..`k` tensors of the nodes in execution `order`.

    `singles` are the places (numbers of nodes done) where one tensor crosses. The frontier of the empty head, the
    model's inputs, is among them when there are several; frontiers that contain an output of the model are not,
    since the tail could not give it.
    """
    relations = _Relations(graph, order)
    found: list[Frontier] = []
    skipped: list[tuple[int, int, int]] = []
    for start, stop in itertools.pairwise(sorted({0, *singles, len(order)})):
        before = (1 << start) - 1
        size = _affordable(stop - start, k)
        if size < k:
            skipped.append((start, stop - 1, size))
        heads = _heads(relations.above, before, range(start, stop), size)
        if start == 0:
            heads.add(0)
        entering = relations.crossing(before, relations.made_before(start), len(relations.readers))
        made = [name for node in order[start:stop] for name in node.outputs]
        for head in sorted(heads, key=lambda mask: (mask.bit_length(), mask)):
            tensors = relations.crossing(head, [*entering, *made], k)
            if 2 <= len(tensors) <= k and not relations.outputs & set(tensors):
                places = tuple(place for place in range(head.bit_length()) if head >> place & 1)
                found.append(Frontier(tensors=tuple(tensors), head=places))
    return Frontiers(found=tuple(found), skipped=tuple(skipped))


def _affordable(nodes: int, k: int) -> int:
    """The largest size up to `k` at which trying all sets of the nodes is no more than MAX_HEADS tries."""
    tries = itertools.accumulate(math.comb(nodes, size) for size in range(1, k + 1))
    return sum(count <= MAX_HEADS for count in tries)


class _Relations:
    """Who reads what and who stands above whom; sets of nodes are bit masks over places."""

    def __init__(self, graph: ModelGraph, order: Sequence[Node]) -> None:
        self._order = order
        self._inputs = [tensor.name for tensor in graph.inputs]
        self.outputs = {tensor.name for tensor in graph.outputs}
        self.readers: dict[str, int] = {}
        self.above: list[int] = []  # each node with all its ancestors
        makers: dict[str, int] = {}
        self._made = dict.fromkeys(self._inputs, 0)  # mask of the node that makes a tensor; of an input, no node
        for place, node in enumerate(order):
            above = 1 << place  # ancestors of a node: itself and the ancestors of what it reads
            for name in node.inputs:
                self.readers[name] = self.readers.get(name, 0) | 1 << place
                if name in makers:
                    above |= self.above[makers[name]]
            self.above.append(above)
            makers.update(dict.fromkeys(node.outputs, place))
            self._made.update(dict.fromkeys(node.outputs, 1 << place))
        for name in self.outputs:  # read by somebody who is in no head
            self.readers[name] = self.readers.get(name, 0) | 1 << len(order)

    def made_before(self, place: int) -> list[str]:
        """The model's inputs and what the first `place` nodes make."""
        return [*self._inputs, *(name for node in self._order[:place] for name in node.outputs)]

    def crossing(self, head: int, names: Sequence[str], limit: int) -> list[str]:
        """Those of `names` (made in the head or not) that leave `head`, at most `limit` + 1 of them."""
        leaving = (name for name in names if self.readers.get(name, 0) & ~head and not self._made[name] & ~head)
        return list(itertools.islice(leaving, limit + 1))


def _heads(above: Sequence[int], before: int, places: range, k: int) -> set[int]:
    """`before` with the ancestors of 1..k nodes at `places`, none of them an ancestor of another."""
    found: set[int] = set()

    def extend(head: int, first: int, left: int) -> None:
        for place in range(first, places.stop):
            if not head >> place & 1:
                larger = head | above[place]  # the least down-set with the node and the head
                found.add(larger)
                if left > 1:
                    extend(larger, place + 1, left - 1)

    if k > 0:
        extend(before, places.start, k)
    return found
