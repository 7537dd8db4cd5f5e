"""Trellis-coded quantization (Marcellin and Fischer 1990): Ungerboeck's 8-state trellis, trained levels, Viterbi.

At R bits the 2^(R+1) levels, in ascending order, belong to the subsets D0 D1 D2 D3 D0 ...; a state offers two of them,
D0 and D2 or D1 and D3, that is every other level: an index of R bits says which, and with it the next state. A sequence
of n samples costs n R bits and is quantized as with twice the levels. The search needs the encoder's loop below, so the
tensor crosses as float32; decoding is table look-up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.coders.layout import check_tensors, text_of
from splitpoint.codecs.contract.preset import CoderFit, Layout
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, Context, PayloadError, Rate, TensorSpec
from splitpoint.codecs.lossless import LOSSLESS, rebuild
from splitpoint.codecs.quantizers.lloyd import lloyd_levels, training_samples
from splitpoint.codecs.quantizers.uniform import bit_rates

__all__ = ["TRELLIS_BITS", "Trellis", "TrellisCoder", "dequantize", "quantize", "train_levels"]


def __dir__() -> list[str]:
    return __all__


TRELLIS_BITS = (1, 2, 3, 4, 5, 6, 7, 8)
# Next state by (state, subset). States 0, 2, 4, 6 offer D0 and D2, the others D1 and D3; -1: not offered.
NEXT = np.array(
    [
        [0, -1, 1, -1],
        [-1, 2, -1, 3],
        [5, -1, 4, -1],
        [-1, 7, -1, 6],
        [1, -1, 0, -1],
        [-1, 3, -1, 2],
        [4, -1, 5, -1],
        [-1, 6, -1, 7],
    ],
    np.int8,
)
STATES = len(NEXT)
TRAINING_SAMPLES = 50_000
TRAINING_ROUNDS = 60
TRAINING_STEP = 1.9  # of the way from a level to its samples' mean: at 1.0, 4 bits lose 0.25 dB after 60 rounds
SETTLED = 1e-6  # relative change of the mean squared error between rounds
WINDOW = 4  # levels on either side of a sample among which the nearest of each subset is


def quantize(samples: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Indices of the path of least squared error from state 0; `samples` (n,), `levels` (2^(R+1),) ascending."""
    indices = np.zeros(len(samples), np.uint8)
    decisions = np.zeros((len(samples), STATES), np.int16)
    _viterbi(samples, levels, NEXT, decisions, indices)
    return indices


def dequantize(indices: NDArray[np.uint8], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The levels that `indices` (n,) stand for."""
    out = np.zeros(len(indices), np.float32)
    _walk(indices, levels, NEXT, out)
    return out


def train_levels(samples: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """Levels for `bits` bits: Lloyd's at bits + 1, then means of the samples that the trellis gives to each level."""
    levels = lloyd_levels(samples, bits + 1)
    best, least, before = levels, np.inf, np.inf
    for _ in range(TRAINING_ROUNDS):
        rounded = levels.astype(np.float32)
        coded = dequantize(quantize(samples, rounded), rounded)
        error = float(np.square(samples.astype(np.float64) - coded).mean())
        if error < least:
            best, least = levels, error
        if abs(before - error) <= SETTLED * error:
            break
        before = error
        place = np.searchsorted(rounded, coded)
        counts = np.bincount(place, minlength=len(levels))
        sums = np.bincount(place, weights=samples, minlength=len(levels))
        means = np.where(counts > 0, sums / np.maximum(counts, 1), levels)
        levels = np.sort(levels + TRAINING_STEP * (means - levels))
    return np.asarray(best, np.float32)


class TrellisCoder:
    """Viterbi search and an entropy coder of the indices."""

    name = "trellis"

    def __init__(self, *, specs: tuple[TensorSpec, ...], levels: NDArray[np.float32], inner: Coder) -> None:
        self.specs = specs
        self.levels = levels
        self.inner = inner

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Quantize and code."""
        check_tensors(self.specs, tensors)
        [spec] = self.specs
        samples = np.ascontiguousarray(tensors[spec.name], np.float32).ravel()
        indices = quantize(np.clip(samples, self.levels[0], self.levels[-1]), self.levels)
        return self.inner.encode({"indices": indices.reshape(spec.shape)})

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the quantized tensor; raises `PayloadError`."""
        [spec] = self.specs
        indices = self.inner.decode(payload)["indices"]
        if indices.shape != spec.shape:
            raise PayloadError(f"trellis payload: expected {spec.shape}, got {indices.shape}")
        return {spec.name: dequantize(indices.ravel(), self.levels).reshape(spec.shape)}

    def arrays(self) -> dict[str, Array]:
        """The levels, and the inner coder's name and tables."""
        coder = np.frombuffer(self.inner.name.encode(), np.uint8)
        return {
            "levels": self.levels,
            "coder": coder,
            **{f"inner_{name}": x for name, x in self.inner.arrays().items()},
        }

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> TrellisCoder:
        """Rebuild; raises `CodecError`."""
        if len(specs) != 1 or specs[0].dtype != "float32":
            raise CodecError("trellis coder: one float32 tensor expected")
        levels = check_levels(arrays["levels"])
        inside = {name.removeprefix("inner_"): x for name, x in arrays.items() if name.startswith("inner_")}
        inner = rebuild(LOSSLESS, text_of(arrays["coder"]), _index_specs(specs, levels), inside)
        return cls(specs=specs, levels=levels, inner=inner)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trellis:
    """Trellis-coded quantization as the lossy coder of a preset."""

    coder: CoderFit
    bits: tuple[int, ...] = TRELLIS_BITS

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a number of bits."""
        return bit_rates(self.bits)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, spec: TensorSpec, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> Coder:
        """Train levels, quantize the calibration tensors, fit the entropy coder to their indices."""
        flat = np.ascontiguousarray(coefficients, np.float32).reshape(len(coefficients), -1)
        levels = train_levels(training_samples(flat, TRAINING_SAMPLES, context.seed), int(rate.value))
        indices = np.stack([quantize(row, levels) for row in flat[:: max(1, flat.size // 2_000_000)]])
        specs = _index_specs((spec,), levels)
        inner = self.coder.fit(specs, {"indices": indices.reshape(-1, *spec.shape[1:])})
        return TrellisCoder(specs=(spec,), levels=levels, inner=inner)


def check_levels(levels: Array) -> NDArray[np.float32]:
    """Stored levels: 2^2 to 2^9 finite float32 in ascending order; raises `CodecError`."""
    size = levels.size
    if levels.dtype != np.float32 or levels.ndim != 1 or size not in {2 ** (bits + 1) for bits in TRELLIS_BITS}:
        raise CodecError(f"trellis coder: 4 to 512 float32 levels expected, got {levels.dtype}{levels.shape}")
    if not np.isfinite(levels).all() or (np.diff(levels) < 0).any():
        raise CodecError("trellis coder: levels must be finite and ascending")
    return levels


def _index_specs(specs: tuple[TensorSpec, ...], levels: Array) -> tuple[TensorSpec, ...]:
    [spec] = specs
    high = len(levels) // 2 - 1
    return (dataclasses.replace(spec, name="indices", dtype="uint8", low=0, high=high),)


@Kernel
def _viterbi(samples: Array, levels: Array, nexts: Array, decisions: Array, indices: Array) -> None:
    """Fill `indices`; `decisions[t, state]` is (level << 3 | previous state) of the best way into the state."""
    count = len(levels)
    cost = np.full(8, np.inf)
    cost[0] = 0.0
    fresh = np.empty(8)
    nearest = np.zeros(4, np.int64)
    error = np.zeros(4)
    for t in range(len(samples)):
        x = samples[t]
        low, high = 0, count
        while low < high:
            middle = (low + high) >> 1
            if levels[middle] < x:
                low = middle + 1
            else:
                high = middle
        for subset in range(4):
            error[subset] = np.inf
        for place in range(low - 4, low + 4):
            if place < 0 or place >= count:
                continue
            distance = (np.float64(x) - levels[place]) ** 2
            subset = place & 3
            if distance < error[subset]:
                error[subset] = distance
                nearest[subset] = place
        for state in range(8):
            fresh[state] = np.inf
        for state in range(8):
            for half in range(2):
                subset = (state & 1) + 2 * half
                to = np.int64(nexts[state, subset])
                total = cost[state] + error[subset]
                if total < fresh[to]:
                    fresh[to] = total
                    decisions[t, to] = nearest[subset] << 3 | state
        for state in range(8):
            cost[state] = fresh[state]
    last: Any = np.argmin(cost)
    for t in range(len(samples) - 1, -1, -1):
        decision = np.int64(decisions[t, last])
        indices[t] = decision >> 4
        last = decision & 7


@Kernel
def _walk(indices: Array, levels: Array, nexts: Array, out: Array) -> None:
    state = np.int64(0)
    for t in range(len(indices)):
        place = 2 * np.int64(indices[t]) + (state & 1)
        out[t] = levels[place]
        state = np.int64(nexts[state, place & 3])
