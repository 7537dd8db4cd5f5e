"""The layer after which a cut lies, from the names of the nodes: "blocks.1" where all of that module is in the head.

Exporters put the path of the module into a node's name, in three ways: ours ("blocks.1.conv/Conv", from the metadata
of torch's exporter), that of torch's older exporter, which repeats the path of every container
("/blocks/blocks.1/conv/Conv"), and that of others ("model/block_1/conv/Conv2D"). Where a name has no path, the name
is the layer, and where a node has no name, the tensor that crosses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["module_path", "with_layers"]


def __dir__() -> list[str]:
    return __all__


UNNAMED = re.compile(r"node(_\d+)?")  # what the canonical form calls a node that has no name


def with_layers(graph: ModelGraph, cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """`cuts`, each with the name of its layer and its share of the network's MACs; no two layers are equal.

    The layer is the outermost module that the last node of the head is in and that is whole in the head.
    """
    members: dict[tuple[str, ...], list[int]] = {}
    paths = {node.name: module_path(node.name) for node in graph.nodes}
    for node in graph.nodes:
        for prefix in _prefixes(paths[node.name]):
            members.setdefault(prefix, []).append(node.index)
    layers = []
    for cut in cuts:
        layer = cut.after
        if cut.head:
            head = frozenset(cut.head)
            whole = (prefix for prefix in _prefixes(paths[cut.after]) if head.issuperset(members[prefix]))
            layer = ".".join(next(whole, ())) or (cut.name if UNNAMED.fullmatch(cut.after) else cut.after)
        layers.append(layer)
    count = Counter(layers)
    macs = graph.macs
    return tuple(
        msgspec.structs.replace(
            cut,
            layer=layer if count[layer] == 1 else f"{layer} ({cut.name})",
            head_share=cut.head_macs / macs if macs else 0.0,
        )
        for cut, layer in zip(cuts, layers, strict=True)
    )


def module_path(name: str) -> tuple[str, ...]:
    """The path of the module in a node's name, outermost first; () where the name has none.

    "blocks.1.conv/Conv" and "/blocks/blocks.1/conv/Conv" are both in ("blocks", "1", "conv").
    """
    *scopes, _ = name.split("/")
    path: tuple[str, ...] = ()
    for scope in filter(None, scopes):
        parts = tuple(part for part in scope.split(".") if part)
        # A container's own path comes again in front of that of its children: "blocks", then "blocks.1".
        shared = next((n for n in range(min(len(path), len(parts) - 1), 0, -1) if path[-n:] == parts[:n]), 0)
        path += parts[shared:]
    return path


def _prefixes(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (path[:depth] for depth in range(1, len(path) + 1))
