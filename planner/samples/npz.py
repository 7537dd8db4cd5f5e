"""Samples of an .npz file: one array for each input, or `x`; labels and groups beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.samples.archive import LIMIT_BYTES, read_arrays
from splitpoint.planner.samples.dataset import Dataset, Sample
from splitpoint.planner.samples.truths import TRUTHS, unpack_truths
from splitpoint.profiles.errors import CONTROLS, ProfileError, shorten
from splitpoint.profiles.network.input_shapes import DeclaredInput
from splitpoint.profiles.network.inputs import InputSpec

__all__ = ["array_of_input", "group_name", "label_name", "load_npz"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]
ONLY = "x"  # the array of the one input
MOST_SAMPLES = 2_000_000  # each is an object of its own
LABELS, GROUPS = ("y", "labels"), ("group", "groups")  # either name, but not that of an input


def load_npz(
    source: Path | bytes,
    spec: InputSpec,
    *,
    at: str | None = None,
    inputs: Sequence[DeclaredInput] = (),
    ignored: Collection[str] = (),
    limit_bytes: int = LIMIT_BYTES,
) -> Dataset:
    """The samples of an .npz file: x or one array for each input, and optionally labels y and group; no pickles.

    Integers y (N,) are classes; masks (N, H, W), tokens (N, L) and numbers are what their task says. Labels of
    different sizes are `truth`, all of them one after the other, and `truth_shapes` (N, D).

    The first axis of every array counts the samples. For an image x is uint8 pictures (N, H, W, C), or (N, H, W) for
    gray, of the network's size; for a tensor the network's inputs without their batch axis, or with it where an input
    has no batch axis of 1. Types are changed only where no value changes, but float64 is rounded. Arrays that are
    `ignored` (of inputs that are constant or that nothing reads) are not read. `source` is a file or the bytes of one,
    which errors call `at`; its arrays have at most `limit_bytes` together. Raises `ProfileError`.
    """
    path = Path(at or (source if isinstance(source, Path) else "arrays.npz"))
    arrays = read_arrays(source, at=str(path), ignored=ignored, limit_bytes=limit_bytes)
    several = spec.kind == "tensors"
    names = [declared.name for declared in inputs] if several else [array_of_input(arrays, inputs)]
    label, group = label_name(names), group_name(names)
    labels, groups = (next((arrays[name] for name in either if name in arrays), None) for either in (label, group))
    if not set(names) <= set(arrays) or set(arrays) - {*names, *label, *group, *TRUTHS}:
        wanted = "one for each input: " + ", ".join(names) if several else ONLY
        raise ProfileError(
            f"expected arrays {wanted}, {label[0]}, {group[0]}, got {sorted(arrays)}",
            at=str(path),
            fix=f"numpy.savez(FILE, {', '.join(f'{name}=...' for name in names)}); labels and groups may be left out",
        )
    values = {name: arrays[name] for name in names}
    count = len(next(iter(values.values()))) if all(array.ndim for array in values.values()) else 0
    if count > MOST_SAMPLES:
        raise ProfileError(f"expected at most {MOST_SAMPLES:,} samples, got {count:,}", at=str(path))
    for name, array in (*values.items(), (label[0], labels), (group[0], groups)):
        free = name in values or name == label[0]  # a label may be an array
        expected = (count, *(array.shape[1:] if free and array is not None else ()))
        if array is not None and (array.ndim == 0 or array.shape != expected):
            raise ProfileError(f"{name} has shape {array.shape}, expected ({count},)", at=str(path))
    if labels is not None and labels.dtype.kind not in "iuf":
        raise ProfileError(f"{label[0]} must be numbers, got {labels.dtype}", at=str(path))
    foreign = () if groups is None else (str(group) for group in groups if CONTROLS.search(str(group)))
    for group_text in foreign:
        raise ProfileError(f"expected groups without control characters, got {shorten(repr(group_text))}", at=str(path))
    classes = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
    truths = unpack_truths(arrays, count, at=str(path))
    if truths is None and labels is not None and not classes:
        truths = [np.atleast_1d(row) for row in labels]
    declared = {entry.name: entry for entry in inputs}
    if several:
        values = {name: _as_type(x, declared[name].dtype, at=f"{path}: {name}") for name, x in values.items()}
    elif spec.kind == "tensor":
        values = {name: _as_type(x, spec.dtype, at=f"{path}: {name}") for name, x in values.items()}
    elif values[names[0]].ndim == 3:
        values = {names[0]: values[names[0]][..., None]}
    of_array = declared if several else dict(zip(names, inputs, strict=False))
    samples = tuple(
        Sample(
            name=f"{path.name}[{i}]",
            group=str(i if groups is None else groups[i]),
            label=int(labels[i]) if labels is not None and classes else None,
            truth=None if truths is None else truths[i],
            **_content(spec, {name: (x[i], of_array.get(name)) for name, x in values.items()}),
        )
        for i in range(count)
    )
    return Dataset(spec=spec, samples=samples, source=str(path))


def array_of_input(arrays: Collection[str], inputs: Sequence[DeclaredInput]) -> str:
    """Name of the array of the one input: x, or the input's own name where there is no x."""
    own = inputs[0].name if len(inputs) == 1 else ONLY
    return own if ONLY not in arrays and own in arrays else ONLY


def label_name(inputs: Collection[str]) -> list[str]:
    """Names under which labels may stand beside arrays of `inputs`, the usual one first."""
    return [name for name in LABELS if name not in inputs]


def group_name(inputs: Collection[str]) -> list[str]:
    """Names under which groups may stand beside arrays of `inputs`, the usual one first."""
    return [name for name in GROUPS if name not in inputs]


def _content(spec: InputSpec, rows: Mapping[str, tuple[Array, DeclaredInput | None]]) -> dict[str, Any]:
    if spec.kind == "image":
        return {"picture": next(iter(rows.values()))[0]}
    tensors = {name: _tensor(row, declared) for name, (row, declared) in rows.items()}
    return {"tensors": tensors} if spec.kind == "tensors" else {"tensor": next(iter(tensors.values()))}


def _tensor(row: Array, declared: DeclaredInput | None) -> Array:
    """A row of the array as the network takes it: as it is where it has the input's rank, else with a batch axis."""
    if declared is not None and declared.dims is not None and len(declared.dims) == row.ndim:
        return np.asarray(row)
    return np.asarray(row)[None]


def _as_type(x: Array, dtype: str, *, at: str) -> Array:
    """`x` as `dtype` when no value changes; float64 is rounded. Another type stays, for the check of the inputs."""
    wanted = np.dtype(dtype)
    if x.dtype == wanted:
        return x
    if x.dtype == np.float64 and wanted.kind == "f":
        return x.astype(wanted)
    if x.dtype.kind in "iub" and wanted.kind in "iub":
        changed = x.astype(wanted)
        if not np.array_equal(changed, x):
            raise ProfileError(f"values from {x.min()} to {x.max()} do not fit the input's type {dtype}", at=at)
        return changed
    return x
