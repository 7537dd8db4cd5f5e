"""Decoder of networks that suppress overlaps themselves: one table of boxes, or boxes, scores and classes apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import Boxes, Frame, boxes_of, in_pixels
from splitpoint.planner.quality.detection.contract import Decoder, misfit

__all__ = ["make_nms", "make_nms_yx"]


def __dir__() -> list[str]:
    return __all__


EXPECTED = (
    "one output (1, N, 6), (N, 6) or (N, 7), or boxes (1, N, 4), scores (1, N), classes (1, N) and optionally their"
    " count, named by --output in this order where they cannot be told apart"
)
SCORE_WORDS, CLASS_WORDS, COUNT_WORDS = ("score", "conf", "prob"), ("class", "label", "cls"), ("num", "count", "valid")
TENSORFLOW = ("detection_boxes", "tflite_detection_postprocess")  # whose boxes are y0 x0 y1 x1


def make_nms(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """Boxes x0 y0 x1 y1, or y0 x0 y1 x1 where names are TensorFlow's; pixels or shares of the frame."""
    names = " ".join(tensor.name.lower() for tensor in outputs)
    return _make(task, outputs, frame, y_first=any(name in names for name in TENSORFLOW))


def make_nms_yx(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """As `make_nms`, with boxes y0 x0 y1 x1 whatever the names are."""
    return _make(task, outputs, frame, y_first=True)


def _make(task: Task, outputs: Sequence[IOTensor], frame: Frame, *, y_first: bool) -> Decoder:
    order = [1, 0, 3, 2] if y_first else [0, 1, 2, 3]
    tables = [t for t in outputs if len(t.shape) > 1 and t.shape[-1] in (6, 7) and math.prod(t.shape[:-2]) == 1]
    if len(tables) == 1 and len(outputs) == 1:
        table = tables[0]

        def from_table(arrays: Mapping[str, Array]) -> Boxes:
            boxes, scores, classes = _columns(np.asarray(arrays[table.name], np.float64), len(table.shape))
            return boxes_of(in_pixels(boxes[:, order], frame), scores, classes, frame=frame)

        return Decoder(reads=(table.name,), decode=from_table)
    parts = _parts(task, outputs)

    def from_parts(arrays: Mapping[str, Array]) -> Boxes:
        boxes, scores, classes = _split(parts, arrays)
        return boxes_of(in_pixels(boxes[:, order], frame), scores, classes, frame=frame)

    return Decoder(reads=tuple(t.name for t in parts.values()), decode=from_parts)


def _columns(table: Array, rank: int) -> tuple[Array, Array, Array]:
    """Boxes, scores and classes of (N, 6) x0 y0 x1 y1 score class, or of the usual tables of 7 numbers."""
    rows = table.reshape(-1, table.shape[-1])
    if rows.shape[1] == 7 and rank == 4:  # Caffe and OpenVINO: picture class score x0 y0 x1 y1
        return rows[:, 3:7], rows[:, 2], rows[:, 1]
    if rows.shape[1] == 7:  # YOLOv7: picture x0 y0 x1 y1 class score
        return rows[:, 1:5], rows[:, 6], rows[:, 5]
    scores, classes = _tell_apart(rows[:, 4], rows[:, 5])
    return rows[:, :4], scores, classes


def _tell_apart(scores: Array, classes: Array) -> tuple[Array, Array]:
    """The two in their order, unless only the first are whole numbers, as classes are."""
    some = (scores != 0) | (classes != 0)  # rows that are not padding
    whole = [bool((column[some] == np.rint(column[some])).all()) for column in (scores, classes)]
    return (classes, scores) if whole == [True, False] else (scores, classes)


def _parts(task: Task, outputs: Sequence[IOTensor]) -> dict[str, IOTensor]:
    """Role -> output: in the order of `task.outputs`, or by shape, name and type."""
    if len(task.outputs) >= 2:
        return dict(zip(("boxes", "scores", "classes", "count"), outputs, strict=False))
    boxes = [t for t in outputs if len(t.shape) > 1 and t.shape[-1] in (4, 5) and math.prod(t.shape[:-2]) == 1]
    boxes = [t for t in boxes if len(t.shape) == max(len(other.shape) for other in boxes)]  # scores (1, 5) are not
    if len(boxes) != 1:
        raise misfit(task, outputs, EXPECTED)
    parts, rest = {"boxes": boxes[0]}, [t for t in outputs if t is not boxes[0]]
    columns = []
    for tensor in rest:
        name = tensor.name.lower()
        if math.prod(tensor.shape) == 1 and (any(word in name for word in COUNT_WORDS) or len(rest) == 3):
            parts["count"] = tensor
        elif math.prod(tensor.shape) == boxes[0].shape[-2]:
            columns.append(tensor)
    for tensor in list(columns):
        name = tensor.name.lower()
        if any(word in name for word in SCORE_WORDS) and "scores" not in parts:
            parts["scores"] = tensor
        elif ("int" in tensor.dtype or any(word in name for word in CLASS_WORDS)) and "classes" not in parts:
            parts["classes"] = tensor
        else:
            continue
        columns.remove(tensor)
    for role in ("classes", "scores"):  # TensorFlow's order, checked on the values
        if role not in parts and columns and not (role == "scores" and boxes[0].shape[-1] == 5):
            parts[role] = columns.pop(0)
    if columns or ("scores" not in parts and boxes[0].shape[-1] == 4):
        raise misfit(task, outputs, EXPECTED)
    return parts


def _split(parts: Mapping[str, IOTensor], arrays: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """Boxes, scores and classes of outputs apart; the fifth column of boxes is their score where no output is."""
    rows = np.asarray(arrays[parts["boxes"].name], np.float64)
    rows = rows.reshape(-1, rows.shape[-1])
    columns = {role: np.asarray(arrays[parts[role].name], np.float64).ravel() for role in parts if role != "boxes"}
    count = int(np.clip(columns["count"][0], 0, len(rows))) if "count" in columns else len(rows)
    scores = columns.get("scores", rows[:, -1])
    classes = columns.get("classes", np.zeros(len(rows)))
    named = any(
        word in parts[role].name.lower()
        for role in ("scores", "classes")
        if role in parts
        for word in (*SCORE_WORDS, *CLASS_WORDS)
    )
    if "scores" in parts and "classes" in parts and not named:
        scores, classes = _tell_apart(scores[:count], classes[:count])
    return rows[:count, :4], scores[:count], classes[:count]
