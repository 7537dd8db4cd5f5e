"""One run of an operator: the node and the shapes of what it read and gave."""

from __future__ import annotations

import dataclasses

from splitpoint.profiles.network.onnxir import ir

__all__ = ["Call", "Shape", "static_call"]


def __dir__() -> list[str]:
    return __all__


Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Call:
    """A run of `node`; a shape is None where the tensor is left out or its shape is not known."""

    node: ir.Node
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]
    bytes: int = 0  # of all that it read and gave, weights too, where it was observed

    def input(self, index: int) -> Shape | None:
        """Shape of the input at this place; None also beyond the last."""
        return self.inputs[index] if index < len(self.inputs) else None

    def output(self, index: int = 0) -> Shape | None:
        """Shape of the output at this place; None also beyond the last."""
        return self.outputs[index] if index < len(self.outputs) else None

    def integer(self, name: str, default: int) -> int:
        """The attribute of this name, or the operator's default."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else attribute.as_int()


def static_call(node: ir.Node) -> Call:
    """The shapes that the graph itself fixes."""
    return Call(
        node=node,
        inputs=tuple(_fixed(value) for value in node.inputs),
        outputs=tuple(_fixed(value) for value in node.outputs),
    )


def _fixed(value: ir.Value | None) -> Shape | None:
    if value is None or value.shape is None:
        return None
    dims = tuple(dim for dim in value.shape.dims if isinstance(dim, int))
    return dims if len(dims) == len(value.shape.dims) else None
