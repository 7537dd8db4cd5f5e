"""Points with what they lose as it is estimated from all of them together (docs/notes/selection.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.planner.deploy.accuracy import Estimate
from splitpoint.planner.quality.drop_curve import estimate_drops, smooth_losses
from splitpoint.planner.quality.intervals import student_quantile
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.outcomes import InputOutcome

__all__ = ["losses", "with_estimates"]


def __dir__() -> list[str]:
    return __all__


Floats = NDArray[np.float64]
FARTHEST = 1e3  # relative error, or nat: an output that is not finite is no farther off


def with_estimates(points: Sequence[Evaluated], metric: Metric) -> list[Evaluated]:
    """`points`, those with outcomes of one set of inputs with the estimate of what they lose.

    A point that was measured on some inputs of the set alone counts by those. Points without outcomes, and those whose
    losses are not finite, stay as they are.
    """
    rows = {i: point.outcomes.inputs for i, point in enumerate(points) if point.outcomes is not None}
    tables = {i: losses(inputs, metric) for i, inputs in rows.items()}
    tables = {i: table for i, table in tables.items() if np.isfinite(table).all()}
    if not tables:
        return list(points)
    indices = {i: _indices(points[i]) for i in tables}
    measured = np.full((3, len(tables), 1 + max(row[-1] for row in indices.values())), np.nan)
    for row, (i, table) in enumerate(tables.items()):
        measured[:, row, indices[i]] = table
    by_input = {k: one.group for i in tables for k, one in zip(indices[i], rows[i], strict=True)}
    _, groups = np.unique([by_input.get(k, "") for k in range(measured.shape[2])], return_inverse=True)
    found = estimate_drops(*measured, groups=groups)
    quantile = student_quantile(max(1, int(groups.max())))  # of one degree of freedom less than there are groups
    made = list(points)
    for row, i in enumerate(tables):
        drop, half = float(found.drop[row]), quantile * float(found.error[row])
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


def _indices(point: Evaluated) -> Sequence[int]:
    """Which inputs of the set were measured, ascending."""
    assert point.outcomes is not None
    return range(len(point.outcomes.inputs)) if point.outcomes.indices is None else point.outcomes.indices


def losses(inputs: Sequence[InputOutcome], metric: Metric) -> Floats:
    """(3, N): what each input loses by the metric and by a smoother measure, and how far its outputs are off.

    The mean of the first is the drop. A classifier's smooth measure are its margins where there are labels, its
    distance is the divergence; without labels no margin is below 0, so that blurred ones have another scale than the
    losses. Other metrics have finer losses themselves, and the relative error of the outputs for a distance. Where the
    metric is not a mean over inputs it is made one by the jackknife's pseudo-values (Efron and Stein 1981): N times the
    drop, less N - 1 times the drop without the input.
    """
    lost, margins = _by_metric(inputs, metric), _margins(inputs)
    if margins is None:
        return np.stack([lost, lost, np.minimum([one.relative_error for one in inputs], FARTHEST)])
    far = [FARTHEST if one.divergence is None else min(one.divergence, FARTHEST) for one in inputs]
    smooth = smooth_losses(*margins) if metric.against == "labels" else lost
    return np.stack([lost, smooth, np.array(far)])


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


def _margins(inputs: Sequence[InputOutcome]) -> tuple[Floats, Floats] | None:
    """The margins of the true class, of the candidate and of the unsplit network; None where there are no scores.

    Scores that are not finite are no right answer: a margin of minus infinity.
    """
    unsplit = [one.unsplit_truth_margin for one in inputs]
    if all(margin is None for margin in unsplit):
        return None
    margins = [-np.inf if one.truth_margin is None else one.truth_margin for one in inputs]
    return np.array(margins, np.float64), np.array([0.0 if m is None else m for m in unsplit], np.float64)
