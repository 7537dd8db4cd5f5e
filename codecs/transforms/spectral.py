"""A KLT over positions of a block and one over channels, both weighted by what the task is sensitive to: our best one.

A uniform step then spends bits where the output changes. With g the gradients of the top logits at the tensor, an error
e changes them by about g.e. Taking the second moments of g and of the tensor as separable, positions (K, K) times
channels (C, C), coefficients are Q X F' of a block X (K, C): F = V' S^(1/2) with S = E[g g'] over channels and V the
eigenvectors of S^(1/2) R S^(1/2), R the covariance of the channels, pooled over components of equal weight; Q the same
over positions. Two small bases serve a whole block. `positions="dct"` is the classical form: Q the two-dimensional DCT,
each frequency times the root of its sensitivity.

Tried on EfficientNet-Lite0 at block 14 (7x7x192, 100 calibration images; divergence of the outputs at 1,055 bytes):
KLT over positions .0142, DCT .0218, DCT without frequency weights .0275, no transform over positions .25. With the DCT,
bytes at the same divergence: one channel basis 868, one a frequency (and 49 times the weights) 925, the diagonal of S
alone 936, all channels alike 958. At block 10 (14x14) blocks of the whole map 5 % fewer bytes than 7x7.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.dct import dct
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Need
from splitpoint.codecs.transforms.maps import Maps, maps_of

__all__ = ["FittedSpectral", "Spectral", "block_side"]


def __dir__() -> list[str]:
    return __all__


WHOLE_MAP = 16  # sides up to this are one block
LARGEST_BLOCK = 8  # of larger maps: a value costs a block's positions in multiply-adds
FLOOR = 0.1  # added to S / mean diagonal: gradients say nothing of large errors. 0.3: 2 % more bytes, 0.6: 4 %
FREQUENCY_FALL = 1.5  # w_k = (1 + |k|)^-1.5 without gradients: 1 % more bytes than measured w_k, at two cuts
ENOUGH_VECTORS = 4  # calibration vectors a dimension; below, the covariance is shrunk toward its diagonal


def block_side(n: int, largest: int = LARGEST_BLOCK, whole: int = WHOLE_MAP) -> int:
    """The side of a block for a map of `n`: the map itself, or what pads little and is large."""
    if n <= max(largest, whole):
        return n
    sides = range(min(4, largest), largest + 1)
    return min(sides, key=lambda side: (-(-n // side) * side / n * (1 + 0.5 / side), -side))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedSpectral:
    """Channel mixing, position mixing of every block, and the means taken off."""

    maps: Maps
    forward: Array  # (C, C) float32
    backward: Array  # (C, C) float32
    frequencies: Array  # (K, K) float32: Q, from low frequencies to high
    positions: Array  # (K, K) float32: its inverse
    mean: Array  # (K, C) float32, of coefficients
    notes: tuple[str, ...] = ()
    identity: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, K*C, blocks down, blocks across)."""
        return (1, len(self.frequencies) * self.maps.channels, *self.maps.blocks)

    @property
    def layout(self) -> Layout:
        """Frequencies, and within each the components."""
        return Layout(axis=1, group=self.maps.channels)

    @property
    def macs(self) -> int:
        """Channel mixing at every position, position mixing of every block."""
        m = self.maps
        count = len(self.frequencies)
        return m.channels**2 * m.size[0] * m.size[1] + m.channels * m.blocks[0] * m.blocks[1] * count**2

    def encode(self, graph: Graph, x: str) -> str:
        """Append tensor -> coefficients."""
        m, (down, across) = self.maps, self.maps.blocks
        mixed = graph.op("MatMul", graph.constant(self.forward), m.planes(graph, x))
        padded = graph.reshape(m.pad(graph, mixed), (m.channels, down, m.rows, across, m.columns))
        blocks = graph.op("Transpose", padded, perm=[0, 1, 2, 4, 3, 5])
        vectors = graph.reshape(blocks, (m.channels * down * across, m.rows * m.columns))
        spectrum = graph.op("MatMul", vectors, graph.constant(self.frequencies.T))
        spectrum = graph.reshape(spectrum, (m.channels, down * across, len(self.frequencies)))
        ordered = graph.op("Transpose", spectrum, perm=[0, 3, 1, 2])
        centred = graph.op("Sub", ordered, graph.constant(self.mean[None, :, :, None]))
        return graph.reshape(centred, self.shape[1:])

    def decode(self, graph: Graph, coefficients: str) -> str:
        """Append coefficients -> tensor."""
        m, (down, across) = self.maps, self.maps.blocks
        count = len(self.frequencies)
        centred = graph.reshape(coefficients, (count, m.channels, down * across))
        ordered = graph.op("Add", centred, graph.constant(self.mean[None, :, :, None]))
        spectrum = graph.op("Transpose", ordered, perm=[0, 2, 3, 1])
        spectrum = graph.reshape(spectrum, (m.channels * down * across, count))
        vectors = graph.op("MatMul", spectrum, graph.constant(self.positions.T))
        blocks = graph.reshape(vectors, (m.channels, down, across, m.rows, m.columns))
        padded = graph.reshape(graph.op("Transpose", blocks, perm=[0, 1, 2, 4, 3, 5]), (m.channels, *m.padded))
        mixed = m.crop(graph, padded)
        return m.from_planes(graph, graph.op("MatMul", graph.constant(self.backward), mixed))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Spectral:
    """KLT or DCT over positions x KLT over channels; `weighted` by gradients or sensitivity where there are any."""

    positions: Literal["klt", "dct"] = "klt"
    weighted: bool = True
    largest_block: int = LARGEST_BLOCK
    whole_map: int = WHOLE_MAP
    needs: frozenset[Need] = frozenset()

    @property
    def wants(self) -> frozenset[Need]:
        """Gradients or a sensitivity, when it is weighted."""
        return frozenset({"gradients"}) if self.weighted else frozenset()

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Maps (1, C, H, W) or tokens (1, T, C) only."""
        return None if len(shape) in (3, 4) else f"a spectral transform needs maps or tokens, not {shape}"

    def fit(self, activations: Array, context: Context) -> FittedSpectral:
        """Estimate sensitivities, covariances and means; raises `FitError`."""
        shape = (1, *activations.shape[1:])
        height, width = (shape[1], 1) if len(shape) == 3 else (shape[2], shape[3])
        sides = (block_side(n, self.largest_block, self.whole_map) for n in (height, width))
        maps = maps_of(shape, *sides)
        fourier = np.kron(dct(maps.rows), dct(maps.columns))[_zigzag(maps)]
        channel_weight, position_weight, notes = self._sensitivity(maps, fourier, context)
        (by_channel, from_channel), (by_position, from_position) = _roots(channel_weight), _roots(position_weight)

        blocks = _blocks(maps, activations)  # (n, K, C), n blocks of all inputs
        mean = blocks.mean(axis=0)
        weighted = by_position @ (blocks - mean) @ by_channel
        if self.positions == "klt":
            covariance, note = _pooled(weighted, "positions")
            basis = _eigenvectors(covariance)
            notes += note
        else:
            basis = fourier.T
        covariance, note = _pooled(np.swapaxes(basis.T @ weighted, 1, 2), "channels")
        channel_basis = _eigenvectors(covariance)
        forward, frequencies = channel_basis.T @ by_channel, basis.T @ by_position
        return FittedSpectral(
            maps=maps,
            forward=forward.astype(np.float32),
            backward=(from_channel @ channel_basis).astype(np.float32),
            frequencies=frequencies.astype(np.float32),
            positions=(from_position @ basis).astype(np.float32),
            mean=(frequencies @ mean @ forward.T).astype(np.float32),
            notes=notes + note,
        )

    def _sensitivity(self, maps: Maps, fourier: Array, context: Context) -> tuple[Array, Array, tuple[str, ...]]:
        """Weights of channels (C, C) and positions (K, K), and notes."""
        flat, even = np.eye(maps.channels), np.eye(len(fourier))
        if not self.weighted:
            return flat, even, ()
        usual = _normalized(fourier.T @ (_usual_weights(maps)[:, None] * fourier))
        if context.gradients is not None:
            if context.gradients.shape[1:] != maps.shape[1:]:
                raise FitError(f"gradients {context.gradients.shape} do not belong to a tensor {maps.shape}")
            blocks = _blocks(maps, context.gradients)
            channel = np.tensordot(blocks, blocks, axes=((0, 1), (0, 1)))
            position = np.tensordot(blocks, blocks, axes=((0, 2), (0, 2)))
            if not np.isfinite(channel).all() or float(np.trace(channel)) <= 0:
                return flat, usual, ("the gradients are zero or not finite: no sensitivity used",)
            if self.positions == "dct":  # of positions, keep what the DCT can use: its frequencies' weights
                position = fourier.T @ (np.diag(fourier @ position @ fourier.T)[:, None] * fourier)
            return _normalized(channel), _normalized(position), ()
        if context.sensitivity is None:
            return flat, usual, ("no gradients or sensitivity given: every channel counts the same",)
        given = np.asarray(context.sensitivity, np.float64)
        channel = np.diag(given) if given.ndim == 1 else given
        if channel.shape != flat.shape:
            raise FitError(f"sensitivity {given.shape} does not belong to {maps.channels} channels")
        if not np.isfinite(channel).all() or float(np.trace(channel)) <= 0:
            return flat, usual, ("the sensitivity is zero or not finite: not used",)
        return _normalized(channel), usual, ()


def _blocks(maps: Maps, tensors: Array) -> Array:
    """Blocks of (N, ...): (n, K, C), float64."""
    (down, across) = maps.blocks
    x = maps.padded_maps(tensors).astype(np.float64)
    split = x.reshape(len(x), maps.channels, down, maps.rows, across, maps.columns).transpose(0, 2, 4, 3, 5, 1)
    return np.ascontiguousarray(split).reshape(len(x) * down * across, maps.rows * maps.columns, maps.channels)


def _pooled(blocks: Array, what: str) -> tuple[Array, tuple[str, ...]]:
    """Covariance (K, K) of (n, K, C), pooled over the C columns of equal weight, whatever their energy; and a note."""
    n, dimensions, columns = blocks.shape
    energy = np.square(blocks).mean(axis=(0, 1))
    scaled = blocks * np.sqrt(np.divide(1, energy, out=np.zeros_like(energy), where=energy > 0))
    covariance = np.tensordot(scaled, scaled, axes=((0, 2), (0, 2))) / (n * columns)
    if n * columns >= ENOUGH_VECTORS * dimensions:
        return np.asarray(covariance), ()
    share = n * columns / (ENOUGH_VECTORS * dimensions)
    shrunk = share * covariance + (1 - share) * np.diag(np.diag(covariance))
    return shrunk, (f"KLT of {dimensions} {what} from {n * columns} vectors: shrunk toward its diagonal",)


def _normalized(matrix: Array) -> Array:
    """Mean diagonal 1, then the floor."""
    size = len(matrix)
    return np.asarray((matrix / (np.trace(matrix) / size) + FLOOR * np.eye(size)) / (1 + FLOOR))


def _usual_weights(maps: Maps) -> Array:
    """How fast sensitivity falls with frequency in image classifiers, whose tails average positions: w_k."""
    v, u = np.divmod(_zigzag(maps), maps.columns)
    reach = np.hypot(v * LARGEST_BLOCK / max(maps.rows, 1), u * LARGEST_BLOCK / max(maps.columns, 1))
    return np.asarray((1 + reach) ** -FREQUENCY_FALL)


def _zigzag(maps: Maps) -> Array:
    """Frequencies from low to high: by the sum of their indices, relative to the side."""
    v, u = np.divmod(np.arange(maps.rows * maps.columns), maps.columns)
    return np.lexsort((u, v, v / maps.rows + u / maps.columns))


def _roots(matrix: Array) -> tuple[Array, Array]:
    """Symmetric square root of a positive definite matrix, and its inverse."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, values.max() * 1e-6)
    return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T


def _eigenvectors(matrix: Array) -> Array:
    """Columns by descending eigenvalue, each with its largest entry positive (a library may return either sign)."""
    vectors = np.asarray(np.linalg.eigh(matrix)[1][:, ::-1])
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.where(vectors[largest, np.arange(len(vectors))] < 0, -1.0, 1.0))
