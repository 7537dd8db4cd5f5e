"""Labels that are arrays of different sizes, such as boxes, as two arrays of an .npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError

__all__ = ["pack_truths", "unpack_truths"]


def __dir__() -> list[str]:
    return __all__


def pack_truths(truths: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """`truth`, all values one after the other, and `truth_shapes` (N, D); the arrays have the same D and type."""
    shapes = np.array([truth.shape for truth in truths], np.int64)
    return {"truth": np.concatenate([truth.ravel() for truth in truths]), "truth_shapes": shapes}


def unpack_truths(arrays: Mapping[str, NDArray[Any]], count: int, *, at: str) -> list[NDArray[Any]] | None:
    """The labels that `pack_truths` packed, or None without any; raises `ProfileError` where they do not fit."""
    values, shapes = arrays.get("truth"), arrays.get("truth_shapes")
    if values is None and shapes is None:
        return None
    if values is None or shapes is None or values.ndim != 1 or shapes.ndim != 2 or len(shapes) != count:
        raise ProfileError(f"truth and truth_shapes do not describe the labels of {count} inputs", at=at)
    if shapes.dtype.kind not in "iu" or (shapes < 0).any() or int(shapes.prod(axis=1).sum()) != len(values):
        raise ProfileError(f"truth_shapes does not fit the {len(values)} values of truth", at=at)
    ends = np.cumsum(shapes.prod(axis=1))
    return [part.reshape(shape) for part, shape in zip(np.split(values, ends[:-1]), shapes, strict=True)]
