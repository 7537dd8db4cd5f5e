"""Quality of a classifier by hand counts: values, drops, bounds, and outputs that are no answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality import accuracy
from splitpoint.planner.quality.intervals import paired_drop, proportion
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.quality.observe import relative_error
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.errors import ProfileError

Judge = Callable[..., Accuracy]
Classifier = Callable[..., Metric]
CLASSES = 4


def scores(answer: int, margin: float = 1.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    row = np.zeros((1, CLASSES), np.float32)
    row[0, answer] = margin
    return row


def observed(
    row: Any,
    answers: Sequence[int],
    whole: Sequence[int],
    labels: Sequence[int | None],
    groups: Sequence[str] | None = None,
) -> list[Any]:
    names = groups or [str(i) for i in range(len(answers))]
    return [
        row({"y": scores(a)}, {"y": scores(w)}, y, g, 100 + i)
        for i, (a, w, y, g) in enumerate(zip(answers, whole, labels, names, strict=True))
    ]


# candidate right in 6 of 10, unsplit network in 8 of 10; three inputs are lost and one is gained
ANSWERS = (0, 0, 0, 0, 0, 1, 1, 1, 0, 1)
WHOLE = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1)
LABELS = (0,) * 10


def test_top1_and_its_paired_drop(row: Any, judge: Judge, classifier: Classifier) -> None:
    found = judge(observed(row, ANSWERS, WHOLE, LABELS), classifier(CLASSES), "report")
    hits, whole = np.array(ANSWERS) == 0, np.array(WHOLE) == 0
    groups = [str(i) for i in range(10)]
    assert (found.metric, found.subset, found.n, found.groups) == ("top1", "report", 10, 10)
    assert found.value == 0.6
    assert found.drop == pytest.approx(0.2)
    assert (found.low, found.high) == proportion(hits, groups)
    assert found.drop_high == paired_drop(whole, hits, groups).high > found.drop
    assert found.payload_bytes == 104.5


def test_agreement_is_with_the_unsplit_network_whatever_the_truth(
    row: Any, judge: Judge, classifier: Classifier
) -> None:
    found = judge(observed(row, ANSWERS, WHOLE, LABELS), classifier(CLASSES, "unsplit"))
    same = np.array(ANSWERS) == np.array(WHOLE)
    assert found.metric == "agreement"
    assert found.value == same.mean() == 0.6
    assert found.drop == pytest.approx(0.4)
    assert (found.low, found.high) == proportion(same, [str(i) for i in range(10)])
    assert found.drop_high == 1 - found.low > found.drop


def test_inputs_of_one_group_count_once(row: Any, judge: Judge, classifier: Classifier) -> None:
    apart = judge(observed(row, ANSWERS, WHOLE, LABELS), classifier(CLASSES))
    together = judge(observed(row, ANSWERS, WHOLE, LABELS, ["a"] * 5 + ["b"] * 5), classifier(CLASSES))
    assert together.groups == 2
    assert together.value == apart.value
    assert together.low < apart.low
    assert together.drop_high > apart.drop_high


@pytest.mark.parametrize("against", ["labels", "unsplit"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_no_answer(
    row: Any, judge: Judge, classifier: Classifier, bad: float, against: str
) -> None:
    output = scores(0)
    output[0, 0] = bad  # where the answer would be right
    rows = [row({"y": output}, {"y": scores(0)}, 0) for _ in range(5)]
    found = judge(rows, classifier(CLASSES, against))
    assert (found.value, found.relative_error) == (0.0, math.inf)


@pytest.mark.parametrize(("top", "right"), [(1, False), (2, False), (3, True)])
def test_the_label_is_among_the_k_best(row: Any, judge: Judge, classifier: Classifier, top: int, right: bool) -> None:
    values = np.array([[5, 4, 3, 2, 1, 0, 0, 0.0]])
    found = judge([row({"y": values}, {"y": values}, 2)], classifier(8, top=top))
    assert (found.metric, found.value) == (f"top{top}", float(right))


def test_of_equal_scores_the_first_classes_count_as_argmax_takes_them(
    row: Any, judge: Judge, classifier: Classifier
) -> None:
    flat = np.zeros((1, 8))
    values = [judge([row({"y": flat}, {"y": flat}, label)], classifier(8, top=2)).value for label in range(8)]
    assert values == [1, 1, 0, 0, 0, 0, 0, 0]


def test_agreement_of_the_k_best_is_with_the_unsplit_answer(row: Any, judge: Judge, classifier: Classifier) -> None:
    found = judge(
        [row({"y": np.array([[3.0, 2, 1, 0, 0, 0]])}, {"y": np.array([[0.0, 9, 0, 0, 0, 0]])})],
        classifier(6, "unsplit", top=2),
    )
    assert (found.metric, found.value) == ("top2 agreement", 1.0)


def test_k_of_so_many_classes_that_chance_is_half_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ProfileError, match="a random answer would be right in 50% of cases"):
        classifier(10, top=5)


def test_the_metric_reads_the_output_that_was_named(row: Any, judge: Judge) -> None:
    outputs = [IOTensor(name=name, shape=(1, CLASSES), dtype="float32") for name in ("a", "b")]
    metric = make_metric(Task(name="classify", outputs=("b",)), outputs, "unsplit")
    rows = [row({"a": scores(1), "b": scores(2)}, {"a": scores(3), "b": scores(2)})]
    found = judge(rows, metric)
    assert found.value == 1.0
    errors = {error.name: error.relative_error for error in found.output_errors}
    assert errors == {"a": pytest.approx(math.sqrt(2)), "b": 0.0}
    with pytest.raises(ProfileError, match="reads one output, the network has 2: a, b"):
        make_metric(Task(name="classify"), outputs, "unsplit")
    with pytest.raises(ProfileError, match="no output 'c'"):
        make_metric(Task(name="classify", outputs=("c",)), outputs, "unsplit")


def test_the_tensor_metric_is_relative_to_the_variation_over_the_inputs(row: Any, judge: Judge) -> None:
    rng = np.random.default_rng(1)
    exact = [100 + rng.normal(size=(1, 50)) for _ in range(20)]  # a large constant part
    output = IOTensor(name="y", shape=(1, 50), dtype="float32")
    metric = make_metric(Task(name="tensor"), [output], "unsplit")
    mean = np.mean(exact, axis=0)
    assert judge([row({"y": y}, {"y": y}) for y in exact], metric).value == 1.0
    assert judge([row({"y": mean}, {"y": y}) for y in exact], metric).value == 0.0
    halfway = judge([row({"y": (mean + y) / 2}, {"y": y}) for y in exact], metric)
    assert halfway.value == pytest.approx(0.5)
    assert halfway.low < 0.5 < halfway.high
    assert judge([row({"y": y * np.nan}, {"y": y}) for y in exact], metric).value == 0.0


def test_the_tensor_metric_is_of_the_worst_output(row: Any, judge: Judge) -> None:
    rng = np.random.default_rng(1)
    outputs = [IOTensor(name=name, shape=(1, 5), dtype="float32") for name in ("large", "small")]
    metric = make_metric(Task(name="tensor"), outputs, "unsplit")
    rows = []
    for _ in range(30):
        large, small = 1000 * rng.normal(size=(1, 5)), rng.normal(size=(1, 5))
        rows.append(row({"large": large, "small": small * 0}, {"large": large, "small": small}))
    found = judge(rows, metric)
    assert found.value < 0.1
    assert found.relative_error < 0.01  # all outputs together hide it
    assert {figure.name: round(figure.value, 1) for figure in found.also} == {"large": 1.0, "small": 0.0}


def test_relative_errors() -> None:
    y = np.array([3.0, 4.0])
    assert relative_error([y], [y]) == 0.0
    assert relative_error([y * 0], [y]) == 1.0
    assert relative_error([y, y], [y, y * 2]) == pytest.approx(math.sqrt(25 / 125))
    assert relative_error([y], [y * 0]) == math.inf
    assert relative_error([y * 0], [y * 0]) == 0.0
    assert relative_error([y * np.nan], [y]) == math.inf
    assert relative_error([y[:1]], [y]) == math.inf


def test_outcomes_that_were_written_and_read_back_give_the_same_accuracy(
    row: Any, outcomes: Callable[..., Outcomes], classifier: Classifier
) -> None:
    for against in ("labels", "unsplit"):
        metric = classifier(CLASSES, against)
        computed = outcomes(observed(row, ANSWERS, WHOLE, LABELS), metric)
        stored = msgspec.msgpack.decode(msgspec.msgpack.encode(computed), type=Outcomes)
        assert stored == computed
        assert accuracy.judge(stored, metric) == accuracy.judge(computed, metric)


def test_margin_and_divergence_of_one_input(
    row: Any, outcomes: Callable[..., Outcomes], classifier: Classifier
) -> None:
    exact, changed = np.array([[2.0, 1.0, 0.0]]), np.array([[1.5, 1.75, 0.0]])
    (found,) = outcomes([row({"y": changed}, {"y": exact}, 0)], classifier(3)).inputs
    assert found.margin_change == pytest.approx((1.5 - 1.75) - (2.0 - 1.0))
    p, q = (np.exp(x) / np.exp(x).sum() for x in (exact, changed))
    assert found.divergence == pytest.approx(float((p * np.log(p / q)).sum()))
    assert (found.counts, found.unsplit_counts) == ((0.0,), (1.0,))
    (same,) = outcomes([row({"y": exact}, {"y": exact})], classifier(3, "unsplit")).inputs
    assert (same.margin_change, same.divergence, same.relative_error) == (0.0, 0.0, 0.0)
    assert (same.counts, same.unsplit_counts) == ((1.0,), (1.0,))
    tensor = make_metric(Task(name="tensor"), [IOTensor(name="y", shape=(1, 3), dtype="float32")], "unsplit")
    (other,) = outcomes([row({"y": changed}, {"y": exact})], tensor).inputs
    assert (other.margin_change, other.divergence) == (None, None)
