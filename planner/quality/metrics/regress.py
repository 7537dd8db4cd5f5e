"""Numbers: the mean absolute error, relative to how much the truth varies over the inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.metrics.base import Common, chosen_outputs
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["Regress", "make_regress"]


def __dir__() -> list[str]:
    return __all__


FEW = 8  # numbers that each get their own error; of more the mean is taken
VARIES = 1e-6  # least variation relative to the numbers' size: float32 rounds at 6e-8
NOT_FINITE = 1e6  # error of an answer with NaN or infinity, in units of the variation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regress(Common):
    """1 - sum |y - truth| / sum |truth - median of the truth over the set|.

    The median is the best constant answer, so an answer that ignores its input gets 0 or less, which is shown as 0.
    Of up to eight numbers the worst counts, each relative to its own variation; of more the mean.
    """

    names: tuple[str, ...]  # of each number, "age" or "pose[2]"
    medians: Array | None = None  # (K,) of the truths; from `prepare`
    scales: Array | None = None  # (K,) mean |truth - median|, not below VARIES of the mean |truth|
    constant: Array | None = None  # (K,) bool: numbers that do not vary, which must be right to within VARIES

    @property
    def use(self) -> MetricUse:
        """The share of the variation that is kept."""
        which = "" if len(self.names) == 1 else " of the worst number" if self._few else ", mean of all numbers"
        return MetricUse(
            name="1-relMAE",
            unit="1 - relative error",
            definition="1 - sum |y - truth| / sum |truth - median of the truth over the inputs|"
            f"{which}, not below 0; truth: {self.compared_with('labels')}; MAE: mean |y - truth| in the output's unit",
            against=self.against,
        )

    @property
    def _few(self) -> bool:
        return len(self.names) <= FEW

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """All numbers, float64 (K,)."""
        arrays = self.read(outputs)
        return None if arrays is None else np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])

    def label(self, sample: Sample) -> Answer:
        """The numbers that are right."""
        numbers = sample.label if sample.truth is None else sample.truth
        truth = np.asarray(np.nan if numbers is None else numbers, np.float64).ravel()
        if truth.shape != (len(self.names),):
            got = "none" if numbers is None else str(len(truth))
            raise ProfileError(
                f"the network gives {len(self.names)} numbers, the labels have {got}",
                at=sample.name,
                fix="y (N,) or (N, K) of floats in the .npz, in the order of the outputs;"
                " --min-agreement 0.9 compares with the unsplit network instead",
            )
        if not np.isfinite(truth).all():
            raise ProfileError("the labels hold NaN or infinity, or there are none", at=sample.name)
        return truth

    def prepare(self, truths: Iterable[Answer]) -> Regress:
        """With median and variation of each number; raises `ProfileError` when none varies."""
        table = np.stack(list(truths))
        medians = np.median(table, axis=0)
        variation = np.abs(table - medians).mean(axis=0)
        least = VARIES * np.abs(table).mean(axis=0)
        if (variation <= least).all():
            whose = "labels" if self.against == "labels" else "unsplit network's answers"
            raise ProfileError(
                f"the {whose} are the same for all {len(table)} inputs of the set, so that no error can be judged",
                at="$.task",
                fix="give data that vary, or check the input block",
            )
        scales = np.maximum(np.maximum(variation, least), np.finfo(np.float64).tiny)
        return dataclasses.replace(self, medians=medians, scales=scales, constant=variation <= least)

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """Errors and variations in units of the set's variation, of each of few numbers or means; then the errors."""
        assert self.scales is not None  # `prepare` came first
        assert self.constant is not None
        error = NOT_FINITE * self.scales if answer is None else np.abs(answer - truth)
        relative = np.minimum(error / self.scales, NOT_FINITE)
        variation = np.where(self.constant, 1.0, np.abs(truth - self.medians) / self.scales)
        if self._few:
            return (*relative.tolist(), *variation.tolist(), *error.tolist())
        return float(relative.mean()), float(variation.mean()), float(error.mean())

    def value(self, sums: Floats) -> Floats:
        """1 - the largest relative error."""
        numbers = (sums.shape[-1] - 1) // 3
        error, variation = sums[..., :numbers], sums[..., numbers : 2 * numbers]
        none = np.where(error > 0, np.inf, 0.0)  # a resample without variation
        relative = np.divide(error, variation, out=none, where=variation > 0)
        return np.asarray(np.clip(1 - relative.max(axis=-1), 0, 1))

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The mean absolute error in the output's unit, of each of few numbers; its drop is the error that is added."""
        counts, whole = (
            np.array([getattr(row, name) for row in inputs]).mean(axis=0) for name in ("counts", "unsplit_counts")
        )
        numbers = len(counts) // 3
        titles = [f"MAE of {name}" for name in self.names] if numbers > 1 else ["MAE"]
        return tuple(
            Figure(name=title, value=float(error), drop=float(before - error))
            for title, error, before in zip(titles, counts[-numbers:], whole[-numbers:], strict=True)
        )


def make_regress(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Regress:
    """The metric of the numbers of the chosen outputs, all without a choice."""
    reads = chosen_outputs(task, [tensor.name for tensor in outputs])
    names: list[str] = []
    for name in reads:
        count = next(int(np.prod(tensor.shape)) for tensor in outputs if tensor.name == name)
        names += [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]
    return Regress(task=task, against=against, reads=reads, names=tuple(names))
