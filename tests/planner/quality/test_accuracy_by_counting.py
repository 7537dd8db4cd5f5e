"""Quality against counts made one input at a time, for every metric and any grouping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.quality.intervals import paired_drop, proportion
from splitpoint.planner.quality.metrics.protocol import Metric

Judge = Callable[..., Accuracy]
Classifier = Callable[..., Metric]
classes = st.integers(0, 2)
inputs = st.lists(st.tuples(st.one_of(st.none(), classes), classes, classes, st.sampled_from("abcdef")), min_size=1,
                  max_size=12)  # fmt: skip


def one_hot(answer: int | None) -> Any:
    """Scores (1, 3); no answer is one that holds NaN, where argmax would still name a class."""
    return np.array([[np.nan] * 3]) if answer is None else np.eye(3)[[answer]]


def observed(row: Any, rows: Any) -> list[Any]:
    return [row({"y": one_hot(a)}, {"y": one_hot(w)}, y, g, 10 * i) for i, (a, w, y, g) in enumerate(rows)]


@settings(max_examples=40)
@given(rows=inputs)
def test_top1_by_counting(row: Any, judge: Judge, classifier: Classifier, rows: Any) -> None:
    found = judge(observed(row, rows), classifier(3))
    hits, whole = [a == y for a, _, y, _ in rows], [w == y for _, w, y, _ in rows]
    groups = [g for *_, g in rows]
    assert found.value == pytest.approx(sum(hits) / len(rows))
    assert found.drop == pytest.approx((sum(whole) - sum(hits)) / len(rows))
    assert (found.low, found.high) == proportion(np.array(hits), groups)
    assert found.drop_high == paired_drop(np.array(whole), np.array(hits), groups).high >= found.drop
    assert (found.n, found.groups) == (len(rows), len(set(groups)))
    assert found.payload_bytes == pytest.approx(10 * (len(rows) - 1) / 2)
    assert found.low <= found.value <= found.high


@settings(max_examples=40)
@given(rows=inputs)
def test_agreement_by_counting(row: Any, judge: Judge, classifier: Classifier, rows: Any) -> None:
    found = judge(observed(row, rows), classifier(3, "unsplit"), "report")
    same = [a == w for a, w, _, _ in rows]
    interval = proportion(np.array(same), [g for *_, g in rows])
    assert found.value == pytest.approx(sum(same) / len(rows))
    assert found.drop == pytest.approx(1 - sum(same) / len(rows))
    assert (found.low, found.high, found.drop_high) == (*interval, 1 - interval.low)
    assert (found.metric, found.subset) == ("agreement", "report")


def test_a_candidate_that_answers_better_has_a_negative_drop_and_a_bound_above_it(
    row: Any, judge: Judge, classifier: Classifier
) -> None:
    found = judge(
        observed(row, [(0, 1, 0, str(i)) for i in range(4)] + [(0, 0, 0, str(i)) for i in range(4, 8)]), classifier(3)
    )
    assert found.drop == -0.5
    assert -0.5 < found.drop_high < 0.5
    assert found.value == 1.0


def test_without_any_loss_the_bound_of_the_drop_is_not_zero(row: Any, judge: Judge, classifier: Classifier) -> None:
    found = judge(observed(row, [(0, 0, 0, str(i)) for i in range(20)]), classifier(3))
    assert found.drop == 0.0
    assert found.drop_high == pytest.approx(1.96**2 / (20 + 1.96**2), rel=1e-3)  # Tango's bound without a loss
