"""Quality of a candidate: pure functions of the outcomes of its inputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from splitpoint.planner.deploy.accuracy import Accuracy, OutputError
from splitpoint.planner.quality.intervals import (
    Interval,
    cluster_mean,
    drop_of_sums,
    of_sums,
    paired_drop,
    proportion,
)
from splitpoint.planner.quality.metrics.protocol import Floats, Metric
from splitpoint.planner.values.outcomes import Outcomes

__all__ = ["judge"]


def __dir__() -> list[str]:
    return __all__


def judge(outcomes: Outcomes, metric: Metric, *, output_names: Sequence[str] = (), shown: bool = False) -> Accuracy:
    """The value of `metric` with its 95 % interval and the drop from the unsplit network on the same inputs.

    Inputs of one group are one unit of the intervals, see docs/notes/accuracy.md. `output_names` are the network's
    outputs; where there are several, the error of each is given too. `shown`: of a point that is shown, whose other
    figures get intervals.
    """
    rows = outcomes.inputs
    groups = [row.group for row in rows]
    counts = np.array([row.counts for row in rows], np.float64)  # (N, F)
    unsplit = np.array([row.unsplit_counts for row in rows], np.float64)
    value, whole = (float(metric.value(_total(table))) for table in (counts, unsplit))
    interval, lost = _intervals(metric, counts, unsplit, groups)
    errors = np.array([row.output_errors for row in rows]).mean(axis=0)
    return Accuracy(
        metric=metric.use.name,
        value=value,
        drop=whole - value if metric.against == "labels" else 1 - value,
        low=interval.low,
        high=interval.high,
        drop_low=lost.low if metric.against == "labels" else 1 - interval.high,
        drop_high=lost.high if metric.against == "labels" else 1 - interval.low,
        n=len(rows),
        groups=len(set(groups)),
        relative_error=float(np.mean([row.relative_error for row in rows])),
        payload_bytes=float(np.mean(outcomes.payload_bytes)),
        subset=outcomes.subset,
        also=metric.report(rows) if shown else metric.also(rows),
        output_errors=tuple(
            OutputError(name=name, relative_error=float(error))
            for name, error in zip(output_names, errors, strict=True)
        )
        if len(output_names) > 1
        else (),
    )


def _total(counts: Floats) -> Floats:
    """(N, F) -> (F + 1,): the sums over inputs, and their number."""
    return np.append(counts.sum(axis=0), len(counts))


def _intervals(metric: Metric, counts: Floats, unsplit: Floats, groups: Sequence[str]) -> tuple[Interval, Interval]:
    """The intervals of the value, and of the drop against the labels."""
    if metric.statistic == "proportion":
        hits, whole = counts[:, 0] > 0, unsplit[:, 0] > 0
        return proportion(hits, groups), paired_drop(whole, hits, groups)
    if metric.statistic == "mean":
        values, lost = counts[:, 0], unsplit[:, 0] - counts[:, 0]
        return cluster_mean(values, groups), cluster_mean(lost, groups, within=(-1.0, 1.0))
    return of_sums(counts, groups, metric.value), drop_of_sums(unsplit, counts, groups, metric.value)
