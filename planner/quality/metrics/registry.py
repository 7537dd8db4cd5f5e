"""Every task's metric by name, and the default floors of its quality."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task, TaskName
from splitpoint.planner.quality.metrics.classify import make_classify
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.tensor import make_tensor

__all__ = ["METRICS", "UNLABELLED", "make_metric"]


def __dir__() -> list[str]:
    return __all__


Maker = Callable[[Task, Sequence[IOTensor], Literal["labels", "unsplit"]], Metric]

UNLABELLED: frozenset[TaskName] = frozenset({"tensor"})  # tasks that compare with the unsplit network only

METRICS: Mapping[TaskName, Maker] = {
    "classify": make_classify,
    "tensor": make_tensor,
}


def make_metric(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Metric:
    """The metric of `task` for a network with these outputs; raises `ProfileError` where they do not fit."""
    return METRICS[task.name](task, outputs, against)
