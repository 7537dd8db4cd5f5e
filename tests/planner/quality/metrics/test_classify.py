"""Top-k accuracy against scikit-learn's, and what does not change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.classify import Classify, make_classify
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

CLASSES = 8


def metric(top: int = 1, against: Any = "unsplit") -> Classify:
    return make_classify(
        Task(name="classify", top=top), [IOTensor(name="y", shape=(1, CLASSES), dtype="float32")], against
    )


def share(judge: Classify, scores: Array, labels: Array) -> float:
    answers = [judge.answer({"y": row[None]}) for row in scores]
    return float(np.mean([judge.compare(a, int(t)) for a, t in zip(answers, labels, strict=True)]))


@given(seed=st.integers(0, 2**32 - 1), top=st.integers(1, 3))
def test_the_value_is_the_top_k_accuracy(seed: int, top: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(20, CLASSES)), rng.integers(0, CLASSES, 20)
    expected = top_k_accuracy_score(labels, scores, k=top, labels=np.arange(CLASSES))
    assert share(metric(top), scores, labels) == pytest.approx(expected)
    order = rng.permutation(CLASSES)
    assert share(metric(top), scores[:, order], np.argsort(order)[labels]) == pytest.approx(expected)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert share(metric(top), softmax, labels) == pytest.approx(expected)  # probabilities or logits


@given(seed=st.integers(0, 2**32 - 1))
def test_the_unsplit_answer_agrees_with_itself_and_zeros_only_with_one_class(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(40, CLASSES))
    truths = np.array([metric().truth(metric().answer({"y": row[None]})) for row in scores])
    assert share(metric(), scores, truths) == 1.0
    zeros = share(metric(), np.zeros_like(scores), truths)
    assert zeros == np.mean(truths == 0)


def test_an_answer_that_is_not_finite_is_wrong() -> None:
    assert share(metric(), np.full((3, CLASSES), np.nan), np.arange(3)) == 0.0
    sample = Sample(name="cat.png", group="a", tensor=np.zeros((1, 1)))
    with pytest.raises(ProfileError, match="the unsplit network gives NaN or infinity in y") as caught:
        metric().truth_of(sample, None)
    assert caught.value.at == "cat.png"
