"""Joint source-channel coding as a codec: what crosses are channel symbols, no bits (Jankowski et al.)."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from splitpoint.codecs.coders.raw import RawCoder
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Calibration,
    Context,
    FitError,
    FittedCodec,
    LossTerm,
    Need,
    Rate,
    TensorSpec,
    TrainingCost,
)
from splitpoint.codecs.learned.jscc import LEAST_POWER, Divisive, Start, Weights, build_jscc, start_jscc, weights_of
from splitpoint.codecs.learned.multirate import cost_note, refuses_map, trained_once

__all__ = ["JointSourceChannel"]


def __dir__() -> list[str]:
    return __all__


LEAST_CHANNELS: Final = 4
LARGEST: Final = 1e15  # of the encoder's convolution
SHARES: Final = (32, 16, 8, 4)  # one of so many channels crosses, each with a quarter of its positions; coarsest first
FIRST: Final = (LossTerm(name="l1"),)  # section 2.4, third step: the tensor's copy
LOSSES: Final = (LossTerm(name="cross-entropy"), LossTerm(name="distillation"))  # fourth step: the answers


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class JointSourceChannel:
    """A trained encoder whose outputs are sent as they are, and a decoder that is used to the channel's noise."""

    name: str
    shares: tuple[int, ...] = SHARES
    boundary: Boundary = "channel_symbols"
    needs: frozenset[Need] = frozenset({"training", "channel"})
    wants: frozenset[Need] = frozenset()

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of channels."""
        return tuple(Rate(label=f"1/{share} ch", value=1 / share) for share in self.shares)

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if (why := refuses_map(self.name, shape, dtype)) is not None:
            return why
        if shape[1] < LEAST_CHANNELS:
            return f"{self.name} needs {LEAST_CHANNELS} channels, {shape} has {shape[1]}"
        return None

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Train the coders of all rates in one training a tensor; what was trained is kept in the context's memo.

        Raises `FitError`, also without a training or a channel in the context.
        """
        return tuple(self._fit_tensor(tensor.activations, rates, tensor.context) for tensor in tensors)

    def _fit_tensor(self, activations: Array, rates: Sequence[int], context: Context) -> tuple[FittedCodec, ...]:
        trained = trained_once(self, activations, rates, context, self._train)
        return tuple(self._at(rate, trained) for rate in rates)

    def _train(self, activations: Array, context: Context) -> _Trained:
        channel = context.channel
        if channel is None:
            raise FitError(f"{self.name} needs a link that carries symbols at a known SNR")
        channels = activations.shape[1]
        # Few channels are one more at each rate: two rates of one width would be one.
        widths = [max(rate + 1, round(channels / share)) for rate, share in enumerate(self.shares)]
        start = start_jscc(
            widths,
            activations,
            channel,
            snr_db=context.trained_snr_db or (channel.snr_db, channel.snr_db),
            rectified=context.low == 0,
            seed=context.seed,
        )
        module = build_jscc(start)
        assert context.training is not None  # `trained_once` refused it
        cost = context.training(module, rates=len(widths), losses=LOSSES, first=FIRST, codec=self.name)
        return _Trained(start=start, weights=tuple(weights_of(start, module)), cost=cost)

    def _at(self, rate: int, trained: _Trained) -> FittedCodec:
        start, weights = trained.start, trained.weights[rate]
        shape = (1, *start.shape)
        spec = TensorSpec(name="symbols", shape=(1, start.symbols(rate)), dtype="float16")
        encode, decode = Graph(), Graph()
        _append_encoder(encode, weights, start)
        _append_decoder(decode, weights, start)
        crossing = {spec.name: (spec.dtype, spec.shape)}
        encoder = encode.model({"x": ("float32", shape)}, crossing)
        decoder = decode.model(crossing, {"y": ("float32", shape)})
        low, high = start.snr_db
        trained_at = f"{low:g} dB" if low == high else f"{low:g} to {high:g} dB"
        return FittedCodec(
            codec=self.name,
            rate=rate,
            rate_label=self.rates[rate].label,
            boundary=self.boundary,
            shape=shape,
            encoder=encoder,
            decoder=decoder,
            coder=RawCoder(specs=(spec,)),
            transform_key=hashlib.sha256(encoder + decoder).hexdigest()[:16],
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
            channel=start.channel,
            notes=(f"{spec.elements:,} channel symbols, trained at {trained_at}", cost_note(trained.cost)),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Trained:
    """The coders of all rates."""

    start: Start
    weights: tuple[Weights, ...]
    cost: TrainingCost

    @property
    def size_bytes(self) -> int:
        """Of the memory that they take."""
        return sum(weights.size_bytes for weights in self.weights)


def _append_encoder(graph: Graph, weights: Weights, start: Start) -> None:
    """Append x -> symbols (1, B) of mean square 1 (section 2.1)."""
    x = _append_convolution(graph, "x", weights, 0, stride=start.stride)
    # No network's activations come near it: the norm of inputs that do stays finite.
    x = graph.op("Clip", x, graph.constant(np.float32(-LARGEST)), graph.constant(np.float32(LARGEST)))
    x = graph.op("Div", x, _append_norm(graph, x, weights.gdn))  # eq. (1)
    x = graph.op("PRelu", x, graph.constant(_along_channels(weights.slopes[0])))
    length = len(weights.slopes[0]) * math.prod(start.sent)
    x = graph.reshape(x, (1, length))
    power = graph.op("GlobalAveragePool", graph.op("Mul", x, x))
    root = graph.op("Sqrt", graph.op("Add", power, graph.constant(np.float32(LEAST_POWER))))
    graph.cast(graph.reshape(graph.op("Div", x, root), (length,)), "float16", output="symbols")


def _append_decoder(graph: Graph, weights: Weights, start: Start) -> None:
    """Append what arrived of the symbols -> y."""
    x = graph.reshape(graph.cast("symbols", "float32"), (len(weights.slopes[0]), *start.sent))
    x = _append_convolution(graph, x, weights, 1)
    x = graph.op("Mul", x, _append_norm(graph, x, weights.igdn))  # eq. (2)
    x = graph.op("PRelu", x, graph.constant(_along_channels(weights.slopes[1])))
    if start.stride > 1:
        repeated = graph.op("Concat", *[x] * start.stride**2, axis=1)
        x = graph.op("DepthToSpace", repeated, blocksize=start.stride, mode="DCR")  # each value, stride times both ways
        ends, axes = (graph.constant(np.array(values, np.int64)) for values in (start.shape[1:], (2, 3)))
        x = graph.op("Slice", x, graph.constant(np.zeros(2, np.int64)), ends, axes)
    x = _append_convolution(graph, x, weights, 2)
    graph.op("PRelu", x, graph.constant(_along_channels(weights.slopes[2])), output="y")


def _append_convolution(graph: Graph, x: str, weights: Weights, number: int, *, stride: int = 1) -> str:
    kernel, bias = graph.constant(weights.kernels[number]), graph.constant(weights.biases[number])
    return graph.op("Conv", x, kernel, bias, pads=[1, 1, 1, 1], strides=[stride, stride])


def _append_norm(graph: Graph, x: str, divisive: Divisive) -> str:
    """Append the root of beta + gamma x^2 over the channels."""
    kernel, bias = graph.constant(divisive.gamma[:, :, None, None]), graph.constant(divisive.beta)
    return graph.op("Sqrt", graph.op("Conv", graph.op("Mul", x, x), kernel, bias))


def _along_channels(values: Array) -> Array:
    return values[:, None, None].astype(np.float32)
