"""How fast one thread of this machine runs branchy integer code: zstd at level 1 on generated, compressible bytes.

Boards publish this figure (`zstd -b1`), and entropy coders and picture codecs are code of the same kind, so the ratio
of two machines' figures says more of their serial code than the ratio of their SIMD arithmetic.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import zstandard

__all__ = ["generated", "zstd_bytes_s"]


def __dir__() -> list[str]:
    return __all__


SIZE = 4_000_000
BUDGET_S = 0.3
LEAST_RUNS = 3
# Half the decisions copy from the last 32 kB, as zstd's own generator does at its default compressibility of 50 %,
# where level 1 reaches a ratio of 3.2 (facebook/zstd pull request 2749).
COPIES = 0.5
WINDOW = 32_768
LETTERS = 0.11  # share of the letters that remain at which the next one is drawn: a geometric alphabet


def zstd_bytes_s() -> float:
    """Bytes of input a second, level 1, one thread: the fastest of several runs."""
    data, compressor = generated(), zstandard.ZstdCompressor(level=1)
    compressor.compress(data)
    least, runs, begin = float("inf"), 0, time.perf_counter()
    while runs < LEAST_RUNS or time.perf_counter() - begin < BUDGET_S:
        start = time.perf_counter()
        compressor.compress(data)
        least = min(least, time.perf_counter() - start)
        runs += 1
    return len(data) / least


@functools.cache
def generated(size: int = SIZE) -> bytes:
    """Seeded letters of a geometric alphabet in short runs, and copies of the text before them."""
    rng = np.random.default_rng(0)
    letters = (48 + np.minimum(rng.geometric(LETTERS, size), 80) - 1).astype(np.uint8).tobytes()
    pieces = size // 8
    copies = rng.random(pieces) < COPIES
    lengths = np.where(rng.random(pieces) < 7 / 8, rng.integers(0, 16, pieces), rng.integers(15, 527, pieces))
    offsets = rng.integers(1, WINDOW + 1, pieces)
    out = bytearray(letters[:64])
    for copy, length, offset in zip(copies.tolist(), lengths.tolist(), offsets.tolist(), strict=True):
        if len(out) >= size:
            break
        if not copy:
            out += letters[len(out) : len(out) + length]
            continue
        start = max(0, len(out) - offset)
        piece = bytes(out[start : start + length + 4])
        out += (piece * (length + 4))[: length + 4]  # a copy may overlap itself
    return bytes(out[:size])
