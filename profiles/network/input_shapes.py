"""Fix the inputs of a model: constants become weights, a free batch becomes 1, other free dimensions must be given.

A dimension is free when it is a symbol, has no name, or is written as 0 or -1. A symbol that was given once holds for
every input that has it. Time (seq, frames, len, ...) is never fixed without being asked for: a network that was planned
for one frame is another network.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.onnxir import ir, passes

__all__ = ["DeclaredInput", "Shapes", "constant_array", "declared_inputs", "fix_inputs", "shapes_by_name"]


def __dir__() -> list[str]:
    return __all__


Shapes = tuple[int, ...] | Mapping[str, tuple[int, ...]]  # of the one input, or by name

# ONNX Runtime's Python interface takes numpy arrays; the other types have none.
_TYPES: Final = frozenset(
    {
        *("FLOAT", "FLOAT16", "DOUBLE", "BOOL"),
        *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"),
    }
)
_TIME: Final = re.compile(r"seq|time|frame|len|sample|step|token|word|audio|past|context|history|window", re.IGNORECASE)
_TIME_LETTERS: Final = frozenset({"t", "l"})
_BATCH: Final = re.compile(r"batch|^n$|^b$|^bs$", re.IGNORECASE)
_RECURRENT: Final = frozenset({"RNN", "GRU", "LSTM"})  # their input is (time, batch, features) unless layout is 1
_SIDE, _LENGTH, _OTHER = 224, 512, 64  # sizes in the example of an error


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DeclaredInput:
    """An input as the file declares it; None is a dimension without a name that is not fixed."""

    name: str
    dims: tuple[int | str | None, ...] | None  # None: the rank is not known
    dtype: str  # a numpy name

    @property
    def is_fixed(self) -> bool:
        """Whether every dimension is known."""
        return self.dims is not None and all(isinstance(dim, int) for dim in self.dims)


def declared_inputs(model: ir.Model, constants: Mapping[str, Any] | None = None) -> tuple[DeclaredInput, ...]:
    """The inputs that data must give: neither weights, nor in `constants`, nor read by nothing."""
    given = constants or {}
    weights = model.graph.initializers
    values = [v for v in model.graph.inputs if v.name not in weights and v.name not in given]
    read = [value for value in values if _is_read(value)] or values
    return tuple(
        DeclaredInput(
            name=value.name or "",
            dims=None if value.shape is None else tuple(_free(dim) for dim in value.shape.dims),
            dtype=_dtype(value),
        )
        for value in read
    )


def fix_inputs(
    model: ir.Model, given: Shapes | None, *, constants: Mapping[str, Any] | None = None, at: str
) -> tuple[str, ...]:
    """Fix the inputs in place, and say in one line each which dimensions were fixed and which inputs were left out.

    Inputs in `constants` become weights. Shapes of other tensors are forgotten, since the old batch size may be in
    them. Raises `ProfileError` naming the dimensions that are free, or what in `given` does not fit.
    """
    passes.RemoveInitializersFromInputsPass()(model)
    unread = _drop_unread(model)
    notes = [f"left out: input {', '.join(unread)}, which nothing reads"] if unread else []
    _check_types(model, at=at)
    chosen = {name: value for name, value in (constants or {}).items() if name not in unread}
    notes += _fold_constants(model, chosen, at=at)
    if isinstance(given, Mapping):
        given = {name: shape for name, shape in given.items() if name not in unread}
    inputs = list(model.graph.inputs)
    if not inputs:
        raise ProfileError(
            "every input is given as a constant, so there is nothing to send", at=at, fix="leave one --constant out"
        )
    shapes = shapes_by_name(given, [value.name or "" for value in inputs], at=at)
    sizes = _symbol_sizes(inputs, shapes)
    fixed = []
    for value in inputs:
        before = _dims_text(value)
        shape, assumed = _fixed_shape(value, shapes.get(value.name or ""), sizes, inputs, at=at)
        if value.shape is None or any(not isinstance(_free(dim), int) for dim in value.shape.dims):
            fixed.append(f"{value.name} {before} as {_by(shape)}" + (f" ({assumed})" if assumed else ""))
        value.shape = ir.Shape(shape)
    _forget_shapes(model)
    return (*notes, *([f"input shape fixed: {', '.join(fixed)}"] if fixed else []))


def shapes_by_name(given: Shapes | None, names: Sequence[str], *, at: str) -> dict[str, tuple[int, ...]]:
    """`given` by input; raises `ProfileError` for a shape without a name where there are several inputs."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(names) == 1:
            return {names[0]: tuple(given)}
        raise ProfileError(
            f"the shape {_by(given)} does not say of which input it is; the model has {len(names)}: {', '.join(names)}",
            at=at,
            fix=" ".join(f"--size {name}=..." for name in names),
        )
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise ProfileError(
            f"the model has no input {unknown[0]!r}{_hint(unknown[0], names)}",
            at=at,
            fix=f"its inputs are {', '.join(names)}",
        )
    return {name: tuple(shape) for name, shape in given.items()}


def constant_array(value: Any, dtype: str, shape: Sequence[int | None], *, at: str) -> np.ndarray[Any, Any]:
    """`value` (a number, nested lists of numbers) as an array of `dtype` that fits `shape`; None is any size.

    A single number fills the shape. Raises `ProfileError`.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{value!r} is no number")
        exact = array.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ProfileError(
            f"the constant cannot be read: {error}", at=at, fix="a number, or a list of numbers"
        ) from error
    if array.dtype.kind != "f" and exact.dtype.kind == "b" and not np.isin(array, (0, 1)).all():
        raise ProfileError(f"the constant {value!r} is no truth value", at=at, fix="true or false")
    if exact.dtype.kind in "iu" and not (exact.astype(np.float64) == array.astype(np.float64)).all():
        raise ProfileError(f"the constant {value!r} is no {dtype}", at=at)
    if exact.size == 1:
        return np.full([1 if size is None else size for size in shape], exact.reshape(()), dtype)
    fits = exact.ndim == len(shape) and all(s is None or s == n for s, n in zip(shape, exact.shape, strict=True))
    if not fits:
        text = _by(["?" if size is None else size for size in shape]) or "a single number"
        raise ProfileError(f"the constant has the shape {_by(exact.shape)}, the input {text}", at=at)
    return exact


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _drop_unread(model: ir.Model) -> list[str]:
    """Remove inputs that nothing reads, unless none would be left; gives their names."""
    unread = [value for value in model.graph.inputs if not _is_read(value)]
    if len(unread) == len(model.graph.inputs):
        return []
    for value in unread:
        model.graph.inputs.remove(value)
    return [value.name or "" for value in unread]


def _check_types(model: ir.Model, *, at: str) -> None:
    names = [value.name for value in model.graph.inputs]
    for value in model.graph.inputs:
        if isinstance(value.type, ir.TensorType) and value.dtype is not None and value.dtype.name in _TYPES:
            continue
        if not isinstance(value.type, ir.TensorType) or value.dtype in (None, ir.DataType.UNDEFINED):
            raise ProfileError(
                f"input {value.name!r} is no tensor of known type: {value.type}",
                at=f"{at}, inputs {names}",
                fix="export the part of the model that starts at a tensor",
            )
        raise ProfileError(
            f"input {value.name!r} holds {value.dtype.name.lower()}, which cannot be sent or coded",
            at=f"{at}, inputs {names}",
            fix="export the part of the model that starts at numbers",
        )


def _fold_constants(model: ir.Model, constants: Mapping[str, Any], *, at: str) -> list[str]:
    """Make weights of the inputs in `constants`; ONNX Runtime folds what depends on nothing else."""
    names = [value.name or "" for value in model.graph.inputs]
    for name in constants:
        if name not in names:
            raise ProfileError(
                f"the model has no input {name!r} to be constant{_hint(name, names)}",
                at=at,
                fix=f"its inputs are {', '.join(names)}",
            )
    for value in [value for value in model.graph.inputs if value.name in constants]:
        name = value.name or ""
        dims = [] if value.shape is None else [_free(dim) for dim in value.shape.dims]
        if value.shape is None and np.ndim(constants[name]):
            dims = list(np.shape(constants[name]))
        wanted = [dim if isinstance(dim, int) else None for dim in dims]
        array = constant_array(constants[name], _dtype(value), wanted, at=f"{at}, constant {name}")
        model.graph.inputs.remove(value)
        value.shape = ir.Shape(array.shape)
        value.const_value = ir.Tensor(np.ascontiguousarray(array), name=name)
        model.graph.register_initializer(value)
    return [f"constant: {', '.join(f'{name} = {value}' for name, value in constants.items())}"] if constants else []


def _forget_shapes(model: ir.Model) -> None:
    inputs = set(model.graph.inputs)
    for graph in model.graphs():
        for node in graph:
            for output in node.outputs:
                if output not in inputs:
                    output.shape = None


def _symbol_sizes(inputs: Sequence[ir.Value], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """What the shapes that were given say of symbols; a batch that is not given is 1 in all inputs."""
    sizes: dict[str, int] = {}
    for value in inputs:
        given = shapes.get(value.name or "")
        if given is None or value.shape is None or len(given) != len(value.shape.dims):
            continue
        for dim, size in zip(value.shape.dims, given, strict=True):
            symbol = _free(dim)
            if isinstance(symbol, str):
                sizes.setdefault(symbol, size)
    for value in inputs:
        dims = [] if value.shape is None else [_free(dim) for dim in value.shape.dims]
        for index, symbol in enumerate(dims):
            named = isinstance(symbol, str) and bool(_BATCH.search(symbol)) and not _is_time(symbol)
            if isinstance(symbol, str) and (named or (index == 0 and _is_batch(value, symbol, len(dims)))):
                sizes.setdefault(symbol, 1)
    return sizes


def _fixed_shape(
    value: ir.Value, given: tuple[int, ...] | None, sizes: Mapping[str, int], inputs: Sequence[ir.Value], *, at: str
) -> tuple[tuple[int, ...], str]:
    """The shape, and what was assumed of it."""
    where = f"{at}, input {value.name!r}"
    text = _dims_text(value)
    if given is not None and any(size < 1 for size in given):
        raise ProfileError(f"the shape given, {_by(given)}, has a dimension below 1", at=where)
    if value.shape is None:
        if given is None:
            fix = _size_fix(inputs, {value.name or "": (1, 3, _SIDE, _SIDE)}, sizes)
            raise ProfileError(f"the rank of input {value.name!r} is not known", at=where, fix=fix)
        return given, ""
    dims = [_free(dim) for dim in value.shape.dims]
    if given is not None:
        fits = len(given) == len(dims) and all(
            not isinstance(dim, int) or dim == size for dim, size in zip(dims, given, strict=True)
        )
        if not fits:
            raise ProfileError(
                f"the shape given, {_by(given)}, does not fit the model's {text}",
                at=where,
                fix=_size_fix(inputs, {}, sizes),
            )
        return given, ""
    known = [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]
    if known and known[0] is None and _is_batch(value, None, len(dims)):
        known[0] = 1
    assumed = "one input at a time" if dims and not isinstance(dims[0], int) and known[0] == 1 else ""
    free = [index for index, dim in enumerate(known) if not isinstance(dim, int)]
    if free:
        named = " and ".join(f"{index} ({known[index] or 'without a name'})" for index in free)
        what = "a length, which must be given" if any(_is_time(known[i]) for i in free) else "not fixed"
        raise ProfileError(
            f"input {value.name!r} has the shape {text}: dimension {named} is {what}",
            at=where,
            fix=_size_fix(inputs, {}, sizes),
        )
    return tuple(dim for dim in known if isinstance(dim, int)), assumed


def _is_batch(value: ir.Value, dim: int | str | None, rank: int) -> bool:
    """Whether a free first dimension counts independent inputs, of which one is taken."""
    recurrent = any(
        usage.node.op_type in _RECURRENT and usage.idx == 0 and not _layout(usage.node) for usage in value.uses()
    )
    if recurrent or _is_time(dim):
        return False
    # The only axis of a vector is its length (a waveform) unless its name says otherwise.
    return rank > 1 or (isinstance(dim, str) and bool(_BATCH.search(dim)))


def _layout(node: ir.Node) -> int:
    attribute = node.attributes.get("layout")
    return 0 if attribute is None else attribute.as_int()


def _is_time(dim: int | str | None) -> bool:
    return isinstance(dim, str) and (bool(_TIME.search(dim)) or dim.lower() in _TIME_LETTERS)


def _size_fix(inputs: Sequence[ir.Value], examples: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]) -> str:
    """The flags that fix every input that is not fixed, with example sizes."""
    parts = []
    for value in inputs:
        name = value.name or ""
        if value.shape is not None and all(isinstance(_free(dim), int) for dim in value.shape.dims):
            continue
        example = examples.get(name) or _example(value, sizes)
        parts.append(f"--size {_by(example)}" if len(inputs) == 1 else f"--size {name}={_by(example)}")
    if not parts:
        return "leave --size out: the model fixes its shape"
    return f"give its size, such as {' '.join(parts)} (shapes: in a configuration)"


def _example(value: ir.Value, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if value.shape is None:
        return (1, 3, _SIDE, _SIDE)
    dims = [_free(dim) for dim in value.shape.dims]
    picture = len(dims) == 4
    example = []
    for index, dim in enumerate(dims):
        if isinstance(dim, int):
            example.append(dim)
        elif isinstance(dim, str) and dim in sizes:
            example.append(sizes[dim])
        elif index == 0 and _is_batch(value, dim, len(dims)):
            example.append(1)
        elif _is_time(dim) or len(dims) <= 2 or index == 0:
            example.append(_LENGTH)
        else:
            example.append(_SIDE if picture else _OTHER)
    return tuple(example)


def _free(dim: int | ir.SymbolicDim) -> int | str | None:
    """A size; the name of a free dimension; or None for a free dimension without a name."""
    if isinstance(dim, int):
        return dim if dim > 0 else None
    return str(dim.value) if dim.value not in (None, "") else None


def _dims_text(value: ir.Value) -> str:
    if value.shape is None:
        return "of unknown rank"
    return "[" + ", ".join(str(_free(dim) or "?") for dim in value.shape.dims) + "]"


def _dtype(value: ir.Value) -> str:
    return "float32" if value.dtype is None else str(value.dtype.numpy().name)


def _by(shape: Sequence[Any]) -> str:
    return "x".join(str(size) for size in shape)


def _hint(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
