"""Quality by hand counts: values, drops, their bounds, and what becomes of outputs that are no answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import pytest

from splitpoint.planner.deploy.accuracy import Accuracy, Metric
from splitpoint.planner.quality import accuracy
from splitpoint.planner.quality.accuracy import choose_metric
from splitpoint.planner.quality.intervals import cluster_mean, paired_drop, proportion
from splitpoint.planner.quality.observe import observe, relative_error
from splitpoint.planner.values.outcomes import Outcomes

CLASSES = 4


class Observed(NamedTuple):
    """One input: what the candidate gave, what the unsplit network gives, and the truth where it is known."""

    outputs: Any
    reference: Any
    label: int | None
    group: str
    payload_bytes: int


def judge(rows: Sequence[Observed], metric: Metric, subset: Literal["search", "report"]) -> Accuracy:
    """The accuracy of these inputs, through the outcome of each."""
    inputs = tuple(observe(r.outputs, r.reference, label=r.label, group=r.group) for r in rows)
    outcomes = Outcomes(subset=subset, inputs=inputs, payload_bytes=tuple(r.payload_bytes for r in rows))
    return accuracy.judge(outcomes, metric)


def scores(answer: int, margin: float = 1.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    row = np.zeros((1, CLASSES), np.float32)
    row[0, answer] = margin
    return row


def observed(
    answers: Sequence[int], whole: Sequence[int], labels: Sequence[int | None], groups: Sequence[str] | None = None
) -> list[Observed]:
    names = groups or [str(i) for i in range(len(answers))]
    return [
        Observed(outputs=[scores(a)], reference=[scores(w)], label=y, group=g, payload_bytes=100 + i)
        for i, (a, w, y, g) in enumerate(zip(answers, whole, labels, names, strict=True))
    ]


# candidate right in 6 of 10, unsplit network in 8 of 10; three inputs are lost and one is gained
ANSWERS = (0, 0, 0, 0, 0, 1, 1, 1, 0, 1)
WHOLE = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1)
LABELS = (0,) * 10


def test_top1_and_its_paired_drop() -> None:
    rows = observed(ANSWERS, WHOLE, LABELS)
    found = judge(rows, "top1", "report")
    hits, whole = np.array(ANSWERS) == 0, np.array(WHOLE) == 0
    groups = [row.group for row in rows]
    assert (found.metric, found.subset, found.n, found.groups) == ("top1", "report", 10, 10)
    assert found.value == 0.6
    assert found.drop == pytest.approx(0.2)
    assert (found.low, found.high) == proportion(hits, groups)
    assert found.drop_high == paired_drop(whole, hits, groups).high > found.drop
    assert found.payload_bytes == 104.5


def test_agreement_is_with_the_unsplit_network_whatever_the_truth() -> None:
    rows = observed(ANSWERS, WHOLE, [None] * 10)
    found = judge(rows, "agreement", "search")
    same = np.array(ANSWERS) == np.array(WHOLE)
    assert found.value == same.mean() == 0.6
    assert found.drop == pytest.approx(0.4)
    assert (found.low, found.high) == proportion(same, [row.group for row in rows])
    assert found.drop_high == 1 - found.low > found.drop


def test_fidelity_is_one_minus_the_relative_error_and_never_below_zero() -> None:
    reference = np.array([[3.0, 4.0]])
    outputs = [reference, reference * 1.5, reference * 9.0]
    rows = [
        Observed(outputs=[y], reference=[reference], label=None, group=str(i), payload_bytes=0)
        for i, y in enumerate(outputs)
    ]
    found = judge(rows, "fidelity", "search")
    values = np.array([1.0, 0.5, 0.0])
    interval = cluster_mean(values, ["0", "1", "2"])
    assert found.value == pytest.approx(0.5)
    assert found.relative_error == pytest.approx((0 + 0.5 + 8) / 3)
    assert (found.low, found.high) == interval
    assert [found.drop, found.drop_high] == pytest.approx([0.5, 1 - interval.low])


def test_the_drop_of_fidelity_is_what_is_missing_to_one() -> None:
    reference = np.array([[3.0, 4.0]])
    errors = [0.0, 0.1, 0.2, 0.3, 0.2, 0.1, 0.0, 0.1]
    rows = [
        Observed(outputs=[reference * (1 + error)], reference=[reference], label=None, group=str(i), payload_bytes=0)
        for i, error in enumerate(errors)
    ]
    found = judge(rows, "fidelity", "search")
    assert found.value == pytest.approx(0.875)
    assert found.drop == pytest.approx(0.125)
    assert 0.5 < found.low < found.value
    assert found.drop_high == pytest.approx(1 - found.low)


def test_inputs_of_one_group_count_once() -> None:
    apart = judge(observed(ANSWERS, WHOLE, LABELS), "top1", "search")
    together = judge(observed(ANSWERS, WHOLE, LABELS, ["a"] * 5 + ["b"] * 5), "top1", "search")
    assert together.groups == 2
    assert together.value == apart.value
    assert together.low < apart.low
    assert together.drop_high > apart.drop_high


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_no_answer(bad: float) -> None:
    row = scores(0)
    row[0, 0] = bad  # where the answer would be right
    rows = [Observed(outputs=[row], reference=[scores(0)], label=0, group=str(i), payload_bytes=1) for i in range(5)]
    for metric in ("top1", "agreement"):
        assert judge(rows, metric, "search").value == 0.0
    assert judge(rows, "fidelity", "search").value == 0.0


def test_the_first_output_is_the_answer() -> None:
    row = Observed(
        outputs=[scores(1), scores(2)], reference=[scores(1), scores(3)], label=1, group="a", payload_bytes=1
    )
    assert judge([row], "agreement", "search").value == 1.0
    assert judge([row], "top1", "search").value == 1.0


def test_relative_errors() -> None:
    y = np.array([3.0, 4.0])
    assert relative_error([y], [y]) == 0.0
    assert relative_error([y * 0], [y]) == 1.0
    assert relative_error([y, y], [y, y * 2]) == pytest.approx(math.sqrt(25 / 125))
    assert relative_error([y], [y * 0]) == math.inf
    assert relative_error([y * 0], [y * 0]) == 0.0
    assert relative_error([y * np.nan], [y]) == math.inf


@pytest.mark.parametrize(
    ("shape", "labelled", "agreement", "metric"),
    [
        ((1, 10), True, False, "top1"),
        ((1, 10), True, True, "agreement"),
        ((1, 10), False, False, "agreement"),
        ((1, 1), True, False, "fidelity"),
        ((1, 2), False, False, "agreement"),
        ((2, 10), True, False, "fidelity"),
        ((1, 3, 10), True, False, "fidelity"),
        ((10,), True, False, "fidelity"),
    ],
)
def test_the_metric_follows_from_outputs_and_labels(
    shape: tuple[int, ...], labelled: bool, agreement: bool, metric: str
) -> None:
    assert choose_metric(shape, labelled=labelled, agreement=agreement) == metric


def test_outcomes_that_were_written_and_read_back_give_the_same_accuracy() -> None:
    answers = enumerate(zip(ANSWERS, WHOLE, LABELS, strict=True))
    rows = [observe([scores(a)], [scores(w)], label=y, group=str(i)) for i, (a, w, y) in answers]
    outcomes = Outcomes(subset="search", inputs=tuple(rows), payload_bytes=tuple(range(10)))
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(outcomes), type=Outcomes)
    assert stored == outcomes
    for metric in ("top1", "agreement", "fidelity"):
        assert accuracy.judge(stored, metric) == accuracy.judge(outcomes, metric)


def test_margin_and_divergence_of_one_input() -> None:
    exact, changed = np.array([[2.0, 1.0, 0.0]]), np.array([[1.5, 1.75, 0.0]])
    row = observe([changed], [exact], label=0, group="a")
    assert row.margin_change == pytest.approx((1.5 - 1.75) - (2.0 - 1.0))
    p, q = (np.exp(x) / np.exp(x).sum() for x in (exact, changed))
    assert row.divergence == pytest.approx(float((p * np.log(p / q)).sum()))
    assert (row.right, row.reference_right, row.same) == (False, True, False)
    same = observe([exact], [exact], label=None, group="a")
    assert (same.margin_change, same.divergence, same.relative_error, same.same) == (0.0, 0.0, 0.0, True)
    assert (same.right, same.reference_right) == (None, None)
    maps = observe([np.ones((1, 2, 2))], [np.ones((1, 2, 2))], label=None, group="a")
    assert (maps.margin_change, maps.divergence) == (None, None)
