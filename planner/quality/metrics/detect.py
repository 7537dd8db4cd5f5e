"""Boxes with classes: F1 of the boxes above a score, and mean average precision."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.detection.coco import coco_precision, has_coco
from splitpoint.planner.quality.detection.contract import Decoder
from splitpoint.planner.quality.detection.decoders import frame_of, make_decoder
from splitpoint.planner.quality.detection.matching import box_distance, match_boxes
from splitpoint.planner.quality.detection.mean_precision import mean_precision, mean_precision_interval
from splitpoint.planner.quality.metrics.base import Common
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import BoxMatches, InputOutcome
from splitpoint.profiles.errors import ProfileError

__all__ = ["MAP_50", "MAP_ALL", "Detect", "make_detect", "settle_detect"]


def __dir__() -> list[str]:
    return __all__


MAP_50, MAP_ALL = "mAP@0.5", "mAP@[.5:.95]"
LEAST_MAP = 0.90  # default floor without labels
SCORE_TOLERANCE = 1.01  # a sigmoid gives at most 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Detect(Common):
    """An answer is boxes (M, 6) x0 y0 x1 y1 score class, a truth is boxes (K, 6) x0 y0 x1 y1 class iscrowd.

    The counts of an input are its true positives, the boxes that are found and the true boxes.
    """

    decoder: Decoder

    @property
    def use(self) -> MetricUse:
        """F1 of boxes."""
        truth = self.compared_with("the labels")
        if self.against == "unsplit":
            truth = f"the unsplit network's boxes of score >= {self.task.score:g}"
        return MetricUse(
            name="box F1",
            unit="F1",
            definition=f"2 TP / (boxes found + true boxes) of boxes of score >= {self.task.score:g}, compared with"
            f" {truth} at IoU >= 0.5 and the same class, each true box once; outputs decoded by {self.task.decode},"
            f" overlaps above IoU {self.task.nms:g} suppressed",
            against=self.against,
            sha256=self.decoder.sha256,
        )

    @property
    def figures(self) -> tuple[str, ...]:
        """Mean average precision may have a bound."""
        return (MAP_50,)

    @property
    def floors(self) -> tuple[Bound, ...]:
        """Without labels, mAP against the unsplit network's boxes."""
        return () if self.against == "labels" else (Bound(limit=MAP_50, value=LEAST_MAP),)

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The decoded boxes."""
        return None if self.read(outputs) is None else self.decoder.decode({name: outputs[name] for name in self.reads})

    def label(self, sample: Sample) -> Answer:
        """The boxes that the picture is labelled with."""
        boxes = sample.truth
        if boxes is None or boxes.ndim != 2 or boxes.shape[1] != 6 or boxes.dtype.kind != "f":
            raise ProfileError(
                "task detect compares with boxes, an array (M, 6) of x0 y0 x1 y1 class iscrowd",
                at=sample.name,
                fix="labels: a COCO JSON file or a folder of YOLO text files; or data without labels",
            )
        if not np.isfinite(boxes).all() or (boxes[:, 4] < 0).any() or (boxes[:, 4] != np.rint(boxes[:, 4])).any():
            raise ProfileError("a box has a coordinate that is not finite, or a class that is no index", at=sample.name)
        classes = self.decoder.classes
        if classes is not None and len(boxes) and boxes[:, 4].max() >= classes:
            raise ProfileError(
                f"class {boxes[:, 4].max():.0f}, and the network has {classes} (0..{classes - 1})",
                at=sample.name,
                fix="classes.txt beside the labels: one class a line, in the order of the network's outputs",
            )
        return boxes

    def truth(self, answer: Answer) -> Answer:
        """The unsplit network's boxes of a score that counts."""
        boxes = answer[answer[:, 4] >= self.task.score]
        return np.column_stack([boxes[:, :4], boxes[:, 5], np.zeros(len(boxes))])

    def truth_of(self, sample: Sample, answer: Answer) -> Answer:
        """The labels, or the unsplit network's boxes; raises `ProfileError` where `answer` has no possible scores."""
        if answer is None:
            raise ProfileError("the outputs of the unsplit network are not finite", at=sample.name)
        best = float(answer[:, 4].max(initial=0.0))
        if best > SCORE_TOLERANCE:
            raise ProfileError(
                f"{sample.name}: the decoded boxes have scores up to {best:.3g}, expected 0..1",
                at="$.task.decode",
                fix="another --decode, an export with the sigmoid, or a function: --decode file.py:function",
            )
        return super().truth_of(sample, answer)

    def prepare(self, truths: Iterable[Answer]) -> Detect:
        """This metric; raises `ProfileError` for a set without any true box."""
        counts = [int((truth[:, 5] == 0).sum()) for truth in truths]
        if any(counts):
            return self
        if self.against == "labels":
            raise ProfileError(
                f"none of {len(counts)} pictures of a set has a labelled box, so no quality can be measured",
                at="$.data.labels",
                fix="give more labelled pictures",
            )
        raise ProfileError(
            f"the unsplit network finds no box of score >= {self.task.score:g} in any of {len(counts)} inputs, so no"
            " quality can be measured",
            at="$.task.score",
            fix="check the input: block and --decode, give other pictures, or a lower --score",
        )

    def match(self, answer: Answer | None, truth: Answer) -> BoxMatches | None:
        """Every box matched, as COCO does it; an answer that is none has no boxes."""
        return match_boxes(np.zeros((0, 6)) if answer is None else answer, truth)

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """True positives, boxes found, true boxes; a match depends on boxes of higher scores alone."""
        true = float((truth[:, 5] == 0).sum())
        if answer is None:
            return (0.0, max(1.0, true), true)
        return _counts(match_boxes(answer[answer[:, 4] >= self.task.score], truth))

    def distance(self, answer: Answer | None, exact: Answer) -> float | None:
        """The share of the scores that is not kept; F1 of two pictures has a few values only."""
        return 1.0 if answer is None else box_distance(answer, exact)

    def value(self, sums: Floats) -> Floats:
        """F1; 1 where there is nothing to find and nothing was found."""
        boxes = sums[..., 1] + sums[..., 2]
        return np.asarray(np.where(boxes > 0, 2 * sums[..., 0] / np.maximum(boxes, 1), 1.0))

    def also(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """Mean average precision, by our own accumulation."""
        found, unsplit = _matches(inputs)
        return _figures(mean_precision(found).tolist(), mean_precision(unsplit).tolist())

    def report(self, inputs: Sequence[InputOutcome]) -> tuple[Figure, ...]:
        """The same by pycocotools, with an interval at IoU 0.5; nothing where it is not installed."""
        if not has_coco():
            return ()
        found, unsplit = _matches(inputs)
        at_50, all_ = _figures(coco_precision(found), coco_precision(unsplit))
        ends = mean_precision_interval(found, [row.group for row in inputs])
        return msgspec.structs.replace(at_50, low=ends.low, high=ends.high), all_


def _counts(matches: BoxMatches) -> tuple[float, ...]:
    """Boxes that only match a crowd region are not counted as found."""
    right = sum(bits & 1 for bits in matches.hits)
    found = len(matches.scores) - sum(bits & 1 for bits in matches.ignored)
    return float(right), float(found), float(sum(matches.truths.values()))


def _matches(inputs: Sequence[InputOutcome]) -> tuple[list[BoxMatches], list[BoxMatches]]:
    """The candidate's and the unsplit network's."""
    found = [row.matches for row in inputs if row.matches is not None]
    unsplit = [row.unsplit_matches for row in inputs if row.unsplit_matches is not None]
    return found, unsplit


def _figures(found: Sequence[float], unsplit: Sequence[float]) -> tuple[Figure, ...]:
    """mAP at IoU 0.5, and the mean over all thresholds."""
    pairs = ((MAP_50, found[0], unsplit[0]), (MAP_ALL, float(np.mean(found)), float(np.mean(unsplit))))
    return tuple(Figure(name=name, value=value, drop=whole - value) for name, value, whole in pairs)


def settle_detect(
    task: Task, outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> Task:
    """The task with absolute paths of a decoder and anchors of the user's own: plan.yaml is read in other folders."""
    place, _, name = task.decode.rpartition(":")
    decode = f"{Path(place).resolve()}:{name}" if place.endswith(".py") else task.decode
    anchors = str(Path(task.anchors).resolve()) if task.anchors else ""
    return msgspec.structs.replace(task, decode=decode, anchors=anchors)


def make_detect(
    task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"], input_shape: Sequence[int]
) -> Detect:
    """The metric of a network whose outputs `task.decode` reads; raises `ProfileError` where they do not fit."""
    decoder = make_decoder(task, outputs, frame_of(input_shape))
    return Detect(task=task, against=against, reads=decoder.reads, decoder=decoder)
