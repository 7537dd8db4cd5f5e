"""Vector quantization: runs of d neighbouring values replaced by the nearest of K codewords (split-LBG codebooks).

Brito names it as future work. The search is one matrix product and an ArgMax, so it runs inside the head:
argmin |x - c|^2 = argmax x.c - |c|^2 / 2. Linde, Buzo and Gray 1980: the codebook doubles by splitting every codeword.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, FitError, Rate, TensorSpec

__all__ = ["FittedVector", "Vector", "train_codebook"]


def __dir__() -> list[str]:
    return __all__


# (samples a vector, codewords): 0.5 to 5 bit a sample.
BOOKS = ((8, 16), (8, 64), (4, 16), (4, 64), (4, 256), (2, 64), (2, 256), (2, 1024))
VECTORS_A_CODEWORD = 50  # training vectors, at least
MOST_VECTORS_A_CODEWORD = 100  # more are not used
ROUNDS = 6  # Lloyd rounds after each split
SPLIT = 0.01  # of the spread: distance between the two halves of a codeword
MOST_SCORES = 1 << 24  # vectors x codewords that the search holds at once, 4 bytes each


def train_codebook(vectors: NDArray[np.float32], codewords: int) -> NDArray[np.float32]:
    """A codebook (codewords, d) for `vectors` (n, d) by splitting; empty cells restart at half of the fullest one."""
    x = np.ascontiguousarray(vectors, np.float32)
    spread = x.std(axis=0) + np.float32(1e-12)
    book = x.mean(axis=0, keepdims=True)
    nearest = np.zeros(len(x), np.int64)
    while len(book) < codewords:
        book = np.concatenate([book - SPLIT * spread, book + SPLIT * spread]).astype(np.float32)
        for _ in range(ROUNDS):
            _nearest(x, book, 0.5 * np.square(book, dtype=np.float64).sum(axis=1), nearest)
            counts = np.bincount(nearest, minlength=len(book))
            sums = np.stack([np.bincount(nearest, weights=column, minlength=len(book)) for column in x.T], axis=1)
            means = sums / np.maximum(counts, 1)[:, None]
            book = np.where(counts[:, None] > 0, means, book).astype(np.float32)
            full = np.argsort(-counts, kind="stable")
            for rank, empty in enumerate(np.flatnonzero(counts == 0)):
                book[empty] = book[full[rank % max((counts > 1).sum(), 1)]] + SPLIT * spread
    return np.asarray(book, np.float32)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedVector:
    """A codebook (K, d) for the tensor's values in C order, d at a time, the last value repeated to fill up."""

    shape: tuple[int, ...]
    book: NDArray[np.float32]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """One int16 tensor of codeword numbers."""
        count = -(-int(np.prod(self.shape)) // self.book.shape[1])
        return (TensorSpec(name="symbols", shape=(1, count), dtype="int16", low=0, high=len(self.book) - 1),)

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> symbols."""
        d, elements = self.book.shape[1], int(np.prod(self.shape))
        count = self.specs[0].shape[1]
        flat = graph.reshape(coefficients, (elements,))
        if count * d > elements:
            ends = graph.constant(np.array([0, 0, 0, count * d - elements], np.int64))
            flat = graph.op("Pad", flat, ends, mode="edge")
        scores = graph.op("MatMul", graph.reshape(flat, (count, d)), graph.constant(np.ascontiguousarray(self.book.T)))
        halves = 0.5 * np.square(self.book.astype(np.float64)).sum(axis=1)
        scores = graph.op("Sub", scores, graph.constant(halves.astype(np.float32)))
        graph.cast(graph.op("ArgMax", scores, axis=2, keepdims=0), "int16", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append symbols -> coefficients."""
        d, elements = self.book.shape[1], int(np.prod(self.shape))
        vectors = graph.op("Gather", graph.constant(self.book), graph.cast("symbols", "int32"), axis=0)
        flat = graph.reshape(vectors, (self.specs[0].shape[1] * d,))
        if self.specs[0].shape[1] * d > elements:
            start, end, axis = (graph.constant(np.array([v], np.int64)) for v in (0, elements, 1))
            flat = graph.op("Slice", flat, start, end, axis)
        return graph.reshape(flat, self.shape[1:])


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Vector:
    """Vector quantization, one codebook a tensor."""

    books: tuple[tuple[int, int], ...] = BOOKS

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a (vector length, codebook size), in bits a sample."""
        return tuple(Rate(label=f"{k} of {d}", value=float(np.log2(k)) / d) for d, k in self.books)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Too large a tensor for the search."""
        scores = max(-(-int(np.prod(shape)) // d) * k for d, k in self.books)
        if scores > MOST_SCORES:
            return f"the codebook search of {shape} needs {4 * scores / 1e6:.0f} MB at once"
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedVector:
        """Train the codebook; raises `FitError` for fewer than 50 training vectors a codeword."""
        d, k = next(book for book in self.books if float(np.log2(book[1])) / book[0] == rate.value)
        flat = np.ascontiguousarray(coefficients, np.float32).reshape(len(coefficients), -1)
        short = -flat.shape[1] % d
        vectors = np.pad(flat, ((0, 0), (0, short)), mode="edge").reshape(-1, d)
        if len(vectors) < VECTORS_A_CODEWORD * k:
            raise FitError(
                f"{k} codewords need {VECTORS_A_CODEWORD * k} training vectors of {d}, got {len(vectors)}: "
                "give more calibration inputs or a coarser rate"
            )
        most = MOST_VECTORS_A_CODEWORD * k
        if len(vectors) > most:
            vectors = vectors[np.random.default_rng(context.seed).choice(len(vectors), most, replace=False)]
        return FittedVector(shape=(1, *coefficients.shape[1:]), book=train_codebook(vectors, k))


@Kernel
def _nearest(vectors: Array, book: Array, halves: Array, nearest: Array) -> None:
    """Fill `nearest` with argmax of x.c - |c|^2 / 2."""
    size = vectors.shape[1]
    for row in range(len(vectors)):
        best, place = -np.inf, 0
        for word in range(len(book)):
            score = -halves[word]
            for i in range(size):
                score += vectors[row, i] * book[word, i]
            if score > best:
                best, place = score, word
        nearest[row] = place
