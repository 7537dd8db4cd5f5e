"""ONNX graphs run by torch, to have gradients and to train their weights: ONNX Runtime has neither.

Nothing that is measured or sent comes from here. `planner.coding.gradients` compares activations and answers with ONNX
Runtime's before it believes a gradient; trained weights go back into an ONNX model (`trained_model`).

An exported network has its batch (1, usually) in its shapes. Of more rows the same network is mapped over batches of
that size (`torch.func.vmap`), which is the same as one run after the other whatever the operators do with shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from splitpoint.planner.coding.torch_operators.contract import Run, UnsupportedError
from splitpoint.planner.coding.torch_operators.registry import SETTINGS, torch_operators
from splitpoint.planner.cuts.halves import split_models, whole_bytes
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import parse_model, to_bytes
from splitpoint.profiles.network.model import ModelGraph

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["torch_graph", "torch_halves", "torch_weights", "trained_model"]


def __dir__() -> list[str]:
    return __all__


MOST_NUMBERS = 4096  # of a setting: longer ones (indices of a gather) stay tensors


def torch_graph(graph: ModelGraph, *, every_output: bool = False) -> nn.Module:
    """A module that gives the graph's first output, or a tuple of `every_output`.

    Each input has its fixed shape, or a multiple of its first size, the same multiple for all inputs that have one;
    outputs then have that multiple of theirs. Weights are parameters (`torch_weights`) that ask for no gradient yet.
    Raises `ProfileError` naming operators that it does not know; the module raises it for attributes that it does not
    know, and where an operator cannot be mapped over a batch.
    """
    return _module(graph.model, single=not every_output)


def torch_halves(graph: ModelGraph, cut: Cut) -> tuple[nn.Module, nn.Module]:
    """Head and tail of a cut: inputs -> tuple of the crossing tensors, in the cut's order; these -> tuple of outputs.

    Raises `ProfileError` as `torch_graph` and `planner.cuts.halves.split` do.
    """
    head, tail = split_models(graph, cut)
    return _module(head, single=False), _module(tail, single=False)


def torch_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a module made here, by the name of the ONNX initializer."""
    return {_onnx_name(name): weight for name, weight in module.named_parameters() if name.startswith(_PREFIX)}


def trained_model(graph: ModelGraph, *modules: nn.Module) -> bytes:
    """The canonical model with the weights of `modules` (the whole graph's, or its halves'), each in its own type.

    Raises `ProfileError` when a weight is none of the graph's, has another shape, is not finite, or was trained to two
    values: a weight that both halves read has to be one.
    """
    import torch

    model = parse_model(whole_bytes(graph), at=graph.source)
    trained: dict[str, torch.Tensor] = {}
    for name, weight in (item for module in modules for item in torch_weights(module).items()):
        value, before = weight.detach().cpu(), trained.get(name)
        if before is not None and not torch.equal(before, value):
            raise ProfileError(f"weight {name!r} has one value in the head and another in the tail", at=graph.name)
        trained[name] = value
    for name, value in trained.items():
        _set(model, name, value, at=graph.name)
    return to_bytes(model)


def _set(model: ir.Model, name: str, value: torch.Tensor, *, at: str) -> None:
    entry = model.graph.initializers.get(name)
    if entry is None or entry.const_value is None:
        raise ProfileError(f"the network has no weight {name!r}", at=at, fix="give the module of this network")
    before = entry.const_value
    if tuple(before.shape.numpy()) != tuple(value.shape):
        raise ProfileError(f"weight {name!r} is {tuple(value.shape)}, the network's {before.shape}", at=at)
    if not bool(value.isfinite().all()):
        raise ProfileError(f"weight {name!r} is not finite", at=at, fix="train with a lower learning rate")
    entry.const_value = ir.Tensor(value.numpy().astype(before.numpy().dtype), dtype=before.dtype, name=name)


_PREFIX = "weight:"  # so that no initializer has the name of an attribute of torch's modules


def _torch_name(name: str) -> str:
    return _PREFIX + name.replace("%", "%25").replace(".", "%2E")  # torch allows no dots


def _onnx_name(name: str) -> str:
    return name.removeprefix(_PREFIX).replace("%2E", ".").replace("%25", "%")


def _module(model: ir.Model, *, single: bool) -> nn.Module:
    import torch

    steps = _steps(model)
    constants = _constants(model)
    entries = [str(value.name) for value in model.graph.inputs]
    shapes = [_shape(value) for value in model.graph.inputs]
    results = [str(value.name) for value in model.graph.outputs][: 1 if single else None]

    class Graph(torch.nn.Module):
        """Nodes in graph order; a value is dropped after its last use, so that only what autograd keeps is kept."""

        def __init__(self) -> None:
            super().__init__()
            self._names: dict[str, str] = {}
            self._fixed: dict[str, str] = {}
            for i, (name, (value, is_weight)) in enumerate(constants.items()):
                if is_weight:
                    self._names[name] = _torch_name(name)
                    self.register_parameter(self._names[name], torch.nn.Parameter(value, requires_grad=False))
                else:
                    self._fixed[name] = f"constant{i}"
                    self.register_buffer(self._fixed[name], value, persistent=False)

        def forward(self, *inputs: torch.Tensor) -> Any:
            """The output or the outputs, for one batch of the fixed size or several."""
            batches = _batches(inputs, shapes, entries)
            outputs = self._run(*inputs) if batches is None else _mapped(self._run, inputs, shapes, batches)
            return outputs[0] if single else outputs

        def _run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            values: dict[str, Any] = {name: self._parameters[key] for name, key in self._names.items()}
            values.update({name: self._buffers[key] for name, key in self._fixed.items()})
            values.update(zip(entries, inputs, strict=True))
            for step in steps:
                step.run(values)
            return tuple(values[name] for name in results)

    return Graph()


def _shape(value: ir.Value) -> tuple[int, ...]:
    assert value.shape is not None  # canonical models have fixed shapes
    return tuple(int(size) for size in value.shape.numpy())


def _batches(inputs: Sequence[torch.Tensor], shapes: Sequence[tuple[int, ...]], names: Sequence[str]) -> int | None:
    """How many batches of the fixed size the inputs hold; None: each has its fixed shape. Raises `ProfileError`."""
    found: dict[str, int] = {}
    if len(inputs) != len(shapes):
        raise ProfileError(f"{len(inputs)} inputs for a network of {len(shapes)}", fix=f"it takes {', '.join(names)}")
    for x, shape, name in zip(inputs, shapes, names, strict=True):
        got = tuple(x.shape)
        if got == shape:
            continue
        if not shape or got[1:] != shape[1:] or got[0] == 0 or got[0] % shape[0]:
            raise ProfileError(
                f"input {name!r} is {got}, the network's {shape}", fix="give batches of that shape, one behind another"
            )
        found[name] = got[0] // shape[0]
    if len(set(found.values())) > 1:
        raise ProfileError(f"inputs of different batches: {found}", fix="give as many rows of each input")
    return next(iter(found.values()), None)


def _mapped(
    run: Callable[..., tuple[torch.Tensor, ...]],
    inputs: Sequence[torch.Tensor],
    shapes: Sequence[tuple[int, ...]],
    batches: int,
) -> tuple[torch.Tensor, ...]:
    """Outputs of `batches` runs, one behind another along the first axis; an input of the fixed shape serves all.

    Raises `ProfileError` naming the operator where the data of a row decide on a shape, as torch cannot map that.
    """
    import torch

    shared = [tuple(x.shape) == shape for x, shape in zip(inputs, shapes, strict=True)]
    rows = [
        x if s else x.reshape(batches, x.shape[0] // batches, *x.shape[1:]) for x, s in zip(inputs, shared, strict=True)
    ]
    try:
        outputs = torch.func.vmap(run, in_dims=tuple(None if s else 0 for s in shared))(*rows)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        where = ", ".join(getattr(error, "__notes__", ["the network"]))
        why = str(error).partition("\n")[0]
        raise ProfileError(f"no batches through {where}: {why}", fix="give one input at a time") from error
    return tuple(y.flatten(0, 1) if y.ndim > 1 else y for y in outputs)


class _Step:
    """One node: where its values are, what makes them, and which nobody needs afterwards."""

    def __init__(self, node: ir.Node, run: Run, unused: Sequence[str]) -> None:
        self._run = run
        self._inputs = [None if value is None else value.name for value in node.inputs]
        self._outputs = [str(value.name) for value in node.outputs]
        self._attributes: dict[Any, Any] = {name: _plain(attribute) for name, attribute in node.attributes.items()}
        self._attributes["outputs"] = len(self._outputs)
        self._attributes["used"] = 1 + max((i for i, value in enumerate(node.outputs) if value.name), default=0)
        for i in SETTINGS.get(node.op_type, ()):
            value = node.inputs[i] if i < len(node.inputs) else None
            if value is not None and value.const_value is not None and value.const_value.size <= MOST_NUMBERS:
                self._attributes[i] = value.const_value.numpy().ravel().tolist()
        self._where = f"{node.op_type} {node.name!r}"
        self._unused = unused

    def run(self, values: dict[str, Any]) -> None:
        """Take the inputs from `values`, put the outputs there, and drop what is not needed any more."""
        try:
            outputs = self._run([None if name is None else values[name] for name in self._inputs], self._attributes)
        except UnsupportedError as error:
            raise ProfileError(f"no gradients through this {self._where}: {error}") from error
        except RuntimeError as error:
            error.add_note(self._where)
            raise
        values.update(zip(self._outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))
        for name in self._unused:
            values.pop(name, None)


def _steps(model: ir.Model) -> list[_Step]:
    known = torch_operators()
    nodes = list(model.graph)
    unknown = sorted({name for name in map(_operator, nodes) if name not in known})
    if unknown:
        raise ProfileError(f"no gradients through {', '.join(unknown)}")
    kept = {value.name for value in model.graph.outputs}
    last = {value.name: i for i, node in enumerate(nodes) for value in (*node.outputs, *node.inputs) if value}
    unused: Mapping[int, list[str]] = {i: [] for i in range(len(nodes))}
    for name, i in last.items():
        if name and name not in kept:
            unused[i].append(name)
    return [_Step(node, known[_operator(node)], unused[i]) for i, node in enumerate(nodes)]


def _operator(node: ir.Node) -> str:
    """The operator's name, with its domain unless that is ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _plain(attribute: ir.Attr) -> Any:
    value = attribute.value
    return list(value) if isinstance(value, tuple) else value


def _constants(model: ir.Model) -> dict[str, tuple[torch.Tensor, bool]]:
    """Initializers by name, and whether they are weights: floats with an axis that a node reads not as a setting.

    Numbers without an axis are the constants of formulas: of a GELU, of the scale of an attention.
    """
    import torch

    found = {}
    for name, value in model.graph.initializers.items():
        if value.const_value is None:
            continue
        tensor = torch.from_numpy(value.const_value.numpy().copy())
        read = any(use.idx not in SETTINGS.get(use.node.op_type, ()) for use in value.uses())
        found[name] = (tensor, tensor.is_floating_point() and tensor.ndim > 0 and read)
    return found
