"""Content keys of expensive results: equal keys mean equal results, in any process on any day.

A key is a SHA-256 over a canonical text of everything that the result depends on. It contains no `hash()`, no object
identity, no order of a set and no file name. A key may differ where the results are equal (a processor with one more
instruction set): then a result is computed again. The opposite would give a wrong plan.

This is not the store, and nothing here computes a result: a caller that has the parts asks for the key.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Codec, Context
from splitpoint.codecs.pictures.picture import PictureCodec
from splitpoint.planner.deploy.task import Task
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.network.inputs import InputSpec

__all__ = [
    "KEY_SCHEMA",
    "Runtime",
    "activations_key",
    "code_sha256",
    "content_key",
    "context_key",
    "fitted_key",
    "model_profile_key",
    "outcomes_key",
    "picture_key",
    "runtime_on",
    "sensitivities_key",
    "timings_key",
]


def __dir__() -> list[str]:
    return __all__


KEY_SCHEMA = 1  # raised when the canonical text or the parts of a kind change: old keys then match nothing

# Whose versions decide bits: numbers, graphs, entropy coding and the picture formats.
LIBRARIES = ("numpy", "onnx", "onnx-ir", "pillow", "zstandard", "numba", "av", "pillow-jxl-plugin", "torch")
# A context holds these to compute with; they are no input of the result.
TOOLS_OF_A_CONTEXT = ("memo", "run")
# What seconds depend on beside the fingerprint (processor, ONNX Runtime, threads, provider, precision).
TIMED_UNDER = ("threads", "provider", "onnxruntime", "optimization")


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and by what numbers are computed: two runtimes that are equal give equal bits."""

    cpu: str
    cpu_features: tuple[str, ...]  # kernels are chosen by them, and a kernel decides the order of a sum
    arch: str
    onnxruntime: str
    provider: str
    optimization: str  # ORT graph optimization level: fused operators round once instead of twice
    threads: int  # of one session
    libraries: tuple[tuple[str, str], ...]  # name and version; "" where it is not installed
    code_sha256: str  # of this package's own source, see `code_sha256`


def runtime_on(machine: Machine) -> Runtime:
    """The runtime of this process, its settings (threads, provider, optimization level) as `machine` has them."""
    return Runtime(
        cpu=machine.cpu,
        cpu_features=_cpu_features(),
        arch=machine.arch,
        onnxruntime=machine.onnxruntime,
        provider=machine.provider,
        optimization=machine.optimization,
        threads=machine.threads,
        libraries=tuple((name, _version(name)) for name in LIBRARIES),
        code_sha256=code_sha256(),
    )


def activations_key(
    *, model_sha256: str, input_block: InputSpec, data_sha256: str, tensors: Sequence[str], runtime: Runtime
) -> str:
    """Key of the `tensors` that cross a cut, for every input of a set.

    `model_sha256` is of the canonical model, `data_sha256` is `Dataset.sha256()` of the set.
    """
    return content_key(
        "activations",
        model_sha256=model_sha256,
        input_block=input_block,
        data_sha256=data_sha256,
        tensors=tuple(tensors),
        runtime=runtime,
    )


def sensitivities_key(
    *,
    model_sha256: str,
    module_sha256: str,
    input_block: InputSpec,
    data_sha256: str,
    cuts: Sequence[Sequence[str]],
    seed: int,
    runtime: Runtime,
) -> str:
    """Key of the gradients and diagonals at all `cuts`; `data_sha256` is of the calibration set.

    All cuts are one result: they share a budget of MACs, so each cut decides how many inputs the next one gets.
    `module_sha256` is `profiles.network.torch_hash.module_sha256` of the user's torch module, through which gradients
    run; "" without one.
    """
    return content_key(
        "sensitivities",
        model_sha256=model_sha256,
        module_sha256=module_sha256,
        input_block=input_block,
        data_sha256=data_sha256,
        cuts=tuple(tuple(tensors) for tensors in cuts),
        seed=seed,
        runtime=runtime,
    )


def fitted_key(
    *,
    activations: str,
    rows: Sequence[int],
    codec: Codec,
    rates: Sequence[int],
    contexts: Sequence[str],
    runtime: Runtime,
) -> str:
    """Key of `codec` fitted at `rates` to all tensors of a cut.

    `activations` is the key of the calibration set's activations at the cut and `rows` the inputs that are used.
    `contexts` are a `context_key` a tensor.
    """
    return content_key(
        "fitted codec",
        activations=activations,
        rows=tuple(rows),
        codec=codec,
        rates=tuple(rates),
        contexts=tuple(contexts),
        runtime=runtime,
    )


def context_key(context: Context) -> str:
    """Key of what a codec knows of a tensor: range, seed, labels, sensitivity, gradients and layer by their values.

    A training is known by its own key. The input of the layer may be left out: network, data and rows decide it.
    """
    return content_key("context", parts=_context_parts(context))


def picture_key(*, codec: PictureCodec, rate: int, runtime: Runtime) -> str:
    """Key of a picture codec at one rate: what takes the place of a fitted codec where the picture is sent."""
    return content_key("picture codec", codec=codec, rate=rate, runtime=runtime)


def outcomes_key(
    *,
    model_sha256: str,
    reference_sha256: str,
    coding: str | None,
    rate: int | None,
    input_block: InputSpec,
    data_sha256: str,
    subset: Literal["search", "report"],
    inputs: Sequence[int] | None = None,
    task: Task,
    against: Literal["labels", "unsplit"],
    metric_sha256: str,
    runtime: Runtime,
) -> str:
    """Key of what became of the `inputs` of a set (their indices; None: all), and of the accuracy that follows.

    `coding` is a `fitted_key` or a `picture_key`, None where nothing is sent; `rate` is which of a fit's rates is used.
    `reference_sha256` is the given network's, whose answers agreement and drop are measured from. `data_sha256` covers
    inputs, labels and groups; `metric_sha256` is of the file with a metric of the user's own, "" without one.
    """
    return content_key(
        "outcomes",
        model_sha256=model_sha256,
        reference_sha256=reference_sha256,
        coding=coding,
        rate=rate,
        input_block=input_block,
        data_sha256=data_sha256,
        subset=subset,
        inputs=None if inputs is None else tuple(inputs),
        task=task,
        against=against,
        metric_sha256=metric_sha256,
        runtime=runtime,
    )


def model_profile_key(*, model_sha256: str, machine: Machine, code: str) -> str:
    """Key of a model's profile on `machine`; `code` is the `code_sha256` of what measures.

    Seconds vary from run to run, so this key says which measurements can replace each other, not which are equal.
    """
    return content_key("model profile", model_sha256=model_sha256, code=code, **_timed_on(machine))


def timings_key(*, model_sha256: str, tensors: Sequence[str], machine: Machine, code: str) -> str:
    """Key of the seconds of the two halves at a cut on `machine`, in the sense of `model_profile_key`."""
    return content_key("timings", model_sha256=model_sha256, tensors=tuple(tensors), code=code, **_timed_on(machine))


def content_key(kind: str, **parts: object) -> str:
    """SHA-256 (hexadecimal) of `kind`, the schema's version and `parts` in canonical form.

    Parts are None, bool, int, float, str, bytes, numpy arrays and scalars, fractions, frozen dataclasses, msgspec
    structs, and tuples, lists, sets and mappings of them. Raises `TypeError` for anything else, because the text of
    an arbitrary object need not be the same in the next process.
    """
    document = {"schema": KEY_SCHEMA, "kind": kind, "parts": {name: _canonical(part) for name, part in parts.items()}}
    return hashlib.sha256(msgspec.json.encode(document, order="sorted")).hexdigest()


@functools.cache
def code_sha256(package: str = "splitpoint") -> str:
    """SHA-256 of the Python source below `package`, by relative path: what decides a result beside versions.

    It changes with every edit, also of a comment. A release changes it anyway, and between two releases a key
    that trusts old code costs more than a plan that is computed again.
    """
    digest = hashlib.sha256()
    for name, source in _sources(importlib.resources.files(package)):
        digest.update(f"{name} {len(source)}\n".encode() + source)
    return digest.hexdigest()


def _sources(folder: Traversable, path: str = "") -> Iterator[tuple[str, bytes]]:
    """Relative path and content of each Python file that belongs to a package, in the order of names."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_file() and entry.name.endswith(".py"):
            yield name, entry.read_bytes()
        elif entry.is_dir() and entry.joinpath("__init__.py").is_file():
            yield from _sources(entry, name)


def _context_parts(context: Context) -> dict[str, object]:
    parts = {
        field.name: getattr(context, field.name)
        for field in dataclasses.fields(context)
        if field.name not in TOOLS_OF_A_CONTEXT
    }
    return {**parts, "training": None if context.training is None else context.training.key}


def _timed_on(machine: Machine) -> dict[str, object]:
    return {"fingerprint": machine.fingerprint, **{name: getattr(machine, name) for name in TIMED_UNDER}}


def _canonical(value: object) -> Any:
    """`value` as JSON in which the type is written beside the content: 1, 1.0, True and "1" are four values."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return ["int", str(value)]  # as text: JSON readers round numbers above 2^53, and msgspec refuses above 2^64
    if isinstance(value, float):
        return ["float", float.__repr__(value)]  # shortest text that gives the same double; also inf, nan and -0.0
    if isinstance(value, bytes):
        return ["bytes", hashlib.sha256(value).hexdigest()]
    if isinstance(value, np.ndarray | np.generic):
        return _array(np.asarray(value))
    if isinstance(value, Fraction):
        return ["fraction", str(value)]
    if isinstance(value, tuple | list):
        return ["list", [_canonical(item) for item in value]]
    if isinstance(value, set | frozenset):
        return ["set", sorted(msgspec.json.encode(_canonical(item), order="sorted").decode() for item in value)]
    if isinstance(value, Mapping):
        return ["map", {_name(key): _canonical(item) for key, item in value.items()}]
    return _fields(value)


def _array(array: np.ndarray[Any, np.dtype[Any]]) -> list[Any]:
    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype} has no canonical bytes")
    content = np.ascontiguousarray(array).tobytes()
    return ["array", array.dtype.str, list(array.shape), hashlib.sha256(content).hexdigest()]


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a mapping in a key has names, got {type(key).__name__} {key!r}")
    return key


def _fields(value: object) -> list[Any]:
    """Class and fields of a frozen dataclass or a msgspec struct."""
    kind = type(value)
    if isinstance(value, msgspec.Struct):
        names = kind.__struct_fields__  # type: ignore[attr-defined]  # isinstance narrows the value, not its type
    elif dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # untyped
        names = tuple(field.name for field in dataclasses.fields(kind))
    else:
        raise TypeError(f"a {kind.__module__}.{kind.__qualname__} has no canonical form")
    fields = {name: _canonical(getattr(value, name)) for name in names}
    return ["fields", f"{kind.__module__}.{kind.__qualname__}", fields]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def _cpu_features() -> tuple[str, ...]:
    """Instruction sets by the system's names, or numpy's list where the system has none; sorted."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            title, _, names = line.partition(":")
            if title.strip() in ("flags", "Features"):  # x86, Arm
                return tuple(sorted(names.split()))
    found: Mapping[str, Any] = np.show_config(mode="dicts")["SIMD Extensions"]  # type: ignore[index,call-overload,unused-ignore]
    return tuple(sorted({*found.get("baseline", ()), *found.get("found", ())}))
