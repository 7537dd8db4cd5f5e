"""What most metrics have in common; a metric overrides what differs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Self

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import BoxMatches, InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["Common", "chosen_outputs", "only_output"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True)
class Common:
    """A metric that reads some outputs, needs no preparation and has one figure."""

    task: Task
    against: Literal["labels", "unsplit"]
    reads: tuple[str, ...]  # names of the outputs that it reads

    statistic: Literal["proportion", "mean", "ratio"] = dataclasses.field(default="ratio", init=False)

    @property
    def figures(self) -> tuple[str, ...]:
        """No other figures that may have a bound."""
        return ()

    @property
    def floors(self) -> tuple[Bound, ...]:
        """No bounds on other figures."""
        return ()

    def prepare(self, truths: Iterable[Answer]) -> Self:  # most metrics ignore the set
        """This metric; it does not depend on the set of inputs."""
        return self

    def label(self, sample: Sample) -> Answer:
        """There are no labels of this kind."""
        raise ProfileError(f"task {self.task.name} takes no labels", at=sample.name)

    def truth(self, answer: Answer) -> Answer:
        """The unsplit network's answer as it is."""
        return answer

    def truth_of(self, sample: Sample, answer: Answer) -> Answer:
        """The label of the sample, or the unsplit network's answer."""
        return self.label(sample) if self.against == "labels" else self.truth(self.known(sample, answer))

    def known(self, sample: Sample, answer: Answer | None) -> Answer:
        """The unsplit network's answer; raises `ProfileError` where it gives none."""
        if answer is None:
            raise ProfileError(
                f"the unsplit network gives NaN or infinity in {' or '.join(self.reads)}",
                at=sample.name,
                fix="check the input block (mean, std, scale) and the network",
            )
        return answer

    def match(self, answer: Answer | None, truth: Answer) -> BoxMatches | None:  # detection alone
        """No boxes."""
        return None

    def distance(self, answer: Answer | None, exact: Answer) -> float | None:  # outputs that are one kind of number
        """No other than the relative error of the outputs."""
        return None

    def value(self, sums: Floats) -> Floats:
        """The mean of the first count."""
        return np.asarray(sums[..., 0] / sums[..., -1])

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:  # most metrics have one
        """No other figures."""
        return ()

    def report(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The figures of `also`."""
        return self.also(inputs)

    def read(self, outputs: Mapping[str, Array]) -> list[Array] | None:
        """The outputs that this metric reads, in its order; None when one is not finite."""
        arrays = [np.asarray(outputs[name]) for name in self.reads]
        floating = [a for a in arrays if np.issubdtype(a.dtype, np.floating)]
        return arrays if all(np.isfinite(a).all() for a in floating) else None

    def compared_with(self, labels: str) -> str:
        """The truth in words, for definitions."""
        return labels if self.against == "labels" else "the unsplit network's answers"


def chosen_outputs(task: Task, names: Sequence[str]) -> tuple[str, ...]:
    """The outputs that were named, all of the network's without a choice; raises `ProfileError`."""
    unknown = [name for name in task.outputs if name not in names]
    if unknown:
        raise ProfileError(f"the network has no output {unknown[0]!r}, it has {', '.join(names)}", at="$.task.outputs")
    return task.outputs or tuple(names)


def only_output(task: Task, names: Sequence[str]) -> tuple[str, ...]:
    """The one output that a task reads: the one that was named, or the network's only one; raises `ProfileError`."""
    chosen = chosen_outputs(task, names)
    if len(chosen) != 1:
        raise ProfileError(
            f"task {task.name} reads one output, the network has {len(names)}: {', '.join(names)}",
            at="$.task.outputs",
            fix=f"task: {{name: {task.name}, outputs: [{names[0]}]}}, or --output {names[0]}",
        )
    return chosen
