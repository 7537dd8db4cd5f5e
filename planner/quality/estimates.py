"""Points with what they lose as it is estimated from all of them together (docs/notes/selection.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from splitpoint.planner.deploy.accuracy import Estimate
from splitpoint.planner.quality.drop_curve import Floats, estimate_drops, smooth_losses
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.outcomes import InputOutcome

__all__ = ["losses", "with_estimates"]


def __dir__() -> list[str]:
    return __all__


QUANTILE = 1.96  # half a 95 % interval over its standard error
LARGEST = 1e3  # relative error: an output that is not finite is no farther off


def with_estimates(points: Sequence[Evaluated], metric: Metric) -> list[Evaluated]:
    """`points`, those with outcomes of one set of inputs with the estimate of what they lose.

    A point that was measured on the first inputs of the set alone counts by those. Points without outcomes, and those
    whose losses are not finite, stay as they are.
    """
    rows = {i: point.outcomes.inputs for i, point in enumerate(points) if point.outcomes is not None}
    tables = {i: losses(inputs, metric) for i, inputs in rows.items()}
    tables = {i: table for i, table in tables.items() if np.isfinite(table).all()}
    if not tables:
        return list(points)
    longest = max(tables, key=lambda i: tables[i].shape[1])
    lost, smooth = (np.full((len(tables), tables[longest].shape[1]), np.nan) for _ in range(2))
    for row, table in enumerate(tables.values()):
        lost[row, : table.shape[1]], smooth[row, : table.shape[1]] = table
    _, groups = np.unique([one.group for one in rows[longest]], return_inverse=True)
    found = estimate_drops(lost, smooth, groups=groups, scaled=_margins(rows[longest]) is not None)
    made = list(points)
    for row, i in enumerate(tables):
        drop, half = float(found.drop[row]), QUANTILE * float(found.error[row])
        estimate = Estimate(
            drop=drop,
            low=drop - half,
            high=drop + half,
            own_weight=float(found.own_weight[row]),
            candidates=len(tables),
        )
        made[i] = msgspec.structs.replace(
            points[i], accuracy=msgspec.structs.replace(points[i].accuracy, estimate=estimate)
        )
    return made


def losses(inputs: Sequence[InputOutcome], metric: Metric) -> Floats:
    """(2, N): what each input loses by the metric, and by the smooth measure beside it.

    The mean of the first is the drop. Where the metric is not a mean over inputs it is made one by the jackknife's
    pseudo-values (Efron and Stein 1981): N times the drop, less N - 1 times the drop without the input.
    """
    return np.stack([_by_metric(inputs, metric), _smooth(inputs)])


def _by_metric(inputs: Sequence[InputOutcome], metric: Metric) -> Floats:
    counts = np.array([one.counts for one in inputs], np.float64)
    unsplit = np.array([one.unsplit_counts for one in inputs], np.float64)
    labelled = metric.against == "labels"
    if metric.statistic != "ratio":
        return np.asarray((unsplit[:, 0] if labelled else 1.0) - counts[:, 0])
    n = len(inputs)
    drop, *drops = (_with_and_without(metric.value, unsplit) if labelled else 1.0) - _with_and_without(
        metric.value, counts
    )
    return np.full(1, drop) if n == 1 else n * drop - (n - 1) * np.array(drops)


def _with_and_without(value: Callable[[Floats], Floats], counts: Floats) -> Floats:
    """(N + 1,) `value` of the sums of `counts` (N, F) and N: of all inputs, then without each."""
    n, total = len(counts), counts.sum(axis=0)
    sums = np.concatenate([total[None], total - counts])
    with np.errstate(divide="ignore", invalid="ignore"):  # what is left of one input is nothing
        return np.asarray(value(np.concatenate([sums, [[n], *[[n - 1]] * n]], axis=1)), np.float64)


def _smooth(inputs: Sequence[InputOutcome]) -> Floats:
    margins = _margins(inputs)
    if margins is not None:
        return smooth_losses(*margins)
    return np.minimum([one.relative_error for one in inputs], LARGEST)


def _margins(inputs: Sequence[InputOutcome]) -> tuple[Floats, Floats] | None:
    """The margins of the true class, of the candidate and of the unsplit network; None where there are no scores.

    Scores that are not finite are no right answer: a margin of minus infinity.
    """
    unsplit = [one.unsplit_truth_margin for one in inputs]
    if all(margin is None for margin in unsplit):
        return None
    margins = [-np.inf if one.truth_margin is None else one.truth_margin for one in inputs]
    return np.array(margins, np.float64), np.array([0.0 if m is None else m for m in unsplit], np.float64)
