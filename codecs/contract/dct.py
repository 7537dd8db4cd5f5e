"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import numpy as np

from splitpoint.codecs.contract.protocol import Array

__all__ = ["dct"]


def __dir__() -> list[str]:
    return __all__


def dct(n: int) -> Array:
    """The orthonormal DCT-II matrix (n, n), float64."""
    k, i = np.arange(n)[:, None], np.arange(n)[None]
    matrix = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)
