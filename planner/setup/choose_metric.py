"""The metric of a plan: of the task that was asked for, or of a classifier that is recognized."""

from __future__ import annotations

from collections.abc import Mapping

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.quality.metrics.classify import Classify
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import UNLABELLED, make_metric
from splitpoint.planner.samples.dataset import Dataset, check_labels, network_input
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.recognize import recognize
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

__all__ = ["choose_metric"]


def __dir__() -> list[str]:
    return __all__


LOOKED_AT = 16  # inputs that a task is recognized by


def choose_metric(config: PlanConfig, dataset: Dataset, graph: ModelGraph, *, threads: int) -> tuple[Metric, list[str]]:
    """The metric, and what to tell the user of how it was chosen.

    Labels are compared with, unless agreement with the unsplit network is asked for. Raises `ProfileError` when the
    task is not given and the network is no plain classifier, when its outputs do not fit the task, and when a label
    does not.
    """
    outputs = [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in graph.outputs]
    task, notes = config.asked_task(), []
    if task is None:
        indices = range(0, len(dataset), max(1, len(dataset) // LOOKED_AT))[:LOOKED_AT]
        some = dataset.select(indices)
        labels = None if some.labels is None else some.labels.tolist()
        shape = graph.inputs[0].shape
        values = _run(graph, some, threads=threads)
        task, reason = recognize(outputs, values, labels=labels, input_shape=shape)
        notes.append(f"{reason}; task: or --task says otherwise")
    labelled = dataset.labelled and config.need.min_agreement is None and task.name not in UNLABELLED
    metric = make_metric(task, outputs, "labels" if labelled else "unsplit")
    if isinstance(metric, Classify) and labelled:
        check_labels(dataset, metric.classes)
    if labelled:
        for sample in dataset.samples:
            metric.label(sample)
    return metric, notes


def _run(graph: ModelGraph, dataset: Dataset, *, threads: int) -> list[Mapping[str, Array]]:
    session = open_session(whole_bytes(graph), level="all", threads=threads)
    (tensor,) = graph.inputs
    return [session.run({tensor.name: network_input(sample, dataset.spec)}) for sample in dataset.samples]
