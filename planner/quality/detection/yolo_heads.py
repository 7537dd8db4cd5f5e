"""Decoders of YOLOv5 and YOLOv8 networks that end at their convolutions: a map for each stride, before any sigmoid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import LEAST_SCORE, Boxes, Frame, corners, suppress
from splitpoint.planner.quality.detection.contract import Decoder

__all__ = ["make_yolov5_heads", "make_yolov8_heads"]


def __dir__() -> list[str]:
    return __all__


ANCHORS = {  # stride -> widths and heights in pixels, of YOLOv5 trained on COCO
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
BINS = 16  # of the distribution of each of YOLOv8's four distances


def make_yolov5_heads(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder | None:
    """Three outputs (1, 3, H, W, 5 + C) or (1, 3 (5 + C), H, W) with YOLOv5's own anchors; None where they are not."""
    heads: dict[int, IOTensor] = {}
    for tensor in outputs:
        shape = tensor.shape
        if shape[:1] == (1,) and ((len(shape) == 5 and shape[1] == 3) or (len(shape) == 4 and shape[1] % 3 == 0)):
            heads[_stride(shape[2:4], frame)] = tensor
    widths = {t.shape[4] if len(t.shape) == 5 else t.shape[1] // 3 for t in heads.values()}
    if set(heads) != set(ANCHORS) or len(heads) != len(outputs) or len(widths) != 1 or min(widths) < 6:
        return None
    (width,) = widths

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        parts = []
        for stride, tensor in heads.items():
            values = np.asarray(arrays[tensor.name], np.float64)[0]
            if values.ndim == 3:
                values = values.reshape(3, width, *values.shape[1:]).transpose(0, 2, 3, 1)
            anchors, y, x = np.nonzero(_sigmoid(values[..., 4]) >= LEAST_SCORE)
            rows = _sigmoid(values[anchors, y, x])
            centre = (2 * rows[:, :2] - 0.5 + np.stack([x, y], axis=1)) * stride
            size = (2 * rows[:, 2:4]) ** 2 * np.array(ANCHORS[stride])[anchors]
            scores = rows[:, 4] * rows[:, 5:].max(axis=1)
            parts.append(np.column_stack([corners(centre, size), scores, rows[:, 5:].argmax(axis=1)]))
        return _suppressed(parts, task, frame)

    return Decoder(reads=tuple(t.name for t in heads.values()), decode=decode, classes=width - 5)


def make_yolov8_heads(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder | None:
    """An output (1, 64 + C, H, W) for each stride, or two, (1, 64, H, W) and (1, C, H, W); None where they are not.

    Of the 64 numbers 16 each are the logits of the distance, in strides, to the left, upper, right and lower side.
    """
    maps: dict[tuple[int, ...], list[IOTensor]] = {}
    for tensor in outputs:
        if len(tensor.shape) != 4 or tensor.shape[0] != 1:
            return None
        maps.setdefault(tensor.shape[2:4], []).append(tensor)
    heads = {_stride(size, frame): sorted(t, key=lambda t: t.shape[1] != 4 * BINS) for size, t in maps.items()}
    classes = {sum(t.shape[1] for t in tensors) - 4 * BINS for tensors in heads.values()}
    apart = all(len(t) == 1 or (len(t) == 2 and t[0].shape[1] == 4 * BINS) for t in heads.values())
    if set(heads) != set(ANCHORS) or len(heads) != len(maps) or not apart or len(classes) != 1 or min(classes) < 1:
        return None

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        parts = []
        for stride, tensors in heads.items():
            values = np.concatenate([np.asarray(arrays[t.name], np.float64)[0] for t in tensors])
            best = _sigmoid(values[4 * BINS :].max(axis=0))
            y, x = np.nonzero(best >= LEAST_SCORE)
            logits = values[: 4 * BINS, y, x].reshape(4, BINS, -1)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            left, top, right, bottom = (weights * np.arange(BINS)[:, None]).sum(axis=1) / weights.sum(axis=1)
            sides = np.stack([x + 0.5 - left, y + 0.5 - top, x + 0.5 + right, y + 0.5 + bottom], axis=1) * stride
            parts.append(np.column_stack([sides, best[y, x], values[4 * BINS :, y, x].argmax(axis=0)]))
        return _suppressed(parts, task, frame)

    names = tuple(t.name for tensors in heads.values() for t in tensors)
    return Decoder(reads=names, decode=decode, classes=min(classes))


def _stride(size: Sequence[int], frame: Frame) -> int:
    """Of a map (H, W); 0 where it has none."""
    height, width = size
    stride = frame[0] // width if width else 0
    return stride if (width * stride, height * stride) == frame else 0


def _suppressed(parts: Sequence[Boxes], task: Task, frame: Frame) -> Boxes:
    rows = np.concatenate(parts)
    rows = rows[rows[:, 4] >= LEAST_SCORE]
    return suppress(rows[:, :4], rows[:, 4], rows[:, 5], iou=task.nms, frame=frame)


def _sigmoid(values: Array) -> Array:
    return np.asarray(0.5 + 0.5 * np.tanh(values / 2))  # no overflow
