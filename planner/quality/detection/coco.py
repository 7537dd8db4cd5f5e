"""pycocotools, the reference of the field: the figures that are shown are accumulated by it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from splitpoint.planner.quality.detection.matching import MOST_OF_A_CLASS, THRESHOLDS
from splitpoint.planner.values.outcomes import BoxMatches
from splitpoint.profiles.errors import ProfileError

__all__ = ["INSTALL", "coco_precision", "has_coco", "require_coco"]


def __dir__() -> list[str]:
    return __all__


INSTALL = "python -m pip install 'splitpoint[detect]'"


def has_coco() -> bool:
    """Whether pycocotools is installed."""
    return importlib.util.find_spec("pycocotools") is not None


def require_coco() -> None:
    """Raise `ProfileError` with the pip command without pycocotools: better before the first stage than after."""
    if not has_coco():
        raise ProfileError("planning a detector needs pycocotools, which is not installed", at="$.task", fix=INSTALL)


def coco_precision(matches: Sequence[BoxMatches]) -> list[float]:
    """mAP at each IoU threshold (T,), accumulated by pycocotools; NaN where no picture has a true box."""
    from pycocotools.cocoeval import COCOeval, Params

    params = Params(iouType="bbox")
    params.imgIds = list(range(len(matches)))
    params.catIds = sorted({name for m in matches for name in (*m.truths, *m.classes)})
    params.areaRng, params.areaRngLbl, params.maxDets = params.areaRng[:1], params.areaRngLbl[:1], [MOST_OF_A_CLASS]
    evaluation = COCOeval(iouType="bbox")
    evaluation.params = evaluation._paramsEval = params  # what its evaluate() would leave
    evaluation.evalImgs = [_evaluated(m, name) for name in params.catIds for m in matches]
    if not params.catIds:
        return [float("nan")] * len(THRESHOLDS)
    with _ONE_AT_A_TIME, contextlib.redirect_stdout(io.StringIO()):  # standard output is the process's
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0].reshape(len(THRESHOLDS), -1)
    counted = precision[:, precision[0] > -1]
    return counted.mean(axis=1).tolist() if counted.size else [float("nan")] * len(THRESHOLDS)


_ONE_AT_A_TIME = threading.Lock()


def _evaluated(matches: BoxMatches, name: int) -> dict[str, Any] | None:
    """What COCOeval.evaluateImg gives for one class of one picture."""
    rows = [i for i, other in enumerate(matches.classes) if other == name]
    truths = matches.truths.get(name, 0)
    if not rows and not truths:
        return None
    bits = np.arange(len(THRESHOLDS))[:, None]
    hits, ignored = (np.array([column[i] for i in rows], np.int64) for column in (matches.hits, matches.ignored))
    ignore = (ignored[None] >> bits) & 1
    return {
        "dtScores": [matches.scores[i] for i in rows],
        "dtMatches": ((hits[None] >> bits) & 1) | ignore,
        "dtIgnore": ignore,
        "gtIgnore": np.zeros(truths),
    }
