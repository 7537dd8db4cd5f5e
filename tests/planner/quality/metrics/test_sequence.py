"""Edit distances against the recursive definition, decoders against loops, and padding."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.sequence import (
    TokenSequence,
    edit_distance,
    make_sequence,
    settle_sequence,
)
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

tokens = st.lists(st.integers(0, 3), max_size=7).map(lambda row: np.array(row, np.int64))


def by_definition(a: Any, b: Any) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + int(a[i - 1] != b[j - 1]))

    return distance(len(a), len(b))


def metric(shape: tuple[int, ...], dtype: str = "float32", against: Any = "unsplit", **options: Any) -> TokenSequence:
    return make_sequence(Task(name="sequence", **options), [IOTensor(name="y", shape=shape, dtype=dtype)], against)


def value(judge: TokenSequence, answers: Any, truths: Any) -> float:
    judge = judge.prepare(truths)
    counts = np.array([judge.compare(a, t) for a, t in zip(answers, truths, strict=True)]).sum(axis=0)
    return float(judge.value(np.append(counts, len(truths))))


@given(a=tokens, b=tokens, c=tokens)
def test_the_edit_distance_is_that_of_the_definition(a: Any, b: Any, c: Any) -> None:
    assert edit_distance(a, b) == by_definition(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == np.array_equal(a, b)


def test_five_hundred_tokens_are_compared() -> None:
    row = np.random.default_rng(0).integers(0, 1000, 500)
    assert edit_distance(np.delete(row, [3, 77, 400]), row) == 3
    assert edit_distance(row[::-1], row) > 400


def test_the_value_is_one_minus_the_error_rate_of_all_tokens() -> None:
    truths = [np.array([1, 2, 3, 4]), np.array([5, 6])]
    assert value(metric((1, 4), "int64"), truths, truths) == 1.0
    assert value(metric((1, 4), "int64"), [np.array([1, 2, 4]), np.array([5, 9])], truths) == pytest.approx(1 - 2 / 6)
    assert value(metric((1, 4), "int64"), [t[::-1] for t in truths], truths) == 0.0
    assert value(metric((1, 4), "int64"), [np.arange(50, 70)] * 2, truths) == 0.0  # more edits than tokens
    assert value(metric((1, 4), "int64"), [None, None], truths) == 0.0


def test_the_same_text_for_all_inputs_gets_little() -> None:
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, 50, 12) for _ in range(20)]
    assert value(metric((1, 12), "int64"), [truths[0]] * 20, truths) < 0.2


@given(path=st.lists(st.integers(0, 4), min_size=1, max_size=9), blank=st.sampled_from([0, 2, -1]))
def test_ctc_merges_repeats_and_removes_blanks(path: list[int], blank: int) -> None:
    expected = [token for token, _ in itertools.groupby(path) if token != blank % 5]
    scores = np.eye(5, dtype=np.float32)[path]
    for shape, axis in (((1, len(path), 5), None), ((len(path), 1, 5), None), ((1, 5, len(path)), 1)):
        array = scores.T if axis == 1 else scores
        judge = metric(shape, decode="ctc", blank=blank, axis=axis)
        assert np.asarray(judge.answer({"y": array.reshape(shape)})).tolist() == expected
    plain = metric((1, len(path), 5), decode="scores").answer({"y": scores[None]})
    assert np.asarray(plain).tolist() == path


def test_integers_are_tokens_and_padding_at_the_end_is_none() -> None:
    judge = metric((1, 6), "int32", pad=9)
    assert judge.task.decode == "ids"
    assert np.asarray(judge.answer({"y": np.array([[4, 9, 2, 9, -1, -1]], np.int32)})).tolist() == [4, 9, 2]
    assert np.asarray(judge.answer({"y": np.array([[9, 9, 9, 9, 9, 9]], np.int32)})).tolist() == []


def test_the_padding_is_the_token_that_ends_every_output() -> None:
    tensor = IOTensor(name="y", shape=(1, 6), dtype="int64")
    rows = [{"y": np.array([row])} for row in ([5, 6, 1, 1, 1, 1], [7, 5, 6, 8, 9, 1], [2, 1, 1, 1, 1, 1])]
    assert settle_sequence(Task(name="sequence"), [tensor], rows, ()).pad == 1
    rows[0]["y"][0, -1] = 3
    assert settle_sequence(Task(name="sequence"), [tensor], rows, ()).pad is None
    given_one = Task(name="sequence", decode="ids", pad=3)
    assert settle_sequence(given_one, [tensor], rows, ()).pad == 3


@pytest.mark.parametrize(("blank", "axis"), [(0, 2), (4, 2), (4, 1)])
def test_blank_and_axis_are_found(blank: int, axis: int) -> None:
    """Seven positions, most of them blank; along the axis of the classes probabilities add up to 1."""
    path = np.full(7, blank)
    path[[1, 4]] = 2, 3
    rows = (0.6 * np.eye(5)[path] + 0.08)[None]  # (1, 7, 5)
    array = (rows if axis == 2 else rows.transpose(0, 2, 1)).astype(np.float32)
    tensor = IOTensor(name="y", shape=array.shape, dtype="float32")
    task = settle_sequence(Task(name="sequence", decode="ctc"), [tensor], [{"y": array}, {"y": array}], ())
    assert (task.blank, task.axis) == (blank, axis)
    judge = make_sequence(task, [tensor], "unsplit")
    assert np.asarray(judge.answer({"y": array})).tolist() == [2, 3]
    assert f"blanks removed ({blank})" in judge.use.definition


def test_labels_end_before_their_padding() -> None:
    judge = metric((1, 8, 10), against="labels", decode="ctc", blank=0)

    def sample(row: Any) -> Sample:
        return Sample(name="clip", group="a", tensor=np.zeros((1, 1)), truth=row)

    assert judge.label(sample(np.array([3, 1, -1, -1]))).tolist() == [3, 1]
    for row, words in (
        (np.array([3, -1, 2]), "token -1"),
        (np.array([3, 10]), r"token 10 \(0..9\)"),
        (np.array([3, 0]), "token 0, which is the blank"),
        (np.array([0.5, 1]), r"got float64\[2\]"),
        (None, "got none"),
    ):
        with pytest.raises(ProfileError, match=words):
            judge.label(sample(row))


@pytest.mark.parametrize(
    ("shape", "dtype", "decode", "words"),
    [
        ((1, 8, 10), "float32", "", "needs a decoder: ctc"),
        ((1, 8, 10), "float32", "beam", "no decoder 'beam'"),
        ((1, 8, 10), "float32", "ids", "reads a row of integers"),
        ((2, 8, 10), "float32", "ctc", r"'y' is float32\[2, 8, 10\]"),
        ((1, 8), "int64", "ctc", r"'y' is int64\[1, 8\]"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(shape: tuple[int, ...], dtype: str, decode: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        metric(shape, dtype, decode=decode)
    tensor = IOTensor(name="y", shape=shape, dtype=dtype)
    with pytest.raises(ProfileError, match=words):
        settle_sequence(Task(name="sequence", decode=decode), [tensor], [{"y": np.zeros(shape, dtype)}], ())
    with pytest.raises(ProfileError, match="blank 10 of 10 classes"):
        metric((1, 8, 10), decode="ctc", blank=10)


def test_truths_without_tokens_are_refused() -> None:
    with pytest.raises(ProfileError, match="no tokens for any input"):
        metric((1, 4), "int64").prepare([np.array([], np.int64)] * 3)
