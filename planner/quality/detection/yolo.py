"""Decoders of YOLO heads: one row for each place, whose boxes overlap and are suppressed here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import LEAST_SCORE, Boxes, Frame, corners, in_pixels, suppress
from splitpoint.planner.quality.detection.contract import Decoder, misfit, only_one
from splitpoint.planner.quality.detection.yolo_heads import make_yolov5_heads, make_yolov8_heads

__all__ = ["make_yolov5", "make_yolov8", "make_yolox"]


def __dir__() -> list[str]:
    return __all__


STRIDES = ((8, 16, 32), (8, 16, 32, 64))  # of the grids; four of them in networks for large pictures


def make_yolox(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """(1, N, 5 + C), N places of the grids: x and y in cells from the place, log of width and height in strides."""
    grids = {sum(math.prod(_cells(frame, s)) for s in strides): strides for strides in STRIDES}
    expected = (
        f"one output (1, N, 5 + C) with N = {' or '.join(map(str, grids))} places of strides 8, 16, 32 (and 64) over"
        f" {frame[0]}x{frame[1]} (YOLOX with boxes decoded in the graph is yolov5)"
    )
    tensor = only_one(task, outputs, lambda t: _rows(t, 5) and t.shape[1] in grids, expected)
    places, strides = _places(frame, grids[tensor.shape[1]])

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        rows = np.asarray(arrays[tensor.name])[0]
        keep, scores, classes = _best(rows[:, 5:], rows[:, 4])
        rows, unit = rows[keep].astype(np.float64), strides[keep, None]
        with np.errstate(over="ignore"):
            size = np.exp(rows[:, 2:4]) * unit
        centre = (rows[:, :2] + places[keep]) * unit
        return suppress(corners(centre, size), scores, classes, iou=task.nms, frame=frame)

    return Decoder(reads=(tensor.name,), decode=decode, classes=tensor.shape[2] - 5)


def make_yolov5(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """(1, N, 5 + C): centre, size (pixels or shares of the frame), objectness, class probabilities; also YOLOv7.

    Or the three maps before the decoding (`make_yolov5_heads`).
    """
    heads = make_yolov5_heads(task, outputs, frame)
    if heads is not None:
        return heads
    expected = "one output (1, N, 5 + C) of decoded boxes, or three (1, 3, H, W, 5 + C) of strides 8, 16 and 32"
    tensor = only_one(task, outputs, lambda t: _rows(t, 5), expected)

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        rows = np.asarray(arrays[tensor.name])[0]
        keep, scores, classes = _best(rows[:, 5:], rows[:, 4])
        boxes = in_pixels(rows[keep, :4], frame)
        return suppress(corners(boxes[:, :2], boxes[:, 2:]), scores, classes, iou=task.nms, frame=frame)

    return Decoder(reads=(tensor.name,), decode=decode, classes=tensor.shape[2] - 5)


def make_yolov8(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """(1, 4 + C, N) or its transpose: centre, size (pixels or shares of the frame), class probabilities.

    Also YOLO11. What a segmentation head adds for its masks, as many numbers as the prototypes of its other output
    (1, masks, H, W), is no class. Or the maps before the decoding (`make_yolov8_heads`).
    """
    heads = make_yolov8_heads(task, outputs, frame)
    if heads is not None:
        return heads
    expected = "one output (1, 4 + C, N) of N boxes, N > 4 + C, or (1, N, 4 + C), or (1, 64 + C, H, W) for each stride"
    tensor = only_one(task, outputs, lambda t: len(t.shape) == 3 and t.shape[0] == 1 and min(t.shape[1:]) > 4, expected)
    prototypes = [t.shape[1] for t in outputs if len(t.shape) == 4]
    across = tensor.shape[1] < tensor.shape[2]
    classes_count = min(tensor.shape[1:]) - 4 - (prototypes[0] if prototypes else 0)
    if classes_count < 1:
        raise misfit(task, outputs, expected)

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        output = np.asarray(arrays[tensor.name])[0]
        rows = output.T if across else output
        keep, scores, classes = _best(rows[:, 4 : 4 + classes_count], None)
        boxes = in_pixels(rows[keep, :4], frame)
        return suppress(corners(boxes[:, :2], boxes[:, 2:]), scores, classes, iou=task.nms, frame=frame)

    return Decoder(reads=(tensor.name,), decode=decode, classes=classes_count)


def _rows(tensor: IOTensor, before: int) -> bool:
    """Whether it is (1, N, before + C) with more places than numbers of each."""
    return len(tensor.shape) == 3 and tensor.shape[0] == 1 and before < tensor.shape[2] < max(tensor.shape[1], 7)


def _best(probabilities: Array, objectness: Array | None) -> tuple[Array, Array, Array]:
    """Rows (K,) of a score that counts, with the score and the class of the highest probability."""
    rows = np.arange(len(probabilities)) if objectness is None else np.flatnonzero(objectness >= LEAST_SCORE)
    scores = probabilities[rows].max(axis=1).astype(np.float64)
    if objectness is not None:
        scores *= objectness[rows]
    good = scores >= LEAST_SCORE
    keep = rows[good]
    return keep, scores[good], probabilities[keep].argmax(axis=1)


def _cells(frame: Frame, stride: int) -> tuple[int, int]:
    return math.ceil(frame[1] / stride), math.ceil(frame[0] / stride)


def _places(frame: Frame, strides: Sequence[int]) -> tuple[Array, Array]:
    """x and y (N, 2) of every cell of the grids, and its stride (N,)."""
    places, units = [], []
    for stride in strides:
        y, x = np.mgrid[tuple(slice(n) for n in _cells(frame, stride))]
        places.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        units.append(np.full(len(places[-1]), stride))
    return np.concatenate(places).astype(np.float64), np.concatenate(units).astype(np.float64)
