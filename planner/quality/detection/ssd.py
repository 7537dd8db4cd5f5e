"""Decoder of SSD heads: boxes and class scores of every prior box, with class 0 for the background."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.detection.boxes import LEAST_SCORE, Boxes, Frame, corners, in_pixels, suppress
from splitpoint.planner.quality.detection.contract import Decoder, misfit
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.regular import read_bytes

__all__ = ["make_ssd"]


def __dir__() -> list[str]:
    return __all__


CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2  # of Liu et al. 2016, by which the head's numbers are multiplied
EXPECTED = "boxes (1, N, 4) and class scores (1, N, 1 + C), background first"


def make_ssd(task: Task, outputs: Sequence[IOTensor], frame: Frame) -> Decoder:
    """Boxes (1, N, 4) and scores (1, N, 1 + C), logits or probabilities.

    With `anchors` the boxes are offsets from them, without they are x0 y0 x1 y1 in pixels or shares of the frame.
    """
    boxes, scores = _roles(task, outputs)
    count = boxes.shape[-2]
    anchors = _read_anchors(task.anchors, count) if task.anchors else None

    def decode(arrays: Mapping[str, Array]) -> Boxes:
        values = np.asarray(arrays[scores.name], np.float64).reshape(count, -1)
        best = _probabilities(values)[:, 1:]
        found = best.max(axis=1)
        keep = np.flatnonzero(found >= LEAST_SCORE)
        raw = np.asarray(arrays[boxes.name], np.float64).reshape(count, 4)[keep]
        placed = in_pixels(raw, frame) if anchors is None else _from_anchors(raw, anchors[keep], frame)
        return suppress(placed, found[keep], best[keep].argmax(axis=1), iou=task.nms, frame=frame)

    return Decoder(reads=(boxes.name, scores.name), decode=decode, classes=scores.shape[-1] - 1)


def _roles(task: Task, outputs: Sequence[IOTensor]) -> tuple[IOTensor, IOTensor]:
    """Which output is the boxes, and which the scores: in the order of `task.outputs`, or by shape and name."""
    rows = [t for t in outputs if len(t.shape) in (2, 3) and (len(t.shape) == 2 or t.shape[0] == 1)]
    pairs = [
        (a, b)
        for a in rows
        for b in rows
        if a is not b and a.shape[:-1] == b.shape[:-1] and a.shape[-1] == 4 and b.shape[-1] > 1
    ]
    if len(pairs) == 2:  # three classes: both are (1, N, 4)
        named = [(a, b) for a, b in pairs if any(word in a.name.lower() for word in ("box", "loc", "reg"))]
        pairs = [pair for pair in pairs if tuple(t.name for t in pair) == task.outputs] or named
    if len(pairs) != 1:
        raise misfit(task, outputs, EXPECTED)
    return pairs[0]


def _read_anchors(path: str, count: int) -> Array:
    try:
        data = io.BytesIO(read_bytes(path))
        anchors = np.lib.format.read_array(data, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, RecursionError) as error:  # memory: a header that claims too much
        raise ProfileError(
            f"the anchors cannot be read: {error}", at=path, fix="numpy.save of an array (N, 4)"
        ) from error
    if anchors.shape != (count, 4) or anchors.dtype.kind not in "fiu":
        raise ProfileError(
            f"the anchors are {anchors.dtype} {anchors.shape}, the network has {count} boxes: expected ({count}, 4)",
            at=path,
        )
    if not np.isfinite(anchors).all() or (anchors[:, 2:] <= 0).any():
        raise ProfileError(
            "anchors are centre x, y and width, height in 0..1, with a width and height above 0", at=path
        )
    return anchors.astype(np.float64)


def _from_anchors(offsets: Array, anchors: Array, frame: Frame) -> Boxes:
    centre = anchors[:, :2] + offsets[:, :2] * CENTRE_VARIANCE * anchors[:, 2:]
    with np.errstate(over="ignore"):
        size = anchors[:, 2:] * np.exp(offsets[:, 2:] * SIZE_VARIANCE)
    return corners(centre, size) * np.tile(np.array(frame, np.float64), 2)


def _probabilities(scores: Array) -> Array:
    """Of logits their softmax; probabilities (softmax or sigmoid) as they are."""
    if scores.min() >= 0 and scores.max() <= 1:
        return scores
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
