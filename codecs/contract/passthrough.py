"""Codecs without graphs: the tensor as it is, entropy-coded where it is already int8 (models with QDQ nodes)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from splitpoint.codecs.contract.preset import CoderFit, channel_axis, check_request
from splitpoint.codecs.contract.protocol import Array, Boundary, Calibration, FittedCodec, Need, Rate, TensorSpec

__all__ = ["PassThrough"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PassThrough:
    """Identity graphs and a lossless coder."""

    name: str
    coder: CoderFit
    dtypes: tuple[str, ...]
    rates: tuple[Rate, ...] = (Rate(label="lossless", value=32),)
    boundary: Boundary = "symbols"
    needs: frozenset[Need] = frozenset()
    wants: frozenset[Need] = frozenset()

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if dtype not in self.dtypes:
            return f"{self.name} codes {', '.join(self.dtypes)} tensors, not {dtype}"
        if len(shape) < 1 or shape[0] != 1 or 0 in shape:
            return f"{self.name} codes one input at a time, not {shape}"
        return None

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Fit the coder to (N, ...) of one of `dtypes`; raises `FitError`."""
        return tuple(tuple(self._fit(tensor.activations, rate) for rate in rates) for tensor in tensors)

    def _fit(self, activations: Array, rate: int) -> FittedCodec:
        shape, dtype = check_request(self, activations, rate), str(activations.dtype)
        limits = np.iinfo(dtype) if activations.dtype.kind in "iu" and activations.dtype.itemsize == 1 else None
        spec = TensorSpec(
            name="x",
            shape=shape,
            dtype=dtype,
            low=None if limits is None else int(limits.min),
            high=None if limits is None else int(limits.max),
            channel_axis=channel_axis(shape),
        )
        return FittedCodec(
            codec=self.name,
            rate=rate,
            rate_label=self.rates[rate].label,
            boundary=self.boundary,
            shape=shape,
            encoder=None,
            decoder=None,
            coder=self.coder.fit((spec,), {"x": activations}),
            transform_key=hashlib.sha256(b"identity").hexdigest()[:16],
        )
