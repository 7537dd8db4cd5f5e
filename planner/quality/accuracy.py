"""Quality of a candidate: pure functions of the outcomes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitpoint.planner.deploy.accuracy import Accuracy, Metric
from splitpoint.planner.quality.intervals import cluster_mean, paired_drop, proportion
from splitpoint.planner.values.outcomes import Outcomes

__all__ = ["choose_metric", "judge"]


def __dir__() -> list[str]:
    return __all__


def choose_metric(output_shape: Sequence[int], *, labelled: bool, agreement: bool) -> Metric:
    """The metric: top-1 with labels (unless agreement is asked for), agreement for class scores, else fidelity."""
    classes = len(output_shape) == 2 and output_shape[0] == 1 and output_shape[1] > 1
    if not classes:
        return "fidelity"
    return "top1" if labelled and not agreement else "agreement"


def judge(outcomes: Outcomes, metric: Metric) -> Accuracy:
    """The value of `metric` with its 95 % interval and the drop from the unsplit network on the same inputs.

    Inputs of one group are one unit of the intervals, see docs/notes/accuracy.md.
    """
    rows = outcomes.inputs
    groups = [row.group for row in rows]
    errors = [row.relative_error for row in rows]
    if metric == "fidelity":
        values = 1 - np.minimum(np.array(errors), 1.0)
        value = float(values.mean())
        interval = cluster_mean(values, groups)
        drop, drop_high = 1 - value, 1 - interval.low
    else:
        hits = np.array([row.same if metric == "agreement" else bool(row.right) for row in rows])
        whole = np.array([True if metric == "agreement" else bool(row.reference_right) for row in rows])
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
        n=len(rows),
        groups=len(set(groups)),
        relative_error=float(np.mean(errors)),
        payload_bytes=float(np.mean(outcomes.payload_bytes)),
        subset=outcomes.subset,
    )
