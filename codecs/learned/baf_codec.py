"""Back-and-Forth prediction as a codec: a part of the channels crosses, the tail predicts the others (Choi et al.)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from splitpoint.codecs.contract.frozen import FrozenLayer, append_layer
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
    TrainingCost,
)
from splitpoint.codecs.learned.baf import LAYERS, Design, Start, Weights, build_predictors, start_predictors, weights_of
from splitpoint.codecs.learned.multirate import cost_note, refuses_map, trained_once
from splitpoint.codecs.pictures.tiles import Format, Tiles
from splitpoint.codecs.quantizers.range import FittedRange, check_half
from splitpoint.codecs.transforms.subset import ranked_channels

__all__ = ["BackAndForth"]


def __dir__() -> list[str]:
    return __all__


LEAST_CHANNELS: Final = 8  # an eighth of fewer is none
LEAST_POSITIONS: Final = 3  # ranges of fewer are longer than the symbols
SHARES: Final = ((8, 6), (8, 8), (4, 6), (4, 8))  # one of so many channels crosses, with so many bits; coarsest first
LOSSES: Final = (LossTerm(name="charbonnier"),)  # eq. 7


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BackAndForth:
    """Selected channels in their own ranges, tiled; a trained network, the convolution and eq. 6 give the others."""

    name: str
    shares: tuple[tuple[int, int], ...] = SHARES
    kind: Format = "webp"
    boundary: Boundary = "symbols"
    needs: frozenset[Need] = frozenset({"convolution", "training"})
    wants: frozenset[Need] = frozenset()

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of channels and bits: a quarter at 8 bits is 1/4 at 8."""
        return tuple(Rate(label=f"1/{part} at {bits}", value=bits / part) for part, bits in self.shares)

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why this codec cannot code such a tensor, or None when it can."""
        if (why := refuses_map(self.name, shape, dtype)) is not None:
            return why
        if shape[1] < LEAST_CHANNELS:
            return f"{self.name} needs {LEAST_CHANNELS} channels, {shape} has {shape[1]}"
        if shape[2] * shape[3] < LEAST_POSITIONS:
            return f"{self.name}: the ranges of {shape} would be longer than the symbols"
        return None

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Train the networks of all rates in one training a tensor; what was trained is kept in the context's memo.

        Raises `FitError`, also without a training or the convolution in the context.
        """
        return tuple(self._fit_tensor(tensor.activations, rates, tensor.context) for tensor in tensors)

    def _fit_tensor(self, activations: Array, rates: Sequence[int], context: Context) -> tuple[FittedCodec, ...]:
        trained = trained_once(self, activations, rates, context, self._train)
        return tuple(self._at(rate, (1, *activations.shape[1:]), trained) for rate in rates)

    def _train(self, activations: Array, context: Context) -> _Trained:
        if context.convolution is None or context.layer_input is None:
            raise FitError(f"{self.name} needs the convolution that gives the tensor, and its input")
        check_half(activations, 1)
        assert context.training is not None  # `trained_once` refused it
        start = self._start(activations, context.convolution, context.layer_input, context.seed)
        module = build_predictors(start)
        cost = context.training(module, rates=len(self.shares), losses=LOSSES, codec=self.name)
        return _Trained(start=start, weights=tuple(weights_of(start, module)), cost=cost)

    def _start(self, activations: Array, layer: FrozenLayer, layer_input: Array, seed: int) -> Start:
        order = ranked_channels(activations, layer_input)
        channels = activations.shape[1]
        designs = []
        for part, bits in self.shares:
            count = max(1, round(channels / part))
            designs.append(Design(selected=order[:count], bits=bits, width=max(layer_input.shape[1], count)))
        return start_predictors(designs, layer, activations, layer_input, seed=seed)

    def _at(self, rate: int, shape: tuple[int, ...], trained: _Trained) -> FittedCodec:
        weights, start = trained.weights[rate], trained.start
        selected = weights.design.selected
        quantizer = FittedRange(
            shape=(1, len(selected), *shape[2:]), axis=1, bits=weights.design.bits, per_channel=True
        )
        encode, decode = Graph(), Graph()
        quantizer.encode(encode, encode.op("Gather", "x", encode.constant(selected), axis=1))
        received = quantizer.decode(decode)
        predicted = append_layer(decode, _append_predictor(decode, received, weights, start), start.layer.steps)
        _append_consolidation(decode, predicted, received, weights.design, shape[1], output="y")
        crossing = {spec.name: (spec.dtype, spec.shape) for spec in quantizer.specs}
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
            coder=Tiles(kind=self.kind).fit(quantizer.specs, {}),
            transform_key=hashlib.sha256(encoder + decoder).hexdigest()[:16],
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
            notes=(cost_note(trained.cost),),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Trained:
    """The networks of all rates."""

    start: Start
    weights: tuple[Weights, ...]
    cost: TrainingCost

    @property
    def size_bytes(self) -> int:
        """Of the memory that they take."""
        return sum(array.nbytes for each in self.weights for array in (*each.kernels, *each.biases, *each.slopes))


def _append_predictor(graph: Graph, received: str, weights: Weights, start: Start) -> str:
    """Append the channels that crossed -> X."""
    selected = weights.design.selected
    mean, deviation = (_along_channels(values[selected]) for values in (start.mean, start.deviation))
    x = graph.op("Div", graph.op("Sub", received, graph.constant(mean)), graph.constant(deviation))
    for number in range(LAYERS):
        kernel, bias = graph.constant(weights.kernels[number]), graph.constant(weights.biases[number])
        x = graph.op("Conv", x, kernel, bias, pads=[1, 1, 1, 1])
        if number == 0 and start.upsampling > 1:
            x = graph.op("DepthToSpace", x, blocksize=start.upsampling, mode="CRD")
        if number < LAYERS - 1:
            x = graph.op("PRelu", x, graph.constant(weights.slopes[number][:, None, None]))
    ends = graph.constant(np.array(start.size, np.int64))  # of an odd size, one row or column is too many
    return graph.op("Slice", x, graph.constant(np.zeros(2, np.int64)), ends, graph.constant(np.array([2, 3], np.int64)))


def _append_consolidation(
    graph: Graph, predicted: str, received: str, design: Design, channels: int, output: str
) -> None:
    """Eq. 6: a prediction of a channel that crossed is moved to the nearest value of the bin that was received.

    Bins are as wide as a step, half of it at either end of the channel's range.
    """
    count = len(design.selected)
    low, high = (graph.reshape(graph.cast(name, "float32"), (count, 1, 1)) for name in ("minima", "maxima"))
    levels = graph.constant(np.float32(2 * ((1 << design.bits) - 1)))
    half = graph.op("Div", graph.op("Sub", high, low), levels)
    least = graph.op("Max", graph.op("Sub", received, half), low)
    most = graph.op("Min", graph.op("Add", received, half), high)
    own = graph.op("Gather", predicted, graph.constant(design.selected), axis=1)
    within = graph.op("Min", graph.op("Max", own, least), most)
    places = np.arange(channels, dtype=np.int64)
    places[design.selected] = channels + np.arange(count)
    graph.op("Gather", graph.op("Concat", predicted, within, axis=1), graph.constant(places), output=output, axis=1)


def _along_channels(values: Array) -> Array:
    return values[:, None, None].astype(np.float32)
