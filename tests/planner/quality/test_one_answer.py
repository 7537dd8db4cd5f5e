"""A floor that one answer for every input would meet: by counting."""

from __future__ import annotations

import numpy as np
import pytest

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.quality.one_answer import value_of_one_answer
from splitpoint.planner.samples.dataset import Sample


@pytest.mark.parametrize("common", [1, 5, 10])
def test_it_is_the_share_of_the_commonest_class(common: int) -> None:
    outputs = [{"y": np.eye(1, 12, 0 if i < common else i)} for i in range(10)]
    samples = [Sample(name=str(i), group=str(i), tensor=np.zeros((1, 1))) for i in range(10)]
    metric = make_metric(Task(name="classify"), [IOTensor(name="y", shape=(1, 12), dtype="float32")], "unsplit")
    assert value_of_one_answer(metric, outputs, samples) == pytest.approx(common / 10)


def test_a_set_that_is_too_small_for_the_metric_says_nothing() -> None:
    metric = make_metric(Task(name="segment"), [IOTensor(name="y", shape=(1, 4, 4), dtype="int64")], "unsplit")
    outputs = [{"y": np.zeros((1, 4, 4), np.int64)}] * 3
    samples = [Sample(name=str(i), group=str(i), tensor=np.zeros((1, 1))) for i in range(3)]
    assert value_of_one_answer(metric, outputs, samples) is None
