"""Estimates of points: what each input loses by each kind of metric, and which points have an estimate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.planner.deploy.accuracy import Estimate
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.drop_curve import estimate_drops
from splitpoint.planner.quality.estimates import losses, with_estimates
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes

Make = Callable[..., Any]
CLASSES = 5


def classifier(against: str, top: int = 1) -> Metric:
    output = IOTensor(name="y", shape=(1, CLASSES), dtype="float32")
    return make_metric(Task(name="classify", top=top), [output], against)  # type: ignore[arg-type]  # a literal


def rows_of(metric: Metric, noise: float, *, count: int = 60, seed: int = 0) -> tuple[InputOutcome, ...]:
    """Random scores, and the same with `noise` as the candidate's."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, 1, CLASSES))
    labels = [int(rng.integers(CLASSES)) if rng.random() < 0.1 else int(y.argmax()) for y in scores]
    other = scores + noise * np.random.default_rng(seed + 1).normal(size=scores.shape)
    return tuple(
        observe(
            metric,
            {"y": y.astype(np.float32)},
            {"y": x.astype(np.float32)},
            Sample(name=str(i), group=str(i // 2), tensor=np.zeros(1, np.float32), label=label),
        )
        for i, (y, x, label) in enumerate(zip(other, scores, labels, strict=True))
    )


@pytest.mark.parametrize(("against", "top"), [("labels", 1), ("labels", 2), ("unsplit", 1)])
def test_the_mean_of_the_losses_is_the_drop_and_margins_say_who_is_right(against: str, top: int) -> None:
    metric = classifier(against, top)
    rows = rows_of(metric, 0.7)
    lost, smooth, far = losses(rows, metric)
    assert lost.mean() == pytest.approx(judge(outcomes(rows), metric).drop)
    assert set(lost) <= {-1.0, 0.0, 1.0}
    assert [one.counts[0] > 0 for one in rows] == [
        one.truth_margin is not None and one.truth_margin > 0 for one in rows
    ]
    assert np.corrcoef(smooth, lost)[0, 1] > 0.7
    assert (smooth == lost).all() == (against == "unsplit")  # no margin is below 0, so that blurred ones say too little
    assert far.tolist() == [one.divergence for one in rows]


def test_scores_that_are_not_numbers_lose_all() -> None:
    metric = classifier("labels")
    row = rows_of(metric, 0.0)[0]
    broken = msgspec.structs.replace(
        row, counts=(0.0,), truth_margin=None, margin_change=None, divergence=None, relative_error=float("inf")
    )
    lost, smooth, far = losses([broken, row], metric)
    assert row.unsplit_counts == (1.0,)
    assert lost.tolist() == [1.0, 0.0]
    assert smooth[0] > 0.9
    assert (smooth[1], far[0]) == (0.0, 1e3)


def test_a_metric_that_is_no_mean_is_made_one_by_pseudo_values() -> None:
    shape = (1, 1, 8, 8)
    metric = make_metric(Task(name="regress"), [IOTensor(name="y", shape=shape, dtype="float32")], "unsplit")
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(40, *shape)).astype(np.float32)
    other = exact + 0.1 * rng.normal(size=exact.shape).astype(np.float32)
    samples = [Sample(name=str(i), group=str(i), tensor=np.zeros(1, np.float32)) for i in range(40)]
    metric = metric.prepare(metric.truth_of(s, metric.answer({"y": y})) for s, y in zip(samples, exact, strict=True))
    rows = tuple(
        observe(metric, {"y": y}, {"y": x}, sample) for y, x, sample in zip(other, exact, samples, strict=True)
    )
    lost, smooth, far = losses(rows, metric)
    assert metric.statistic == "ratio"
    assert lost.mean() == pytest.approx(judge(outcomes(rows), metric).drop, rel=1e-3)
    assert (smooth == lost).all()
    assert far.tolist() == [one.relative_error for one in rows]
    assert losses(rows[:1], metric)[0].tolist() == [pytest.approx(judge(outcomes(rows[:1]), metric).drop)]


def test_points_with_outcomes_have_an_estimate_that_limits_read(make_point: Make) -> None:
    metric = classifier("labels")
    points = [
        make_point(cut=str(i), outcomes=outcomes(rows_of(metric, noise)))
        for i, noise in enumerate((0.0, 0.1, 0.5, 1.0))
    ]
    points = [msgspec.structs.replace(point, accuracy=judge(point.outcomes, metric)) for point in points] + [
        make_point(cut="stored", drop=0.03)
    ]
    made = with_estimates(points, metric)
    assert [point.candidate for point in made] == [point.candidate for point in points]
    found = [estimate_of(point) for point in made[:-1]]
    assert made[-1].accuracy.estimate is None
    assert made[-1].accuracy.lost == 0.03
    assert found[0].drop == pytest.approx(0, abs=0.005)
    assert found[0].drop < found[1].drop < found[2].drop < found[3].drop
    for point in made[:-1]:
        estimate, accuracy = estimate_of(point), point.accuracy
        assert estimate.candidates == 4
        assert estimate.low <= estimate.drop <= estimate.high
        assert (accuracy.lost, accuracy.lost_low, accuracy.lost_high) == (estimate.drop, estimate.low, estimate.high)
        assert accuracy.best_value == pytest.approx(accuracy.value + accuracy.drop - estimate.drop)
        assert accuracy.best_low == pytest.approx(accuracy.value + accuracy.drop - estimate.high)
        assert accuracy.with_more_lost(0.25).lost == pytest.approx(estimate.drop + 0.25)
    assert with_estimates(points[-1:], metric) == points[-1:]


def test_a_point_that_was_measured_in_part_counts_by_its_inputs(make_point: Make) -> None:
    metric = classifier("labels")
    whole = [make_point(cut=str(i), outcomes=outcomes(rows_of(metric, 0.2 * i))) for i in range(4)]
    part = make_point(cut="part", outcomes=outcomes(rows_of(metric, 0.6)[:20]))
    *others, found = with_estimates([*whole, part], metric)
    assert estimate_of(found).drop == pytest.approx(estimate_of(others[3]).drop, abs=0.1)


def estimate_of(point: Evaluated) -> Estimate:
    assert point.accuracy.estimate is not None
    return point.accuracy.estimate


def outcomes(rows: tuple[InputOutcome, ...]) -> Outcomes:
    return Outcomes(subset="search", inputs=rows, payload_bytes=(10,) * len(rows))


def test_the_interval_of_few_groups_is_student_s(make_point: Make) -> None:
    metric = classifier("labels")

    def points_in(groups: int) -> list[Evaluated]:
        tables = [rows_of(metric, 0.3 * i) for i in range(4)]
        rows = [tuple(msgspec.structs.replace(r, group=str(k % groups)) for k, r in enumerate(t)) for t in tables]
        return with_estimates([make_point(cut=str(i), outcomes=outcomes(t)) for i, t in enumerate(rows)], metric)

    for groups, quantile in ((3, 4.303), (20, 2.093)):
        for point in points_in(groups)[1:]:
            found = estimate_of(point)
            lost = np.array([losses(p.outcomes.inputs, metric) for p in points_in(groups) if p.outcomes is not None])
            error = estimate_drops(*np.moveaxis(lost, 1, 0), groups=np.arange(60) % groups).error
            half = (found.high - found.low) / 2
            assert half == pytest.approx(quantile * error[int(point.candidate.cut)], rel=1e-3)
