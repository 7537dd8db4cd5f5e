"""Operators that move elements: reshape, slices, gathers, pads and tiles.

Those that make shapes (Shape, Range, ...) are not here: a canonical model has fixed shapes, and they are folded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitpoint.planner.coding.torch_operators.contract import Attributes, Run, UnsupportedError, numbers, text

__all__ = ["layout_operators"]


def __dir__() -> list[str]:
    return __all__


def layout_operators() -> dict[str, Run]:
    """The operators of this family by name."""
    import torch

    return {
        "Concat": lambda v, a: torch.cat(v, dim=a["axis"]),
        "DepthToSpace": _depth_to_space,
        "Dropout": lambda v, a: (v[0], torch.ones_like(v[0], dtype=torch.bool))[: a["outputs"]],
        "Expand": lambda v, a: v[0].expand(np.broadcast_shapes(v[0].shape, tuple(numbers(v, 1, a)))),
        "Flatten": lambda v, a: v[0].reshape(math.prod(v[0].shape[: a.get("axis", 1)]), -1),
        "Gather": _gather,
        "GatherElements": _gather_elements,
        "GatherND": _gather_nd,
        "Identity": lambda v, a: v[0],
        "OneHot": _one_hot,
        "Pad": _pad,
        "Reshape": _reshape,
        "ScatterND": _scatter_nd,
        "Slice": _slice,
        "SpaceToDepth": _space_to_depth,
        "Split": lambda v, a: torch.split(v[0], _sizes(v, a), dim=a.get("axis", 0)),
        "Squeeze": lambda v, a: v[0].squeeze(tuple(numbers(v, 1, a, "axes") or _of_one(v[0].shape))),
        "Tile": lambda v, a: v[0].repeat(numbers(v, 1, a)),
        "Transpose": lambda v, a: v[0].permute(a.get("perm", list(range(v[0].ndim))[::-1])),
        "Trilu": _trilu,
        "Unsqueeze": _unsqueeze,
    }


def _of_one(shape: Sequence[int]) -> list[int]:
    return [axis for axis, size in enumerate(shape) if size == 1]


def _depth_to_space(v: list[Any], a: Attributes) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    block = a["blocksize"]
    if text(a, "mode", "DCR") == "CRD":
        return F.pixel_shuffle(v[0], block)
    n, c, h, w = v[0].shape
    parts = v[0].reshape(n, block, block, c // block**2, h, w)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(v: list[Any], a: Attributes) -> Any:
    block = a["blocksize"]
    n, c, h, w = v[0].shape
    parts = v[0].reshape(n, c, h // block, block, w // block, block)
    return parts.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block**2, h // block, w // block)


def _gather(v: list[Any], a: Attributes) -> Any:
    axis = a.get("axis", 0) % v[0].ndim
    if 1 in a and v[1].ndim == 0:
        return v[0].select(axis, a[1][0])
    index = v[1].long() % v[0].shape[axis]  # ONNX counts from the end as Python does
    shape = (*v[0].shape[:axis], *index.shape, *v[0].shape[axis + 1 :])
    return v[0].index_select(axis, index.reshape(-1)).reshape(shape)


def _gather_elements(v: list[Any], a: Attributes) -> Any:
    axis = a.get("axis", 0)
    return v[0].gather(axis, v[1].long() % v[0].shape[axis])


def _gather_nd(v: list[Any], a: Attributes) -> Any:
    if a.get("batch_dims", 0):
        raise UnsupportedError(f"batch_dims {a['batch_dims']}")
    return v[0][tuple(v[1].long().unbind(-1))]


def _scatter_nd(v: list[Any], a: Attributes) -> Any:
    if text(a, "reduction", "none") != "none":
        raise UnsupportedError(f"reduction {text(a, 'reduction', 'none')}")
    return v[0].index_put(tuple(v[1].long().unbind(-1)), v[2])


def _one_hot(v: list[Any], a: Attributes) -> Any:
    import torch

    (depth,), axis = numbers(v, 1, a), a.get("axis", -1)
    classes = torch.arange(int(depth), device=v[0].device)
    axis = axis % (v[0].ndim + 1)
    hit = (v[0].long() % int(depth)).unsqueeze(axis) == classes.reshape(-1, *[1] * (v[0].ndim - axis))
    return torch.where(hit, v[2][1], v[2][0])


def _pad(v: list[Any], a: Attributes) -> Any:
    """Constants around, or elements of the axis again (reflect, edge, wrap: as numpy.pad); negative pads cut."""
    import torch
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    x, mode, pads = v[0], text(a, "mode", "constant"), numbers(v, 1, a, "pads")
    axes = [axis % x.ndim for axis in numbers(v, 3, a)] or list(range(x.ndim))
    ends = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if mode == "constant":
        value = numbers(v, 2, a) or [a.get("value", 0.0)]
        flat = [n for axis in reversed(range(x.ndim)) for n in ends.get(axis, (0, 0))]
        return F.pad(x, flat, value=value[0])
    for axis, (before, after) in ends.items():
        if before or after:
            kept = np.arange(x.shape[axis])[max(-before, 0) : x.shape[axis] - max(-after, 0)]
            index = np.pad(kept, (max(before, 0), max(after, 0)), mode=mode)  # type: ignore[call-overload]
            x = x.index_select(axis, torch.from_numpy(index).to(x.device))
    return x


def _reshape(v: list[Any], a: Attributes) -> Any:
    shape = numbers(v, 1, a)
    if not a.get("allowzero", 0):
        shape = [v[0].shape[i] if n == 0 else n for i, n in enumerate(shape)]
    return v[0].reshape(shape)


def _slice(v: list[Any], a: Attributes) -> Any:
    starts, ends = numbers(v, 1, a, "starts"), numbers(v, 2, a, "ends")
    axes = numbers(v, 3, a, "axes") or list(range(len(starts)))
    steps = numbers(v, 4, a) or [1] * len(starts)
    x = v[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis]
        if step < 0:  # the same elements from the other end
            chosen = range(size)[start : end if end >= -size else None : step]
            x, start, end, step = x.flip(axis), size - 1 - chosen.start, size - 1 - chosen.stop, -step
        x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
    return x


def _sizes(v: list[Any], a: Attributes) -> list[int]:
    sizes = numbers(v, 1, a, "split")
    if sizes:
        return sizes
    length, parts = int(v[0].shape[a.get("axis", 0)]), int(a["outputs"])
    part = -(-length // parts)
    return [part] * (parts - 1) + [length - part * (parts - 1)]


def _trilu(v: list[Any], a: Attributes) -> Any:
    import torch

    diagonal = int((numbers(v, 1, a) or [0])[0])
    return torch.triu(v[0], diagonal) if a.get("upper", 1) else torch.tril(v[0], diagonal)


def _unsqueeze(v: list[Any], a: Attributes) -> Any:
    axes = numbers(v, 1, a, "axes")
    x, ndim = v[0], v[0].ndim + len(axes)
    for axis in sorted(n % ndim for n in axes):
        x = x.unsqueeze(axis)
    return x
