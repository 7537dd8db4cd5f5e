"""Dependent quantization with the rate in the search, as VVC has it (Schwarz et al. 2021; 8 states as Ungerboeck's).

Two quantizers alternate: Q0 has the even multiples of half a step, Q1 the odd ones and zero. The parities of the
symbols so far say which is next, by the trellis of `lossy/trellis.py`. The search takes the path of least squared error
plus weighted bits, by a table for channels of about equal magnitude. The search is the encoder's alone, so the
coefficients cross as float32; decoding is a walk over the symbols, which another coder codes without loss.

Tried and left out (2026-11): the same weight of bits without a trellis, to the symbols of `quantizers/step.py`, saved 2
to 3 % of the bytes at equal squared error and nothing at equal divergence (VGG16 after pool3: -1.0 % [-3.1,
0.9] at a weight of 0.06, +1.5 % [-0.9, 3.4] at 0.12). Statistics of the context coder by the state, as in VVC, gave
the same bytes within 0.1 %. Four states saved about 1 % less than eight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.coders.jit import Kernel
from splitpoint.codecs.coders.layout import channels, check_tensors, from_channels, text_of, to_channels
from splitpoint.codecs.contract.preset import CoderFit, Layout
from splitpoint.codecs.contract.protocol import Array, CodecError, Coder, Context, PayloadError, Rate, TensorSpec
from splitpoint.codecs.lossless import LOSSLESS, rebuild
from splitpoint.codecs.lossy.trellis import NEXT
from splitpoint.codecs.quantizers.step import CENTRED, LIMIT, STEPS, lift, quantize, step_rates

__all__ = ["Dependent", "DependentCoder", "Tables"]


def __dir__() -> list[str]:
    return __all__


PITCH = 1.5  # of the steps without a trellis: about the same error
RATE_WEIGHT = 0.03  # squared steps that a bit is worth; at 0.06 0.6 % more bytes at equal divergence (VGG16, pool3)
COUNTED = 15  # magnitudes with their own bits; larger ones share the last and cost an Exp-Golomb number
CLASSES, CLASS_ZERO, A_DOUBLING = 28, 18, 3  # of a channel's mean magnitude in steps: third octaves from 2^-6
ROUNDS = 3
FIT_SYMBOLS = 1_000_000  # of a round
LEAST_IN_A_BIN = 20  # calibration values whose mean is taken
SMOOTHING = 0.02  # symbols added to every count
MOST_BITS = 64.0
# Next state by (state, parity): even states have Q0 and the subsets D0 and D2, odd ones Q1 and D1 and D3.
BY_PARITY = np.stack([[row[state & 1], row[(state & 1) + 2]] for state, row in enumerate(NEXT)]).astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tables:
    """What is fitted at a rate."""

    step: NDArray[np.float32]  # (1,)
    shifts: NDArray[np.float32]  # (2, CENTRED) of Q0 and Q1: where magnitudes 1, 2, 3 and more lie in their bins, steps
    lift: NDArray[np.float32]  # (1,) that the decoder adds, in steps: see quantizers/step.py
    classes: NDArray[np.uint8]  # (channels,) of the mean magnitude
    bits: NDArray[np.float32]  # (CLASSES, COUNTED + 1) of a magnitude, sign included


class DependentCoder:
    """The search, and a lossless coder of its symbols."""

    name = "dependent"

    def __init__(self, *, specs: tuple[TensorSpec, ...], tables: Tables, inner: Coder) -> None:
        self.specs = specs
        self.tables = tables
        self.inner = inner

    def encode(self, tensors: Mapping[str, Array]) -> bytes:
        """Quantize and code."""
        check_tensors(self.specs, tensors)
        [spec] = self.specs
        symbols = _symbols(_rows(tensors[spec.name], spec), self.tables)
        [inside] = self.inner.specs
        return self.inner.encode({inside.name: from_channels(symbols, inside)})

    def decode(self, payload: bytes) -> dict[str, Array]:
        """Give the quantized tensor; raises `PayloadError`."""
        [spec], [inside] = self.specs, self.inner.specs
        decoded = self.inner.decode(payload)[inside.name]
        if decoded.shape != spec.shape:
            raise PayloadError(f"dependent payload: expected {spec.shape}, got {decoded.shape}")
        symbols = to_channels(decoded, inside)
        t = self.tables
        points = _points(t.shifts + t.lift[0])
        magnitude = _reconstructed(np.abs(symbols), _quantizers(symbols), points).astype(np.float32)
        rows = np.sign(symbols).astype(np.float32) * magnitude * t.step[0]
        return {spec.name: _from_rows(rows, spec)}

    def arrays(self) -> dict[str, Array]:
        """The tables, and the inner coder's name and tables."""
        own = {field.name: getattr(self.tables, field.name) for field in dataclasses.fields(Tables)}
        inside = {f"inner_{name}": x for name, x in self.inner.arrays().items()}
        return {**own, "coder": np.frombuffer(self.inner.name.encode(), np.uint8), **inside}

    @classmethod
    def from_arrays(cls, specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array]) -> DependentCoder:
        """Rebuild; raises `CodecError`."""
        if len(specs) != 1 or specs[0].dtype != "float32":
            raise CodecError("dependent coder: one float32 tensor expected")
        count, _ = channels(specs[0])
        expected = {
            "step": ((1,), "float32", np.finfo(np.float32).tiny, 1e35),
            "shifts": ((2, CENTRED), "float32", -1.0, 1.0),
            "lift": ((1,), "float32", 0.0, 1.0),
            "classes": ((count,), "uint8", 0, CLASSES - 1),
            "bits": ((CLASSES, COUNTED + 1), "float32", 0.0, MOST_BITS),
        }
        for name, (shape, dtype, low, high) in expected.items():
            x = arrays[name]
            if x.shape != shape or x.dtype != np.dtype(dtype):
                raise CodecError(f"dependent coder: {name!r} must be {dtype}{shape}, got {x.dtype}{x.shape}")
            if not ((x >= low) & (x <= high)).all():
                raise CodecError(f"dependent coder: {name!r} leaves {low:g}..{high:g}")
        inside = {name.removeprefix("inner_"): x for name, x in arrays.items() if name.startswith("inner_")}
        inner = rebuild(LOSSLESS, text_of(arrays["coder"]), _symbol_specs(specs[0]), inside)
        return cls(specs=specs, tables=Tables(**{name: arrays[name] for name in expected}), inner=inner)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Dependent:
    """Dependent quantization as the lossy coder of a preset."""

    coder: CoderFit
    steps: tuple[float, ...] = tuple(PITCH * step for step in STEPS)

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a step."""
        return step_rates(self.steps)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, spec: TensorSpec, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> Coder:
        """Step from the spread, then search and tables in turn; the inner coder is fitted to the last symbols."""
        rows = np.stack([_rows(one[None], spec) for one in coefficients])  # (N, channels, positions)
        spread = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64)))) or 1.0
        step = max(-rate.value * spread, float(np.abs(rows).max()) / LIMIT, float(np.finfo(np.float32).tiny))
        few = rows[:: max(1, rows.size // FIT_SYMBOLS)]
        classes = _classes(np.abs(few).mean(axis=(0, 2)) / step)
        plain = np.abs(quantize(few, step, 0.0)).astype(np.int64)
        tables = Tables(
            step=np.array([step], np.float32),
            shifts=np.zeros((2, CENTRED), np.float32),
            lift=np.zeros(1, np.float32),
            classes=classes,
            bits=_bits(plain, classes),
        )
        for _ in range(ROUNDS):
            symbols = np.stack([_symbols(one, tables) for one in few])
            tables = _refitted(tables, np.abs(few) / np.float32(step), symbols)
        specs = _symbol_specs(spec)
        coded = np.concatenate([from_channels(_symbols(one, tables), specs[0]) for one in rows])
        return DependentCoder(specs=(spec,), tables=tables, inner=self.coder.fit(specs, {specs[0].name: coded}))


def _refitted(tables: Tables, scaled: Array, symbols: NDArray[np.int32]) -> Tables:
    """Bits, the bins' means, and the lift, from magnitudes (N, channels, positions) in steps and their symbols."""
    magnitude = np.abs(symbols).astype(np.int64)
    which = np.stack([_quantizers(one) for one in symbols])
    gaps = scaled - _reconstructed(magnitude, which, _points(np.zeros((2, CENTRED))))
    shifts = np.zeros((2, CENTRED), np.float32)
    for quantizer in range(2):
        for place in range(CENTRED):
            inside = magnitude == place + 1 if place < CENTRED - 1 else magnitude >= CENTRED
            found = gaps[inside & (which == quantizer)]
            shifts[quantizer, place] = np.clip(found.mean(), -0.5, 0.5) if len(found) >= LEAST_IN_A_BIN else 0.0
    coded = _reconstructed(magnitude, which, _points(shifts))[magnitude > 0]
    return dataclasses.replace(
        tables,
        shifts=shifts,
        lift=np.array([lift(scaled, coded)], np.float32),
        bits=_bits(magnitude, tables.classes),
    )


def _bits(magnitude: NDArray[np.int64], classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """-log2 of the share of each magnitude in its class, and the sign."""
    counts = np.full((CLASSES, COUNTED + 1), SMOOTHING)
    where = np.broadcast_to(classes[None, :, None], magnitude.shape)
    np.add.at(counts, (where.ravel(), np.minimum(magnitude, COUNTED).ravel()), 1)
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    bits[:, 1:] += 1
    return bits.astype(np.float32)


def _classes(mean: Array) -> NDArray[np.uint8]:
    place = np.floor(A_DOUBLING * np.log2(np.maximum(mean, 1e-9))) + CLASS_ZERO
    return np.clip(place, 0, CLASSES - 1).astype(np.uint8)


def _points(shifts: Array) -> NDArray[np.float64]:
    """(2, CENTRED + 1): magnitudes 0, 1, 2, 3 of Q0 and Q1 in steps; larger ones follow a step apart."""
    points = np.arange(CENTRED + 1) - np.array([[0.0], [0.5]])
    points[:, 1:] += shifts
    points[:, 0] = 0.0
    return points


def _reconstructed(magnitude: Array, which: Array, points: NDArray[np.float64]) -> Array:
    return points[which, np.minimum(magnitude, CENTRED)] + np.maximum(magnitude - CENTRED, 0)


def _symbols(rows: NDArray[np.float32], tables: Tables) -> NDArray[np.int32]:
    """Signed symbols (channels, positions) of coefficients."""
    scaled = np.minimum(np.abs(rows, dtype=np.float64) / np.float64(tables.step[0]), LIMIT - 2)
    classes = np.repeat(tables.classes.astype(np.int64), rows.shape[1])
    magnitude = np.zeros(rows.size, np.int64)
    decisions = np.zeros((rows.size, len(BY_PARITY)), np.int32)
    weighted = RATE_WEIGHT * tables.bits.astype(np.float64)
    _search(scaled.ravel(), classes, _points(tables.shifts), weighted, RATE_WEIGHT, BY_PARITY, decisions, magnitude)
    return np.where(rows < 0, -1, 1).astype(np.int32) * magnitude.reshape(rows.shape).astype(np.int32)


def _quantizers(symbols: NDArray[np.int32]) -> NDArray[np.int64]:
    """0 or 1 of each symbol (channels, positions)."""
    which = np.zeros(symbols.size, np.int64)
    _walk(np.abs(symbols).ravel().astype(np.int64), BY_PARITY, which)
    return which.reshape(symbols.shape)


def _rows(x: Array, spec: TensorSpec) -> NDArray[np.float32]:
    """Coefficients (1, ...) as (channels, positions)."""
    moved = x if spec.channel_axis is None else np.moveaxis(x, spec.channel_axis, 0)
    return np.ascontiguousarray(moved, np.float32).reshape(channels(spec))


def _from_rows(rows: Array, spec: TensorSpec) -> Array:
    if spec.channel_axis is None:
        return rows.reshape(spec.shape)
    axis = spec.channel_axis
    moved = (spec.shape[axis], *spec.shape[:axis], *spec.shape[axis + 1 :])
    return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), 0, axis))


def _symbol_specs(spec: TensorSpec) -> tuple[TensorSpec, ...]:
    return (dataclasses.replace(spec, name="symbols", dtype="int16", low=-LIMIT, high=LIMIT),)


@Kernel
def _search(
    scaled: Array, classes: Array, points: Array, bits: Array, weight: float, nexts: Array, decisions: Array,
    magnitudes: Array,
) -> None:  # fmt: skip
    """Fill `magnitudes`; `decisions[t, state]` is (magnitude << 3 | previous state) of the cheapest way into it."""
    states = len(nexts)
    centred = points.shape[1] - 1
    counted = bits.shape[1] - 1
    cost = np.full(states, np.inf)
    cost[0] = 0.0
    fresh = np.empty(states)
    for t in range(len(scaled)):
        x = scaled[t]
        nearest = np.int64(x)
        for state in range(states):
            fresh[state] = np.inf
        for state in range(states):
            if cost[state] == np.inf:
                continue
            for candidate in range(-2, 3):  # the four around, and zero
                magnitude = nearest + candidate
                if candidate == -2:
                    magnitude = np.int64(0)
                elif magnitude < 0 or (magnitude == 0 and candidate <= 0):
                    continue
                point = points[state & 1, min(magnitude, centred)] + max(magnitude - centred, 0)
                total = cost[state] + (x - point) ** 2 + bits[classes[t], min(magnitude, counted)]
                if magnitude >= counted:
                    total += weight * (2.0 * np.log2(magnitude - counted + 1.0) + 1.0)
                to = nexts[state, magnitude & 1]
                if total < fresh[to]:
                    fresh[to] = total
                    decisions[t, to] = magnitude << 3 | state
        least = fresh.min()
        for state in range(states):
            cost[state] = fresh[state] - least
    last: Any = np.argmin(cost)
    for t in range(len(scaled) - 1, -1, -1):
        decision = np.int64(decisions[t, last])
        magnitudes[t] = decision >> 3
        last = decision & 7


@Kernel
def _walk(magnitudes: Array, nexts: Array, which: Array) -> None:
    state = np.int64(0)
    for t in range(len(magnitudes)):
        which[t] = state & 1
        state = nexts[state, magnitudes[t] & 1]
