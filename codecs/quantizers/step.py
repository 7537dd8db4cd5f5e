"""Uniform steps with a zero bin on an unbounded grid: the quantizer of entropy-constrained coding.

The bin around zero is wider than a step, the others are one step wide. Rates are steps, as multiples of the
coefficients' standard deviation on calibration data.

Values come back farther out than where a bin's calibration values lie on average. That mean has the least squared
error, but less energy than the tensor: activations behind it shrink, and logits with them. So magnitudes are lifted by
the same part of a step: twice what would restore the energy. Bytes at the same divergence of the outputs (KL .012) on
EfficientNet-Lite0 (2026-11, spectral coefficients, one to three folds of 100 calibration and 400 other images):
without a lift 1,143 at block 14 and 3,315 at block 10; lifted by 0.05 of a step 1,037 at block 14; by 0.1 963 and
2,924; by 0.15 920 and 2,906; by 0.22 to 0.25 1,024 and 3,098. What restores the energy there is 0.06 to 0.1 of a step;
without a transform it is 0.02 to 0.06, and a lift of 0.15 is too much; at fine steps it is nothing. It is a rule from
one network and not a law: on a VGG16 for CIFAR-100 the lift lowers the divergence at equal bytes by 6 to 29 % after
pool2 and conv4_3, and raises it by 20 to 43 % after conv3_3, where energy was not what was missing.

Tried and left out (2026-11, spectral coefficients of EfficientNet-Lite0 at blocks 10 and 14, 100 calibration images):
thresholds that weigh each channel's rates (rate-distortion optimization toward zero) save 7 % at the same squared error
and nothing at the same divergence of the outputs; dead zones of .05 to .28 cost the same within 5 %, with a lift too;
dependent quantization (two step grids, 4 or 8 states driven by the parities, Viterbi with the rate) behind the context
coder saves 1 to 2 % at the same divergence, not beyond doubt, and needs the search on the device: docs/codecs.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.contract.preset import Layout
from splitpoint.codecs.contract.protocol import Array, Context, Rate, TensorSpec

__all__ = ["CENTRED", "DEAD_ZONE", "LIMIT", "FittedStep", "Step", "quantize", "step_rates"]


def __dir__() -> list[str]:
    return __all__


# Densest where networks were seen to lose about a point (EfficientNet-Lite0: 0.5 at block 14, 0.8 at block 10).
STEPS = (1.6, 1.3, 1.1, 0.95, 0.83, 0.73, 0.64, 0.56, 0.48, 0.4, 0.3, 0.22, 0.16, 0.1)
DEAD_ZONE = 0.12  # of a step, added to each side of the zero bin and moved from every other bin's near side
LIMIT = 32767  # of a symbol
CENTRED = 3  # magnitudes with their own mean; larger ones share the last
LIFT = 2.0  # times what restores the energy
MOST_LIFT = 0.25  # of a step


def step_rates(steps: tuple[float, ...] = STEPS) -> tuple[Rate, ...]:
    """Rates labelled "q1" (coarsest), "q2", ...; the value is minus the step, so that values ascend with quality."""
    return tuple(Rate(label=f"q{i + 1}", value=-step) for i, step in enumerate(steps))


def quantize(coefficients: Array, step: float, dead_zone: float) -> Array:
    """Symbols, as the graph computes them (for statistics at fit time)."""
    magnitude: Array = np.floor(np.abs(coefficients) * np.float32(1 / step) + np.float32(0.5 - dead_zone))
    return np.asarray(np.minimum(magnitude, LIMIT) * np.sign(coefficients))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FittedStep:
    """sign(x) * min(floor(|x| / step + 1/2 - dead_zone), limit); back: sign * (magnitude + shift) * step."""

    shape: tuple[int, ...]
    axis: int | None
    group: int | None
    step: float
    dead_zone: float
    shifts: tuple[float, ...]  # of magnitudes 1, 2, 3 and more, in steps

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """One int16 tensor of symbols."""
        return (
            TensorSpec(
                name="symbols",
                shape=self.shape,
                dtype="int16",
                low=-LIMIT,
                high=LIMIT,
                channel_axis=self.axis,
                group=self.group,
            ),
        )

    def encode(self, graph: Graph, coefficients: str) -> None:
        """Append coefficients -> symbols."""
        scaled = graph.op("Mul", graph.op("Abs", coefficients), graph.constant(np.float32(1 / self.step)))
        magnitude = graph.op("Floor", graph.op("Add", scaled, graph.constant(np.float32(0.5 - self.dead_zone))))
        limited = graph.op("Min", magnitude, graph.constant(np.float32(LIMIT)))
        graph.cast(graph.op("Mul", limited, graph.op("Sign", coefficients)), "int16", output="symbols")

    def decode(self, graph: Graph) -> str:
        """Append symbols -> coefficients."""
        signed = graph.cast("symbols", "float32")
        magnitude = graph.op("Abs", signed)
        shift = graph.constant(np.float32(self.shifts[-1]))
        for edge in range(len(self.shifts) - 1, 0, -1):
            below = graph.op("Less", magnitude, graph.constant(np.float32(edge + 0.5)))
            shift = graph.op("Where", below, graph.constant(np.float32(self.shifts[edge - 1])), shift)
        moved = graph.op("Add", signed, graph.op("Mul", graph.op("Sign", signed), shift))
        return graph.op("Mul", moved, graph.constant(np.float32(self.step)))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """Uniform steps with a zero bin."""

    steps: tuple[float, ...] = STEPS
    dead_zone: float = DEAD_ZONE

    @property
    def rates(self) -> tuple[Rate, ...]:
        """One rate a step."""
        return step_rates(self.steps)

    def refuses(self, shape: tuple[int, ...], channel_axis: int | None) -> str | None:
        """Any tensor will do."""
        return None

    def fit(self, coefficients: Array, layout: Layout, rate: Rate, context: Context) -> FittedStep:
        """Take the step from the calibration coefficients' spread, and the bins' means."""
        spread = float(np.sqrt(np.mean(np.square(coefficients, dtype=np.float64))))
        spread = spread if spread > 0 else 1.0
        step = max(-rate.value * spread, float(np.abs(coefficients).max()) / LIMIT, float(np.finfo(np.float32).tiny))
        magnitudes = np.abs(quantize(coefficients, step, self.dead_zone))
        scaled = np.abs(coefficients) / np.float32(step)
        shifts, inside = np.zeros(CENTRED), [magnitudes == m for m in range(1, CENTRED)] + [magnitudes >= CENTRED]
        for i, bin_ in enumerate(inside):
            gap = scaled[bin_] - magnitudes[bin_]
            shifts[i] = np.clip(gap.mean(dtype=np.float64), -0.5, 0.5) if gap.size else 0.0
        coded = [magnitudes[bin_] + np.float32(shift) for bin_, shift in zip(inside, shifts, strict=True)]
        shifts += _lift(scaled, np.concatenate(coded))
        return FittedStep(
            shape=(1, *coefficients.shape[1:]),
            axis=layout.axis,
            group=layout.group,
            step=step,
            dead_zone=self.dead_zone,
            shifts=tuple(shifts.tolist()),
        )


def _lift(magnitudes: Array, coded: Array) -> float:
    """What to add to the coded values other than zero, (n,) in steps: the root of |coded + lift|^2 = |magnitudes|^2."""
    total, kept = (float(np.square(x, dtype=np.float64).sum()) for x in (magnitudes, coded))
    lost, half = max(total - kept, 0.0), float(coded.sum(dtype=np.float64))
    if lost == 0.0 or half <= 0.0:
        return 0.0
    return min(LIFT * lost / (half + float(np.sqrt(half * half + len(coded) * lost))), MOST_LIFT)
