"""Codecs whose quantizer is no ONNX graph: transform x lossy coder, the tensor crossing as float32."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Protocol

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout, Transform, check_request, clamp, prepare
from splitpoint.codecs.contract.protocol import Array, Boundary, Coder, Context, FittedCodec, Need, Rate, TensorSpec

__all__ = ["LossyCoderFit", "LossyPreset"]


def __dir__() -> list[str]:
    return __all__


class LossyCoderFit(Protocol):
    """What `fit` makes a lossy `Coder` of."""

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        ...

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Why such coefficients cannot be coded, or None."""
        ...

    def fit(self, spec: TensorSpec, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> Coder:
        """Fit to calibration coefficients (N, ...) of `spec`; raises `FitError`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LossyPreset:
    """transform x lossy coder; both sides need splitpoint to run it."""

    name: str
    transform: Transform
    coder: LossyCoderFit
    boundary: Boundary = "float32"

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        return self.coder.rates

    @property
    def needs(self) -> frozenset[Need]:
        """What `fit` cannot do without."""
        return self.transform.needs

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if dtype != "float32":
            return f"{self.name} codes float32 tensors, not {dtype}"
        if len(shape) < 2 or shape[0] != 1 or 0 in shape:
            return f"{self.name} codes one input at a time, not {shape}"
        return self.transform.refuses(shape) or self.coder.refuses(shape)

    def fit(self, activations: Array, rate: int, context: Context) -> FittedCodec:
        """Fit to `activations` (N, ...), float32; raises `FitError`."""
        shape = check_request(self, activations, rate)
        transform, coefficients = prepare(self.transform, activations, context)
        graphs = not transform.identity
        spec = TensorSpec(
            name="coefficients" if graphs else "x",
            shape=transform.shape,
            dtype="float32",
            channel_axis=transform.layout.axis,
            group=transform.layout.group,
        )
        coder = self.coder.fit(spec, coefficients, transform.layout, self.rates[rate], context)
        crossing = {spec.name: (spec.dtype, spec.shape)}
        encode, decode = Graph(), Graph()
        encoder = None
        if graphs:
            encode.op("Identity", transform.encode(encode, "x"), output=spec.name)
            encoder = encode.model({"x": ("float32", shape)}, crossing)
        clamp(decode, transform.decode(decode, spec.name), context, output="y")
        decoder = decode.model(crossing, {"y": ("float32", shape)})
        return FittedCodec(
            codec=self.name,
            rate=rate,
            rate_label=self.rates[rate].label,
            boundary=self.boundary,
            shape=shape,
            encoder=encoder,
            decoder=decoder,
            coder=coder,
            transform_key=hashlib.sha256((encoder or b"") + decoder).hexdigest()[:16],
            encoder_macs=transform.macs,
            decoder_macs=transform.macs,
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
            notes=transform.notes,
        )
