"""Corrupted inputs, by name and seed: what a head may get that nobody planned for, to see how many bytes it then emits.

Noise of pictures has the strongest severity of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019. Nothing here is an attack that knows the network: one may emit more.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CORRUPTIONS", "Corruption", "InputKind", "corrupt", "corruption_names"]


def __dir__() -> list[str]:
    return __all__


InputKind = Literal["picture", "float", "integer"]
Array = NDArray[Any]
Corruption = Callable[[Array, np.random.Generator], Array]  # an array -> one of the same shape and type, finite

LEVELS = 256  # of a picture
NOISE = 0.38 * 255  # standard deviation of gaussian noise, levels
IMPULSES = 0.27  # share of the values that become black or white


def corrupt(arrays: Mapping[str, Array], name: str, seed: int, *, picture: bool = False) -> dict[str, Array]:
    """The arrays of an input, each with the corruption `name` of its kind; one whose kind has no such one stays.

    With `picture` they are pictures, uint8 (H, W, C); otherwise the type decides. Shapes and types stay, values are
    finite, integers within the range of their array. The same seed gives the same values. Raises `KeyError` for a name
    that no kind has.
    """
    if all(name not in kind for kind in CORRUPTIONS.values()):
        raise KeyError(name)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    corrupted = {}
    for key, array in arrays.items():
        function = CORRUPTIONS[_kind(array, picture=picture)].get(name)
        corrupted[key] = array.copy() if function is None or array.size == 0 else function(array, rng)
    return corrupted


def corruption_names(arrays: Mapping[str, Array], *, picture: bool = False) -> tuple[str, ...]:
    """Names of the corruptions that change at least one of `arrays`, in the order of `CORRUPTIONS`."""
    kinds = [_kind(array, picture=picture) for array in arrays.values()]
    return tuple(dict.fromkeys(name for kind in CORRUPTIONS if kind in kinds for name in CORRUPTIONS[kind]))


def _kind(array: Array, *, picture: bool) -> InputKind:
    if picture:
        return "picture"
    return "float" if np.issubdtype(array.dtype, np.floating) else "integer"


def _noisy_picture(picture: Array, rng: np.random.Generator) -> Array:
    return np.clip(np.rint(picture + rng.normal(scale=NOISE, size=picture.shape)), 0, LEVELS - 1).astype(np.uint8)


def _impulses(picture: Array, rng: np.random.Generator) -> Array:
    """Salt and pepper: each value by itself, as in the source."""
    extremes = rng.choice(np.array([0, LEVELS - 1], np.uint8), size=picture.shape)
    return np.where(rng.random(picture.shape) < IMPULSES, extremes, picture)


def _random_pixels(picture: Array, rng: np.random.Generator) -> Array:
    return rng.integers(0, LEVELS, picture.shape, np.uint8)


def _checkerboard(picture: Array, rng: np.random.Generator) -> Array:
    """Black and white in fields of one pixel; which of the two comes first is drawn."""
    diagonal: Array = np.indices(picture.shape[:2]).sum(axis=0)  # (H, W)
    fields = (diagonal + int(rng.integers(2))) % 2 * (LEVELS - 1)
    return np.broadcast_to(fields[:, :, None], picture.shape).astype(np.uint8)


def _inverted(picture: Array, rng: np.random.Generator) -> Array:
    return (LEVELS - 1 - picture).astype(np.uint8)


def _noisy_tensor(tensor: Array, rng: np.random.Generator) -> Array:
    """Gaussian noise of the input's own standard deviation, of 1 where it is constant."""
    values = tensor.astype(np.float64)
    largest = np.abs(values).max() or 1.0  # first, so that no square is out of range
    scale = largest * (values / largest).std() or 1.0
    with np.errstate(over="ignore"):  # clipped
        return _of_type(values + rng.normal(size=values.shape) * scale, tensor)


def _scaled(tensor: Array, rng: np.random.Generator) -> Array:
    with np.errstate(over="ignore"):  # clipped
        return _of_type(2 * tensor.astype(np.float64), tensor)


def _of_type(values: Array, like: Array) -> Array:
    """`values` of the type of `like`, what is out of its range at its ends."""
    limits = np.finfo(like.dtype)
    return np.clip(values, float(limits.min), float(limits.max)).astype(like.dtype)


def _shuffled(tensor: Array, rng: np.random.Generator) -> Array:
    return rng.permutation(tensor.ravel()).reshape(tensor.shape)


def _uniform(tensor: Array, rng: np.random.Generator) -> Array:
    """Integers or truth values, each between the least and the greatest of the array."""
    low, high = int(tensor.min()), int(tensor.max())
    wide: type[np.integer[Any]] = np.uint64 if high > np.iinfo(np.int64).max else np.int64
    return rng.integers(low, high, tensor.shape, wide, endpoint=True).astype(tensor.dtype)


CORRUPTIONS: Mapping[InputKind, Mapping[str, Corruption]] = {
    "picture": {
        "gaussian noise": _noisy_picture,
        "impulse noise": _impulses,
        "random pixels": _random_pixels,
        "checkerboard": _checkerboard,
        "inverted": _inverted,
    },
    "float": {"gaussian noise": _noisy_tensor, "shuffled": _shuffled, "scaled by 2": _scaled},
    "integer": {"shuffled": _shuffled, "uniform": _uniform},
}
