"""Boxes of one picture matched with the true ones, exactly as COCO's evaluation does it.

Class by class, the 100 boxes of the highest scores in turn, each takes the free true box of the highest IoU; a box that
only lies in a crowd region counts neither way. Reference: pycocotools.cocoeval.COCOeval.evaluateImg.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.quality.detection.boxes import Boxes, overlaps
from splitpoint.planner.values.outcomes import BoxMatches

__all__ = ["MOST_OF_A_CLASS", "THRESHOLDS", "box_distance", "match_boxes"]


def __dir__() -> list[str]:
    return __all__


THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of IoU
MOST_OF_A_CLASS = 100  # boxes of one picture; COCO's maxDets
BITS = 1 << np.arange(len(THRESHOLDS))


def match_boxes(found: Boxes, true: Boxes) -> BoxMatches:
    """`found` (M, 6) x0 y0 x1 y1 score class against `true` (K, 6) x0 y0 x1 y1 class iscrowd."""
    scores: list[float] = []
    classes: list[int] = []
    hits: list[int] = []
    ignored: list[int] = []
    for name in np.unique(found[:, 5]):
        of_class = found[found[:, 5] == name]
        of_class = of_class[np.argsort(-of_class[:, 4], kind="stable")][:MOST_OF_A_CLASS]
        hit, ignore = _match(of_class, true[true[:, 4] == name])
        scores += of_class[:, 4].tolist()
        classes += [int(name)] * len(of_class)
        hits += (hit @ BITS).tolist()
        ignored += (ignore @ BITS).tolist()
    names, counts = np.unique(true[true[:, 5] == 0, 4], return_counts=True)
    return BoxMatches(
        scores=tuple(scores),
        classes=tuple(classes),
        hits=tuple(hits),
        ignored=tuple(ignored),
        truths={int(name): int(count) for name, count in zip(names, counts, strict=True)},
    )


def box_distance(found: Boxes, exact: Boxes) -> float:
    """1 - 2 (shared score) / (all scores) of two lists of boxes (M, 6) x0 y0 x1 y1 score class: 0 for equal ones, to 1.

    Each exact box, best first, shares with the free box of its class of the highest IoU, at least 0.5, the lower of
    both scores times the IoU.
    """
    total = float(found[:, 4].sum() + exact[:, 4].sum())
    if not len(found) or not len(exact):
        return float(total > 0)
    shares = overlaps(exact, found) * (exact[:, 5][:, None] == found[:, 5])
    shared = 0.0
    for row, score in enumerate(exact[:, 4]):
        best = int(shares[row].argmax())
        if shares[row, best] >= THRESHOLDS[0]:
            shared += min(score, found[best, 4]) * shares[row, best]
            shares[:, best] = 0
    return max(0.0, 1 - 2 * shared / total)


def _match(found: Boxes, true: Boxes) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each box, best first, and each threshold: does it match a true box, and does it match a crowd alone."""
    hit = np.zeros((len(found), len(THRESHOLDS)), bool)
    ignore = np.zeros_like(hit)
    if not len(true):
        return hit, ignore
    crowd = true[:, 5] != 0
    shares = overlaps(found, true, crowd)
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    free = np.tile(~crowd, (len(THRESHOLDS), 1))  # (T, K)
    last = np.arange(len(true))
    for row in np.flatnonzero(shares.max(axis=1) >= least[0]):
        reached = shares[row] >= least[:, None]  # (T, K)
        allowed = reached & free
        hit[row] = allowed.any(axis=1)
        ignore[row] = ~hit[row] & (reached & crowd).any(axis=1)
        score = np.where(allowed, shares[row], -1.0)
        best = np.where(score == score.max(axis=1, keepdims=True), last, -1).max(axis=1)  # of equal ones the last
        free[hit[row], best[hit[row]]] = False
    return hit, ignore
