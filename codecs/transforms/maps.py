"""Feature tensors as maps (N, C, H, W), edge-padded to whole blocks: the common ground of the block transforms."""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.protocol import Array

__all__ = ["MOST_ELEMENTS", "Maps", "maps_of"]


def __dir__() -> list[str]:
    return __all__


MOST_ELEMENTS = 1 << 23  # of the calibration tensors that statistics are made of: 64 MB in float64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Maps:
    """A tensor (1, C, H, W), or tokens (1, T, C) seen as C maps of T x 1, in blocks of `rows` x `columns`."""

    shape: tuple[int, ...]  # of the tensor
    rows: int
    columns: int

    @property
    def tokens(self) -> bool:
        """Whether channels come last."""
        return len(self.shape) == 3

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[2] if self.tokens else self.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return (self.shape[1], 1) if self.tokens else (self.shape[2], self.shape[3])

    @property
    def blocks(self) -> tuple[int, int]:
        """Blocks down and across."""
        height, width = self.size
        return -(-height // self.rows), -(-width // self.columns)

    @property
    def padded(self) -> tuple[int, int]:
        """(H, W) in whole blocks."""
        return self.blocks[0] * self.rows, self.blocks[1] * self.columns

    def planes(self, graph: Graph, x: str) -> str:
        """Append tensor -> (N, C, H*W)."""
        if self.tokens:
            return graph.op("Transpose", x, perm=[0, 2, 1])
        return graph.reshape(x, (self.channels, self.size[0] * self.size[1]))

    def from_planes(self, graph: Graph, planes: str) -> str:
        """Append (N, C, H*W) -> tensor."""
        if self.tokens:
            return graph.op("Transpose", planes, perm=[0, 2, 1])
        return graph.reshape(planes, (self.channels, *self.size))

    def pad(self, graph: Graph, planes: str) -> str:
        """Append (N, C, H*W) -> (N, C, H', W'), the last row and column repeated."""
        (height, width), (tall, wide) = self.size, self.padded
        x = graph.reshape(planes, (self.channels, height, width))
        if (tall, wide) == (height, width):
            return x
        ends = np.array([0, 0, 0, 0, 0, 0, tall - height, wide - width], np.int64)
        return graph.op("Pad", x, graph.constant(ends), mode="edge")

    def crop(self, graph: Graph, x: str) -> str:
        """Append (N, C, H', W') -> (N, C, H*W)."""
        height, width = self.size
        if self.padded != (height, width):
            start, end, axes = (np.array(v, np.int64) for v in ((0, 0), (height, width), (2, 3)))
            x = graph.op("Slice", x, graph.constant(start), graph.constant(end), graph.constant(axes))
        return graph.reshape(x, (self.channels, height * width))

    def padded_maps(self, tensors: Array) -> Array:
        """The same padding of calibration tensors (N, ...), for statistics: (n, C, H', W') of evenly spaced n <= N."""
        tensors = tensors[:: max(1, -(-tensors.size // MOST_ELEMENTS))]
        x = np.moveaxis(tensors, 2, 1)[..., None] if self.tokens else tensors
        (height, width), (tall, wide) = self.size, self.padded
        return np.pad(x, ((0, 0), (0, 0), (0, tall - height), (0, wide - width)), mode="edge")


def maps_of(shape: tuple[int, ...], rows: int, columns: int) -> Maps:
    """Maps of a (1, C, H, W) or (1, T, C) tensor with blocks no larger than the map."""
    height, width = (shape[1], 1) if len(shape) == 3 else (shape[2], shape[3])
    return Maps(shape=shape, rows=min(rows, height), columns=min(columns, width))
