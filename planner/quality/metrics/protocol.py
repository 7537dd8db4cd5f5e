"""What a metric is: it reads outputs as an answer, compares answers, and adds the comparisons up over inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import BoxMatches, InputOutcome

__all__ = ["Answer", "Floats", "Metric"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
Answer = Any  # what a metric makes of outputs: scores, boxes, a class map; its own type and nobody else's


class Metric(Protocol):
    """One metric of one task, for the outputs of one network; it keeps no state between inputs.

    The truth of an input is its label, or, without labels, the unsplit network's answer. Every input gives a few
    `counts`, which are summed; the value is a function of the sums, 1 where all is right and 0 where nothing is.
    """

    @property
    def task(self) -> Task:
        """The task with its options."""

    @property
    def against(self) -> Literal["labels", "unsplit"]:
        """What answers are compared with: labels, or the unsplit network's answers."""

    @property
    def use(self) -> MetricUse:
        """Name, unit and definition, in words."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the outputs that it reads."""

    @property
    def statistic(self) -> Literal["proportion", "mean", "ratio"]:
        """How the value's interval is computed.

        "proportion": one count, 0 or 1; "mean": one count, any number up to 1; "ratio": a function of several sums.
        """

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of its other figures that may have a bound (`planner.limits.limits.FIGURES`)."""

    @property
    def floors(self) -> tuple[Bound, ...]:
        """Default bounds on its other figures."""

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The answer that output tensors by name are; None where they are none, such as NaN."""

    def label(self, sample: Sample) -> Answer:
        """The truth that a sample comes with; raises `ProfileError` naming the sample when it cannot be one."""

    def truth(self, answer: Answer) -> Answer:
        """The unsplit network's answer as the truth that others are compared with."""

    def truth_of(self, sample: Sample, answer: Answer) -> Answer:
        """The truth of one input, of which the unsplit network gives `answer`: `label` or `truth`, by `against`."""

    def prepare(self, truths: Iterable[Answer]) -> Metric:
        """This metric for a set of inputs with these truths, in the order of the set; most ignore them."""

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """The counts of one input."""

    def match(self, answer: Answer | None, truth: Answer) -> BoxMatches | None:
        """Detection: the boxes of one input matched with the true ones; other metrics give None."""

    def distance(self, answer: Answer | None, exact: Answer) -> float | None:
        """How far an answer is from the unsplit network's, on a finer scale than the counts; 0: equal.

        The search's table ranks by it what two inputs show. None: by the relative error of the outputs.
        """

    def value(self, sums: Floats) -> Floats:
        """The metric of counts summed over inputs, (..., F + 1) -> (...); the last column is the number of inputs."""

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """Other figures of the same answers."""

    def report(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The same figures for points that are shown: with intervals, and by the reference of the field."""
