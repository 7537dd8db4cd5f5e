"""A model and sample inputs that fit each other: what the data say of the model's free shapes, and the reverse."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.samples.archive import read_arrays
from splitpoint.planner.samples.dataset import Dataset
from splitpoint.planner.samples.npz import array_of_input
from splitpoint.planner.samples.readers import PICTURES, load_data
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import read_model
from splitpoint.profiles.network.graph import load_graph, load_model
from splitpoint.profiles.network.input_shapes import DeclaredInput, Shapes, declared_inputs
from splitpoint.profiles.network.inputs import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputSpec,
    check_against,
    guess_spec,
    has_image_layout,
)
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.pictures.picture_files import opened_picture
from splitpoint.profiles.network.torch_model import (
    ONE_INPUT,
    Keep,
    export_torch,
    forward_inputs,
    guess_picture_shape,
    is_torch_spec,
    load_module,
)

__all__ = ["LoadedInputs", "PictureFlags", "check_inputs", "data_shapes", "load_inputs", "load_source"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
UNIT, SIGNED = {"scale": 255.0}, {"mean": 127.5, "std": 127.5}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "imagenet": {"scale": 255.0, "mean": IMAGENET_MEAN, "std": IMAGENET_STD},
    "unit": UNIT | {"mean": 0.0, "std": 1.0},  # levels 0..1
    "signed": SIGNED | {"scale": 1.0},  # levels -1..1
    "levels": {"scale": 1.0, "mean": 0.0, "std": 1.0},  # 0..255 as they are
}
SMALL_SIDE = 128  # pictures that are all squares up to this are a data set of the network's own size
LOOKED_AT = 20  # pictures whose size is compared


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PictureFlags:
    """What flags say of pictures, in place of an `input:` block; None: no flag was given."""

    preset: Literal["imagenet", "unit", "signed", "levels"] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    scale: float | None = None
    color: Literal["rgb", "bgr", "gray"] | None = None

    @property
    def given(self) -> bool:
        """Whether any flag was given."""
        return self != PictureFlags()

    @property
    def levels_given(self) -> bool:
        """Whether the levels of the network's input are known."""
        return dataclasses.replace(self, color=None).given

    def applied(self, spec: InputSpec) -> InputSpec:
        """`spec` with the flags that were given; without a scale, a mean or deviation above 1 is in levels 0..255."""
        changes: dict[str, Any] = dict(PRESETS[self.preset]) if self.preset is not None else {}
        for name in ("mean", "std"):
            values: tuple[float, ...] | None = getattr(self, name)
            if values is not None:
                changes[name] = values[0] if len(values) == 1 else values
        if self.scale is not None:
            changes["scale"] = self.scale
        elif self.preset is None and (self.mean is not None or self.std is not None):
            changes["scale"] = 1.0 if max((*(self.mean or ()), *(self.std or ()))) > 1 else 255.0
        if self.color is not None:
            changes["color"] = self.color
        return msgspec.structs.replace(spec, **changes)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LoadedInputs:
    """A network and the data for it, and what was assumed or fixed, a line each."""

    graph: ModelGraph
    dataset: Dataset
    notes: tuple[str, ...]


def load_inputs(
    model: str,
    source: str,
    *,
    spec: InputSpec | None,
    flags: PictureFlags | None = None,
    shapes: Shapes | None = None,
    constants: Mapping[str, Any] | None = None,
    seed: int = 0,
    skip_damaged: bool = False,
    keep: Keep | None = None,
) -> LoadedInputs:
    """Read the data and the network in the shape of the data; raises `ProfileError` where they do not fit.

    `spec` is the `input:` block; without one it is guessed from the model, and the guess is a note. `shapes` fix free
    dimensions of the model that the data do not tell (pictures), `constants` inputs that are always the same. A torch
    module's exported network is looked up by `keep` (`profiles.network.torch_model.export_module`).
    """
    constants, flags = constants or {}, flags or PictureFlags()
    arrays = read_arrays(Path(source)) if source.endswith(".npz") and Path(source).is_file() else None
    declared, ignored = _declared(model, arrays, shapes, constants)
    notes: list[str] = []
    if len(declared) > 1:
        spec = _spec_of_several(declared, spec, found=arrays is not None or not Path(source).exists(), at=source)
    elif spec is None and Path(source).exists():
        spec, text = _guess(model, source, arrays, declared, shapes, constants, flags)
        notes.append(text)
    if flags.given:
        if spec is None or spec.kind != "image":
            raise ProfileError("--input, --mean, --std, --scale and --color are for pictures", at=source)
        spec = flags.applied(spec)
    dataset = load_data(source, spec, seed=seed, inputs=declared, ignored=ignored, skip_damaged=skip_damaged)
    of_data = data_shapes(dataset)
    _check_sizes(shapes, of_data, ignored, at=dataset.source or source)
    _check_declared(dataset, declared, at=model)
    graph = load_source(model, of_data, constants=constants, dtypes=_dtypes(dataset), keep=keep)
    check_inputs(dataset, graph, at=model)
    return LoadedInputs(graph=graph, dataset=dataset, notes=(*notes, *graph.fixed))


def load_source(
    source: str,
    shapes: Shapes | None,
    *,
    constants: Mapping[str, Any] | None = None,
    dtypes: Mapping[str, str] | None = None,
    keep: Keep | None = None,
) -> ModelGraph:
    """The canonical graph of an ONNX file, or of the torch module of "file.py:factory" or "package.module:factory".

    `dtypes` are those of a torch module's inputs; an input without one has the type that the module runs with.
    """
    if not is_torch_spec(source):
        return load_model(Path(source), input_shapes=shapes, constants=constants)
    if shapes is None:
        raise ProfileError(
            "a torch module has no input shape of its own",
            at=source,
            fix="--size 1x3x224x224 (--size NAME=... for each of several inputs), or shapes: in a configuration",
        )
    data = export_torch(source, shapes, dtypes=dtypes, constants=constants, keep=keep)
    return load_graph(data, name=source.rpartition(":")[2], source=source)


def check_inputs(dataset: Dataset, graph: ModelGraph, *, at: str) -> None:
    """Raise `ProfileError` unless `graph` takes what `dataset` holds."""
    if dataset.spec.kind == "image" and len(graph.inputs) == 1:
        tensor = graph.inputs[0]
        check_against(dataset.spec, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
        return
    held = dataset.samples[0].arrays
    if len(graph.inputs) == 1 and len(held) == 1:
        held = {graph.inputs[0].name: next(iter(held.values()))}
    names = [tensor.name for tensor in graph.inputs]
    if set(held) != set(names):
        found = ", ".join(held) if dataset.spec.kind == "tensors" else "one"
        raise ProfileError(
            f"the model has {_count(len(names))}: {', '.join(names)}; the data are of {found}", at=at, fix=SEVERAL_FIX
        )
    for tensor in graph.inputs:
        array = held[tensor.name]
        if array.shape != tensor.shape or str(array.dtype) != tensor.dtype:
            raise ProfileError(
                f"the model's input {tensor.name!r} is {tensor.dtype}{list(tensor.shape)},"
                f" the data are {array.dtype}{list(array.shape)}",
                at=dataset.source or None,
                fix=ROWS_FIX,
            )


def data_shapes(dataset: Dataset) -> Shapes:
    """The shape of the network's one input, or of each by name."""
    if dataset.spec.kind == "image":
        return dataset.spec.shape
    arrays = dataset.samples[0].arrays
    if dataset.spec.kind == "tensors":
        return {name: array.shape for name, array in arrays.items()}
    return tuple(next(iter(arrays.values())).shape)


ROWS_FIX = "the first axis of an array counts the samples; the rest is one input of the network"
SEVERAL_FIX = "an .npz with an array for each input, or --constant NAME=VALUE for an input that is always the same"


def _declared(
    model: str, arrays: Mapping[str, Array] | None, shapes: Shapes | None, constants: Mapping[str, Any]
) -> tuple[tuple[DeclaredInput, ...], set[str]]:
    """The inputs that the data must give, and names of arrays that are of other inputs.

    Of a torch module they are the forward's parameters that have an array or no default; known only where arrays have
    their names.
    """
    if not is_torch_spec(model):
        parsed, _ = read_model(Path(model))
        inputs = declared_inputs(parsed, constants)
        return inputs, {value.name or "" for value in parsed.graph.inputs} - {entry.name for entry in inputs}
    if arrays is None or ("x" in arrays and not isinstance(shapes, Mapping)):
        return (), set()
    module = load_module(model)
    needed = forward_inputs(module, constants)
    names = [*needed, *(name for name in forward_inputs(module, constants, optional=True) if name in arrays)]
    sizes = shapes if isinstance(shapes, Mapping) else {}
    declared = tuple(
        DeclaredInput(
            name=name,
            dims=tuple(sizes[name]) if name in sizes else None,
            dtype=_tensor_type(arrays[name]) if name in arrays else "float32",
        )
        for name in dict.fromkeys(names)
    )
    return declared, set(constants)


def _spec_of_several(declared: Sequence[DeclaredInput], spec: InputSpec | None, *, found: bool, at: str) -> InputSpec:
    if found and (spec is None or spec.kind == "tensors"):
        return spec or InputSpec(kind="tensors")
    names = ", ".join(entry.name for entry in declared)
    kind = "pictures are for one" if spec is None or spec.kind == "image" else f"kind: {spec.kind} is for one"
    raise ProfileError(f"the model has {len(declared)} inputs: {names}; {kind}", at=at, fix=SEVERAL_FIX)


def _guess(
    model: str,
    source: str,
    arrays: Mapping[str, Array] | None,
    declared: Sequence[DeclaredInput],
    shapes: Shapes | None,
    constants: Mapping[str, Any],
    flags: PictureFlags,
) -> tuple[InputSpec, str]:
    """The input block that assumes least, and the assumption in one line."""
    entry = declared[0] if declared else None
    given = next(iter(shapes.values()), None) if isinstance(shapes, Mapping) else shapes
    dims: Sequence[int | str | None] | None = given or (None if entry is None else entry.dims)
    dtype = "float32" if entry is None else entry.dtype
    more = ""
    if arrays is not None:
        x = arrays.get(array_of_input(arrays, declared))
        if x is None or not _are_pictures(x, dims, flags):
            kept = dtype if entry is not None else "float32" if x is None else _tensor_type(x)
            spec = msgspec.convert({"kind": "tensor", "dtype": kept}, InputSpec)
            return spec, f"the data are tensors of {kept}, taken as they are"
        channels, sides = 1 if x.ndim == 3 else x.shape[3], x.shape[1:3]
        nhwc = dims is not None and dims[1] not in (1, 3) and dims[3] in (1, 3)
        shape = (1, *sides, channels) if nhwc else (1, channels, *sides)
        if dims is not None:
            shape = tuple(d if isinstance(d, int) else s for d, s in zip(dims, shape, strict=True))
    elif dims is None and is_torch_spec(model):
        shape = guess_picture_shape(load_module(model), _own_sides(Path(source)), constants, at=model)
        more = f"; a torch module does not say its input's size, 1x{shape[1]}x{shape[2]}x{shape[3]} is the first that"
        more += " it runs with (--size says another)"
    elif given is not None:
        shape = tuple(given)
    elif entry is not None and entry.is_fixed:
        shape = tuple(dim for dim in entry.dims or () if isinstance(dim, int))
    else:
        shape = load_source(model, shapes, constants=constants).inputs[0].shape  # raises what must be given
    spec, text = guess_spec(shape, dtype)
    if flags.levels_given and spec.kind == "image":
        text = text.partition(", levels")[0].partition(", torchvision")[0] + ", levels as the flags say"
    return spec, text + more


def _are_pictures(x: Array, dims: Sequence[int | str | None] | None, flags: PictureFlags) -> bool:
    """Whether an array (N, ...) holds pictures (N, H, W) or (N, H, W, C) of uint8 for an image network.

    float32 arrays are the network's input itself, and so are bytes that fit it as they are and not as pictures.
    """
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3)):
        return False
    return dims is None or flags.given or (len(dims) == 4 and has_image_layout(dims))


def _own_sides(folder: Path) -> int | None:
    """The side of a folder's pictures when they are small squares of one size: the network's own, as a rule."""
    sizes = set()
    for path in [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in PICTURES][:LOOKED_AT]:
        try:
            with opened_picture(path) as picture:
                sizes.add(picture.size)
        except (OSError, ValueError, SyntaxError):
            return None  # reading the data says what is wrong with it
    width, height = next(iter(sizes)) if len(sizes) == 1 else (0, 1)
    return width if width == height and width <= SMALL_SIDE else None


def _check_sizes(given: Shapes | None, of_data: Shapes, ignored: Collection[str], *, at: str) -> None:
    """Raise `ProfileError` when --size and the data contradict each other."""
    asked = given if isinstance(given, Mapping) else {} if given is None else {"": given}
    asked = {name: shape for name, shape in asked.items() if name not in ignored}
    found = of_data if isinstance(of_data, Mapping) else {name: of_data for name in list(asked)[:1]}
    for name, shape in asked.items():
        if name not in found:
            of = f"--size of {name}" if name else "--size without a name"
            raise ProfileError(
                f"{of}, but the inputs are {', '.join(found)}", at=at, fix=f"--size {next(iter(found))}=..."
            )
        if tuple(shape) != tuple(found[name]):
            called = f"{name} " if name else ""
            sizes = ["x".join(map(str, dims)) for dims in (found[name], shape)]
            raise ProfileError(
                f"the data have {called}{sizes[0]}, --size says {sizes[1]}",
                at=at,
                fix="leave --size out: the data say the size",
            )


def _check_declared(dataset: Dataset, declared: Sequence[DeclaredInput], *, at: str) -> None:
    """Raise `ProfileError` where the data do not fit what the model's file says, before it is given their shape."""
    shapes = data_shapes(dataset)
    for entry in declared:
        shape = shapes[entry.name] if isinstance(shapes, Mapping) else tuple(shapes)
        dims = entry.dims
        if dims is None or (
            len(dims) == len(shape) and all(not isinstance(d, int) or d == s for d, s in zip(dims, shape, strict=True))
        ):
            continue
        if dataset.spec.kind == "image" and len(dims) == len(shape):
            known = [d if isinstance(d, int) else s for d, s in zip(dims, shape, strict=True)]
            check_against(dataset.spec, name=entry.name, shape=known, dtype=entry.dtype)
        text = ", ".join("?" if dim is None else str(dim) for dim in dims)
        raise ProfileError(
            f"the model's input {entry.name!r} is {entry.dtype}[{text}], the data are {list(shape)}",
            at=dataset.source or at,
            fix=ROWS_FIX,
        )


def _dtypes(dataset: Dataset) -> dict[str, str]:
    if dataset.spec.kind == "image":
        return {}
    return {name or ONE_INPUT: str(array.dtype) for name, array in dataset.samples[0].arrays.items()}


def _tensor_type(x: Array) -> str:
    return "float32" if x.dtype == np.float64 else str(x.dtype)


def _count(inputs: int) -> str:
    return "one input" if inputs == 1 else f"{inputs} inputs"
