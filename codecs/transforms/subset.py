"""Channel selection by correlation with the layer's input: Choi et al., section 3.1, eq. (2) and (3).

The C selected channels cross, the others are predicted from them linearly, by least squares on the calibration inputs
(a stand-in for Back-and-Forth prediction, which needs training).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Need
from splitpoint.codecs.transforms.maps import MOST_ELEMENTS, Maps, maps_of

__all__ = ["ChannelSubset", "FittedSubset", "correlations", "ranked_channels"]


def __dir__() -> list[str]:
    return __all__


RIDGE = 1e-6  # of the mean variance, for channels that the selected ones determine exactly


def correlations(outputs: Array, inputs: Array) -> NDArray[np.float64]:
    """Eq. (2): rho (P, Q), the mean over offsets of |correlation| of output channels (N, P, H, W) with input channels.

    `inputs` (N, Q, about sH, sW) is read at its s x s offsets (the paper's stride is 2), at positions that both have; a
    constant channel correlates with nothing.
    """
    if inputs.shape[2] < outputs.shape[2] or inputs.shape[3] < outputs.shape[3]:
        raise FitError(f"the layer's input {inputs.shape} is smaller than its output {outputs.shape}")
    # Rounded: padding and odd sides make it 15 / 8 or 7 / 3 where the stride is 2.
    down, across = (int(inputs.shape[axis] / outputs.shape[axis] + 0.5) for axis in (2, 3))
    total = np.zeros((outputs.shape[1], inputs.shape[1]))
    for row in range(down):
        for column in range(across):
            x = inputs[:, :, row::down, column::across]
            height, width = min(x.shape[2], outputs.shape[2]), min(x.shape[3], outputs.shape[3])
            total += np.abs(_unit(outputs[:, :, :height, :width]) @ _unit(x[:, :, :height, :width]).T)
    return np.asarray(total / (down * across))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedSubset:
    """Selected channels in order of their correlation, and the prediction of all from them."""

    maps: Maps
    selected: NDArray[np.int64]
    weights: Array  # (P, C) float32; rows of selected channels are unit vectors
    offsets: Array  # (P, 1) float32
    notes: tuple[str, ...] = ()
    identity: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, C, H, W)."""
        return (1, len(self.selected), *self.maps.size)

    @property
    def layout(self) -> Layout:
        """Channels."""
        return Layout(axis=1)

    @property
    def macs(self) -> int:
        """The prediction; selecting costs nothing."""
        return int(self.weights.size) * self.maps.size[0] * self.maps.size[1]

    def encode(self, graph: Graph, x: str) -> str:
        """Append tensor -> selected channels."""
        chosen = graph.op("Gather", self.maps.planes(graph, x), graph.constant(self.selected), axis=1)
        return graph.reshape(chosen, self.shape[1:])

    def decode(self, graph: Graph, coefficients: str) -> str:
        """Append selected channels -> tensor."""
        planes = graph.reshape(coefficients, (len(self.selected), self.maps.size[0] * self.maps.size[1]))
        predicted = graph.op("MatMul", graph.constant(self.weights), planes)
        return self.maps.from_planes(graph, graph.op("Add", predicted, graph.constant(self.offsets)))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ChannelSubset:
    """The power of two of channels nearest to `share` of them (the paper keeps a quarter)."""

    share: float = 0.25
    needs: frozenset[Need] = frozenset({"layer"})
    wants: frozenset[Need] = frozenset()

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Maps only."""
        return None if len(shape) == 4 else f"channel selection needs maps, not {shape}"

    def fit(self, activations: Array, context: Context) -> FittedSubset:
        """Select channels and fit the prediction; raises `FitError` without the layer's input."""
        if context.layer_input is None:
            raise FitError("channel selection needs the layer's input (Context.layer_input)")
        channels = activations.shape[1]
        count = max(1, min(1 << round(np.log2(max(channels * self.share, 1))), channels))
        selected = ranked_channels(activations, context.layer_input)[:count]
        activations = activations[:: _stride(activations, context.layer_input)]
        z = activations.astype(np.float64).transpose(1, 0, 2, 3).reshape(channels, -1)
        mean = z.mean(axis=1, keepdims=True)
        kept = z[selected] - mean[selected]
        gram = kept @ kept.T
        ridge = max(RIDGE * float(np.trace(gram)) / count, 1e-12)
        weights = np.linalg.solve(gram + ridge * np.eye(count), kept @ (z - mean).T).T
        weights[selected] = np.eye(count)
        offsets = mean - weights @ mean[selected]
        offsets[selected] = 0
        return FittedSubset(
            maps=maps_of((1, *activations.shape[1:]), 1, 1),
            selected=selected,
            weights=np.ascontiguousarray(weights, np.float32),
            offsets=offsets.astype(np.float32),
        )


def ranked_channels(activations: Array, layer_input: Array) -> NDArray[np.int64]:
    """(P,): channels of (N, P, H, W) by their total correlation with the layer's input (N, Q, H', W').

    Eq. (3) takes the channel of the highest total again and again: the order of the totals. Raises `FitError`.
    """
    if len(layer_input) != len(activations):
        raise FitError(f"{len(layer_input)} layer inputs for {len(activations)} activations")
    stride = _stride(activations, layer_input)
    total = correlations(activations[::stride], layer_input[::stride]).sum(axis=1)
    return np.argsort(-total, kind="stable").astype(np.int64)


def _stride(activations: Array, layer_input: Array) -> int:
    """Every so many inputs are few enough."""
    return max(1, -(-max(activations.size, layer_input.size) // MOST_ELEMENTS))


def _unit(x: Array) -> NDArray[np.float64]:
    """Channels of (N, P, H, W) as centred vectors of length one (P, N*H*W); zeros for a constant channel."""
    rows = x.astype(np.float64).transpose(1, 0, 2, 3).reshape(x.shape[1], -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-12 * np.sqrt(rows.shape[1])))
