"""Shapes, types and repetitions that only runs can tell: behind an operator that ONNX does not know, inside a Loop.

ONNX Runtime's profiler writes down the shapes of what every operator read and gave, those inside If, Loop and Scan at
every trip, and keeps no tensor. Two runs with different inputs show which sizes depend on the data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.scratch import scratch_folder
from splitpoint.profiles.network.canonical import infer_missing, open_model, random_feeds
from splitpoint.profiles.network.model import Unsized
from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators.call import Call, Shape, static_call
from splitpoint.profiles.network.operators.data_sizes import find_data_sized
from splitpoint.profiles.network.operators.subgraphs import graphs_of
from splitpoint.profiles.network.runtime import Array, IoSpec

__all__ = ["Observation", "complete_shapes"]


def __dir__() -> list[str]:
    return __all__


_KERNEL: Final = "_kernel_time"  # ending of the profiler's event of an operator that has run
_RUN: Final = "model_run"  # the profiler's event at the end of a run
_TYPES: Final = {"float": ir.DataType.FLOAT, "double": ir.DataType.DOUBLE}  # the profiler's names that differ


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observation:
    """What two runs of a model did."""

    runs: tuple[Mapping[ir.Node, Sequence[Call]], ...] = ()  # the calls of every node, subgraphs included
    unsized: Mapping[str, Unsized] = dataclasses.field(default_factory=dict)  # tensors of the graph without a size

    def calls(self, node: ir.Node) -> list[Sequence[Call]]:
        """The calls of `node` in each run; of a node that did not run, none."""
        return [run.get(node, ()) for run in self.runs]


def complete_shapes(model: ir.Model, *, at: str) -> Observation:
    """Give every tensor of the graph that has no type or shape the one that it has in runs, in place.

    Nothing is run when all shapes are known and no node has a graph inside. What differs between two runs, or must
    differ by the graph's operators, stays unknown and is listed with the reason. Raises `ProfileError`.
    """
    unknown = [value for node in model.graph for value in node.outputs if value.name and _unknown(value)]
    if not unknown and not any(True for node in model.graph for _ in graphs_of(node)):
        return Observation()
    events = _profile_runs(model, at=at)
    runs = [_calls(run) for run in events]
    sized = find_data_sized(model.graph)
    unsized: dict[str, Unsized] = {}
    for value in unknown:
        node = value.producer()
        assert node is not None  # unknown values are outputs of nodes
        found = [_single(run.get(node, ()), value) for run in events]
        _complete(value, found, fixed=value not in sized, unsized=unsized)
    infer_missing(model)  # types of sequences, which the profiler leaves out
    return Observation(runs=tuple(runs), unsized=unsized)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Event:
    """A call with the types of its outputs."""

    call: Call
    types: tuple[ir.DataType | None, ...]


def _unknown(value: ir.Value) -> bool:
    if value.type is None:
        return True
    return isinstance(value.type, ir.TensorType) and (value.shape is None or not value.shape.is_static())


def _single(events: Sequence[_Event], value: ir.Value) -> tuple[Shape, ir.DataType] | None:
    """Shape and type of `value` in a run; None when its node did not run once or gave no tensor."""
    if len(events) != 1:
        return None
    shape, kind = events[0].call.output(value.index() or 0), events[0].types[value.index() or 0]
    return None if shape is None or kind is None else (shape, kind)


def _complete(
    value: ir.Value,
    found: Sequence[tuple[Shape, ir.DataType] | None],
    *,
    fixed: bool,
    unsized: dict[str, Unsized],
) -> None:
    seen = [entry for entry in found if entry is not None]
    if not seen:
        return
    shape, kind = seen[0]
    value.type = value.type or ir.TensorType(kind)
    if fixed and len(seen) == len(found) and len(set(seen)) == 1:
        value.shape = ir.Shape(shape)
        return
    shapes = [shape for shape, _ in seen]
    differ = " and ".join(str(list(shape)) for shape in dict.fromkeys(shapes))
    unsized[value.name or ""] = Unsized(
        reason=f"its size depends on the data ({differ} in two runs)",
        bytes=max(_bytes(kind, shape) for shape in shapes),
    )


def _profile_runs(model: ir.Model, *, at: str) -> list[dict[ir.Node, list[_Event]]]:
    """The events of two runs by node."""
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    with scratch_folder() as folder, _numbered(nodes):
        for integers in (True, False):
            session = open_model(model, level="disabled", threads=1, profile_to=folder / "runs", name=at, prepack=False)
            first = random_feeds(session.inputs)
            try:
                for feeds in (first, _other(session.inputs, first, integers=integers)):
                    session.run(feeds)
            except ProfileError:
                session.end_profiling()
                if not integers:
                    raise
                continue  # integers may be indices, for which 0 is the only safe number
            break
        runs: list[dict[ir.Node, list[_Event]]] = [{}]
        for event in session.end_profiling():
            name = str(event.get("name", ""))
            if name == _RUN:
                runs.append({})
            elif event.get("cat") == "Node" and name.endswith(_KERNEL):
                number = name.removesuffix(_KERNEL)
                if number.isdecimal():  # operators that ONNX Runtime added have names
                    node = nodes[int(number)]
                    runs[-1].setdefault(node, []).append(_event(node, event["args"]))
    return runs[:-1]


@contextlib.contextmanager
def _numbered(nodes: Sequence[ir.Node]) -> Iterator[None]:
    """Nodes named by number meanwhile: names are unique in a graph only, not among the graphs inside it."""
    names = [node.name for node in nodes]
    for number, node in enumerate(nodes):
        node.name = str(number)
    try:
        yield
    finally:
        for name, node in zip(names, nodes, strict=True):
            node.name = name


def _other(inputs: Sequence[IoSpec], first: Mapping[str, Array], *, integers: bool) -> dict[str, Array]:
    """Inputs that differ in every number: floats of the other sign, which turn most conditions, and other integers."""
    rng = np.random.default_rng(1)
    feeds = dict(first)
    for spec in inputs:
        array = first[spec.name]
        if np.issubdtype(array.dtype, np.floating):
            feeds[spec.name] = (-2 * array).astype(array.dtype)
        elif integers or array.dtype.itemsize == 1:
            feeds[spec.name] = rng.integers(0, 2, array.shape).astype(array.dtype)
    return feeds


def _event(node: ir.Node, args: Mapping[str, Any]) -> _Event:
    read, given = args.get("input_type_shape", ()), args.get("output_type_shape", ())
    inputs, _ = _places(node.inputs, read)
    outputs, types = _places(node.outputs, given)
    known = static_call(node).inputs
    inputs = tuple(seen if seen is not None else fixed for seen, fixed in zip(inputs, known, strict=True))
    moved = sum(_bytes(_type(kind), shape) for entry in (*read, *given) for kind, shape in entry.items())
    return _Event(call=Call(node=node, inputs=inputs, outputs=outputs, bytes=moved), types=types)


def _places(
    values: Sequence[ir.Value | None], seen: Sequence[Mapping[str, Sequence[int]]]
) -> tuple[tuple[Shape | None, ...], tuple[ir.DataType | None, ...]]:
    """Shapes and types of `values` from the profiler's list, which leaves out what is absent or no tensor."""
    shapes: list[Shape | None] = [None] * len(values)
    types: list[ir.DataType | None] = [None] * len(values)
    there = [place for place, value in enumerate(values) if value is not None and value.name]
    if len(there) != len(seen):
        there = [place for place in there if not _no_tensor(values[place])]
    if len(there) == len(seen):
        for place, entry in zip(there, seen, strict=True):
            ((kind, shape),) = entry.items()
            shapes[place], types[place] = tuple(shape), _type(kind)
    return tuple(shapes), tuple(types)


def _no_tensor(value: ir.Value | None) -> bool:
    return value is not None and value.type is not None and not isinstance(value.type, ir.TensorType)


def _type(kind: str) -> ir.DataType | None:
    """The type that the profiler calls `kind`."""
    return _TYPES.get(kind) or ir.DataType.__members__.get(kind.upper())


def _bytes(kind: ir.DataType | None, shape: Sequence[int]) -> int:
    if kind in (None, ir.DataType.STRING):
        return 0
    return math.ceil(math.prod(shape) * kind.bitwidth / 8)


def _calls(run: Mapping[ir.Node, Sequence[_Event]]) -> dict[ir.Node, list[Call]]:
    return {node: [event.call for event in events] for node, events in run.items()}
