"""The metric of a plan: of the task that was asked for, or of a classifier that is recognized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.quality.detection.coco import require_coco
from splitpoint.planner.quality.metrics.classify import Classify
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import UNLABELLED, make_metric
from splitpoint.planner.samples.dataset import Dataset, Split, check_labels, network_input
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.recognize import recognize
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

__all__ = ["check_truths", "choose_metric"]


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
        values = list(_run(graph, some, threads=threads))
        task, reason = recognize(outputs, values, labels=labels, input_shape=shape)
        notes.append(f"{reason}; task: or --task says otherwise")
    labelled = dataset.labelled and config.need.min_agreement is None and task.name not in UNLABELLED
    if task.name == "detect":
        require_coco()
    metric = make_metric(task, outputs, "labels" if labelled else "unsplit", input_shape=graph.inputs[0].shape)
    if isinstance(metric, Classify) and labelled:
        check_labels(dataset, metric.classes)
    if labelled:
        for sample in dataset.samples:
            metric.label(sample)
    if metric.cautious:
        notes.append(f"limits of {metric.use.name} must hold in 95 % of resampled search sets, not on average")
    return metric, notes


def check_truths(metric: Metric, split: Split, graph: ModelGraph, *, threads: int) -> None:
    """Raise `ProfileError` where the search set or the report set has no box that a detector could find."""
    for part in (split.search, split.report) if metric.task.name == "detect" else ():
        answers = (metric.answer(outputs) for outputs in _run(graph, part, threads=threads))
        metric.prepare(metric.truth_of(sample, y) for sample, y in zip(part.samples, answers, strict=True))


def _run(graph: ModelGraph, dataset: Dataset, *, threads: int) -> Iterator[Mapping[str, Array]]:
    session = open_session(whole_bytes(graph), level="all", threads=threads)
    (tensor,) = graph.inputs
    for sample in dataset.samples:
        yield session.run({tensor.name: network_input(sample, dataset.spec)})
