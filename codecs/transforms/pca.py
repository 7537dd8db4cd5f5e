"""Blocked PCA (Assine et al., section 3): the data divided into blocks, each compressed by its own components.

The paper does not say what a block is. Both readings are offered: vectors of all channels over b x b positions (b = 1
is the channel KLT), or groups of c channels over b x b positions, each group with its own basis.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Need
from splitpoint.codecs.transforms.maps import Maps, maps_of

__all__ = ["BlockPca", "FittedPca", "group_size"]


def __dir__() -> list[str]:
    return __all__


ENOUGH_VECTORS = 4  # calibration vectors a dimension; below, the covariance is shrunk toward its diagonal
LARGEST = 2048  # dimensions of a basis


def group_size(channels: int, wanted: int | None) -> int:
    """Channels a block: the largest divisor of `channels` that is at most `wanted`; all for None."""
    if wanted is None:
        return channels
    return max(c for c in range(1, min(wanted, channels) + 1) if channels % c == 0)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedPca:
    """G bases (G, K, D) with D = c x b x b."""

    maps: Maps
    basis: Array  # (G, K, D) float32
    mean: Array  # (G, D) float32
    notes: tuple[str, ...] = ()
    identity: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, K*G, blocks down, blocks across), the first components of all groups first."""
        return (1, self.basis.shape[0] * self.basis.shape[1], *self.maps.blocks)

    @property
    def layout(self) -> Layout:
        """Components, and within each the groups."""
        return Layout(axis=1, group=self.basis.shape[0] if self.basis.shape[0] > 1 else None)

    @property
    def macs(self) -> int:
        """Every vector by its basis."""
        return int(self.basis.size) * self.maps.blocks[0] * self.maps.blocks[1]

    def encode(self, graph: Graph, x: str) -> str:
        """Append tensor -> coefficients."""
        m, (down, across) = self.maps, self.maps.blocks
        groups, kept, _ = self.basis.shape
        c = m.channels // groups
        padded = graph.reshape(m.pad(graph, m.planes(graph, x)), (groups, c, down, m.rows, across, m.columns))
        blocks = graph.op("Transpose", padded, perm=[0, 1, 2, 4, 6, 3, 5])
        vectors = graph.reshape(blocks, (groups, c * m.rows * m.columns, down * across))
        centred = graph.op("Sub", vectors, graph.constant(self.mean[None, :, :, None]))
        components = graph.op("MatMul", graph.constant(self.basis), centred)
        ordered = graph.op("Transpose", components, perm=[0, 2, 1, 3])
        return graph.reshape(ordered, (kept * groups, down, across))

    def decode(self, graph: Graph, coefficients: str) -> str:
        """Append coefficients -> tensor."""
        m, (down, across) = self.maps, self.maps.blocks
        groups, kept, _ = self.basis.shape
        c = m.channels // groups
        ordered = graph.reshape(coefficients, (kept, groups, down * across))
        components = graph.op("Transpose", ordered, perm=[0, 2, 1, 3])
        transposed = np.ascontiguousarray(self.basis.transpose(0, 2, 1))
        centred = graph.op("MatMul", graph.constant(transposed), components)
        vectors = graph.op("Add", centred, graph.constant(self.mean[None, :, :, None]))
        blocks = graph.reshape(vectors, (groups, c, m.rows, m.columns, down, across))
        padded = graph.reshape(graph.op("Transpose", blocks, perm=[0, 1, 2, 5, 3, 6, 4]), (m.channels, *m.padded))
        return m.from_planes(graph, m.crop(graph, padded))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BlockPca:
    """Blocks of `channels` (None: all) channels x `side` x `side` positions, components for `keep` of the variance."""

    channels: int | None = None
    side: int = 1
    keep: float = 1.0
    needs: frozenset[Need] = frozenset()
    wants: frozenset[Need] = frozenset()

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Maps (1, C, H, W) or tokens (1, T, C) only, and no basis beyond 2048 dimensions."""
        if len(shape) not in (3, 4):
            return f"blocked PCA needs maps or tokens, not {shape}"
        maps = maps_of(shape, self.side, self.side)
        dimensions = group_size(maps.channels, self.channels) * maps.rows * maps.columns
        return f"blocked PCA of {dimensions} dimensions (limit {LARGEST})" if dimensions > LARGEST else None

    def fit(self, activations: Array, context: Context) -> FittedPca:
        """Estimate a covariance a block; raises `FitError` when there is one calibration vector only."""
        maps = maps_of((1, *activations.shape[1:]), self.side, self.side)
        c = group_size(maps.channels, self.channels)
        groups, (down, across) = maps.channels // c, maps.blocks
        x = maps.padded_maps(activations).astype(np.float64)
        blocks = x.reshape(len(x), groups, c, down, maps.rows, across, maps.columns).transpose(1, 0, 3, 5, 2, 4, 6)
        vectors = blocks.reshape(groups, len(x) * down * across, c * maps.rows * maps.columns)
        count, dimensions = vectors.shape[1:]
        if count < 2:
            raise FitError("PCA needs at least 2 calibration vectors a block, got 1")
        mean = vectors.mean(axis=1)
        centred = vectors - mean[:, None]
        covariance = centred.transpose(0, 2, 1) @ centred / count
        notes: tuple[str, ...] = ()
        if count < ENOUGH_VECTORS * dimensions:
            share = count / (ENOUGH_VECTORS * dimensions)
            diagonal = np.einsum("gii->gi", covariance)[:, :, None] * np.eye(dimensions)
            covariance = share * covariance + (1 - share) * diagonal
            notes = (f"PCA of {dimensions} dimensions from {count} vectors: shrunk toward its diagonal",)
        values, bases = np.linalg.eigh(covariance)
        values, bases = values[:, ::-1], bases[:, :, ::-1]
        kept = _components(values, self.keep)
        rows = bases.transpose(0, 2, 1)[:, :kept]
        peak = np.take_along_axis(rows, np.abs(rows).argmax(axis=2)[:, :, None], axis=2)
        rows = rows * np.where(peak < 0, -1.0, 1.0)  # a library may return either sign
        return FittedPca(
            maps=maps,
            basis=np.ascontiguousarray(rows, np.float32),
            mean=mean.astype(np.float32),
            notes=notes,
        )


def _components(values: Array, keep: float) -> int:
    """Components that every group keeps so that `keep` of all variance stays."""
    energy = np.maximum(values, 0).sum(axis=0)
    if keep >= 1 or energy.sum() <= 0:
        return int(values.shape[1])
    return int(np.searchsorted(np.cumsum(energy), keep * energy.sum()) + 1)
