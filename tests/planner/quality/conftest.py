"""Accuracy from outputs, as the evaluator and the report compute it: observe every input, then judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality import accuracy
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import Outcomes


class Row(NamedTuple):
    """One input: what the candidate gave, what the unsplit network gives, and the truth where it is known."""

    outputs: Mapping[str, Any]
    reference: Mapping[str, Any]
    label: int | None = None
    group: str = ""
    payload_bytes: int = 0


def observe_all(rows: Sequence[Row], metric: Metric, subset: Literal["search", "report"] = "search") -> Outcomes:
    prepared = metric.prepare(metric.answer(row.reference) for row in rows)
    nothing = np.zeros((1, 1), np.float32)
    samples = [Sample(name=str(i), group=r.group or str(i), label=r.label, tensor=nothing) for i, r in enumerate(rows)]
    inputs = [observe(prepared, row.outputs, row.reference, sample) for row, sample in zip(rows, samples, strict=True)]
    return Outcomes(subset=subset, inputs=tuple(inputs), payload_bytes=tuple(row.payload_bytes for row in rows))


@pytest.fixture(scope="session")
def row() -> type[Row]:
    """`row(outputs, reference, label, group, payload_bytes)` is one input."""
    return Row


@pytest.fixture(scope="session")
def outcomes() -> Callable[..., Outcomes]:
    """`outcomes(rows, metric, subset)` compares every input."""
    return observe_all


@pytest.fixture(scope="session")
def judge() -> Callable[..., Accuracy]:
    """`judge(rows, metric, subset)` is the accuracy of these inputs, through the outcome of each."""

    def call(rows: Sequence[Row], metric: Metric, subset: Literal["search", "report"] = "search") -> Accuracy:
        return accuracy.judge(observe_all(rows, metric, subset), metric, output_names=tuple(rows[0].outputs))

    return call


@pytest.fixture(scope="session")
def classifier() -> Callable[..., Metric]:
    """`classifier(classes, against)` is the metric of the output "y" (1, classes); `top` other than 1 is top-k."""

    def call(classes: int, against: Literal["labels", "unsplit"] = "labels", top: int = 1) -> Metric:
        output = IOTensor(name="y", shape=(1, classes), dtype="float32")
        return make_metric(Task(name="classify", top=top), [output], against)

    return call
