"""Every task's metric by name, and what of a task is found from the network's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task, TaskName
from splitpoint.planner.quality.metrics.classify import make_classify
from splitpoint.planner.quality.metrics.custom import check_unchanged, make_custom
from splitpoint.planner.quality.metrics.detect import make_detect, settle_detect
from splitpoint.planner.quality.metrics.embed import make_embed
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.regress import make_regress
from splitpoint.planner.quality.metrics.segment import make_segment, settle_segment
from splitpoint.planner.quality.metrics.sequence import make_sequence, settle_sequence
from splitpoint.planner.quality.metrics.tensor import make_tensor

__all__ = ["METRICS", "SETTLED_BY", "UNLABELLED", "make_metric", "settle_task", "stored_metric"]


def __dir__() -> list[str]:
    return __all__


Maker = Callable[[Task, Sequence[IOTensor], Literal["labels", "unsplit"]], Metric]
Settler = Callable[[Task, Sequence[IOTensor], Sequence[Mapping[str, Array]], Sequence[int]], Task]

UNLABELLED: frozenset[TaskName] = frozenset({"tensor"})  # tasks that compare with the unsplit network only

METRICS: Mapping[TaskName, Maker] = {
    "classify": make_classify,
    "segment": make_segment,
    "embed": make_embed,
    "regress": make_regress,
    "sequence": make_sequence,
    "tensor": make_tensor,
    "custom": make_custom,
}

SETTLED_BY: Mapping[TaskName, Settler] = {  # tasks with options that the outputs' shapes and values decide
    "detect": settle_detect,
    "segment": settle_segment,
    "sequence": settle_sequence,
}


def make_metric(
    task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"], *, input_shape: Sequence[int] = ()
) -> Metric:
    """The metric of `task` for a network with these outputs; raises `ProfileError` where they do not fit.

    `input_shape` is that of the network's picture, in whose pixels boxes are; detection alone needs it.
    """
    if task.name == "detect":
        return make_detect(task, outputs, against, input_shape)
    return METRICS[task.name](task, outputs, against)


def settle_task(
    task: Task, outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> Task:
    """The task with the options that were left out, found from the outputs of some inputs; plan.yaml keeps them."""
    settler = SETTLED_BY.get(task.name)
    return task if settler is None else settler(task, outputs, values, input_shape)


def stored_metric(task: Task, outputs: Sequence[IOTensor], use: MetricUse, *, input_shape: Sequence[int]) -> Metric:
    """The metric of a stored plan; raises `ProfileError` when a metric of the user's own is not the same any more."""
    check_unchanged(task, use)
    return make_metric(task, outputs, use.against, input_shape=input_shape)
