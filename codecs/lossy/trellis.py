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
TRAINING_SAMPLES = 100_000  # half of them to train, half to compare
TRAINING_ROUNDS = 20
TRIED_EVERY = 4  # rounds
TRAINING_STEP = 1.9  # of the way from a level to its samples' mean: at 1.0, 4 bits lose 0.25 dB after 60 rounds
PRIOR_SAMPLES = 1.0  # at a start's level; 20 lose 0.3 dB at 8 bits and a decibel at 2, 0.3 gain nothing
DENSITY_SHARES = (0.0, 0.9)  # uniform; nearly optimal, with a tenth of the levels where no sample was seen
DENSITY_BINS = 512
DENSITY_SMOOTHED = 5  # bins
HELD_STRETCH = 500  # samples that stay together
MARGIN = 1.0  # ranges of the levels beyond their ends that the search tells apart


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


def train_levels(samples: Array, bits: int, seed: int = 0) -> NDArray[np.float32]:
    """2^(bits + 1) ascending levels for samples of any shape: of several starts, what has least error held out.

    A start is trained on one half of the samples and compared on the other half, as it is and after every few rounds.
    Uniform levels, and those by the samples' density, reach the least and the largest of all samples: a level that no
    sample trains stays where its start has it. Lloyd's levels at bits + 1 are best at few bits, where starts matter.
    """
    flat = np.ascontiguousarray(samples, np.float32).ravel()
    trained, held_out = _halves(training_samples(flat, TRAINING_SAMPLES, seed))
    ends = float(flat.min()), float(flat.max())
    starts = [_companded(trained, bits, ends, share) for share in DENSITY_SHARES]
    candidates = [each for start in starts for each in _training(trained, start, PRIOR_SAMPLES)]
    candidates += _training(trained, lloyd_levels(trained, bits + 1), 0.0)
    return min(candidates, key=lambda levels: _squared_error(held_out, levels))


def _training(samples: NDArray[np.float32], start: Array, prior: float) -> list[NDArray[np.float32]]:
    """The levels of `start`, and after every few rounds: means of the samples that the trellis gives to each level.

    A mean has `prior` more samples at the start's level, so that a level with few samples stays near it.
    """
    levels, kept = np.asarray(start, np.float64), []
    for number in range(TRAINING_ROUNDS + 1):
        rounded = levels.astype(np.float32)
        if number % TRIED_EVERY == 0:
            kept.append(rounded)
        place = _walked(quantize(samples, rounded), len(rounded))
        counts = np.bincount(place, minlength=len(levels)) + prior
        sums = np.bincount(place, weights=samples, minlength=len(levels)) + prior * start
        means = np.divide(sums, counts, out=levels.copy(), where=counts > 0)
        levels = np.sort(levels + TRAINING_STEP * (means - levels))
    return kept


def _companded(samples: NDArray[np.float32], bits: int, ends: tuple[float, float], share: float) -> Array:
    """Levels between `ends` at a density of `share` of cbrt(p), the best at many levels, and the rest uniform.

    (Panter and Dite 1951, p the samples' density.) A value that more samples have than an average level, as zero behind
    a ReLU, is two neighbouring levels: every state of the trellis then offers it.
    """
    values, counts = np.unique(samples, return_counts=True)
    atom = values[counts.argmax()]
    count = 2 << bits
    twice = counts.max() * count > len(samples)
    rest = samples[samples != atom] if twice else samples
    density = np.histogram(rest, bins=DENSITY_BINS, range=ends)[0]
    root = np.cbrt(np.convolve(density, np.full(DENSITY_SMOOTHED, 1 / DENSITY_SMOOTHED), "same"))
    mixed = share * root / max(root.sum(), 1.0) + (1 - share) / DENSITY_BINS
    below = np.concatenate([[0.0], np.cumsum(mixed / mixed.sum())])
    levels = np.interp(np.linspace(0, 1, count - twice), below, np.linspace(*ends, DENSITY_BINS + 1))
    if twice:
        levels[np.abs(levels - atom).argmin()] = atom
        levels = np.sort(np.append(levels, atom))
    return levels


def _halves(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Every other stretch of the samples, and the rest; few samples serve twice."""
    if len(samples) < 2 * HELD_STRETCH:
        return samples, samples
    stretches = samples[: len(samples) // HELD_STRETCH * HELD_STRETCH].reshape(-1, HELD_STRETCH)
    return stretches[::2].ravel(), stretches[1::2].ravel()


def _squared_error(samples: NDArray[np.float32], levels: NDArray[np.float32]) -> float:
    return float(np.square(samples.astype(np.float64) - dequantize(quantize(samples, levels), levels)).sum())


def _walked(indices: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """The level's number, of `count`, that each index stands for."""
    return dequantize(indices, np.arange(count, dtype=np.float32)).astype(np.int64)


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
        indices = quantize(_limited(samples, self.levels), self.levels)
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
        levels = train_levels(flat, int(rate.value), context.seed)
        indices = np.stack([quantize(_limited(row, levels), levels) for row in flat[:: max(1, flat.size // 2_000_000)]])
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


def _limited(samples: NDArray[np.float32], levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples far outside drawn in. At the end levels themselves the path would not see what another level costs more.

    At one bit, where half of a Gaussian is outside, that loses 0.25 dB.
    """
    margin = MARGIN * (np.float64(levels[-1]) - levels[0])
    return np.clip(samples, np.float32(levels[0] - margin), np.float32(levels[-1] + margin))


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
