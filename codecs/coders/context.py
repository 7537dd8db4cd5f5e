"""Adaptive context coding: mixed binary models and an arithmetic coder, the smallest payloads and the slowest coder.

The models start from what they learned on the calibration symbols (stored with the plan) and adapt to each tensor. The
loops are in `context_kernel.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders import context_kernel as kernel
from splitpoint.codecs.coders.layout import (
    channels,
    check_tensors,
    from_channels,
    join_side,
    split_side,
    symbol_spec,
    to_channels,
)
from splitpoint.codecs.contract.protocol import Array, CodecError, PayloadError, TensorSpec

__all__ = ["ContextCode", "ContextCoder"]


def __dir__() -> list[str]:
    return __all__


SLOWEST = 250  # a probability moves by at least 1/250 of its error; 120 and 60 gave the same length within 0.1 %
SPEED = 6  # of the mixing weights; 2 and 14 gave the same length within 0.5 %
FIRST_WEIGHT = (1 << 16) * 3 // 10  # of each of the five predictions
TRAINING_SYMBOLS = 3_000_000  # about half a second
MOST_BYTES_A_SYMBOL = 36  # 20 questions at up to 12 bits, 36 plain bits, a sign at up to 6
SLACK_BYTES = 64
WIDEST = (1 << kernel.MAX_EXPONENT) - 1  # difference of two symbols: the kernel's Exp-Golomb number holds more


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """What the coder starts from: statistics of the channels and the state of the adaptive probabilities."""

    centers: NDArray[np.int32]  # (channels,) most frequent symbol, coded as 0
    classes: NDArray[np.uint8]  # (channels,) logarithmic class of the mean magnitude
    means: NDArray[np.int32]  # (channels,) mean magnitude in 1/256
    state: NDArray[np.uint16]  # adaptive probabilities in 1/65536
    seen: NDArray[np.uint8]  # how often each was adapted
    weights: NDArray[np.int32]  # (classes * nodes, inputs) mixing weights in 1/65536


class ContextCoder:
    """The coder with its trained model."""

    name = "context"

    def __init__(self, *, specs: tuple[TensorSpec, ...], model: Model) -> None:
        self.specs = specs
        self.model = model
        self._spec = _check_range(symbol_spec(specs))

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Code the tensors."""
        check_tensors(self.specs, tensors)
        symbols = to_channels(tensors[self._spec.name], self._spec) - self.model.centers[:, None]
        out = np.empty(symbols.size * MOST_BYTES_A_SYMBOL + SLACK_BYTES, np.uint8)
        length = self._run(kernel.ENCODE, symbols, out)
        return join_side(self.specs, tensors) + out[:length].tobytes()

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the tensors back; raises `PayloadError`."""
        tensors, data = split_side(self.specs, payload)
        symbols = np.zeros(channels(self._spec), np.int32)
        read = self._run(kernel.DECODE, symbols, np.frombuffer(data, np.uint8).copy())
        if read < 0:
            raise PayloadError(f"context payload of {len(data)} bytes ends inside the symbols")
        if read < len(data):
            raise PayloadError(f"context payload: symbols end after {read} of {len(data)} bytes")
        tensors[self._spec.name] = from_channels(symbols + self.model.centers[:, None], self._spec)
        return tensors

    def bits(self, tensors: Mapping[str, Array]) -> float:
        """Sum of -log2 of the coder's own probabilities for these symbols, to 1/1024 bit."""
        symbols = to_channels(tensors[self._spec.name], self._spec) - self.model.centers[:, None]
        return self._run(kernel.TRAIN, symbols, np.zeros(1, np.uint8)) / 1024

    def arrays(self) -> dict[str, Array]:
        """The model."""
        return {field.name: getattr(self.model, field.name) for field in dataclasses.fields(Model)}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> ContextCoder:
        """Rebuild; raises `CodecError`."""
        spec = _check_range(symbol_spec(specs))
        count, _ = channels(spec)
        expected = {
            "centers": ((count,), "int32", spec.low, spec.high),
            "classes": ((count,), "uint8", 0, kernel.CLASSES - 1),
            "means": ((count,), "int32", 0, 1 << 24),
            "state": ((kernel.contexts(count),), "uint16", 1, 65535),
            "seen": ((kernel.contexts(count),), "uint8", 0, 255),
            "weights": ((kernel.CLASSES * kernel.NODES, kernel.INPUTS), "int32", -kernel.HEAVIEST, kernel.HEAVIEST),
        }
        for name, (shape, dtype, low, high) in expected.items():
            x = arrays[name]
            if x.shape != shape or x.dtype != np.dtype(dtype):
                raise CodecError(f"context coder: {name!r} must be {dtype}{shape}, got {x.dtype}{x.shape}")
            if low is None or high is None or int(x.min()) < low or int(x.max()) > high:
                raise CodecError(f"context coder: {name!r} leaves {low}..{high}")
        return cls(specs=specs, model=Model(**{name: arrays[name] for name in expected}))

    def _run(self, mode: int, symbols: NDArray[np.int32], data: NDArray[np.uint8]) -> int:
        m = self.model
        return _run(mode, symbols, self._spec, m, m.state.copy(), m.seen.copy(), m.weights.copy(), data)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ContextCode:
    """Context coding as part of a preset."""

    def fit(self, specs: Sequence[TensorSpec], samples: Mapping[str, Array]) -> ContextCoder:
        """Train the models on the calibration symbols, one tensor after another."""
        spec = symbol_spec(specs)
        count, _ = channels(spec)
        most = max(1, TRAINING_SYMBOLS // max(spec.elements, 1))
        tensors = [to_channels(x[None], spec) for x in samples[spec.name][:most]]
        together = np.concatenate(tensors, axis=1)
        centers = _modes(together)
        magnitude = np.abs(together.astype(np.int64) - centers[:, None]).sum(axis=1)
        seen_symbols = together.shape[1]
        model = Model(
            centers=centers,
            classes=_classes(magnitude, seen_symbols),
            means=np.minimum(256 * magnitude // seen_symbols, 1 << 24).astype(np.int32),
            state=np.full(kernel.contexts(count), 1 << 15, np.uint16),
            seen=np.zeros(kernel.contexts(count), np.uint8),
            weights=np.full((kernel.CLASSES * kernel.NODES, kernel.INPUTS), FIRST_WEIGHT, np.int32),
        )
        for symbols in tensors:
            centred = symbols - centers[:, None]
            _run(kernel.TRAIN, centred, spec, model, model.state, model.seen, model.weights, np.zeros(1, np.uint8))
        return ContextCoder(specs=tuple(specs), model=model)


def _check_range(spec: TensorSpec) -> TensorSpec:
    """The spec, when every symbol has a code; raises `CodecError`."""
    if spec.low is None or spec.high is None or spec.high - spec.low > WIDEST:
        raise CodecError(f"context coder: expected a range of up to {WIDEST}, got {spec.low}..{spec.high}")
    return spec


def _run(
    mode: int,
    symbols: NDArray[np.int32],
    spec: TensorSpec,
    model: Model,
    state: NDArray[np.uint16],
    seen: NDArray[np.uint8],
    weights: NDArray[np.int32],
    data: NDArray[np.uint8],
) -> int:
    others = [n for axis, n in enumerate(spec.shape) if axis != spec.channel_axis]
    width = max(others[-1] if others else 1, 1)
    stretch, squash = kernel.logistic()
    symbols_in = np.ascontiguousarray(symbols)
    result = kernel.code(
        mode, symbols_in, width, spec.group or 0, model.classes, model.means, state, seen, weights, stretch, squash,
        kernel.reciprocals(), SLOWEST, SPEED, data,
    )  # fmt: skip
    return int(result)


def _modes(together: NDArray[np.int32]) -> NDArray[np.int32]:
    """The most frequent symbol of each channel, the lowest of equals."""
    low = int(together.min())
    span = int(together.max()) - low + 1
    if low <= 0 <= low + span - 1 and span > 1024:  # an unbounded grid has its mode at zero
        return np.zeros(len(together), np.int32)
    return np.array([np.bincount(row - low, minlength=span).argmax() + low for row in together], np.int32)


def _classes(magnitude: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
    """Half-octaves of the mean magnitude: class 0 below 2^-5.5, class 19 from 2^3.5 on."""
    squared = (magnitude.astype(np.float64) / count) ** 2
    edges = np.exp2(np.arange(-11, 8, dtype=np.float64))
    return np.searchsorted(edges, squared, side="right").astype(np.uint8)
