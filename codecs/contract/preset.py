"""A codec is a transform, a quantizer and a coder put together: one line a preset in `registry.py`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Calibration,
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
    "LossyCoderFit",
    "Preset",
    "Quantizer",
    "Transform",
    "channel_axis",
    "check_activations",
    "check_request",
    "clamp",
    "per_channel_shape",
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

    @property
    def wants(self) -> frozenset[Need]:
        """What the transform uses where there is any."""
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


@runtime_checkable
class LossyCoderFit(Protocol):
    """What `fit` makes a lossy `Coder` of."""

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        ...

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Why such coefficients cannot be coded, or None."""
        ...

    def fit(self, spec: TensorSpec, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> Coder:
        """Fit to calibration coefficients (N, ...) of `spec`; raises `FitError`."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Preset:
    """transform x quantizer x coder; without a quantizer the coder is lossy and takes the coefficients themselves."""

    name: str
    transform: Transform
    quantizer: Quantizer | None = None
    coder: CoderFit | LossyCoderFit

    @property
    def boundary(self) -> Boundary:
        """Symbols of the quantizer, or coefficients."""
        return "float32" if self.quantizer is None else "symbols"

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Operating points, coarsest first."""
        return self._rated.rates

    @property
    def needs(self) -> frozenset[Need]:
        """What `fit` cannot do without."""
        return self.transform.needs

    @property
    def wants(self) -> frozenset[Need]:
        """What `fit` uses where there is any."""
        return self.transform.wants

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if dtype != "float32":
            return f"{self.name} codes float32 tensors, not {dtype}"
        if len(shape) < 2 or shape[0] != 1 or 0 in shape:
            return f"{self.name} codes one input at a time, not {shape}"
        return self.transform.refuses(shape) or self._rated.refuses(shape, channel_axis(shape))

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Fit the transform once a tensor, quantizer and coder once a rate; raises `FitError`."""
        return tuple(self._fit_tensor(tensor.activations, rates, tensor.context) for tensor in tensors)

    @property
    def _rated(self) -> Quantizer | LossyCoderFit:
        if self.quantizer is not None:
            return self.quantizer
        assert isinstance(self.coder, LossyCoderFit)  # registry.py: a preset has a quantizer or a lossy coder
        return self.coder

    def _fit_tensor(self, activations: Array, rates: Sequence[int], context: Context) -> tuple[FittedCodec, ...]:
        for rate in rates:
            check_request(self, activations, rate)
        shape = (1, *activations.shape[1:])
        transform, coefficients = _transformed(self.transform, activations, context)
        return tuple(self._fit_rate(rate, shape, transform, coefficients, context) for rate in rates)

    def _fit_rate(
        self, rate: int, shape: tuple[int, ...], transform: FittedTransform, coefficients: Array, context: Context
    ) -> FittedCodec:
        encode, decode = Graph(), Graph()
        if isinstance(self.coder, LossyCoderFit):
            coder = self._lossy(rate, transform, coefficients, context)
            (spec,) = coder.specs
            if not transform.identity:
                encode.op("Identity", transform.encode(encode, "x"), output=spec.name)
            back = spec.name
        else:
            assert self.quantizer is not None
            quantizer = self.quantizer.fit(coefficients, transform.layout, self.rates[rate], _of(transform, context))
            coder = self.coder.fit(quantizer.specs, _symbols(quantizer, coefficients, context))
            quantizer.encode(encode, transform.encode(encode, "x"))
            back = quantizer.decode(decode)
        clamp(decode, transform.decode(decode, back), context, output="y")
        crossing = {spec.name: (spec.dtype, spec.shape) for spec in coder.specs}
        encoder = encode.model({"x": ("float32", shape)}, crossing) if encode.size else None
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
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
            notes=transform.notes,
        )

    def _lossy(self, rate: int, transform: FittedTransform, coefficients: Array, context: Context) -> Coder:
        assert isinstance(self.coder, LossyCoderFit)
        spec = TensorSpec(
            name="x" if transform.identity else "coefficients",
            shape=transform.shape,
            dtype="float32",
            channel_axis=transform.layout.axis,
            group=transform.layout.group,
        )
        return self.coder.fit(spec, coefficients, transform.layout, self.rates[rate], _of(transform, context))


def _of(transform: FittedTransform, context: Context) -> Context:
    """What is known of the coefficients: the range is the tensor's, and a transform gives values of either sign."""
    return context if transform.identity else dataclasses.replace(context, low=-np.inf, high=np.inf)


def _symbols(quantizer: FittedQuantizer, coefficients: Array, context: Context) -> Mapping[str, Array]:
    """The calibration symbols, by the quantizer's own graph."""
    graph = Graph()
    quantizer.encode(graph, "coefficients")
    return graph.run({"coefficients": coefficients}, {s.name: (s.dtype, s.shape) for s in quantizer.specs}, context.run)


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
    check_activations(activations, codec.name)
    shape = (1, *activations.shape[1:])
    refusal = codec.refuses(shape, str(activations.dtype))
    if refusal is not None:
        raise FitError(refusal)
    if not isinstance(rate, int | np.integer) or not 0 <= rate < len(codec.rates):
        raise CodecError(f"{codec.name} has rates 0..{len(codec.rates) - 1}, not {rate!r}")
    return shape


def check_activations(activations: Array, name: str) -> None:
    """Raise `FitError` for no inputs, NaN, infinity, or magnitudes whose differences overflow float32."""
    if not isinstance(activations, np.ndarray):
        raise FitError(f"{name}: activations (N, ...) expected as an array, got {type(activations).__name__}")
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


def _transformed(transform: Transform, activations: Array, context: Context) -> tuple[FittedTransform, Array]:
    """The fitted transform and the calibration coefficients, the same for every rate."""

    def make() -> tuple[FittedTransform, Array]:
        fitted = transform.fit(activations, context)
        if fitted.identity:
            return fitted, activations
        graph = Graph()
        output = graph.op("Identity", fitted.encode(graph, "x"), output="coefficients")
        return fitted, graph.run({"x": activations}, {output: ("float32", fitted.shape)}, context.run)[output]

    if context.memo is None:
        return make()
    # What is kept of an identity is the activations, which are kept anyway.
    return context.memo(("transform", transform), make, lambda made: 0 if made[0].identity else made[1].nbytes)


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
