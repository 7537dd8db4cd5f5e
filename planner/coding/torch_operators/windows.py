"""Operators that slide a window over one, two or three spatial axes: convolutions and pools.

x is (N, C, spatial...). Lists of pads are one number an axis at the begin, then one an axis at the end, as in ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from splitpoint.planner.coding.torch_operators.contract import Attributes, Run, UnsupportedError, multiplied, text

if TYPE_CHECKING:
    import torch

__all__ = ["window_operators"]


def __dir__() -> list[str]:
    return __all__


Pads = tuple[tuple[int, int], ...]  # before and after, for each spatial axis


def window_operators() -> dict[str, Run]:
    """The operators of this family by name."""
    return {
        "AveragePool": _average_pool,
        "Conv": _conv,
        "ConvTranspose": _conv_transpose,
        "GlobalAveragePool": lambda v, a: v[0].mean(dim=tuple(range(2, v[0].ndim)), keepdim=True),
        "GlobalMaxPool": lambda v, a: v[0].amax(dim=tuple(range(2, v[0].ndim)), keepdim=True),
        "MaxPool": _max_pool,
    }


def _conv(v: list[Any], a: Attributes) -> Any:
    x, weight, bias = v[0], v[1], v[2] if len(v) > 2 else None
    axes = _spatial(x)
    kernel, strides, dilations = list(weight.shape[2:]), a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    pads = _pads(x, a, kernel, strides, dilations)
    if _symmetric(pads):
        padding = [before for before, _ in pads]
    else:
        x, padding = _padded(x, pads), [0] * axes
    convolve = _function("conv", axes)
    return multiplied(lambda *t: convolve(*t, strides, padding, dilations, a.get("group", 1)), x, weight, bias)


def _conv_transpose(v: list[Any], a: Attributes) -> Any:
    """Without pads, then cut: ONNX's pads take from both ends, its output padding adds to the second."""
    x, weight, bias = v[0], v[1], v[2] if len(v) > 2 else None
    axes = _spatial(x)
    strides, dilations = a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    extra = a.get("output_padding", [0] * axes)
    if "output_shape" in a:
        raise UnsupportedError("output_shape")
    full = [
        (size - 1) * s + (k - 1) * d + 1 + e
        for size, k, s, d, e in zip(x.shape[2:], weight.shape[2:], strides, dilations, extra, strict=True)
    ]
    mode = text(a, "auto_pad", "NOTSET")
    if mode.startswith("SAME"):
        surplus = [length - size * s for length, size, s in zip(full, x.shape[2:], strides, strict=True)]
        pads = tuple(_shared(max(total, 0), mode) for total in surplus)
    else:
        pads = _given(a, axes)
    if _symmetric(pads):
        padding = [before for before, _ in pads]
        y = _function("conv_transpose", axes)
        return y(x, weight, bias, strides, padding, extra, a.get("group", 1), dilations)
    y = _function("conv_transpose", axes)(x, weight, bias, strides, 0, extra, a.get("group", 1), dilations)
    return _padded(y, tuple((-before, -after) for before, after in pads))


def _max_pool(v: list[Any], a: Attributes) -> Any:
    if a["used"] > 1:
        raise UnsupportedError("the output Indices")
    x, axes = v[0], _spatial(v[0])
    kernel, strides, dilations = a["kernel_shape"], a.get("strides", [1] * axes), a.get("dilations", [1] * axes)
    pads = _pads(x, a, kernel, strides, dilations)
    pool = _function("max_pool", axes)
    if _fits(pads, kernel):
        return pool(x, kernel, strides, [before for before, _ in pads], dilations)
    return pool(_padded(x, pads, value=float("-inf")), kernel, strides, 0, dilations)


def _average_pool(v: list[Any], a: Attributes) -> Any:
    """Sums of windows over the number of elements that count: of the picture, and of its pads where these count."""
    import torch

    x, axes = v[0], _spatial(v[0])
    kernel, strides = a["kernel_shape"], a.get("strides", [1] * axes)
    if any(d != 1 for d in a.get("dilations", [])):
        raise UnsupportedError(f"dilations {a['dilations']}")
    counted, ones = bool(a.get("count_include_pad", 0)), [1] * axes
    pads = _pads(x, a, kernel, strides, ones)
    pool = _function("avg_pool", axes)
    if _fits(pads, kernel) and not a.get("ceil_mode", 0):
        return pool(x, kernel, strides, [before for before, _ in pads], False, counted)
    own = _pads(x, {**a, "ceil_mode": 0}, kernel, strides, ones)  # without what the last window has beyond them
    shape = [n + (sum(pad) if counted else 0) for n, pad in zip(x.shape[2:], own, strict=True)]
    around = tuple(
        (0, after - least) if counted else (before, after)
        for (before, after), (_, least) in zip(pads, own, strict=True)
    )
    mask = _padded(torch.ones(1, 1, *shape, dtype=x.dtype, device=x.device), around)
    return pool(_padded(x, pads), kernel, strides) / pool(mask, kernel, strides)


def _spatial(x: torch.Tensor) -> int:
    axes = x.ndim - 2
    if axes not in (1, 2, 3):
        raise UnsupportedError(f"{axes} spatial axes")
    return axes


def _function(name: str, axes: int) -> Any:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    return getattr(F, f"{name}{axes}d")


def _pads(
    x: torch.Tensor, a: Attributes, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pads:
    """What the attributes mean for this x: ``auto_pad`` as pads, and ``ceil_mode`` as what the last window needs."""
    mode, given = text(a, "auto_pad", "NOTSET"), _given(a, len(kernel))
    pads = []
    for size, k, s, d, (before, after) in zip(x.shape[2:], kernel, strides, dilations, given, strict=True):
        window = (k - 1) * d + 1
        if mode.startswith("SAME"):
            pads.append(_shared(max((math.ceil(size / s) - 1) * s + window - size, 0), mode))
        elif a.get("ceil_mode", 0):
            count = math.ceil((size + before + after - window) / s) + 1
            count -= (count - 1) * s >= size + before  # no window begins behind the picture
            pads.append((before, max((count - 1) * s + window - size - before, 0)))
        else:
            pads.append((before, after))
    return tuple(pads)


def _given(a: Attributes, axes: int) -> Pads:
    pads = [0] * (2 * axes) if text(a, "auto_pad", "NOTSET") == "VALID" else a.get("pads", [0] * (2 * axes))
    return tuple(zip(pads[:axes], pads[axes:], strict=True))


def _shared(total: int, mode: str) -> tuple[int, int]:
    """`total` pads for both ends; the odd one at the end for SAME_UPPER, at the begin for SAME_LOWER."""
    less = total // 2
    return (less, total - less) if mode == "SAME_UPPER" else (total - less, less)


def _symmetric(pads: Pads) -> bool:
    return all(before == after for before, after in pads)


def _fits(pads: Pads, kernel: Sequence[int]) -> bool:
    """Whether torch's pools take these pads."""
    return _symmetric(pads) and all(2 * before <= k for (before, _), k in zip(pads, kernel, strict=True))


def _padded(x: torch.Tensor, pads: Pads, value: float = 0.0) -> torch.Tensor:
    import torch.nn.functional as F  # noqa: N812  the name that everyone uses

    flat = [n for pad in reversed(pads) for n in pad]
    return F.pad(x, flat, value=value) if any(flat) else x
