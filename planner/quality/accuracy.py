"""Quality of a candidate from what came out of the tail: pure functions of outputs, references, labels and groups.

The outputs were made from payload bytes and the tail alone (`planner.measure_accuracy`, `planner.deploy.plan`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Accuracy, Metric
from splitpoint.planner.quality.intervals import cluster_mean, paired_drop, proportion

__all__ = ["Observed", "choose_metric", "judge", "relative_error"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """One input: what the candidate gave, what the unsplit network gives, and the truth where it is known."""

    outputs: Sequence[Array]
    reference: Sequence[Array]
    label: int | None
    group: str
    payload_bytes: int


def choose_metric(output_shape: Sequence[int], *, labelled: bool, agreement: bool) -> Metric:
    """Top-1 with labels (unless agreement is asked for), agreement for class scores, else fidelity of the outputs."""
    classes = len(output_shape) == 2 and output_shape[0] == 1 and output_shape[1] > 1
    if not classes:
        return "fidelity"
    return "top1" if labelled and not agreement else "agreement"


def judge(observed: Sequence[Observed], metric: Metric, subset: Literal["search", "report"]) -> Accuracy:
    """The metric with its 95 % interval, groups resampled together; paired with the unsplit network for the drop."""
    groups = [row.group for row in observed]
    errors = [relative_error(row.outputs, row.reference) for row in observed]
    if metric == "fidelity":
        values = 1 - np.minimum(np.array(errors), 1.0)
        value = float(values.mean())
        interval = cluster_mean(values, groups)
        drop, drop_high = 1 - value, 1 - interval.low
    else:
        hits = np.array([_hit(row, metric) for row in observed])
        whole = np.array([True if metric == "agreement" else _top(row.reference) == row.label for row in observed])
        value = float(hits.mean())
        interval = proportion(hits, groups)
        drop = float(whole.mean() - hits.mean())
        drop_high = 1 - interval.low if metric == "agreement" else paired_drop(whole, hits, groups).high
    return Accuracy(
        metric=metric,
        value=value,
        drop=drop,
        low=interval.low,
        high=interval.high,
        drop_high=drop_high,
        n=len(observed),
        groups=len(set(groups)),
        relative_error=float(np.mean(errors)),
        payload_bytes=float(np.mean([row.payload_bytes for row in observed])),
        subset=subset,
    )


def relative_error(outputs: Iterable[Array], exact: Iterable[Array]) -> float:
    """||y - y0|| / ||y0|| over all outputs; 0 for equal outputs, infinity where y is not finite."""
    pairs = [(np.asarray(y, np.float64), np.asarray(y0, np.float64)) for y, y0 in zip(outputs, exact, strict=True)]
    error = sum(float(((y - y0) ** 2).sum()) for y, y0 in pairs)
    power = sum(float((y0**2).sum()) for _, y0 in pairs)
    if not np.isfinite(error):
        return float("inf")
    return 0.0 if error == 0 else float(np.sqrt(error / power)) if power else float("inf")


def _hit(row: Observed, metric: Metric) -> bool:
    if not np.isfinite(row.outputs[0]).all():
        return False  # argmax of NaN is an index, not an answer
    return _top(row.outputs) == (row.label if metric == "top1" else _top(row.reference))


def _top(outputs: Sequence[Array]) -> int:
    return int(np.argmax(outputs[0]))
