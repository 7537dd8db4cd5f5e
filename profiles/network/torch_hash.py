"""The content of a torch module as a hash, for keys of results that are computed through it.

torch is imported inside functions.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram
    from torch.fx import Node

__all__ = ["module_sha256", "program_sha256"]


def __dir__() -> list[str]:
    return __all__


def module_sha256(module: nn.Module) -> str:
    """SHA-256 (hexadecimal) of what `module` computes with, the same in every process.

    It covers, of every part: its path, the source files of its class and of the base classes, its attributes that are
    numbers or text, and its tensors, whether or not its state dict has them. It does not cover functions that those
    files import from elsewhere; the hash of the exported network does. File names and training mode do not matter.

    Raises `ProfileError` for a class without a source file.
    """
    sources: dict[type, str] = {}
    for part in module.modules():
        for kind in type(part).__mro__:
            if kind not in sources:
                sources[kind] = _source_sha256(kind)
    parts = [
        (path, [(kind.__qualname__, sources[kind]) for kind in type(part).__mro__], _plain_attributes(part))
        for path, part in module.named_modules(remove_duplicate=False)
    ]
    tensors = [
        (name, str(tensor.dtype), tuple(tensor.shape), _tensor_sha256(tensor)) for name, tensor in _tensors(module)
    ]
    return hashlib.sha256(msgspec.json.encode((parts, tensors))).hexdigest()


def program_sha256(program: ExportedProgram) -> str | None:
    """SHA-256 (hexadecimal) of a traced program: every operator with its arguments, place and shapes, and all weights.

    None where it has parts that this cannot compare: graphs of control flow, and constants that are no tensors.
    """
    import torch

    constants = dict(program.constants)
    parts = list(program.graph_module.modules())[1:]
    if any(isinstance(part, torch.fx.GraphModule) for part in parts):
        return None
    if not all(isinstance(value, torch.Tensor) for value in constants.values()):
        return None
    nodes = [
        (node.op, node.name, str(node.target), repr(node.args), repr(node.kwargs), _place(node))
        for node in program.graph.nodes
    ]
    tensors = [
        (name, str(tensor.dtype), tuple(tensor.shape), _tensor_sha256(tensor))
        for name, tensor in (*program.state_dict.items(), *constants.items())
    ]
    about = (str(program.graph_signature), str(program.range_constraints))
    return hashlib.sha256(msgspec.json.encode((nodes, tensors, about))).hexdigest()


def _place(node: Node) -> tuple[str, ...]:
    """What the exporter writes beside an operator: its value's type, its module, its lines of code."""
    value = node.meta.get("val")
    values = value if isinstance(value, list | tuple) else [value]
    shapes = [(str(getattr(v, "dtype", "")), str(getattr(v, "shape", v))) for v in values]
    return repr(shapes), repr(node.meta.get("nn_module_stack")), str(node.meta.get("stack_trace"))


def _source_sha256(kind: type) -> str:
    """SHA-256 of the file that defines the class; empty for a class of the interpreter itself."""
    if kind.__module__ == "builtins":
        return ""
    try:
        source = Path(inspect.getfile(kind)).read_bytes()
    except (TypeError, OSError) as error:
        raise ProfileError(
            f"the class {kind.__qualname__} of module {kind.__module__!r} has no source file",
            fix="define it in a .py file",
        ) from error
    return hashlib.sha256(source).hexdigest()


def _plain_attributes(part: nn.Module) -> dict[str, str]:
    """Numbers, text and tuples of them: a stride, for example, or the code that torch.fx generated."""
    return {name: repr(value) for name, value in sorted(vars(part).items()) if name != "training" and _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, complex, str, bytes)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, buffers, and tensors that are neither but attributes of a part."""
    import torch

    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)
    for path, part in module.named_modules(remove_duplicate=False):
        for name, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}", value


def _tensor_sha256(tensor: Tensor) -> str:
    import torch

    flat = tensor.detach().cpu().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()  # numpy has no bfloat16
