"""Which task a network is for, judged by its outputs: a classifier is taken for one, anything else is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import TASKS, Task
from splitpoint.profiles.errors import ProfileError

__all__ = ["guess_task", "is_classifier", "recognize"]


def __dir__() -> list[str]:
    return __all__


SUM_TOLERANCE = 1e-3  # of probabilities that a softmax in float32 or float16 gives
LEAST_CONFIDENCE = 0.4  # mean of the highest softmax of a classifier's logits; 10 values of unit variance give 0.34
FEW_CLASSES, LEAST_OF_FEW = 3, 0.8  # two or three numbers are as often a position as scores: they must be surer
MOST_OFFSET = 2.0  # standard deviations between the mean of an input's scores and 0, in most inputs
CHANCE_FACTOR = 2.0  # labels that a classifier meets are met more often than by chance times this
STRIDES = (8, 16, 32)  # of the usual detectors' grids
SMALL_VECTOR = 16  # values; fewer are numbers rather than an embedding


def recognize(
    outputs: Sequence[IOTensor],
    values: Sequence[Mapping[str, Array]],
    *,
    labels: Sequence[int] | None,
    input_shape: Sequence[int],
) -> tuple[Task, str]:
    """The task and one line that says why, for a network whose outputs of some inputs are `values`.

    `labels` are of the same inputs. Raises `ProfileError` with the list of tasks, and a guess to confirm, unless the
    network's single output is (1, K) and its values look like class scores.
    """
    if len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[0] == 1 and outputs[0].shape[1] > 1:
        scores = np.concatenate([np.asarray(row[outputs[0].name], np.float64) for row in values])
        reason = is_classifier(scores, labels)
        if reason is not None:
            return Task(name="classify"), f"taken for a classifier of {outputs[0].shape[1]} classes: {reason}"
    looks, flags = guess_task(outputs, values, input_shape)
    listed = ", ".join(name for name in TASKS if name != "custom")
    shapes = ", ".join(f"{tensor.name!r} {list(tensor.shape)}" for tensor in outputs[:4])
    more = f" and {len(outputs) - 4} more" if len(outputs) > 4 else ""
    raise ProfileError(
        f"what is this network for? Its outputs are {shapes}{more}, and a plan is as good as its measure of quality",
        at="$.task",
        fix=f"{looks}: {flags}\n        tasks: {listed}; or --metric file.py:function of your own\n"
        '        in a configuration task: NAME, in Python task="NAME"',
    )


def is_classifier(scores: Array, labels: Sequence[int] | None) -> str | None:
    """Why `scores` (N, K) look like those of classes, or None."""
    classes = scores.shape[1]
    if not np.isfinite(scores).all():
        return None
    answers = scores.argmax(axis=1)
    if labels is not None and max(labels) < classes:
        right = float((answers == np.asarray(labels)).mean())
        if right > CHANCE_FACTOR * max(1 / classes, _commonest(labels)) or right == 1.0:
            return f"its highest output is the label of {right:.0%} of some inputs"
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=SUM_TOLERANCE):
        return "its outputs are probabilities, of sum 1"
    if scores.max() <= SUM_TOLERANCE and np.allclose(np.exp(scores).sum(axis=1), 1, atol=SUM_TOLERANCE):
        return "its outputs are logarithms of probabilities"
    if (scores >= 0).all() or np.allclose(np.linalg.norm(scores, axis=1), 1, atol=SUM_TOLERANCE):
        return None  # rectified or counted values; vectors of length 1
    confidence = float(_softmax(scores).max(axis=1).mean())
    centred = float((np.abs(scores.mean(axis=1)) <= MOST_OFFSET * scores.std(axis=1)).mean()) > 0.5
    if centred and confidence > (LEAST_OF_FEW if classes <= FEW_CLASSES else LEAST_CONFIDENCE):
        return f"its outputs look like logits (mean of the highest softmax: {confidence:.2f})"
    return None


def guess_task(
    outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> tuple[str, str]:
    """What the outputs look like, and the flags that say so."""
    detector = _guess_detector(outputs, values, input_shape)
    if detector is not None:
        return f"looks like {detector[0]}", f"--task detect --decode {detector[1]}"
    first = outputs[0]
    dims = first.shape
    integer = first.dtype.startswith(("int", "uint"))
    if len(outputs) > 1:
        return "several outputs", "--task tensor (the error of each output by itself)"
    if not integer and _is_plane(dims, input_shape):
        return "looks like one value a pixel", "--task segment (a mask), or --task tensor (numbers such as depth)"
    if len(dims) == 4 and len(input_shape) == 4 and min(dims[1], dims[3]) > 1 and sorted(dims)[2] >= 4:
        return "looks like a map of classes", "--task segment"
    if (integer and len(dims) == 3 and dims[0] == 1 and min(dims[1:]) >= 4 and len(input_shape) == 4) or (
        integer and len(dims) == 4
    ):
        return "looks like a map of class numbers", "--task segment"
    if integer and len(dims) <= 2:
        return "looks like token numbers", "--task sequence --decode ids"
    if len(dims) == 3 and 1 in dims[:2] and sorted(dims)[1] > 1:
        return "looks like scores of tokens over time", "--task sequence --decode ctc (or --decode scores)"
    count = int(np.prod(dims))
    if count == dims[-1]:
        rows = np.stack([np.asarray(row[first.name], np.float64).ravel() for row in values])
        if count >= SMALL_VECTOR:
            return "looks like a vector to compare", "--task embed (or --task classify for class scores)"
        unit = "numbers" if count > 1 else "a number"
        guess = "--task regress" + (" (or --task classify for class scores)" if count > 1 else "")
        return f"looks like {unit} between {rows.min():.3g} and {rows.max():.3g}", guess
    return "looks like a tensor", "--task tensor"


def _is_plane(dims: Sequence[int], input_shape: Sequence[int]) -> bool:
    """Whether an output has one value for each pixel of a picture, or of a smaller one with its proportions."""
    if len(input_shape) != 4 or len(dims) not in (3, 4) or dims[0] != 1:
        return False
    if len(dims) == 4 and 1 not in (dims[1], dims[3]):
        return False
    sides = dims[2:] if len(dims) == 4 and dims[1] == 1 else dims[1:3]
    height, width = input_shape[2:] if input_shape[1] <= 4 else input_shape[1:3]
    return min(sides) >= 4 and sides[0] * width == sides[1] * height


def _guess_detector(
    outputs: Sequence[IOTensor], values: Sequence[Mapping[str, Array]], input_shape: Sequence[int]
) -> tuple[str, str] | None:
    """The detector's family and the name of its decoder, or None."""
    shapes = [tensor.shape for tensor in outputs]
    side = max(input_shape[-2:]) if len(input_shape) == 4 and input_shape[1] <= 4 else max(input_shape[1:3], default=0)
    height, width = (input_shape[2:4] if input_shape[1] <= 4 else input_shape[1:3]) if len(input_shape) == 4 else (0, 0)
    cells = sum(math.ceil(height / s) * math.ceil(width / s) for s in STRIDES)
    for tensor in outputs:
        dims = tensor.shape
        if len(dims) != 3 or dims[0] != 1 or not cells:
            continue
        if dims[1] == 3 * cells and dims[2] > 5:
            return "YOLOv5", "yolov5"
        if dims[1] == cells and dims[2] > 5:
            largest = max(float(np.abs(np.asarray(row[tensor.name])[0, :, :2]).max()) for row in values)
            return ("YOLOX with decoded boxes", "yolov5") if largest > side / 4 else ("YOLOX", "yolox")
        if dims[2] == cells and dims[1] > 4:
            return "YOLOv8 or YOLO11", "yolov8"
        if len(outputs) == 1 and dims[2] == 6 and dims[1] <= 1000:
            return "a detector with NMS in the graph", "nms"
    names = " ".join(tensor.name.lower() for tensor in outputs)
    boxes = [s for s in shapes if len(s) in (2, 3) and s[-1] == 4]
    if boxes and len(outputs) == 2 and any(len(s) == 3 and s[:2] == boxes[0][:2] and s[-1] > 1 for s in shapes):
        return "an SSD", "ssd"
    if (boxes and len(outputs) >= 3) or ("boxes" in names and "scores" in names):
        return "a detector with NMS in the graph", "nms"
    return None


def _softmax(scores: Array) -> Array:
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _commonest(labels: Sequence[int]) -> float:
    """Share of the commonest label: what one answer for all would get."""
    return float(np.bincount(np.asarray(labels)).max() / len(labels))
