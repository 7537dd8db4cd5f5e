"""A codec is a transform, a quantizer and a coder put together: one line a preset in `registry.py`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Codec,
    CodecError,
    Coder,
    Context,
    FitError,
    FittedCodec,
    Need,
    Rate,
    TensorSpec,
)

__all__ = [
    "CoderFit",
    "FittedQuantizer",
    "FittedTransform",
    "Layout",
    "Preset",
    "Quantizer",
    "Transform",
    "channel_axis",
    "check_activations",
    "check_request",
    "clamp",
    "per_channel_shape",
    "prepare",
]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How coefficients are arranged."""

    axis: int | None  # along which statistics differ: the channels
    group: int | None = None  # channels come in groups of this many, one spatial frequency after another


class FittedTransform(Protocol):
    """A linear map of one tensor, as ONNX operators."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the coefficients, batch axis 1 included."""
        ...

    @property
    def layout(self) -> Layout:
        """Where the channels are."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the fit."""
        ...

    @property
    def macs(self) -> int:
        """MACs of one direction."""
        ...

    @property
    def identity(self) -> bool:
        """Whether coefficients are the tensor itself."""
        ...

    def encode(self, graph: Graph, x: str) -> str:
        """Append tensor -> coefficients."""
        ...

    def decode(self, graph: Graph, coefficients: str) -> str:
        """Append coefficients -> tensor."""
        ...


class Transform(Protocol):
    """What `fit` makes a `FittedTransform` of."""

    @property
    def needs(self) -> frozenset[Need]:
        """What the transform cannot do without."""
        ...

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Why such a tensor cannot be transformed, or None."""
        ...

    def fit(self, activations: Array, context: Context) -> FittedTransform:
        """Fit to (N, ...) float32; raises `FitError`."""
        ...


class FittedQuantizer(Protocol):
    """Coefficients to integer symbols and side information and back, as ONNX operators."""

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The tensors between quantizer and coder; the graph's values have their names."""
        ...

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> the tensors of `specs`."""
        ...

    def decode(self, graph: Graph) -> str:
        """Append the tensors of `specs` -> coefficients."""
        ...


class Quantizer(Protocol):
    """What `fit` makes a `FittedQuantizer` of."""

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        ...

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Why such coefficients cannot be quantized, or None."""
        ...

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedQuantizer:
        """Fit to coefficients (N, ...); raises `FitError`."""
        ...


class CoderFit(Protocol):
    """What `fit` makes a `Coder` of."""

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> Coder:
        """Fit tables to calibration tensors (N, ...) of `specs`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """transform x quantizer x coder, its symbols crossing between ONNX and the coder."""

    name: str
    transform: Transform
    quantizer: Quantizer
    coder: CoderFit
    boundary: Boundary = "symbols"

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        return self.quantizer.rates

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
        return self.transform.refuses(shape) or self.quantizer.refuses(shape, channel_axis(shape))

    def fit(self, activations: Array, rate: int, context: Context) -> FittedCodec:
        """Fit to `activations` (N, ...), float32; raises `FitError`."""
        shape = check_request(self, activations, rate)
        transform, coefficients = prepare(self.transform, activations, context)
        quantizer = self.quantizer.fit(coefficients, transform.layout, self.rates[rate], context)
        specs = quantizer.specs

        partial = Graph()
        quantizer.encode(partial, "coefficients")
        samples = partial.run({"coefficients": coefficients}, {s.name: (s.dtype, s.shape) for s in specs}, context.run)
        coder = self.coder.fit(specs, samples)

        encode, decode = Graph(), Graph()
        quantizer.encode(encode, transform.encode(encode, "x"))
        y = transform.decode(decode, quantizer.decode(decode))
        clamp(decode, y, context, output="y")
        crossing = {spec.name: (spec.dtype, spec.shape) for spec in specs}
        encoder = encode.model({"x": ("float32", shape)}, crossing)
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
            transform_key=hashlib.sha256(encoder + decoder).hexdigest()[:16],
            encoder_macs=transform.macs,
            decoder_macs=transform.macs,
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
            notes=transform.notes,
        )


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Where channels are: axis 1 of (N, C, H, W, ...), the last of (N, tokens, features), none of (N, features)."""
    if len(shape) >= 4:
        return 1
    return 2 if len(shape) == 3 else None


def per_channel_shape(values: Array, ndim: int, axis: int | None) -> Array:
    """Values (C,) or a scalar, shaped to broadcast along `axis` of an array of `ndim` axes."""
    if axis is None:
        return values.reshape((1,) * ndim)
    return values.reshape(tuple(-1 if i == axis else 1 for i in range(ndim)))


def check_request(codec: Codec, activations: Array, rate: int) -> tuple[int, ...]:
    """The shape of one input; raises `FitError` for what the codec refuses, `CodecError` for an unknown rate."""
    shape = (1, *activations.shape[1:])
    check_activations(activations, codec.name)
    refusal = codec.refuses(shape, str(activations.dtype))
    if refusal is not None:
        raise FitError(refusal)
    if not 0 <= rate < len(codec.rates):
        raise CodecError(f"{codec.name} has rates 0..{len(codec.rates) - 1}, not {rate}")
    return shape


def check_activations(activations: Array, name: str) -> None:
    """Raise `FitError` for no inputs, NaN, infinity, or magnitudes whose differences overflow float32."""
    if activations.ndim < 2 or len(activations) == 0 or activations.size == 0:
        raise FitError(f"{name}: activations (N, ...) with N >= 1 expected, got {activations.shape}")
    if activations.dtype.kind != "f":
        return
    finite = np.isfinite(activations)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), activations.shape)
        kind = "NaN" if np.isnan(activations[index]) else "infinity"
        where = tuple(int(i) for i in index)
        raise FitError(f"{name}: calibration activation {where} is {kind}; fix the model or leave out that input")
    largest = float(np.abs(activations).max())
    if largest > MAX_MAGNITUDE:
        raise FitError(f"{name}: calibration magnitudes up to {largest:.3g} exceed {MAX_MAGNITUDE:.0e}")


MAX_MAGNITUDE = 1e30  # beyond it squares and differences leave float32

_MEMORY: dict[tuple[Transform, str, bytes], tuple[FittedTransform, Array]] = {}
MEMORY_BYTES = 1 << 30  # of coefficients kept for other rates and presets at the same tensor, oldest dropped first


def prepare(transform: Transform, activations: Array, context: Context) -> tuple[FittedTransform, Array]:
    """The fitted transform and the calibration coefficients; kept for the next rate at the same tensor."""
    key = (transform, _digest(activations), repr(_context_key(context)).encode())
    found = _MEMORY.get(key)
    if found is None:
        fitted = transform.fit(activations, context)
        if fitted.identity:
            coefficients = activations
        else:
            graph = Graph()
            output = graph.op("Identity", fitted.encode(graph, "x"), output="coefficients")
            coefficients = graph.run({"x": activations}, {output: ("float32", fitted.shape)}, context.run)[output]
        found = fitted, coefficients
        _MEMORY[key] = found
        while len(_MEMORY) > 1 and sum(kept.nbytes for _, kept in _MEMORY.values()) > MEMORY_BYTES:
            del _MEMORY[next(iter(_MEMORY))]
    return found


def _context_key(context: Context) -> tuple[object, ...]:
    arrays = [
        context.labels,
        context.sensitivity,
        context.gradients,
        context.layer_input,
        *context.layer_weights.values(),
    ]
    digests = tuple(None if x is None else _digest(x) for x in arrays)
    return (context.low, context.high, context.seed, *digests)


def _digest(x: Array) -> str:
    state = hashlib.blake2b(f"{x.dtype}{x.shape}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(x).data)
    return state.hexdigest()


def clamp(graph: Graph, y: str, context: Context, output: Literal["y"]) -> None:
    """Clip to the range that the activation is known to have (ReLU, ReLU6)."""
    low = graph.constant(np.float32(context.low)) if np.isfinite(context.low) else ""
    high = graph.constant(np.float32(context.high)) if np.isfinite(context.high) else ""
    if high:
        graph.op("Clip", y, low, high, output=output)
    elif low:
        graph.op("Clip", y, low, output=output)
    else:
        graph.op("Identity", y, output=output)
