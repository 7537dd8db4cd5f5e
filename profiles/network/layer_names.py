"""Names of nodes from the module that they belong to, where torch's exporter says so in a file's metadata."""

from __future__ import annotations

import ast

from splitpoint.profiles.network.onnxir import ir

__all__ = ["leave_wrapper", "name_by_module"]


def __dir__() -> list[str]:
    return __all__


SCOPES = "pkg.torch.onnx.name_scopes"  # a Python list of strings: '', 'layer1', ..., the operator


def name_by_module(model: ir.Model) -> None:
    """Name every node that has a module path by it and its operator ("layer1.0.conv1/Conv"); a second one is numbered.

    Nothing changes where no node has one: names that another exporter gave stay.
    """
    nodes = list(model.graph)
    scopes = [_module(node) for node in nodes]
    if not any(scopes):
        return
    used: dict[str, int] = {}
    for node, module in zip(nodes, scopes, strict=True):
        name = f"{module}/{node.op_type}" if module else node.op_type
        used[name] = used.get(name, 0) + 1
        node.name = name if used[name] == 1 else f"{name}_{used[name]}"


def leave_wrapper(model: ir.Model, wrapper: str) -> None:
    """Take `wrapper`, the attribute that a wrapping module keeps the real one in, out of all nodes' module paths."""
    for node in model.graph:
        scopes = _scopes(node)
        inner = [scope.removeprefix(wrapper).removeprefix(".") for scope in scopes[:-1]]
        if scopes:
            node.metadata_props[SCOPES] = repr([*inner, scopes[-1]])


def _module(node: ir.Node) -> str:
    """The innermost module's path ("layer1.0.conv1"); empty for the outermost, and where the metadata is no list."""
    scopes = _scopes(node)
    return scopes[-2] if len(scopes) >= 2 else ""


def _scopes(node: ir.Node) -> list[str]:
    try:
        scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    except (ValueError, SyntaxError):
        return []
    return [str(scope) for scope in scopes] if isinstance(scopes, list) else []
