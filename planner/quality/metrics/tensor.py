"""Values of output tensors: how much of their variation over the inputs is kept, each output by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.metrics.base import Common
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["TensorError", "make_tensor"]


def __dir__() -> list[str]:
    return __all__


NOT_FINITE = 1e6  # error of an answer with NaN or infinity, in units of the variation


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorError(Common):
    """1 - the relative error of the worst output, with the error taken relative to the variation over the inputs.

    ||y - y0|| / ||y0 - mean of y0 over the inputs||: an answer that ignores its input has the relative error 1. Were
    it relative to ||y0||, a large constant part of an output would hide every error.
    """

    means: tuple[Array, ...] | None = None  # of the unsplit network's outputs over the set; from `prepare`

    @property
    def use(self) -> MetricUse:
        """The kept share, of the worst output."""
        return MetricUse(
            name="tensor",
            unit="1 - relative error",
            definition="1 - ||y - y0|| / ||y0 - mean of y0 over the inputs|| of the worst output, y0 of the unsplit"
            " network",
            against=self.against,
        )

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The outputs as float64."""
        arrays = self.read(outputs)
        return None if arrays is None else [np.asarray(a, np.float64) for a in arrays]

    def prepare(self, answers: Iterable[Answer]) -> TensorError:
        """With the means of the unsplit network's outputs."""
        sums: list[Array] | None = None
        count = 0
        for answer in answers:
            sums = list(answer) if sums is None else [s + y for s, y in zip(sums, answer, strict=True)]
            count += 1
        assert sums is not None  # a set has inputs
        return dataclasses.replace(self, means=tuple(s / count for s in sums))

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """For each output the squared error and the squared variation."""
        assert self.means is not None  # `prepare` came first
        counts: list[float] = []
        for index, (y0, mean) in enumerate(zip(truth, self.means, strict=True)):
            power = float(((y0 - mean) ** 2).sum())
            error = NOT_FINITE**2 * max(power, 1.0) if answer is None else float(((answer[index] - y0) ** 2).sum())
            counts += [error, power]
        return tuple(counts)

    def value(self, sums: Floats) -> Floats:
        """1 - the largest relative error, not below 0; an output without variation must be exact."""
        return np.asarray(np.clip(1 - _relative(sums).max(axis=-1), 0, 1))

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The same of each output, where there are several."""
        if len(self.reads) == 1:
            return ()
        sums = np.array([row.counts for row in inputs]).sum(axis=0)
        kept = np.clip(1 - _relative(np.append(sums, len(inputs))), 0, 1)
        return tuple(
            Figure(name=name, value=float(v), drop=float(1 - v)) for name, v in zip(self.reads, kept, strict=True)
        )


def _relative(sums: Floats) -> Floats:
    """(..., 2 O + 1) -> (..., O)."""
    error, power = sums[..., 0:-1:2], sums[..., 1:-1:2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(error == 0, 0.0, np.sqrt(error / power)))


def make_tensor(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> TensorError:
    """The metric of the chosen outputs, all without a choice; raises `ProfileError`."""
    names = [tensor.name for tensor in outputs]
    unknown = [name for name in task.outputs if name not in names]
    if unknown:
        raise ProfileError(f"the network has no output {unknown[0]!r}, it has {', '.join(names)}", at="$.task.outputs")
    return TensorError(task=task, against=against, reads=task.outputs or tuple(names))
