"""DCT over blocks of positions and one KLT over channels, weighted by what the task is sensitive to: our best one.

A uniform step then spends bits where the output changes. With g the gradients of the top logits at the tensor, an error
e changes them by about g.e, independent errors by the sum over spatial frequencies k of e_k' S_k e_k with
S_k = E[g_k g_k'] and g_k the gradients' DCT at k. S_k is taken as one matrix S (C, C) times a scalar w_k, so that one
basis serves every frequency. Coefficients are sqrt(w_k) V' S^(1/2) x_k; V are the eigenvectors of S^(1/2) R S^(1/2), R
the covariance of x_k pooled over frequencies of equal weight.

Tried on EfficientNet-Lite0 at block 14 (7x7x192, 100 calibration images, bytes at the same divergence of the outputs):
this 868; S_k and V for each frequency 925 and 49 times the weights; S's diagonal alone 936; all channels alike 958; all
channels and frequencies alike 1,047.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.graphs import Graph
from splitpoint.codecs.maps import Maps, maps_of
from splitpoint.codecs.preset import Layout
from splitpoint.codecs.protocol import Array, Context, FitError, Need

__all__ = ["FittedSpectral", "Spectral", "block_side", "dct"]


def __dir__() -> list[str]:
    return __all__


LARGEST_BLOCK = 8
CHANNEL_FLOOR = 0.1  # added to S / (trace(S) / C): gradients say nothing of large errors. 0.3: 2 % more bytes, 0.6: 4 %
FREQUENCY_FLOOR = 0.1  # added to w_k / mean(w_k)
FREQUENCY_FALL = 1.5  # w_k = (1 + |k|)^-1.5 without gradients: 1 % more bytes than measured w_k, at two cuts
ENOUGH_VECTORS = 4  # calibration vectors a dimension; below, the covariance is shrunk toward its diagonal
MOST_VECTORS = 200_000  # of a covariance estimate


def dct(n: int) -> Array:
    """The orthonormal DCT-II matrix (n, n), float64."""
    k, i = np.arange(n)[:, None], np.arange(n)[None]
    matrix = np.cos(np.pi * (2 * i + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return np.asarray(matrix)


def block_side(n: int, largest: int = LARGEST_BLOCK) -> int:
    """The side of a block for a map of `n`: the map itself, or what pads little and is large."""
    if n <= largest:
        return n
    sides = range(4, largest + 1)
    return min(sides, key=lambda side: (-(-n // side) * side / n * (1 + 0.5 / side), -side))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedSpectral:
    """Channel mixing, block DCT, frequency gains, and the means taken off."""

    maps: Maps
    forward: Array  # (C, C) float32
    backward: Array  # (C, C) float32
    frequencies: Array  # (K, K) float32: DCT rows in zigzag order, times the gain
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
        """Channel mixing at every position, DCT of every block."""
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
    """Separable DCT x KLT; `weighted` by gradients or sensitivity where the context has them."""

    weighted: bool = True
    largest_block: int = LARGEST_BLOCK
    needs: frozenset[Need] = frozenset()

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Maps (1, C, H, W) or tokens (1, T, C) only."""
        return None if len(shape) in (3, 4) else f"a spectral transform needs maps or tokens, not {shape}"

    def fit(self, activations: Array, context: Context) -> FittedSpectral:
        """Estimate sensitivities, covariances and means; raises `FitError`."""
        shape = (1, *activations.shape[1:])
        height, width = (shape[1], 1) if len(shape) == 3 else (shape[2], shape[3])
        maps = maps_of(shape, block_side(height, self.largest_block), block_side(width, self.largest_block))
        count = maps.rows * maps.columns
        matrix = np.kron(dct(maps.rows), dct(maps.columns))[_zigzag(maps.rows, maps.columns)]
        channel_weight, gain, notes = self._sensitivity(maps, matrix, context)
        root, inverse_root = _roots(channel_weight)

        spectrum = _spectrum(maps, matrix, activations)  # (N, P, K, C)
        mean = spectrum.mean(axis=(0, 1))
        covariance = np.zeros((maps.channels, maps.channels))
        for k in range(count):
            vectors = spectrum[:, :, k].reshape(-1, maps.channels) - mean[k]
            vectors = vectors[:: max(1, len(vectors) * count // MOST_VECTORS)]
            own = vectors.T @ vectors
            trace = float(np.trace(own))
            if trace > 0:  # frequencies of equal weight, whatever their energy
                covariance += own / trace
        vectors_used = spectrum.shape[0] * spectrum.shape[1] * count
        if vectors_used < ENOUGH_VECTORS * maps.channels:
            share = vectors_used / (ENOUGH_VECTORS * maps.channels)
            covariance = share * covariance + (1 - share) * np.diag(np.diag(covariance))
            notes += (f"KLT of {maps.channels} channels from {vectors_used} vectors: shrunk toward its diagonal",)
        basis = _eigenvectors(root @ covariance @ root)
        forward, backward = basis.T @ root, inverse_root @ basis
        return FittedSpectral(
            maps=maps,
            forward=forward.astype(np.float32),
            backward=backward.astype(np.float32),
            frequencies=(gain[:, None] * matrix).astype(np.float32),
            positions=(matrix.T / gain).astype(np.float32),
            mean=(gain[:, None] * (mean @ forward.T)).astype(np.float32),
            notes=notes,
        )

    def _sensitivity(self, maps: Maps, matrix: Array, context: Context) -> tuple[Array, Array, tuple[str, ...]]:
        """Channel weights (C, C) of mean diagonal 1 + floor, frequency gains (K,), notes."""
        flat = np.eye(maps.channels)
        if not self.weighted:
            return flat, np.ones(len(matrix)), ()
        gain = _gain(_usual_weights(maps))
        if context.gradients is not None:
            gradients = context.gradients
            if gradients.shape[1:] != maps.shape[1:]:
                raise FitError(f"gradients {gradients.shape} do not belong to a tensor {maps.shape}")
            spectrum = _spectrum(maps, matrix, gradients).reshape(-1, len(matrix), maps.channels)
            channel = np.einsum("mkc,mkd->cd", spectrum, spectrum, optimize=True)
            frequency = np.square(spectrum).mean(axis=(0, 2))
            if not np.isfinite(channel).all() or float(np.trace(channel)) <= 0:
                return flat, gain, ("the gradients are zero or not finite: no sensitivity used",)
            gain = _gain(frequency)
        elif context.sensitivity is not None:
            given = np.asarray(context.sensitivity, np.float64)
            channel = np.diag(given) if given.ndim == 1 else given
            if channel.shape != flat.shape:
                raise FitError(f"sensitivity {given.shape} does not belong to {maps.channels} channels")
            if not np.isfinite(channel).all() or float(np.trace(channel)) <= 0:
                return flat, gain, ("the sensitivity is zero or not finite: not used",)
        else:
            return flat, gain, ("no gradients or sensitivity given: every channel counts the same",)
        return channel / (np.trace(channel) / maps.channels) + CHANNEL_FLOOR * flat, gain, ()


def _gain(frequency: Array) -> Array:
    """Gains (K,) from weights of squared errors (K,)."""
    return np.asarray(np.sqrt((frequency / frequency.mean() + FREQUENCY_FLOOR) / (1 + FREQUENCY_FLOOR)))


def _usual_weights(maps: Maps) -> Array:
    """How fast sensitivity falls with frequency in image classifiers, whose tails average positions."""
    v, u = np.divmod(_zigzag(maps.rows, maps.columns), maps.columns)
    return np.asarray(
        (1 + np.hypot(v * LARGEST_BLOCK / maps.rows, u * LARGEST_BLOCK / maps.columns)) ** -FREQUENCY_FALL
    )


def _spectrum(maps: Maps, matrix: Array, tensors: Array) -> Array:
    """Block DCT of (N, ...): (N, P, K, C), float64."""
    (down, across) = maps.blocks
    x = maps.padded_maps(tensors).astype(np.float64)
    n = len(x)
    blocks = x.reshape(n, maps.channels, down, maps.rows, across, maps.columns).transpose(0, 2, 4, 3, 5, 1)
    return np.asarray(matrix @ blocks.reshape(n, down * across, maps.rows * maps.columns, maps.channels))


def _zigzag(rows: int, columns: int) -> Array:
    """Frequencies from low to high: by the sum of their indices, relative to the side."""
    v, u = np.divmod(np.arange(rows * columns), columns)
    return np.lexsort((u, v, v / rows + u / columns))


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
