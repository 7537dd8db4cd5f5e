"""A class for every pixel: mean IoU over the classes that occur in the truth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import MetricUse, Task
from splitpoint.planner.quality.metrics.base import Common, only_output
from splitpoint.planner.quality.metrics.protocol import Answer, Floats
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

__all__ = ["Segment", "make_segment", "settle_segment"]


def __dir__() -> list[str]:
    return __all__


NOT_COUNTED = 255  # value of a mask's pixel that has no class, where the network has fewer classes
ClassMap = NDArray[np.int64]  # (H, W); below 0: not counted


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment(Common):
    """Mean IoU: an answer and a truth are class maps (H, W).

    Intersections and unions of each class are summed over the inputs before they are divided, as usual. A class that
    only the answer has is not in the mean: its pixels enlarge the unions of the classes that are there.
    """

    how: Literal["scores", "threshold", "numbers"]
    height_width: tuple[int, int]  # of the output
    scores: int  # classes that the output has scores for; 0: not known
    classes: tuple[int, ...] | None = None  # those of the truths, in order; from `prepare`

    @property
    def use(self) -> MetricUse:
        """Mean IoU, and how the class of a pixel is read."""
        read = {
            "scores": f"the highest score along axis {self.task.axis}",
            "threshold": f"1 where the output is above {self.task.threshold or 0:g}, else 0",
            "numbers": "the output's number",
        }[self.how]
        return MetricUse(
            name="mIoU",
            unit="mean intersection over union",
            definition="mean over the classes of the truth of (pixels of the class in both) / (pixels of the class in"
            f" either), summed over the inputs; a pixel's class is {read}; truth:"
            f" {self.compared_with('masks')}",
            against=self.against,
        )

    def answer(self, outputs: Mapping[str, Array]) -> Answer | None:
        """The class map."""
        arrays = self.read(outputs)
        if arrays is None:
            return None
        if self.how == "scores":
            assert self.task.axis is not None  # `make_segment` sets it
            return np.asarray(arrays[0].argmax(axis=self.task.axis)[0], np.int64)
        plane = arrays[0].reshape(self.height_width)
        if self.how == "threshold":
            return (plane > (self.task.threshold or 0)).astype(np.int64)
        return np.rint(plane).astype(np.int64)

    def label(self, sample: Sample) -> Answer:
        """The mask at the size of the output, by nearest neighbour."""
        mask = sample.truth
        if mask is None or mask.ndim != 2 or mask.dtype.kind not in "iub":
            got = "no mask" if mask is None else f"{mask.dtype}{list(mask.shape)}"
            raise ProfileError(
                f"task segment needs a mask (H, W) of class numbers for each input, got {got}",
                at=sample.name,
                fix="labels: a folder of PNG masks, or y (N, H, W) of integers in the .npz;"
                " --min-agreement 0.9 compares with the unsplit network instead",
            )
        resized = _resize_nearest(mask.astype(np.int64), self.height_width, at=sample.name)
        if self.scores <= NOT_COUNTED:
            resized = np.where(resized == NOT_COUNTED, -1, resized)
        if self.scores and int(resized.max()) >= self.scores:
            raise ProfileError(
                f"the mask has class {int(resized.max())}, the network {self.scores} classes (0..{self.scores - 1})",
                at=sample.name,
                fix=f"pixels without a class have the value {NOT_COUNTED}",
            )
        return resized

    def prepare(self, truths: Iterable[Answer]) -> Segment:
        """With the classes that occur in the truths; one alone cannot be missed, so it is refused."""
        occurring: set[int] = set()
        for truth in truths:
            occurring.update(int(c) for c in np.unique(truth) if c >= 0)
        if len(occurring) < 2:
            whose = "masks" if self.against == "labels" else "unsplit network's maps"
            raise ProfileError(
                f"the {whose} have {'one class' if occurring else 'no class'} in all pixels of the set, so that any"
                " answer would be right",
                at="$.task",
                fix="give pictures with several classes, or another task: --task tensor",
            )
        return dataclasses.replace(self, classes=tuple(sorted(occurring)))

    def compare(self, answer: Answer | None, truth: Answer) -> tuple[float, ...]:
        """For each class its intersection and its union, in pixels."""
        assert self.classes is not None  # `prepare` came first
        counted = truth >= 0
        true = self._numbered(truth[counted])
        in_truth = self._count(true)
        if answer is None:
            both, either = np.zeros_like(in_truth), in_truth
        else:
            found = self._numbered(answer[counted])
            both = self._count(true[true == found])
            either = in_truth + self._count(found) - both
        return tuple(np.stack([both, either], axis=1).ravel().astype(float).tolist())

    def value(self, sums: Floats) -> Floats:
        """The mean over classes of intersection / union; a class that none of the inputs has is left out."""
        both, either = sums[..., 0:-1:2], sums[..., 1:-1:2]
        there = either > 0
        iou = np.divide(both, either, out=np.zeros_like(both, np.float64), where=there)
        return np.asarray(iou.sum(axis=-1) / np.maximum(1, there.sum(axis=-1)))

    def _numbered(self, pixels: ClassMap) -> ClassMap:
        """The place of each pixel's class among the classes; one more for a class that is not among them."""
        classes = np.array(self.classes)
        place = np.searchsorted(classes, pixels).clip(max=len(classes) - 1)
        return np.asarray(np.where(classes[place] == pixels, place, len(classes)))

    def _count(self, places: ClassMap) -> NDArray[np.int64]:
        assert self.classes is not None
        return np.asarray(np.bincount(places, minlength=len(self.classes))[: len(self.classes)])


def settle_segment(
    task: Task, outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> Task:
    """The task with the axis of the classes or the threshold, found from the outputs' shapes and some of their values.

    The axis is the one that leaves a plane with the input's proportions; both may, and then the layout is the input's.
    Outputs in 0..1 are probabilities (threshold 0.5), other outputs logits (threshold 0), except whole numbers of more
    than two values, which are classes.
    """
    (name,) = only_output(task, [tensor.name for tensor in outputs])
    tensor = next(tensor for tensor in outputs if tensor.name == name)
    if not tensor.dtype.startswith("float"):
        return task
    if _is_one_plane(tensor.shape):
        if task.threshold is not None:
            return task
        plane = np.concatenate([np.asarray(row[name], np.float64).ravel() for row in values])
        if (plane == np.rint(plane)).all() and len(np.unique(plane)) > 2:
            return task
        threshold = 0.5 if plane.min() >= 0 and plane.max() <= 1 else 0.0
        return msgspec.structs.replace(task, threshold=threshold)
    if task.axis is not None or len(tensor.shape) != 4:
        return task
    return msgspec.structs.replace(task, axis=_class_axis(tensor.shape, input_shape))


def make_segment(task: Task, outputs: Sequence[IOTensor], against: Literal["labels", "unsplit"]) -> Segment:
    """The metric of scores (1, C, H, W) or (1, H, W, C), of one value a pixel, or of class numbers a pixel."""
    reads = only_output(task, [tensor.name for tensor in outputs])
    tensor = next(tensor for tensor in outputs if tensor.name == reads[0])
    shape, floating = tensor.shape, tensor.dtype.startswith("float")
    if _is_one_plane(shape):
        plane = _plane(shape)
        how: Literal["threshold", "numbers"] = "threshold" if floating and task.threshold is not None else "numbers"
        scores = 2 if how == "threshold" else 0
        return Segment(task=task, against=against, reads=reads, how=how, height_width=plane, scores=scores)
    if not (floating and len(shape) == 4 and shape[0] == 1):
        raise ProfileError(
            "task segment reads scores [1, classes, H, W] or [1, H, W, classes], or one value a pixel [1, 1, H, W] or"
            f" [1, H, W]; {reads[0]!r} is {tensor.dtype}{list(shape)}",
            at="$.task",
            fix="name another output with --output, or --task tensor",
        )
    axis = task.axis or _class_axis(shape, ())
    if axis not in (1, 3):
        raise ProfileError(f"the classes of {list(shape)} are on axis 1 or 3, got {axis}", at="$.task.axis")
    height_width = (shape[2], shape[3]) if axis == 1 else (shape[1], shape[2])
    settled = msgspec.structs.replace(task, axis=axis)
    return Segment(
        task=settled, against=against, reads=reads, how="scores", height_width=height_width, scores=shape[axis]
    )


def _is_one_plane(shape: Sequence[int]) -> bool:
    """Whether an output has one value for each pixel."""
    return (len(shape) == 3 and shape[0] == 1) or (len(shape) == 4 and shape[0] == 1 and 1 in (shape[1], shape[3]))


def _plane(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) == 3:
        return shape[1], shape[2]
    return (shape[2], shape[3]) if shape[1] == 1 else (shape[1], shape[2])


def _class_axis(shape: Sequence[int], input_shape: Sequence[int]) -> int:
    """1 for (1, C, H, W), 3 for (1, H, W, C)."""
    first, second, third = shape[1:]
    if len(input_shape) != 4:
        return 1 if first <= third else 3
    input_last = input_shape[1] > input_shape[3]  # the input is (1, H, W, C)
    height, width = input_shape[1:3] if input_last else input_shape[2:]
    front, last = second * width == third * height, first * width == second * height
    if front != last:
        return 1 if front else 3
    return 3 if input_last else 1


def _resize_nearest(mask: ClassMap, size: tuple[int, int], *, at: str) -> ClassMap:
    """The mask at `size`, which must have its proportions to within a pixel; raises `ProfileError`."""
    height, width = mask.shape
    if abs(height * size[1] / width - size[0]) >= 1 and abs(width * size[0] / height - size[1]) >= 1:
        raise ProfileError(
            f"a mask of {height}x{width} pixels does not fit the network's map of {size[0]}x{size[1]}",
            at=at,
            fix="give masks at the size of the network's input or output (height x width)",
        )
    rows = np.array([math.floor((i + 0.5) * height / size[0]) for i in range(size[0])])
    columns = np.array([math.floor((j + 0.5) * width / size[1]) for j in range(size[1])])
    return np.asarray(mask[np.ix_(rows, columns)])
