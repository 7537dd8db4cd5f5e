"""Mean IoU against scikit-learn's Jaccard score, and how class maps and masks are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import jaccard_score

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.segment import Segment, make_segment, settle_segment
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

SEGMENT = Task(name="segment")


def metric(shape: tuple[int, ...], dtype: str = "float32", **options: Any) -> Segment:
    against = options.pop("against", "unsplit")
    task = Task(name="segment", **options)
    return make_segment(task, [IOTensor(name="y", shape=shape, dtype=dtype)], against)


def maps(seed: int, count: int, classes: int, size: tuple[int, int] = (5, 7)) -> Array:
    return np.random.default_rng(seed).integers(0, classes, (count, *size))


def value(judge: Segment, answers: Any, truths: Any) -> float:
    judge = judge.prepare(truths)
    counts = np.array([judge.compare(a, t) for a, t in zip(answers, truths, strict=True)]).sum(axis=0)
    return float(judge.value(np.append(counts, len(truths))))


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 4), classes=st.integers(2, 6), wrong=st.floats(0, 1))
def test_the_value_is_the_jaccard_score_over_all_pixels(seed: int, count: int, classes: int, wrong: float) -> None:
    truths = maps(seed, count, classes)
    truths[0, 0, :2] = 0, 1  # two classes occur
    answers = np.where(np.random.default_rng(seed).random(truths.shape) < wrong, maps(seed + 1, count, 9), truths)
    there = np.unique(truths)
    expected = jaccard_score(truths.ravel(), answers.ravel(), labels=there, average="macro", zero_division=0)
    assert value(metric((1, 5, 7), "int64"), answers, truths) == pytest.approx(expected, abs=1e-12)
    assert value(metric((1, 5, 7), "int64"), truths, truths) == 1.0


def test_an_answer_of_one_class_gets_at_most_one_class_of_those_in_the_truth() -> None:
    truths = maps(0, 3, 4)
    for constant in range(4):
        assert value(metric((1, 5, 7), "int64"), np.full_like(truths, constant), truths) < 0.25 / 2
    assert value(metric((1, 5, 7), "int64"), [None] * 3, truths) == 0.0


def test_the_mean_over_classes_does_not_depend_on_their_numbers() -> None:
    truths, answers = maps(0, 2, 3), maps(1, 2, 3)
    other = np.array([7, 0, 40])
    same = value(metric((1, 5, 7), "int64"), answers, truths)
    assert value(metric((1, 5, 7), "int64"), other[answers], other[truths]) == pytest.approx(same)


@pytest.mark.parametrize(("shape", "axis"), [((1, 3, 5, 7), 1), ((1, 5, 7, 3), 3)])
def test_the_class_is_the_highest_score(shape: tuple[int, ...], axis: int) -> None:
    scores = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    judge = metric(shape)
    assert judge.task.axis == axis
    np.testing.assert_array_equal(judge.answer({"y": scores}), scores[0].argmax(axis=axis - 1))
    assert f"axis {axis}" in judge.use.definition
    scores[0, 0, 0, 0] = np.nan
    assert judge.answer({"y": scores}) is None


@pytest.mark.parametrize(
    ("shape", "input_shape", "axis"),
    [
        ((1, 150, 16, 16), (1, 3, 512, 512), 1),  # more classes than columns
        ((1, 16, 16, 150), (1, 3, 512, 512), 3),
        ((1, 16, 32, 21), (1, 3, 128, 256), 3),
        ((1, 8, 8, 8), (1, 3, 64, 64), 1),  # both fit: as the input
        ((1, 8, 8, 8), (1, 64, 64, 3), 3),
    ],
)
def test_the_axis_of_the_classes_leaves_the_proportions_of_the_input(
    shape: tuple[int, ...], input_shape: tuple[int, ...], axis: int
) -> None:
    tensor = IOTensor(name="y", shape=shape, dtype="float32")
    assert settle_segment(SEGMENT, [tensor], [], input_shape).axis == axis


@pytest.mark.parametrize(
    ("values", "threshold", "words"),
    [
        ([0.1, 0.6, 0.9, 0.4], 0.5, "above 0.5"),
        ([-3.0, 2.0, 0.4, -0.1], 0.0, "above 0,"),
        ([0.0, 3.0, 7.0, 1.0], None, "the output's number"),  # class numbers as floats
    ],
)
def test_one_channel_is_cut_at_a_threshold_that_fits_its_range(
    values: list[float], threshold: float | None, words: str
) -> None:
    tensor = IOTensor(name="y", shape=(1, 1, 2, 2), dtype="float32")
    output = {"y": np.array(values, np.float32).reshape(1, 1, 2, 2)}
    task = settle_segment(SEGMENT, [tensor], [output], (1, 3, 2, 2))
    assert task.threshold == threshold
    judge = make_segment(task, [tensor], "unsplit")
    expected = values if threshold is None else [float(v > threshold) for v in values]
    np.testing.assert_array_equal(np.asarray(judge.answer(output)).ravel(), expected)
    assert words in judge.use.definition
    given_one = Task(name="segment", threshold=0.9)
    assert settle_segment(given_one, [tensor], [output], (1, 3, 2, 2)).threshold == 0.9


def test_a_mask_is_resized_by_nearest_neighbour_and_255_is_not_counted() -> None:
    judge = metric((1, 3, 2, 2), against="labels", axis=1)
    mask = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 255, 255], [2, 2, 255, 255]], np.uint8)
    sample = Sample(name="a", group="a", tensor=np.zeros((1, 1)), truth=mask)
    truth = judge.label(sample)
    np.testing.assert_array_equal(truth, [[0, 1], [2, -1]])
    answer = np.array([[0, 1], [2, 0]])
    assert value(judge, [answer], [truth]) == 1.0


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (None, "no mask"),
        (np.zeros((4, 4), np.float32), r"float32\[4, 4\]"),
        (np.full((4, 4), 3), "class 3, the network 3 classes"),
        (np.zeros((4, 8), np.int64), "4x8 pixels does not fit the network's map of 2x2"),
    ],
)
def test_what_is_no_mask_is_refused(mask: Any, words: str) -> None:
    sample = Sample(name="street", group="a", tensor=np.zeros((1, 1)), truth=mask)
    with pytest.raises(ProfileError, match=words) as caught:
        metric((1, 3, 2, 2), against="labels", axis=1).label(sample)
    assert caught.value.at == "street"


def test_truths_of_one_class_are_refused() -> None:
    with pytest.raises(ProfileError, match="one class in all pixels"):
        metric((1, 5, 7), "int64").prepare([np.zeros((5, 7), np.int64)] * 3)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 10), "float32"), ((2, 3, 4, 4), "float32"), ((1, 3, 4, 4), "int64")])
def test_other_outputs_are_refused(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ProfileError, match="task segment reads scores"):
        metric(shape, dtype)
