"""The coder that does nothing: elements as they are, in order. What fp32 and fp16 payloads use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.coders.layout import as_bytes, check_tensors, raw_from_bytes, raw_to_bytes
from splitpoint.codecs.contract.protocol import Array, PayloadError, TensorSpec

__all__ = ["Raw", "RawCoder"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RawCoder:
    """Little-endian elements of every tensor, one tensor behind the other."""

    specs: tuple[TensorSpec, ...]
    name: str = "raw"

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        return b"".join(raw_to_bytes(tensors[spec.name]) for spec in self.specs)

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        payload = as_bytes(payload)
        sizes = [spec.elements * np.dtype(spec.dtype).itemsize for spec in self.specs]
        if len(payload) != sum(sizes):
            raise PayloadError(f"raw payload: expected {sum(sizes)} bytes, got {len(payload)}")
        tensors, at = {}, 0
        for spec, size in zip(self.specs, sizes, strict=True):
            tensors[spec.name] = raw_from_bytes(payload[at : at + size], spec)
            at += size
        return tensors

    def arrays(self) -> dict[str, Array]:
        """No tables."""
        return {}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> RawCoder:
        """Rebuild; there are no tables."""
        return cls(specs=specs)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """The raw coder as part of a preset."""

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> RawCoder:
        """Nothing to fit."""
        return RawCoder(specs=tuple(specs))
