"""One class of K: the share of inputs whose answer is right, or is the unsplit network's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.metrics.base import Common, only_output
from splitpoint.planner.quality.metrics.protocol import Answer
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

__all__ = ["Classify", "make_classify"]


def __dir__() -> list[str]:
    return __all__


MOST_CHANCE = 0.5  # of a random answer being right: above it "one of the best k" says nothing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classify(Common):
    """Top-k: an answer is the scores of all classes (K,), a truth is one class."""

    classes: int

    statistic: Literal["proportion", "mean", "ratio"] = dataclasses.field(default="proportion", init=False)

    @property
    def use(self) -> MetricUse:
        """Top-k accuracy, or agreement."""
        top = self.task.top
        among = "has the highest score" if top == 1 else f"is among the {top} of the highest scores"
        if self.against == "labels":
            name, definition = f"top{top}", f"share of inputs whose label {among}"
        else:
            name = "agreement" if top == 1 else f"top{top} agreement"
            definition = f"share of inputs of which the unsplit network's answer {among}"
        return MetricUse(name=name, unit="share of inputs", definition=definition, against=self.against)

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The scores as float64 (K,)."""
        arrays = self.read(outputs)
        return None if arrays is None else np.asarray(arrays[0], np.float64).ravel()

    def label(self, sample: Sample) -> Answer:
        """The label, an index of the scores."""
        if sample.label is None:
            raise ProfileError("the labels of task classify are class numbers, one integer an input", at=sample.name)
        if sample.label >= self.classes:
            raise ProfileError(
                f"label {sample.label} but {self.classes} outputs (0..{self.classes - 1})", at=sample.name
            )
        return sample.label

    def truth(self, answer: Answer) -> Answer:
        """The class of the highest score; of equal ones the first, as argmax."""
        return int(np.argmax(answer))

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """1 when the true class is among the best k; of equal scores the classes of lower index come first."""
        if answer is None:
            return (0.0,)
        before = int((answer > answer[truth]).sum() + (answer[:truth] == answer[truth]).sum())
        return (float(before < self.task.top),)


def make_classify(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Classify:
    """The metric of a network whose (chosen) output has K > 1 scores for one input; raises `ProfileError`."""
    reads = only_output(task, [tensor.name for tensor in outputs])
    shape = next(tensor.shape for tensor in outputs if tensor.name == reads[0])
    classes = int(np.prod(shape))
    if classes < 2 or max(shape) != classes:
        raise ProfileError(
            f"task classify reads one score for each class, such as [1, 1000]; {reads[0]!r} is {list(shape)}",
            at="$.task",
        )
    if task.top / classes >= MOST_CHANCE:
        raise ProfileError(
            f"top {task.top} of {classes} classes: a random answer would be right in {task.top / classes:.0%} of cases",
            at="$.task.top",
            fix="top: 1",
        )
    return Classify(task=task, against=against, reads=reads, classes=classes)
