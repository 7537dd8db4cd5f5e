"""A mixture of the KLTs of `kltq-ctx`: each block of a tensor goes by the cheapest of a few, which its payload names.

An experiment that `codec_savings` measures, and no codec of the registry: docs/codecs.md has the figures. Fitting takes
turns, as EM with certain assignments does: every block is given to the transform under which it needs the fewest bits,
and every transform is fitted again to all blocks, its own counted more often. Bits are taken as the sum of log2(1 +
(c / step)^2) over a block's coefficients c. All transforms weigh errors alike, by the sensitivities of `kltq-ctx`: one
step is one quality, and only bits are compared. The device runs all transforms and the comparison, as ONNX operators.

The numbers of the transforms are symbols of the payload: one more channel behind the coefficients for the same context
coder, which learns how often each is chosen.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.coders.context import ContextCode
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout, check_request, clamp
from splitpoint.codecs.contract.protocol import (
    Array,
    Boundary,
    Calibration,
    Coder,
    Context,
    FittedCodec,
    Need,
    Rate,
    TensorSpec,
)
from splitpoint.codecs.quantizers.step import FittedStep, Step
from splitpoint.codecs.transforms.maps import Maps, maps_of
from splitpoint.codecs.transforms.spectral import FittedSpectral, Spectral, block_side

__all__ = ["MIXTURES", "FittedMixture", "Mixture"]

OWN = 3  # a block counts as so many for its own transform as for the others: few blocks fit a large covariance badly
TURNS = 8  # at most
STEP = 0.64  # of the coefficients' deviation, the middle of the rates


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedMixture:
    """Transforms of equal blocks, and the step at which they are compared."""

    members: tuple[FittedSpectral, ...]
    step: float

    @property
    def maps(self) -> Maps:
        """The tensor in blocks."""
        return self.members[0].maps

    def encode(self, graph: Graph, x: str) -> tuple[str, str]:
        """Append tensor -> coefficients (N, K*C, d, a) and the number of each block's transform (N, 1, d, a) int64."""
        every = [member.encode(graph, x) for member in self.members]
        bits = graph.op("Concat", *(self._bits(graph, coefficients) for coefficients in every), axis=1)
        index = graph.op("ArgMin", bits, axis=1, keepdims=1)
        return _chosen(graph, every, index), index

    def decode(self, graph: Graph, coefficients: str, index: str) -> str:
        """Append coefficients and numbers (N, 1, d, a) int64 -> tensor."""
        every = [member.decode(graph, coefficients) for member in self.members]
        m, (down, across) = self.maps, self.maps.blocks
        blocks = graph.reshape(index, (1, down, 1, across, 1))
        whole = graph.constant(np.array([1, 1, down, m.rows, across, m.columns], np.int64))
        padded = graph.reshape(graph.op("Expand", blocks, whole), (1, *m.padded))
        ends = (np.array(v, np.int64) for v in ((0, 0), m.size, (2, 3)))
        return _chosen(graph, every, graph.op("Slice", padded, *map(graph.constant, ends)))

    def _bits(self, graph: Graph, coefficients: str) -> str:
        scaled = graph.op("Mul", coefficients, graph.constant(np.float32(1 / self.step)))
        plus_one = graph.op("Add", graph.op("Mul", scaled, scaled), graph.constant(np.float32(1)))
        return graph.op("ReduceSum", graph.op("Log", plus_one), graph.constant(np.array([1], np.int64)), keepdims=1)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MixtureCoder:
    """Symbols (1, K*C, d, a) and numbers (1, 1, d, a) as one tensor of the context coder."""

    specs: tuple[TensorSpec, ...]  # of symbols and numbers
    inner: Coder
    name: str = "context"

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code both."""
        return self.inner.encode({"symbols": _joined(tensors)})

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give both back; raises `PayloadError`. A damaged number is the nearest transform's."""
        together = self.inner.decode(payload)["symbols"]
        low, high = self.specs[1].low, self.specs[1].high
        return {"symbols": together[:, :-1], "index": np.clip(together[:, -1:], low, high)}

    def arrays(self) -> dict[str, Array]:
        """The context coder's."""
        return self.inner.arrays()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """`components` KLTs; a block is that of `kltq-ctx`, the whole map up to 16 positions a side, or half a map a side.

    Where a block is the whole map, a transform is chosen for each picture.
    """

    name: str
    components: int
    blocks: Literal["picture", "halves"] = "picture"
    boundary: Boundary = "symbols"
    needs: frozenset[Need] = frozenset()
    wants: frozenset[Need] = frozenset({"gradients"})

    @property
    def rates(self) -> tuple[Rate, ...]:
        """Those of `kltq-ctx`."""
        return Step().rates

    def refuses(self, shape: tuple[int, ...], dtype: str) -> str | None:
        """Maps only."""
        return None if len(shape) == 4 and dtype == "float32" else f"{self.name} codes float32 maps, not {dtype}{shape}"

    def fit(self, tensors: Sequence[Calibration], rates: Sequence[int]) -> tuple[tuple[FittedCodec, ...], ...]:
        """Fit the transforms once a tensor, quantizer and coder once a rate; raises `FitError`."""
        return tuple(tuple(self._fit(tensor, rate) for rate in rates) for tensor in tensors)

    def transforms(self, activations: Array, context: Context) -> FittedMixture:
        """Transforms fitted in turn with the blocks that each is the cheapest for."""
        shape = (1, *activations.shape[1:])
        maps = maps_of(shape, *(block_side(n) if self.blocks == "picture" else -(-n // 2) for n in shape[2:]))
        tiles = _tiles(maps, activations)
        gradients = None if context.gradients is None else _tiles(maps, context.gradients)
        weights = dataclasses.replace(context, gradients=gradients)
        whole = Spectral(largest_block=max(maps.rows, maps.columns), whole_map=0)
        one = whole.fit(tiles, weights)
        coefficients = _run([one], tiles, context)[0]
        step = STEP * float(np.sqrt(np.mean(np.square(coefficients, dtype=np.float64))))
        members, owners = [one], _first_owners(coefficients, self.components)
        for _ in range(TURNS if self.components > 1 else 0):
            members = [whole.fit(_favoured(tiles, owners == k), weights) for k in range(self.components)]
            bits = [np.log1p(np.square(c / step)).sum(axis=(1, 2, 3)) for c in _run(members, tiles, context)]
            before, owners = owners, np.argmin(bits, axis=0)
            if np.array_equal(before, owners):
                break
        return FittedMixture(members=tuple(dataclasses.replace(m, maps=maps) for m in members), step=step)

    def _fit(self, tensor: Calibration, rate: int) -> FittedCodec:
        activations, context = tensor.activations, tensor.context
        shape = check_request(self, activations, rate)
        mixture, coefficients, index = _kept(self, activations, context)
        layout = Layout(axis=1, group=mixture.maps.channels)
        quantizer = Step().fit(coefficients, layout, self.rates[rate], context)
        specs = (*quantizer.specs, _index_spec(mixture))
        coder = _coder(specs, _symbols(quantizer, coefficients, context), index)
        encode, decode = Graph(), Graph()
        values, numbers = mixture.encode(encode, "x")
        quantizer.encode(encode, values)
        encode.cast(numbers, "int16", output="index")
        back = mixture.decode(decode, quantizer.decode(decode), decode.cast("index", "int64"))
        clamp(decode, back, context, output="y")
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
            weight_bytes=encode.weight_bytes + decode.weight_bytes,
        )


def _tiles(maps: Maps, tensors: Array) -> Array:
    """Blocks of (N, C, H, W) as tensors of their own: (n, C, rows, columns)."""
    (down, across), channels = maps.blocks, maps.channels
    split = maps.padded_maps(tensors).reshape(-1, channels, down, maps.rows, across, maps.columns)
    blocks = split.transpose(0, 2, 4, 1, 3, 5).reshape(-1, channels, maps.rows, maps.columns)
    return np.ascontiguousarray(blocks)


def _favoured(tiles: Array, own: Array) -> Array:
    """All blocks, and its own ones again until they count as `OWN`."""
    return np.concatenate([tiles, *[tiles[own]] * (OWN - 1)])


def _first_owners(coefficients: Array, components: int) -> Array:
    """Numbers (n,) of equally many blocks each, by the medians of the first principal directions."""
    rows = coefficients.reshape(len(coefficients), -1)
    directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[0].T
    count = components.bit_length() - 1
    return sum((2**k * (d > np.median(d)) for k, d in enumerate(directions[:count])), np.zeros(len(rows), np.int64))


def _run(members: Sequence[FittedSpectral], tiles: Array, context: Context) -> list[Array]:
    """Coefficients of every block under every transform."""
    found = []
    for member in members:
        graph = Graph()
        name = member.encode(graph, "x")
        found.append(graph.run({"x": tiles}, {name: ("float32", member.shape)}, context.run)[name])
    return found


def _kept(codec: Mixture, activations: Array, context: Context) -> tuple[FittedMixture, Array, Array]:
    """The transforms, and coefficients and numbers of the activations, which are the same for every rate."""

    def make() -> tuple[FittedMixture, Array, Array]:
        mixture, graph = codec.transforms(activations, context), Graph()
        values, numbers = mixture.encode(graph, "x")
        outputs = {values: ("float32", mixture.members[0].shape), numbers: ("int64", _index_spec(mixture).shape)}
        made = graph.run({"x": activations}, outputs, context.run)
        return mixture, made[values], made[numbers]

    return make() if context.memo is None else context.memo(("mixture", codec), make, lambda made: made[1].nbytes)


def _index_spec(mixture: FittedMixture) -> TensorSpec:
    shape, most = (1, 1, *mixture.maps.blocks), len(mixture.members) - 1
    return TensorSpec(name="index", shape=shape, dtype="int16", low=0, high=most, channel_axis=1)


def _symbols(quantizer: FittedStep, coefficients: Array, context: Context) -> Array:
    graph, [spec] = Graph(), quantizer.specs
    quantizer.encode(graph, "coefficients")
    outputs = {spec.name: (spec.dtype, spec.shape)}
    return graph.run({"coefficients": coefficients}, outputs, context.run)[spec.name]


def _coder(specs: tuple[TensorSpec, ...], symbols: Array, index: Array) -> MixtureCoder:
    (_, channels, *blocks), together = specs[0].shape, _joined({"symbols": symbols, "index": index})
    spec = dataclasses.replace(specs[0], shape=(1, channels + 1, *blocks))
    return MixtureCoder(specs=specs, inner=ContextCode().fit([spec], {spec.name: together}))


def _joined(tensors: Mapping[str, Array]) -> Array:
    return np.concatenate([tensors["symbols"], tensors["index"].astype(np.int16)], axis=1)


def _chosen(graph: Graph, every: Sequence[str], index: str) -> str:
    """Append the elements of those of `every` whose number `index` has, broadcast."""
    result = every[0]
    for k, values in enumerate(every[1:], start=1):
        result = graph.op("Where", graph.op("Equal", index, graph.constant(np.int64(k))), values, result)
    return result


MIXTURES: Mapping[str, Mixture] = {
    mixture.name: mixture
    for mixture in (
        Mixture(name="mixture-1", components=1),
        Mixture(name="mixture-2", components=2),
        Mixture(name="mixture-4", components=4),
        Mixture(name="mixture-2-halves", components=2, blocks="halves"),
        Mixture(name="mixture-4-halves", components=4, blocks="halves"),
    )
}
