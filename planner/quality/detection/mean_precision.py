"""Mean average precision of matched boxes, weighted by picture: equal to pycocotools' and fast enough for a bootstrap.

For each class and IoU threshold: precision over recall, made non-increasing, read at 101 recalls and averaged; then the
mean over the classes that have true boxes. Reference: pycocotools.cocoeval.COCOeval.accumulate.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.quality.detection.matching import THRESHOLDS
from splitpoint.planner.quality.intervals import Interval, of_sums
from splitpoint.planner.values.outcomes import BoxMatches

__all__ = ["mean_precision", "mean_precision_interval"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
RECALLS = np.linspace(0.0, 1.0, 101)


def mean_precision(matches: Sequence[BoxMatches]) -> Floats:
    """mAP at each of the IoU thresholds (T,); NaN where no picture has a true box."""
    bits = np.arange(len(THRESHOLDS))[:, None]
    values = []
    for table in _tables(matches):
        counted = (1 - ((table.ignored >> bits) & 1)).astype(np.float64)
        right = ((table.hits >> bits) & 1).astype(np.float64)
        values.append(_average_precision(right, counted, np.full(len(bits), float(table.truths.sum()))))
    return np.mean(values, axis=0) if values else np.full(len(bits), np.nan)


def mean_precision_interval(matches: Sequence[BoxMatches], groups: Sequence[str]) -> Interval:
    """95 % interval of mAP at the first IoU threshold, 0.5; pictures of one group are one unit."""
    tables = _tables(matches)

    def value(sums: Floats) -> Floats:
        """(..., N + 1) -> (...): how often each of N pictures was chosen, and how many there are."""
        weights = np.atleast_2d(sums)[:, :-1]
        total, present = np.zeros(len(weights)), np.zeros(len(weights))
        for table in tables:
            truths = weights @ table.truths
            counted = weights[:, table.pictures] * (1 - (table.ignored & 1))
            precision = _average_precision(counted * (table.hits & 1), counted, np.maximum(truths, 1))
            total += np.where(truths > 0, precision, 0)
            present += truths > 0
        return np.asarray((total / np.maximum(present, 1)).reshape(sums.shape[:-1]))

    return of_sums(np.eye(len(matches)), groups, value)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Table:
    """The boxes of one class in all pictures, best first, and the number of true ones in each picture."""

    pictures: NDArray[np.intp]  # (D,)
    hits: NDArray[np.int64]  # (D,)
    ignored: NDArray[np.int64]
    truths: Floats  # (N,)


def _tables(matches: Sequence[BoxMatches]) -> list[_Table]:
    """One table for each class that has true boxes."""
    picture = np.repeat(np.arange(len(matches)), [len(m.scores) for m in matches])
    columns = [
        np.array([v for m in matches for v in getattr(m, name)]) for name in ("scores", "classes", "hits", "ignored")
    ]
    scores, classes, hits, ignored = columns
    tables = []
    for name in sorted({name for m in matches for name in m.truths}):
        rows = np.flatnonzero(classes == name)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        truths = np.array([m.truths.get(name, 0) for m in matches], np.float64)
        tables.append(
            _Table(
                pictures=picture[rows],
                hits=hits[rows].astype(np.int64),
                ignored=ignored[rows].astype(np.int64),
                truths=truths,
            )
        )
    return tables


def _average_precision(right: Floats, counted: Floats, truths: Floats) -> Floats:
    """Average precision (R,) of one class in R cases; of each box (R, D), best first: is it right, does it count."""
    found = np.cumsum(counted, axis=1)
    right = np.cumsum(right, axis=1)
    recall = right / truths[:, None]
    precision = right / (found + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    place = np.array([np.searchsorted(row, RECALLS) for row in recall])  # the first box that reaches each recall
    reached = np.concatenate([precision, np.zeros((len(precision), 1))], axis=1)  # beyond the last box: 0
    return np.asarray(np.take_along_axis(reached, place, axis=1).mean(axis=1))
