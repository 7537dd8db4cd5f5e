"""Recall at 1 against a search by hand, and answers that ignore their input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.metrics.embed import Embed, make_embed
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.errors import ProfileError

SIZE = 6
Result = tuple[float, float]  # recall, cosine


def metric(against: Any = "unsplit", shape: tuple[int, ...] = (1, SIZE)) -> Embed:
    return make_embed(Task(name="embed"), [IOTensor(name="y", shape=shape, dtype="float32")], against)


def measure(answers: Array, exact: Array, labels: Array | None = None) -> Result:
    """Recall and cosine through the same code as a plan."""
    metric_ = metric("unsplit" if labels is None else "labels")
    samples = [
        Sample(name=str(i), group=str(i), tensor=np.zeros((1, 1)), label=None if labels is None else int(labels[i]))
        for i in range(len(exact))
    ]
    metric_ = metric_.prepare(
        metric_.truth_of(s, metric_.answer({"y": y[None]})) for s, y in zip(samples, exact, strict=True)
    )
    rows = tuple(
        observe(metric_, {"y": y[None]}, {"y": y0[None]}, s) for s, y, y0 in zip(samples, answers, exact, strict=True)
    )
    accuracy = judge(Outcomes(subset="search", inputs=rows, payload_bytes=(0,) * len(rows)), metric_)
    figure = accuracy.figure("cosine")
    assert figure is not None
    return accuracy.value, figure.value


def vectors(seed: int, count: int = 12, common: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, SIZE)) + common


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@given(seed=st.integers(0, 2**32 - 2), size=st.floats(0, 3))
def test_recall_is_the_share_whose_own_vector_is_the_nearest(seed: int, size: float) -> None:
    exact = vectors(seed)
    answers = exact + size * vectors(seed + 1)
    nearest = [int(np.argmax([cosine(y, g) for g in exact])) for y in answers]
    mean = exact.mean(axis=0)
    likeness = [cosine(y - mean, g - mean) for y, g in zip(answers, exact, strict=True)]
    recall, similarity = measure(answers, exact)
    assert recall == pytest.approx(np.mean([i == j for i, j in enumerate(nearest)]))
    assert similarity == pytest.approx(np.mean(likeness), abs=1e-9)


@given(seed=st.integers(0, 2**32 - 2), size=st.floats(0, 3))
def test_with_labels_the_nearest_of_the_other_inputs_has_the_class(seed: int, size: float) -> None:
    exact, labels = vectors(seed), np.arange(12) % 3
    answers = exact + size * vectors(seed + 1)
    right = []
    for i, y in enumerate(answers):
        others = [j for j in range(12) if j != i]
        right.append(labels[max(others, key=lambda j: cosine(y, exact[j]))] == labels[i])
    assert measure(answers, exact, labels)[0] == pytest.approx(np.mean(right))


@given(seed=st.integers(0, 2**32 - 2), common=st.sampled_from([0.0, 1.0, 100.0]))
def test_the_right_vectors_get_1_and_one_vector_for_all_gets_chance(seed: int, common: float) -> None:
    """A component that all vectors share, a hundred times their differences, hides nothing."""
    exact = vectors(seed, common=common)
    assert measure(exact, exact) == pytest.approx((1.0, 1.0))
    assert measure(7.0 * exact, exact)[0] == 1.0  # lengths do not matter
    for constant in (exact.mean(axis=0), exact[3], np.zeros(SIZE)):
        recall, likeness = measure(np.tile(constant, (12, 1)), exact)
        assert recall <= 1 / 12
        assert likeness < 0.4
    shuffled = measure(np.roll(exact, 1, axis=0), exact)
    assert shuffled[0] == 0.0


def test_an_answer_that_is_not_finite_or_empty_is_wrong() -> None:
    exact = vectors(0)
    broken = exact.copy()
    broken[0, 2], broken[1] = np.nan, 0
    assert measure(broken, exact)[0] == pytest.approx(10 / 12)


@pytest.mark.parametrize("labels", [None, np.arange(12) % 2])
def test_an_input_whose_truth_has_length_0_is_never_right(labels: Any) -> None:
    exact = vectors(0)
    exact[3] = 0
    recall, whole = (measure(y, exact, labels)[0] for y in (vectors(0), exact))
    assert recall <= 11 / 12
    assert recall == whole


def test_inputs_with_the_same_vector_are_each_others_own() -> None:
    exact = vectors(0)
    exact[5] = exact[4]
    assert measure(exact, exact)[0] == 1.0


def test_the_floor_of_the_cosine_similarity_is_bound_by_default() -> None:
    assert [(floor.limit, floor.value) for floor in metric().floors] == [("cosine", 0.9)]
    assert metric().figures == ("cosine",)


def test_sets_and_outputs_that_decide_nothing_are_refused() -> None:
    same = np.tile(vectors(0)[0], (12, 1)) * np.linspace(1, 1 + 1e-7, 12)[:, None]
    with pytest.raises(ProfileError, match="the same vector for all 12 inputs"):
        measure(same, same)
    with pytest.raises(ProfileError, match="two classes, and two inputs of a class"):
        measure(vectors(0), vectors(0), np.arange(12))
    with pytest.raises(ProfileError, match=r"reads one vector, such as \[1, 512\]; 'y' is \[1, 7, 7, 8\]"):
        metric(shape=(1, 7, 7, 8))
    with pytest.raises(ProfileError, match="takes classes as labels"):
        metric("labels").label(Sample(name="a", group="a", tensor=np.zeros((1, 1))))
