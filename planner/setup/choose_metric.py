"""The metric of a plan: of the task that was asked for, or of a classifier that is recognized."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.limits.need import DEFAULT_AGREEMENT
from splitpoint.planner.quality.detection.coco import require_coco
from splitpoint.planner.quality.metrics.classify import Classify
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import UNLABELLED, make_metric, settle_task
from splitpoint.planner.quality.one_answer import value_of_one_answer
from splitpoint.planner.samples.dataset import Dataset, Split, check_labels, network_input
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.finite import refuse_not_finite
from splitpoint.planner.setup.recognize import recognize
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

__all__ = ["Chosen", "check_truths", "choose_metric"]


def __dir__() -> list[str]:
    return __all__


LOOKED_AT = 16  # inputs that a task is recognized by
ANY_SET = ("classify", "tensor")  # tasks whose metric any set of inputs will do for
LEAST_LOOKED_AT, MOST_BYTES = 4, 2**28  # of large outputs, such as maps, fewer inputs
LOOKED_AT_TWICE = 64  # inputs before a floor is raised
INDISTINCT = 1 - 1e-9  # of a metric: all answers are the same


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Chosen:
    """The metric of a plan."""

    metric: Metric
    agreement: float  # its floor without labels, unless another is asked for
    notes: tuple[str, ...]  # what to tell the user of how it was chosen


def choose_metric(config: PlanConfig, dataset: Dataset, graph: ModelGraph, *, threads: int) -> Chosen:
    """The metric of the task that was asked for, or of a classifier that is recognized.

    Labels are compared with, unless agreement with the unsplit network is asked for. Raises `ProfileError` when the
    task is not given and the network is no plain classifier, when its outputs do not fit the task, and when a label
    does not.
    """
    outputs = _outputs_of(graph)
    task, notes = config.asked_task(), []
    some = _spread(dataset, _affordable(LOOKED_AT, outputs))
    values = list(_run(graph, some, threads=threads))
    shape = graph.inputs[0].shape
    if task is None:
        labels = None if some.labels is None else some.labels.tolist()
        task, reason = recognize(outputs, values, labels=labels, input_shape=shape)
        notes.append(f"{reason}; task: or --task says otherwise")
    task = settle_task(task, outputs, values, shape)
    labelled = dataset.labelled and config.need.min_agreement is None and task.name not in UNLABELLED
    if task.name == "detect":
        require_coco()
    metric = make_metric(task, outputs, "labels" if labelled else "unsplit", input_shape=graph.inputs[0].shape)
    if isinstance(metric, Classify) and labelled:
        check_labels(dataset, metric.classes)
    if labelled:
        for sample in dataset.samples:
            metric.label(sample)
    floor = DEFAULT_AGREEMENT
    if not labelled:
        asked = config.need.min_agreement
        floor, warnings = _agreement_floor(metric, asked, dataset, graph, some, values, threads)
        notes += warnings
    return Chosen(metric=metric, agreement=floor, notes=tuple(notes))


def check_truths(metric: Metric, split: Split, graph: ModelGraph, *, threads: int) -> None:
    """Raise `ProfileError` where the truths of the search set or the report set could not tell answers apart."""
    for part in (split.search, split.report) if metric.task.name not in ANY_SET else ():
        answers = (metric.answer(outputs) for outputs in _run(graph, part, threads=threads))
        metric.prepare(metric.truth_of(sample, y) for sample, y in zip(part.samples, answers, strict=True))


def _agreement_floor(
    metric: Metric,
    asked: float | None,
    dataset: Dataset,
    graph: ModelGraph,
    some: Dataset,
    values: Sequence[Mapping[str, Array]],
    threads: int,
) -> tuple[float, list[str]]:
    """The floor without labels, above what one answer for every input would get, and a note where that is much.

    A few inputs are looked at first, and more when those would meet the floor.
    """
    floor = DEFAULT_AGREEMENT if asked is None else asked
    best = value_of_one_answer(metric, values, some.samples)
    if best is None or best < floor:
        return floor, []
    more = _spread(dataset, _affordable(LOOKED_AT_TWICE, _outputs_of(graph)))
    best = value_of_one_answer(metric, list(_run(graph, more, threads=threads)), more.samples)
    if best is None or best < floor:
        return floor, []
    name, inputs = metric.use.name, f"{len(more)} inputs"
    if best >= INDISTINCT:
        text = (
            f"WARNING: the unsplit network gives the same answer for all of {inputs}, so that {name} cannot tell a good"
        )
        return floor, [f"{text} plan from a useless one; give data whose answers vary, labels or another task"]
    text = f"one answer for every input would get {name} {best:.3g} on {inputs}"
    if asked is not None:
        return floor, [f"WARNING: {text}, and min_agreement {asked:g} is asked"]
    raised = (1 + best) / 2
    return raised, [f"{text}: the default floor is {raised:.3g} in place of {floor:g}"]


def _outputs_of(graph: ModelGraph) -> list[IOTensor]:
    """The network's outputs, as metrics know them."""
    return [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in graph.outputs]


def _affordable(count: int, outputs: Sequence[IOTensor]) -> int:
    """`count`, or fewer inputs whose outputs take at most `MOST_BYTES`."""
    size = sum(8 * math.prod(max(1, side) for side in tensor.shape) for tensor in outputs)
    return max(LEAST_LOOKED_AT, min(count, MOST_BYTES // size))


def _spread(dataset: Dataset, count: int) -> Dataset:
    """So many samples, evenly over the data."""
    count = min(count, len(dataset))
    return dataset.select([i * len(dataset) // count for i in range(count)])


def _run(graph: ModelGraph, dataset: Dataset, *, threads: int) -> Iterator[Mapping[str, Array]]:
    session = open_session(whole_bytes(graph), level="all", threads=threads)
    for index, sample in enumerate(dataset.samples):
        outputs = session.run(graph.feeds(network_input(sample, dataset.spec)))
        refuse_not_finite(graph, [outputs[tensor.name] for tensor in graph.outputs], dataset, index)
        yield outputs
