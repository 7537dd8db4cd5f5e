"""What a network would get that gives the same answer for every input: a floor that it meets protects nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

__all__ = ["value_of_one_answer"]


def __dir__() -> list[str]:
    return __all__


TRIED = 8  # of the inputs' answers, each given for all inputs


def value_of_one_answer(
    metric: Metric, outputs: Sequence[Mapping[str, Array]], samples: Sequence[Sample]
) -> float | None:
    """The largest value of the unsplit network's `outputs` of one input, given for all of `samples`.

    None where the metric cannot be computed for so few inputs. Raises `ProfileError` for labels that do not fit.
    """
    answers = [metric.answer(row) for row in outputs]
    truths = [metric.truth_of(sample, answer) for sample, answer in zip(samples, answers, strict=True)]
    try:
        prepared = metric.prepare(truths)
    except ProfileError:
        return None  # such as one class in all of them; the whole set may have more
    values = []
    for index in range(0, len(answers), max(1, len(answers) // TRIED)):
        counts = np.sum([prepared.compare(answers[index], truth) for truth in truths], axis=0)
        values.append(float(prepared.value(np.append(counts, len(truths)))))
    return max(values)
