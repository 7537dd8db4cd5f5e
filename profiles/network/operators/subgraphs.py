"""Graphs inside a node (the branches of If, the bodies of Loop and Scan): what they read, hold and run."""

from __future__ import annotations

from collections.abc import Iterator

from splitpoint.profiles.network.onnxir import ir

__all__ = ["captures", "graphs_of", "inner_nodes", "inner_tensors"]


def __dir__() -> list[str]:
    return __all__


def graphs_of(node: ir.Node) -> Iterator[ir.Graph]:
    """The graphs among the attributes of `node`, not those inside them."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            yield attribute.as_graph()
        elif attribute.type == ir.AttributeType.GRAPHS:
            yield from attribute.as_graphs()


def inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    """Every node in the graphs of `node`, at any depth."""
    for graph in graphs_of(node):
        for inner in graph:
            yield inner
            yield from inner_nodes(inner)


def inner_tensors(node: ir.Node) -> Iterator[ir.TensorProtocol]:
    """The constants that `node` itself holds: tensors of a Constant, and all weights in its graphs at any depth."""
    if node.op_type == "Constant":
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR:
                yield attribute.as_tensor()
    for graph in graphs_of(node):
        yield from (value.const_value for value in graph.initializers.values() if value.const_value is not None)
        for inner in graph:
            yield from inner_tensors(inner)


def captures(node: ir.Node) -> Iterator[ir.Value]:
    """Values of the graph around `node` that its subgraphs read, in order, each once."""
    outer = node.graph
    seen: set[ir.Value] = set()
    for inner in _reads(node):
        if inner.graph is outer and inner not in seen:
            seen.add(inner)
            yield inner


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    for graph in graphs_of(node):
        for inner in graph:
            yield from (value for value in inner.inputs if value is not None)
            yield from _reads(inner)
        yield from graph.outputs
