"""Resize: each axis by itself, as a choice of its elements (nearest) or a product with a matrix (linear, cubic).

The coordinates and weights are those of the operator's definition (https://onnx.ai/onnx/operators/onnx__Resize.html).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.coding.torch_operators.contract import Attributes, Run, UnsupportedError, numbers, text

__all__ = ["resize_operators"]


def __dir__() -> list[str]:
    return __all__


Array = NDArray[Any]


def resize_operators() -> dict[str, Run]:
    """The operators of this family by name."""
    return {"Resize": _resize}


def _resize(v: list[Any], a: Attributes) -> Any:
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    x, mode = v[0], text(a, "mode", "nearest")
    where = text(a, "coordinate_transformation_mode", "half_pixel")
    rounding = text(a, "nearest_mode", "round_prefer_floor")
    if a.get("antialias", 0) or where == "tf_crop_and_resize":
        raise UnsupportedError("antialias" if a.get("antialias", 0) else where)
    scales, sizes = _scales(v, a)
    whole = all(size == n * scale for size, n, scale in zip(sizes, x.shape, scales, strict=True))
    if (mode, where, rounding) == ("nearest", "asymmetric", "floor") and whole and _leaves_channels(x, sizes):
        return F.interpolate(x, size=sizes[2:], mode="nearest")
    cubic = (float(a.get("cubic_coeff_a", -0.75)), bool(a.get("exclude_outside", 0)))
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if scale == 1 and size == x.shape[axis]:
            continue
        if mode == "nearest":
            index = _nearest(x.shape[axis], size, scale, where, rounding)
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
            continue
        weights = _linear if mode == "linear" else functools.partial(_cubic, coefficient=cubic[0], outside=not cubic[1])
        matrix = torch.from_numpy(weights(x.shape[axis], size, scale, where)).to(x)
        x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
    return x


def _leaves_channels(x: Any, sizes: list[int]) -> bool:
    return x.ndim in (3, 4, 5) and list(x.shape[:2]) == sizes[:2]


def _scales(v: list[Any], a: Attributes) -> tuple[list[float], list[int]]:
    """Scale and size of every axis."""
    shape = list(v[0].shape)
    axes = [axis % len(shape) for axis in a.get("axes", range(len(shape)))]
    given, wanted = numbers(v, 2, a), numbers(v, 3, a)
    policy = text(a, "keep_aspect_ratio_policy", "stretch")
    if wanted and policy != "stretch":
        raise UnsupportedError(f"keep_aspect_ratio_policy {policy}")
    scales, sizes = [1.0] * len(shape), list(shape)
    for i, axis in enumerate(axes):
        scales[axis] = wanted[i] / shape[axis] if wanted else given[i]
        sizes[axis] = int(wanted[i]) if wanted else math.floor(shape[axis] * given[i])
    return scales, sizes


def _positions(n: int, size: int, scale: float, where: str) -> Array:
    """(size,) coordinates among the `n` elements."""
    i = np.arange(size, dtype=np.float64)
    if where == "asymmetric":
        return i / scale
    if where == "align_corners":
        return i * (n - 1) / (size - 1) if size > 1 else 0 * i
    if where == "pytorch_half_pixel" and size == 1:
        return 0 * i
    if where == "half_pixel_symmetric":
        return n / 2 * (1 - size / (n * scale)) + (i + 0.5) / scale - 0.5
    if where not in ("half_pixel", "pytorch_half_pixel"):
        raise UnsupportedError(f"coordinate_transformation_mode {where}")
    return (i + 0.5) / scale - 0.5


def _nearest(n: int, size: int, scale: float, where: str, rounding: str) -> Array:
    position = _positions(n, size, scale, where)
    rounded = {
        "round_prefer_floor": np.ceil(position - 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
        "floor": np.floor(position),
        "ceil": np.ceil(position),
    }[rounding]
    return np.clip(rounded, 0, n - 1).astype(np.int64)


@functools.lru_cache(maxsize=64)
def _linear(n: int, size: int, scale: float, where: str) -> Array:
    """(size, n) weights of the two neighbours."""
    position = np.clip(_positions(n, size, scale, where), 0, n - 1)
    weights: Array = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(n)[None]))
    return weights


@functools.lru_cache(maxsize=64)
def _cubic(n: int, size: int, scale: float, where: str, coefficient: float, outside: bool) -> Array:
    """(size, n) weights of four neighbours (Keys 1981); those `outside` are the edge's, or left out."""
    position = _positions(n, size, scale, where)
    first, a = np.floor(position).astype(np.int64) - 1, coefficient
    matrix = np.zeros((size, n))
    for k in range(4):
        index = first + k
        d = np.abs(position - index)
        near, far = ((a + 2) * d - (a + 3)) * d**2 + 1, ((d - 5) * d + 8) * d * a - 4 * a
        weight = np.where(d <= 1, near, far)
        inside = (index >= 0) & (index < n)
        np.add.at(matrix, (np.arange(size), np.clip(index, 0, n - 1)), weight if outside else weight * inside)
    return matrix if outside else matrix / matrix.sum(axis=1, keepdims=True)
