"""What the tensors at every cut are like to code: zeros, entropy and SQNR by bits, spectrum, correlation.

All cuts are measured in one pass over the inputs; of each tensor only sums, a fine histogram and a channel covariance
are kept. Sizes derived here are *estimates* (`..._estimated_bit`): never in one column with a bitstream's length.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.profiles.errors import ProfileError

__all__ = ["BITS", "Accumulator", "Compressibility", "measure"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
BITS = (2, 3, 4, 5, 6, 7, 8)
FINE = 1 << 15  # bins; at least a quarter of them cover the final range, 32 for each step of 8 bits
SHOWN = 32  # bins of the histogram that is drawn
LEAST_VECTORS = 4  # positions a channel; from fewer a covariance looks far more compressible than it is
MOST_CHANNELS = 2048  # a larger covariance (fully connected layers) would take more memory than the network


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Compressibility:
    """Statistics of one tensor over `inputs` inputs; `entropy_bit` and `sqnr_db` are of uniform min-max quantizers."""

    tensor: str
    shape: tuple[int, ...]  # batch axis 1 included
    inputs: int
    zero_fraction: float
    low: float
    high: float
    entropy_bit: Mapping[int, float]  # bits a scalar of the symbols, zero order, by the quantizer's bits
    sqnr_db: Mapping[int, float]  # signal power over error power; infinite where there is no error
    histogram: tuple[int, ...]  # SHOWN equal bins from low to high
    channels: int
    # (C,) eigenvalues of the channel covariance, falling; None above MOST_CHANNELS and below LEAST_VECTORS a channel
    spectrum: Floats | None
    correlation: float | None  # mean |correlation| of two channels that vary; None where the spectrum is, or below two
    _bins: _Bins
    _power: float  # mean square

    @property
    def elements(self) -> int:
        """Scalars of one inference."""
        return math.prod(self.shape)

    def components(self, share: float) -> int | None:
        """Number of principal components, of `channels`, that contain `share` of the variance."""
        if self.spectrum is None:
            return None
        total = float(self.spectrum.sum())
        if total == 0:
            return 0
        return int(np.searchsorted(np.cumsum(self.spectrum) / total, share - 1e-12) + 1)

    def scalar_estimated_bit(self, sqnr_db: float) -> float | None:
        """Bits of one inference at a target SQNR: zero-order entropy of a uniform step with a level at zero.

        None when the target needs a finer step than the histogram resolves.
        """
        error = self._power / 10 ** (sqnr_db / 10)
        if error == 0:
            return 0.0
        low, high = 8 * self._bins.width, 4 * max(abs(self.low), abs(self.high)) + self._bins.width
        if self._bins.at_step(low)[1] > error:
            return None
        for _ in range(50):  # the error grows with the step but for ripples: bisection on its logarithm
            step = math.sqrt(low * high)
            low, high = (low, step) if self._bins.at_step(step)[1] > error else (step, high)
        return self._bins.at_step(low)[0] * self.elements

    def klt_estimated_bit(self, sqnr_db: float) -> float | None:
        """Bits of one inference at a target SQNR if principal components were independent Gaussians.

        Reverse water-filling (Cover and Thomas, theorem 10.3.3): sum of 1/2 log2(variance / level), level = the noise
        that a component keeps. Channel means are free and positions independent, so coders can be better or worse.
        """
        if self.spectrum is None:
            return None
        target = self._power / 10 ** (sqnr_db / 10) * self.channels  # noise of a position, over its channels
        if target >= float(self.spectrum.sum()):
            return 0.0
        low, high = 0.0, float(self.spectrum[0])
        for _ in range(200):
            level = (low + high) / 2
            low, high = (low, level) if np.minimum(self.spectrum, level).sum() > target else (level, high)
        above = self.spectrum[self.spectrum > high]
        return float(0.5 * np.log2(above / high).sum()) * self.elements / self.channels


def measure(rows: Iterable[Mapping[str, Array]], tensors: Iterable[str]) -> dict[str, Compressibility]:
    """Statistics of `tensors` over `rows`: for each input its tensors by name, (1, ...) each, taken one row at a time.

    Raises `ProfileError` naming the tensor that holds NaN or infinity, and when there are no rows.
    """
    accumulators: dict[str, Accumulator] = {}
    names = list(tensors)
    for row in rows:
        for name in names:
            value = np.atleast_1d(row[name])
            if name not in accumulators:
                accumulators[name] = Accumulator(name, value.shape)
            accumulators[name].add(value)
    if not accumulators:
        raise ProfileError("there are no inputs to measure", fix="give --data with at least one input")
    return {name: accumulator.result() for name, accumulator in accumulators.items()}


class Accumulator:
    """Sums over inputs of one tensor; its memory does not grow with their number."""

    def __init__(self, tensor: str, shape: tuple[int, ...]) -> None:
        """`shape` has the batch axis; channels are its axis 1, the last one of three (tokens x features)."""
        self.tensor, self.shape = tensor, shape
        self._axis = len(shape) - 1 if len(shape) == 3 else min(1, len(shape) - 1)
        self._channels = shape[self._axis]
        self._inputs, self._zeros = 0, 0
        self._squares = 0.0
        self._low, self._high = math.inf, -math.inf
        self._bins: _Bins | None = None
        self._sum = np.zeros(self._channels)
        wide = self._channels > MOST_CHANNELS
        self._products = None if wide else np.zeros((self._channels, self._channels))

    def add(self, value: Array) -> None:
        """Take one input's tensor, of the shape given."""
        if value.shape != self.shape:
            raise ProfileError(f"tensor '{self.tensor}' has shape {value.shape}, expected {self.shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ProfileError(f"tensor '{self.tensor}' holds NaN or infinity", at=f"input {self._inputs}")
        flat = value.astype(np.float64).ravel()
        low, high = float(flat.min()), float(flat.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._inputs += 1
        self._squares += float(flat @ flat)
        nonzero = flat[flat != 0]
        self._zeros += flat.size - nonzero.size
        if self._bins is None:
            self._bins = _Bins(low, high)
        self._bins.zeros = self._zeros
        if nonzero.size:
            self._bins.add(nonzero)
        by_channel = np.moveaxis(value, self._axis, 0).reshape(self._channels, -1)  # (C, positions)
        self._sum += by_channel.sum(axis=1, dtype=np.float64)
        if self._products is not None:
            single = by_channel.astype(np.float32)
            self._products += single @ single.T

    def result(self) -> Compressibility:
        """The statistics of what was added, at least one input."""
        if self._bins is None:
            raise ProfileError(f"tensor '{self.tensor}' was never added")
        count = self._inputs * math.prod(self.shape)
        coded = {bits: self._bins.at_bits(bits, self._low, self._high) for bits in BITS}
        power = self._squares / count
        spectrum, correlation = self._channel_statistics(count // self._channels)
        return Compressibility(
            tensor=self.tensor,
            shape=self.shape,
            inputs=self._inputs,
            zero_fraction=self._zeros / count,
            low=self._low,
            high=self._high,
            entropy_bit={bits: entropy for bits, (entropy, _) in coded.items()},
            sqnr_db={bits: _decibel(power, error) for bits, (_, error) in coded.items()},
            histogram=self._bins.shown(self._low, self._high),
            channels=self._channels,
            spectrum=spectrum,
            correlation=correlation,
            _bins=self._bins,
            _power=power,
        )

    def _channel_statistics(self, positions: int) -> tuple[Floats | None, float | None]:
        if self._products is None or positions < LEAST_VECTORS * self._channels:
            return None, None
        mean = self._sum / positions
        covariance = self._products / positions - np.outer(mean, mean)
        spectrum = np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)
        variance = np.diag(covariance)
        square = np.diag(self._products) / positions
        varies = variance > 1e-6 * square.max()  # below that float32 sums decide
        if int(varies.sum()) < 2:
            return spectrum, None
        scale = np.sqrt(variance[varies])
        correlation = covariance[np.ix_(varies, varies)] / np.outer(scale, scale)
        k = len(scale)
        return spectrum, float((np.abs(correlation).sum() - k) / (k * (k - 1)))


class _Bins:
    """A histogram of nonzero values that doubles its width when a value falls outside; zeros are counted apart."""

    def __init__(self, low: float, high: float) -> None:
        spread = high - low
        tiny = 1e-6 * max(abs(low), abs(high), 1e-30)
        self.low = low
        self.width = max(spread, tiny) * (1 + 1e-9) / FINE
        self.counts = np.zeros(FINE, dtype=np.int64)
        self.zeros = 0

    def add(self, values: Floats) -> None:
        """Count nonzero values (N,)."""
        low, high = float(values.min()), float(values.max())
        while low < self.low or high >= self.low + FINE * self.width:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            empty = np.zeros(FINE // 2, dtype=np.int64)
            if low < self.low:
                self.low -= FINE * self.width
                self.counts = np.concatenate([empty, pairs])
            else:
                self.counts = np.concatenate([pairs, empty])
            self.width *= 2
        index = ((values - self.low) / self.width).astype(np.int64).clip(0, FINE - 1)
        self.counts += np.bincount(index, minlength=FINE)

    def at_bits(self, bits: int, low: float, high: float) -> tuple[float, float]:
        """Entropy (bits a scalar) and mean square error of 2^bits levels from low to high, both ends a level."""
        if high == low:
            return 0.0, 0.0
        return self._coded((high - low) / (2**bits - 1), low, 2**bits)

    def at_step(self, step: float) -> tuple[float, float]:
        """The same of levels k x step on an unbounded grid."""
        return self._coded(step, 0.0, None)

    def shown(self, low: float, high: float) -> tuple[int, ...]:
        """Counts in SHOWN equal bins from low to high."""
        width = (high - low) / SHOWN or 1.0
        value, count = self._atoms()
        index = ((value - low) / width).astype(np.int64).clip(0, SHOWN - 1)
        return tuple(int(c) for c in np.bincount(index, weights=count, minlength=SHOWN))

    def _atoms(self) -> tuple[Floats, Floats]:
        """Values and how often: bins' middles, and zero exactly."""
        (filled,) = np.nonzero(self.counts)
        value = self.low + (filled + 0.5) * self.width
        return np.append(value, 0.0), np.append(self.counts[filled], self.zeros).astype(np.float64)

    def _coded(self, step: float, origin: float, levels: int | None) -> tuple[float, float]:
        value, count = self._atoms()
        symbol = np.rint((value - origin) / step)
        if levels is not None:
            symbol = symbol.clip(0, levels - 1)
        error = float((count * (value - origin - symbol * step) ** 2).sum() / count.sum())
        _, code = np.unique(symbol, return_inverse=True)
        share = np.bincount(code, weights=count) / count.sum()
        share = share[share > 0]
        return float(-(share * np.log2(share)).sum()), error


def _decibel(power: float, error: float) -> float:
    return math.inf if error == 0 else 10 * math.log10(power / error) if power > 0 else -math.inf
