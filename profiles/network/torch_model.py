"""Torch modules by import path: exported to ONNX with a fixed input shape, and counted by fvcore.

torch is imported inside functions; without it one sentence says how to install it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.layer_names import name_by_module

if TYPE_CHECKING:
    import onnx
    from torch import nn

__all__ = [
    "TORCH_OPSET",
    "ModuleOperators",
    "evaluating",
    "export_module",
    "export_torch",
    "fvcore_operators",
    "is_torch_spec",
    "load_module",
]


def __dir__() -> list[str]:
    return __all__


TORCH_OPSET: Final = 18  # the lowest that torch's exporter writes without converting, so the most runtimes read it
_INSTALL: Final = "python -m pip install 'splitpoint[plan]'"


def is_torch_spec(source: str) -> bool:
    """Whether `source` is ``package.module:factory`` or ``path/file.py:factory`` rather than a file."""
    module, colon, factory = source.rpartition(":")
    return bool(colon) and factory.isidentifier() and not Path(source).exists() and module != ""


def export_torch(spec: str, input_shape: tuple[int, ...]) -> bytes:
    """The module that the factory makes, as a serialized ONNX model for float32 input of `input_shape`.

    Raises `ProfileError` when torch is missing, the factory cannot be imported or gives no module, the module cannot
    be exported, or the export lost the input's shape.
    """
    return export_module(load_module(spec), input_shape, at=spec)


def load_module(spec: str) -> nn.Module:
    """Import and call the factory; the module is put in eval mode. Raises `ProfileError`."""
    torch = _torch(spec)
    with _silence():  # imports and factories like to report what they load
        factory = import_named(spec)
        made = factory if isinstance(factory, torch.nn.Module) else factory()
    if not isinstance(made, torch.nn.Module):
        raise ProfileError(
            f"the factory gave a {type(made).__name__}, not a torch.nn.Module",
            at=spec,
            fix="let it return the module, weights loaded",
        )
    module_made: nn.Module = made.eval()
    return module_made


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Every part in eval mode, and afterwards in the mode it was in: `train` would set all parts as the whole is."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def export_module(module: nn.Module, input_shape: tuple[int, ...], *, at: str = "torch module") -> bytes:
    """Export with `torch.onnx.export`; nodes are named by their place in the module ("layer1.0.conv1/Conv")."""
    torch = _torch(at)
    example = torch.zeros(input_shape)
    try:
        with evaluating(module), _silence(), torch.no_grad():
            program = torch.onnx.export(
                module, (example,), input_names=["input"], opset_version=TORCH_OPSET, dynamo=True, verbose=False
            )
    except ImportError as error:
        raise ProfileError(f"exporting a torch module needs more than torch: {error}", at=at, fix=_INSTALL) from error
    except (RuntimeError, TypeError, ValueError) as error:  # the exporter's errors are RuntimeErrors
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ProfileError(
            f"torch cannot export the module: {reason}",
            at=at,
            fix="check that it runs on one input of the given shape and has no data-dependent control flow",
        ) from error
    name_by_module(program.model)
    proto = program.model_proto
    _check_input(proto, input_shape, at=at)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModuleOperators:
    """One part of a torch module and what fvcore says of the operators that it calls itself, not through its parts."""

    paths: tuple[str, ...]  # "layer1.0.conv1", more than one for a shared part; empty text for the module itself
    type: str  # name of its class
    counted: Mapping[str, int]  # operator of fvcore ("conv", "linear") -> its flops
    skipped: Mapping[str, int]  # operator of torch ("scaled_dot_product_attention") -> calls that fvcore does not count


def fvcore_operators(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[ModuleOperators, ...]:
    """Every part of `module`, itself first, with fvcore's counts for one float32 input; raises `ProfileError`.

    fvcore's flops are multiply-adds where an operator has them. Its numbers of a part include those of the parts
    inside; here those are subtracted.
    """
    torch = _torch()
    try:
        with _silence():  # importing it calls what torch deprecates
            from fvcore.nn import FlopCountAnalysis
    except ModuleNotFoundError as error:
        raise ProfileError("counting a torch module needs fvcore", fix=_INSTALL) from error
    with evaluating(module), _silence(), torch.no_grad():
        analysis = FlopCountAnalysis(module, torch.zeros(input_shape))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        counts = {path: Counter(found) for path, found in analysis.by_module_and_operator().items()}
        skips = {path: Counter(analysis.unsupported_ops(path)) for path in counts}
    paths: dict[nn.Module, list[str]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        paths.setdefault(part, []).append(path)
    found = []
    for path, part in module.named_modules():  # fvcore counts a shared part by its first path
        counted, skipped = counts[path].copy(), skips[path].copy()
        for name, _ in part.named_children():
            inner = f"{path}.{name}" if path else name
            counted.subtract(counts.get(inner, {}))
            skipped.subtract(skips.get(inner, {}))
        found.append(
            ModuleOperators(
                paths=tuple(paths[part]),
                type=type(part).__name__,
                counted={name: int(count) for name, count in counted.items() if count},
                skipped={name.removeprefix("aten::"): count for name, count in skipped.items() if count},
            )
        )
    return tuple(found)


def _torch(at: str | None = None) -> ModuleType:
    try:
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise ProfileError("planning a torch module needs torch", at=at, fix=_INSTALL) from error


def _check_input(proto: onnx.ModelProto, input_shape: tuple[int, ...], *, at: str) -> None:
    """Torch can lose a shape silently: a constant folded input, or a dimension left symbolic."""
    shapes = {
        value.name: tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)
        for value in proto.graph.input
        for dims in [value.type.tensor_type.shape.dim]
    }
    if list(shapes.values()) != [tuple(input_shape)]:
        raise ProfileError(
            f"the exported model has the inputs {shapes}, expected one of shape {list(input_shape)}",
            at=at,
            fix="the module's forward must take one tensor and use it",
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch, onnxscript and fvcore print and log away from the user's terminal."""
    names = ("torch", "onnxscript", "onnx_ir", "fvcore")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    sink = io.StringIO()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
