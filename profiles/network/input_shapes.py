"""Fix the shape of every input of a model: the batch becomes 1, other free dimensions must be given."""

from __future__ import annotations

from collections.abc import Mapping

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.onnxir import ir

__all__ = ["fix_inputs"]


def __dir__() -> list[str]:
    return __all__


def fix_inputs(model: ir.Model, input_shapes: Mapping[str, tuple[int, ...]], *, at: str) -> None:
    """Set the shapes in place; shapes of other tensors are forgotten, since the old batch size may be in them.

    Raises `ProfileError` naming the dimensions that are free, or what in `input_shapes` does not fit.
    """
    names = [value.name for value in model.graph.inputs]
    unknown = sorted(set(input_shapes) - {name for name in names if name})
    if unknown:
        raise ProfileError(f"the model has no input {unknown[0]!r}", at=at, fix=f"its inputs are {names}")
    typed = [value for value in model.graph.inputs if isinstance(value.type, ir.TensorType) and value.dtype]
    if not typed:
        raise ProfileError(
            "the model has no tensor input of known type, so nothing can be sent",
            at=f"{at}, inputs {names}",
            fix="export the part of the model that starts at a tensor",
        )
    for value in model.graph.inputs:
        if value in typed:
            value.shape = ir.Shape(_fixed_shape(value, input_shapes.get(value.name or ""), at=at))
        else:
            raise ProfileError(f"input {value.name!r} is no tensor of known type: {value.type}", at=at)
    inputs = set(model.graph.inputs)
    for graph in model.graphs():
        for node in graph:
            for output in node.outputs:
                if output not in inputs:
                    output.shape = None


def _fixed_shape(value: ir.Value, given: tuple[int, ...] | None, *, at: str) -> tuple[int, ...]:
    where = f"{at}, input {value.name!r}"
    if value.shape is None:
        if given is None:
            raise ProfileError(
                f"the rank of input {value.name!r} is not known",
                at=where,
                fix=f"give its shape: input_shapes={{{value.name!r}: (1, 3, 224, 224)}}",
            )
        return given
    dims = list(value.shape.dims)
    text = "[" + ", ".join("?" if _symbol(dim) is None else str(_symbol(dim)) for dim in dims) + "]"
    if given is not None:
        fits = len(given) == len(dims) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(dims, given, strict=True)
        )
        if not fits:
            raise ProfileError(f"the shape given, {list(given)}, does not fit the model's {text}", at=where)
        if any(size < 1 for size in given):
            raise ProfileError(f"the shape given, {list(given)}, has a dimension below 1", at=where)
        return given
    batch_fixed = [1 if index == 0 and not isinstance(dim, int) else dim for index, dim in enumerate(dims)]
    fixed = tuple(dim for dim in batch_fixed if isinstance(dim, int))
    if len(fixed) < len(dims):
        free = [f"{i} ({_symbol(dim) or '?'})" for i, dim in enumerate(batch_fixed) if not isinstance(dim, int)]
        example = tuple(dim if isinstance(dim, int) else 224 for dim in batch_fixed)
        raise ProfileError(
            f"input {value.name!r} has the shape {text}: dimension {' and '.join(free)} is not fixed",
            at=where,
            fix=f"give its shape, such as input_shapes={{{value.name!r}: {example}}}",
        )
    if any(dim < 1 for dim in fixed):
        raise ProfileError(f"input {value.name!r} has an empty dimension: {text}", at=where)
    return fixed


def _symbol(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value
