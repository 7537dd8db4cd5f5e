"""What a split network's answers are worth: top-1, or F1 against the unsplit network's boxes and mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import Boxes
from splitpoint.planner.quality.detection.coco import coco_precision
from splitpoint.planner.quality.detection.mean_precision import mean_precision_interval
from splitpoint.planner.quality.intervals import drop_of_sums, paired_drop, proportion
from splitpoint.planner.quality.metrics.detect import MAP_50, MAP_ALL, make_detect
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Classification", "Detection", "Figure"]

Figure = tuple[float, float | None, float | None]  # a value and the ends of its 95 % interval, where there is one
SEED = 0  # of the resamplings


class Classification:
    """Top-1."""

    def __init__(self, truth: NDArray[np.int64]) -> None:
        self._truth = truth

    def read(self, outputs: Mapping[str, Array]) -> int:
        """The class of the highest score."""
        (scores,) = outputs.values()
        return int(scores.argmax())

    def figures(self, answers: Sequence[int], unsplit: Sequence[int]) -> dict[str, Figure]:
        """Points lost and top-1 in percent."""
        right, before = (np.array(given) == self._truth for given in (answers, unsplit))
        pictures = list(map(str, range(len(right))))
        drop, top1 = paired_drop(before, right, pictures), proportion(right, pictures)
        return {
            "top-1 lost": (100 * (float(before.mean()) - float(right.mean())), 100 * drop.low, 100 * drop.high),
            "top-1": (100 * float(right.mean()), 100 * top1.low, 100 * top1.high),
        }


class Detection:
    """F1 against the unsplit network's boxes; of the last pictures, which have labels, alone as well, and mAP."""

    def __init__(self, graph: ModelGraph, labels: Sequence[Boxes]) -> None:
        outputs = [IOTensor(name=t.name, shape=t.shape, dtype="float32") for t in graph.outputs]
        self._metric = make_detect(Task(name="detect", decode="yolox"), outputs, "unsplit", graph.inputs[0].shape)
        self._labels = labels

    def read(self, outputs: Mapping[str, Array]) -> Boxes | None:
        """The decoded boxes."""
        boxes: Boxes | None = self._metric.answer(outputs)
        return boxes

    def figures(self, answers: Sequence[Boxes | None], unsplit: Sequence[Boxes]) -> dict[str, Figure]:
        """F1 lost in points, mAP in percent."""
        labelled = len(self._labels)
        matches = [self._metric.match(a, t) for a, t in zip(answers[-labelled:], self._labels, strict=True)]
        found = [each for each in matches if each is not None]
        precision = coco_precision(found)
        ends = mean_precision_interval(found, list(map(str, range(labelled))))
        return {
            "F1 lost": self._lost(answers, unsplit),
            "F1 lost, coco/val2017": self._lost(answers[-labelled:], unsplit[-labelled:]),
            MAP_50: (100 * precision[0], 100 * ends.low, 100 * ends.high),
            MAP_ALL: (100 * float(np.mean(precision)), None, None),
        }

    def _lost(self, answers: Sequence[Boxes | None], unsplit: Sequence[Boxes]) -> Figure:
        truths = [self._metric.truth(boxes) for boxes in unsplit]
        before, after = (
            np.array([self._metric.compare(*pair) for pair in zip(given, truths, strict=True)])
            for given in (unsplit, answers)
        )
        drop = drop_of_sums(before, after, list(map(str, range(len(truths)))), self._metric.value, seed=SEED)
        lost = float(self._metric.value(before.sum(axis=0)) - self._metric.value(after.sum(axis=0)))
        return 100 * lost, 100 * drop.low, 100 * drop.high
