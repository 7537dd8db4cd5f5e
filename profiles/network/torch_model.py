"""Torch modules by import path: exported to ONNX with fixed input shapes, and counted by fvcore.

torch is imported inside functions; without it one sentence says how to install it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import inspect
import io
import itertools
import json
import logging
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.user_code import call_user_code, import_named, user_error
from splitpoint.profiles.network.input_shapes import Shapes
from splitpoint.profiles.network.layer_names import leave_wrapper, name_by_module
from splitpoint.profiles.network.runtime import IoSpec
from splitpoint.profiles.network.torch_hash import program_sha256

if TYPE_CHECKING:
    import onnx
    from torch import nn
    from torch.export import ExportedProgram

__all__ = [
    "ONE_INPUT",
    "TORCH_OPSET",
    "Keep",
    "ModuleOperators",
    "evaluating",
    "export_module",
    "export_torch",
    "forward_inputs",
    "fvcore_operators",
    "guess_picture_shape",
    "is_torch_spec",
    "load_module",
    "module_inputs",
]


def __dir__() -> list[str]:
    return __all__


TORCH_OPSET: Final = 18  # the lowest that torch's exporter writes without converting, so the most runtimes read it
ONE_INPUT: Final = "input"  # name of the input of a module that was given one shape
BOUND: Final = "bound"  # attribute of a wrapper that has the module
USUAL_SIDES: Final = (224, 256, 299, 384, 192, 160, 128, 96, 64, 32, 28)  # of pictures, likeliest first
MOST_TYPES: Final = 16  # combinations of types that are tried
_INSTALL: Final = "python -m pip install 'splitpoint[plan]'"

Keep = Callable[[str, Callable[[], bytes]], bytes]  # key, what makes the bytes -> the bytes, made or kept


def is_torch_spec(source: str) -> bool:
    """Whether `source` is ``package.module:factory`` or ``path/file.py:factory`` rather than a file."""
    module, colon, factory = source.rpartition(":")
    return bool(colon) and factory.isidentifier() and not Path(source).exists() and module != ""


def export_torch(
    spec: str,
    shapes: Shapes,
    *,
    dtypes: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
    keep: Keep | None = None,
) -> bytes:
    """The module that the factory makes, as a serialized ONNX model for inputs of `shapes`.

    `shapes` is that of the one input, or by name of the forward's parameters; where `dtypes` says nothing the type is
    the one that the module runs with, float32 before int64. Raises `ProfileError` when torch is missing, the factory
    cannot be imported or gives no module, the module cannot be exported, or the export lost an input's shape.
    """
    module = load_module(spec)
    inputs = module_inputs(module, shapes, dtypes=dtypes, constants=constants)
    return export_module(module, inputs, constants=constants, at=spec, keep=keep)


def load_module(spec: str) -> nn.Module:
    """Import and call the factory; the module is put in eval mode. Raises `ProfileError`."""
    torch = _torch(spec)
    with _silence():  # imports and factories like to report what they load
        factory = import_named(spec)
        made = factory if isinstance(factory, torch.nn.Module) else call_user_code(factory, at=spec)
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


def forward_inputs(
    module: nn.Module, constants: Mapping[str, Any] | None = None, *, optional: bool = False
) -> tuple[str, ...]:
    """Names of the forward's parameters without a default, or `optional`: with one, in order; constants left out.

    Raises `ProfileError` for a constant that is no parameter.
    """
    parameters = inspect.signature(module.forward).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for name in constants or {}:
        if name not in [p.name for p in named] and all(p.kind != p.VAR_KEYWORD for p in parameters):
            known = ", ".join(p.name for p in named)
            raise ProfileError(f"forward has no parameter {name!r} to be constant", fix=f"it takes {known}")
    return tuple(p.name for p in named if (p.default is not p.empty) is optional and p.name not in (constants or {}))


def guess_picture_shape(
    module: nn.Module, side: int | None, constants: Mapping[str, Any] | None = None, *, at: str
) -> tuple[int, int, int, int]:
    """The first usual picture (1, C, H, W) with which the module runs, of `side` first; raises `ProfileError`."""
    torch = _torch(at)
    first = next((part for part in module.modules() if isinstance(part, torch.nn.Conv2d)), None)
    channels = (3, 1) if first is None else (int(first.in_channels),)
    failures = []
    for sides in (*([side] if side else []), *USUAL_SIDES):
        for count in channels:
            shape = (1, count, sides, sides)
            failure = _failure(module, [IoSpec(name=ONE_INPUT, shape=shape, dtype="float32")], constants)
            if failure is None:
                return shape
            failures.append(user_error(failure, at=at, doing=f"a picture of {'x'.join(map(str, shape))}"))
    raise ProfileError(
        "the module runs with no usual picture, and a torch module does not say its input's size\n"
        f"{failures[0].message}",
        at=failures[0].at,
        fix="--size 1x3x224x224 (the shape of its input), or an input: block with its size",
    )


def module_inputs(
    module: nn.Module,
    shapes: Shapes,
    *,
    dtypes: Mapping[str, str] | None = None,
    constants: Mapping[str, Any] | None = None,
) -> tuple[IoSpec, ...]:
    """The inputs of `shapes` with their types; those that `dtypes` does not know are what the module runs with."""
    if not isinstance(shapes, Mapping):
        needed = forward_inputs(module, constants)
        if len(needed) > 1:
            raise ProfileError(
                f"forward takes {len(needed)} inputs: {', '.join(needed)}",
                fix=" ".join(f"--size {name}=..." for name in needed),
            )
        shapes = {ONE_INPUT: tuple(shapes)}
    known = dtypes or {}
    kinds = [(known[name],) if name in known else ("float32", "int64") for name in shapes]
    tried = list(itertools.islice(itertools.product(*kinds), MOST_TYPES))
    for chosen in tried:
        inputs = tuple(
            IoSpec(name=name, shape=shape, dtype=dtype)
            for (name, shape), dtype in zip(shapes.items(), chosen, strict=True)
        )
        if len(tried) == 1 or _failure(module, inputs, constants) is None:
            return inputs
    return tuple(IoSpec(name=name, shape=shape, dtype=known.get(name, "float32")) for name, shape in shapes.items())


def export_module(
    module: nn.Module,
    inputs: tuple[int, ...] | Sequence[IoSpec],
    *,
    constants: Mapping[str, Any] | None = None,
    at: str = "torch module",
    keep: Keep | None = None,
) -> bytes:
    """Export with `torch.onnx.export`; nodes are named by their place in the module ("layer1.0.conv1/Conv").

    `inputs` is the shape of the one float32 input, or all inputs by the names of the forward's parameters; `constants`
    are values of other parameters. The module runs once before, so that an error of its own is told from one of the
    exporter. Raises `ProfileError`.

    `keep(key, convert)` gives what an earlier call converted under the key, or converts. The key is of the program that
    torch traces now, with its weights, whatever code of the user's made it; converting is three quarters of the time.
    """
    torch = _torch(at)
    specs = _specs(inputs)
    bound = _bind(module, specs, constants)
    shapes = ", ".join(f"{spec.dtype} {'x'.join(map(str, spec.shape))}" for spec in specs)
    with evaluating(module), _silence(), torch.no_grad():
        call_user_code(lambda: bound(*_examples(specs)), at=at, doing=f"running the module on {shapes}")
    with evaluating(module), _silence(), torch.no_grad():
        program = None if keep is None else _trace(bound, specs)
        sha256 = None if program is None else program_sha256(program)
        if keep is None or program is None or sha256 is None:
            return _convert(bound, specs, wrapped=bound is not module, at=at)
        inputs_key = json.dumps([[spec.name, spec.shape, spec.dtype] for spec in specs])
        key = hashlib.sha256(f"{sha256} {bound is not module} {inputs_key}".encode()).hexdigest()
        return keep(key, lambda: _convert(program, specs, wrapped=bound is not module, at=at))


def _trace(module: nn.Module, specs: Sequence[IoSpec]) -> ExportedProgram | None:
    """The program as `torch.onnx.export` traces it first; None where that fails: it has other ways to trace."""
    torch = _torch()
    try:
        with torch.fx.experimental._config.patch(backed_size_oblivious=True):
            program: ExportedProgram = torch.export.export(module, _examples(specs), strict=False)
    except Exception:  # whatever the tracer raises
        return None
    return program


def _convert(model: nn.Module | ExportedProgram, specs: Sequence[IoSpec], *, wrapped: bool, at: str) -> bytes:
    torch = _torch(at)
    try:
        with _silence(), torch.no_grad():
            program = torch.onnx.export(
                model,
                _examples(specs),
                input_names=[spec.name for spec in specs],
                opset_version=TORCH_OPSET,
                dynamo=True,
                verbose=False,
            )
    except ImportError as error:
        raise ProfileError(f"exporting a torch module needs more than torch: {error}", at=at, fix=_INSTALL) from error
    except Exception as error:  # whatever the parts of the exporter raise
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps the reason in pages of advice to its developers
            cause = cause.__cause__
        failed = user_error(cause, at=at, doing="torch.onnx.export")
        raise ProfileError(
            failed.message,
            at=failed.at,
            fix="the forward must not depend on the values of its input, and use operators that ONNX has",
        ) from error
    if wrapped:
        leave_wrapper(program.model, BOUND)
    name_by_module(program.model)
    proto = program.model_proto
    _check_inputs(proto, specs, at=at)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ModuleOperators:
    """One part of a torch module and what fvcore says of the operators that it calls itself, not through its parts."""

    paths: tuple[str, ...]  # "layer1.0.conv1", more than one for a shared part; empty text for the module itself
    type: str  # name of its class
    counted: Mapping[str, int]  # operator of fvcore ("conv", "linear") -> its flops
    skipped: Mapping[str, int]  # operator of torch ("scaled_dot_product_attention") -> calls that fvcore does not count


def fvcore_operators(module: nn.Module, inputs: tuple[int, ...] | Sequence[IoSpec]) -> tuple[ModuleOperators, ...]:
    """Every part of `module`, itself first, with fvcore's counts for `inputs`; raises `ProfileError`.

    `inputs` is the shape of the one float32 input, or all positional inputs in the forward's order.

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
        analysis = FlopCountAnalysis(module, _examples(_specs(inputs)))
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


def _specs(inputs: tuple[int, ...] | Sequence[IoSpec]) -> list[IoSpec]:
    shape = tuple(size for size in inputs if isinstance(size, int))
    if len(shape) == len(inputs):
        return [IoSpec(name=ONE_INPUT, shape=shape, dtype="float32")]
    return [spec for spec in inputs if isinstance(spec, IoSpec)]


def _examples(specs: Sequence[IoSpec]) -> tuple[Any, ...]:
    torch = _torch()
    return tuple(torch.zeros([n or 1 for n in spec.shape], dtype=getattr(torch, spec.dtype)) for spec in specs)


def _failure(module: nn.Module, inputs: Sequence[IoSpec], constants: Mapping[str, Any] | None) -> Exception | None:
    """What the module raises when it is given zeros of these shapes and types; None when it runs."""
    torch = _torch()
    try:
        with evaluating(module), _silence(), torch.no_grad():
            _bind(module, inputs, constants)(*_examples(inputs))
    except ProfileError:
        raise
    except Exception as error:  # forward is the user's: whatever it raises
        return error
    return None


def _bind(module: nn.Module, inputs: Sequence[IoSpec], constants: Mapping[str, Any] | None) -> nn.Module:
    """The module as a function of `inputs` in order; a wrapper where parameters are constant or in another order."""
    torch = _torch()
    names = [spec.name for spec in inputs]
    parameters = list(inspect.signature(module.forward).parameters)
    if not constants and (names == [ONE_INPUT] or names == parameters[: len(names)]):
        return module
    if unknown := [name for name in names if name not in parameters and name != ONE_INPUT]:
        raise ProfileError(f"forward has no parameter {unknown[0]!r}", fix=f"it takes {', '.join(parameters)}")
    if names == [ONE_INPUT] and ONE_INPUT not in parameters:
        names = list(forward_inputs(module, constants))[:1]
    fixed = {
        name: torch.as_tensor(value) if isinstance(value, list | tuple) else value
        for name, value in (constants or {}).items()
    }

    class Bound(torch.nn.Module):  # type: ignore[misc,name-defined]  # torch is imported late
        """`module` with its constants."""

        def __init__(self) -> None:
            super().__init__()
            setattr(self, BOUND, module)

        def forward(self, *tensors: Any) -> Any:
            """The module's outputs."""
            return module(**dict(zip(names, tensors, strict=True)), **fixed)

    bound: nn.Module = Bound().eval()
    return bound


def _check_inputs(proto: onnx.ModelProto, specs: Sequence[IoSpec], *, at: str) -> None:
    """Torch can lose a shape silently: a constant folded input, or a dimension left symbolic."""
    shapes = {
        value.name: tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)
        for value in proto.graph.input
        for dims in [value.type.tensor_type.shape.dim]
    }
    expected = {spec.name: spec.shape for spec in specs}
    if shapes != expected:
        raise ProfileError(
            f"the exported model has the inputs {shapes}, expected {expected}",
            at=at,
            fix="the module's forward must take these tensors and use them",
        )


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what torch, onnxscript and fvcore print and log away from the user's terminal.

    Loggers, warnings and standard output belong to the process: one thread at a time, so that each leaves them as they
    were.
    """
    names = ("torch", "onnxscript", "onnx_ir", "fvcore")
    loggers = [logging.getLogger(name) for name in names]
    sink = io.StringIO()
    with _ONE_AT_A_TIME:
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                warnings.simplefilter("ignore")
                yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


_ONE_AT_A_TIME = threading.RLock()
