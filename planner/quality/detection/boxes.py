"""Boxes as arrays: IoU, class-wise suppression of overlaps, and what every decoder gives back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splitpoint.codecs.contract.protocol import Array

__all__ = ["LEAST_SCORE", "MOST_BOXES", "Boxes", "Frame", "boxes_of", "corners", "in_pixels", "overlaps", "suppress"]


def __dir__() -> list[str]:
    return __all__


Boxes = NDArray[np.float64]  # found: (M, 6) x0 y0 x1 y1 score class; true: (M, 6) x0 y0 x1 y1 class iscrowd; pixels
Frame = tuple[int, int]  # width and height of the network's input, pixels

LEAST_SCORE = 0.01  # boxes below it are dropped: they move mAP by nothing that matters and cost most of the time
MOST_BOXES = 300  # kept of one picture
MOST_CANDIDATES = 1000  # of the highest scores, among which overlaps are suppressed
NORMALIZED = 2.0  # coordinates up to it are shares of the frame; nobody detects boxes of two pixels at its corner


def overlaps(found: Array, true: Array, crowd: NDArray[np.bool_] | None = None) -> Boxes:
    """IoU (M, K) of boxes x0 y0 x1 y1; of a crowd region the share of the found box that lies in it.

    The arithmetic is that of pycocotools, whose boxes are x0 y0 width height, so that ties come out as they do there.
    """
    size, true_size = found[:, 2:4] - found[:, :2], true[:, 2:4] - true[:, :2]
    ends = np.minimum((size + found[:, :2])[:, None], (true_size + true[:, :2])[None])
    sides = ends - np.maximum(found[:, None, :2], true[None, :, :2])
    shared = np.where((sides > 0).all(axis=2), sides[..., 0] * sides[..., 1], 0.0)
    area, true_area = size.prod(axis=1)[:, None], true_size.prod(axis=1)[None]
    union = area + true_area - shared
    if crowd is not None:
        union = np.where(crowd[None], area, union)
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def suppress(boxes: Array, scores: Array, classes: Array, *, iou: float, frame: Frame) -> Boxes:
    """Of boxes (K, 4) of one class that overlap by more than `iou` those of the highest scores, as `boxes_of`."""
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    order = order[np.isfinite(boxes[order]).all(axis=1)]
    kept = np.zeros(len(scores), bool)
    for name in np.unique(classes[order]):
        of_class = order[classes[order] == name]
        close = overlaps(boxes[of_class], boxes[of_class]) > iou
        alive = np.ones(len(of_class), bool)
        for best in range(len(of_class)):
            if alive[best]:
                alive[best + 1 :] &= ~close[best, best + 1 :]
        kept[of_class[alive]] = True
    return boxes_of(boxes[kept], scores[kept], classes[kept], frame=frame)


def boxes_of(boxes: Array, scores: Array, classes: Array, *, frame: Frame) -> Boxes:
    """(M, 6): the boxes clipped to the frame, best first, without those of a low score, of no area or not finite."""
    rows = np.column_stack([boxes, scores, classes]).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1) & (rows[:, 4] >= LEAST_SCORE)]
    rows[:, 0:4] = np.clip(rows[:, 0:4], 0, np.tile(np.array(frame, np.float64), 2))
    rows = rows[(rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])]
    return rows[np.argsort(-rows[:, 4], kind="stable")][:MOST_BOXES]


def corners(centre: Array, size: Array) -> Boxes:
    """x0 y0 x1 y1 of centres (M, 2) and sizes (M, 2)."""
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1).astype(np.float64)


def in_pixels(boxes: Array, frame: Frame) -> Boxes:
    """Boxes (M, 4), in shares of the frame or in pixels already, in pixels."""
    boxes = np.asarray(boxes, np.float64)
    shares = len(boxes) > 0 and bool((np.abs(boxes) <= NORMALIZED).all())
    return boxes * np.tile(np.array(frame, np.float64), 2) if shares else boxes
