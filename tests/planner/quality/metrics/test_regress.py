"""The relative mean absolute error: its definition by hand, and answers that ignore their input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.metrics.regress import FEW, Regress, make_regress
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Sample
from splitpoint.planner.values.outcomes import Outcomes
from splitpoint.profiles.errors import ProfileError


def metric(numbers: int, against: Any = "unsplit") -> Regress:
    return make_regress(Task(name="regress"), [IOTensor(name="y", shape=(1, numbers), dtype="float32")], against)


def measure(answers: Array, exact: Array, labels: Array | None = None) -> Accuracy:
    metric_ = metric(exact.shape[1], "unsplit" if labels is None else "labels")
    samples = [
        Sample(name=str(i), group=str(i), tensor=np.zeros((1, 1)), truth=None if labels is None else labels[i])
        for i in range(len(exact))
    ]
    metric_ = metric_.prepare(
        metric_.truth_of(s, metric_.answer({"y": y})) for s, y in zip(samples, exact, strict=True)
    )
    rows = tuple(observe(metric_, {"y": y}, {"y": y0}, s) for s, y, y0 in zip(samples, answers, exact, strict=True))
    return judge(Outcomes(subset="search", inputs=rows, payload_bytes=(0,) * len(rows)), metric_)


def numbers(seed: int, count: int, width: int) -> Array:
    return np.random.default_rng(seed).normal(size=(count, width)) * 10.0 ** np.arange(-1, width - 1)


@given(seed=st.integers(0, 2**32 - 2), width=st.integers(1, FEW + 4), size=st.floats(0, 0.5), level=st.floats(-50, 50))
def test_the_value_is_one_minus_the_error_over_the_variation(seed: int, width: int, size: float, level: float) -> None:
    truth = numbers(seed, 9, width) + level
    answers = truth + size * numbers(seed + 1, 9, width)
    error = np.abs(answers - truth).sum(axis=0)
    relative = error / np.abs(truth - np.median(truth, axis=0)).sum(axis=0)
    expected = 1 - (relative.max() if width <= FEW else relative.mean())
    found = measure(answers, truth)
    assert found.value == pytest.approx(max(0.0, expected), abs=1e-9)
    assert measure(truth, truth).value == 1.0
    names = [figure.name for figure in found.also]
    assert names == (["MAE"] if width == 1 or width > FEW else [f"MAE of y[{i}]" for i in range(width)])
    if width <= FEW:
        assert [figure.value for figure in found.also] == pytest.approx((error / 9).tolist())
    else:
        assert found.also[0].value == pytest.approx(float((error / 9).mean()))


@given(seed=st.integers(0, 2**32 - 2), width=st.integers(1, 12), level=st.sampled_from([0.0, 1e3, -1e3]))
def test_one_answer_for_all_inputs_gets_0(seed: int, width: int, level: float) -> None:
    """Also where the numbers are far from 0, so that the error is small relative to their size."""
    truth = numbers(seed, 9, width) + level
    for constant in (np.median(truth, axis=0), truth.mean(axis=0), truth[0], np.zeros(width)):
        assert measure(np.tile(constant, (9, 1)), truth).value == pytest.approx(0.0, abs=1e-9)


@given(scale=st.sampled_from([1e-3, 1.0, 1e6]), shift=st.sampled_from([0.0, 5.0]))
def test_the_value_does_not_depend_on_the_unit(scale: float, shift: float) -> None:
    truth, answers = numbers(0, 9, 2), numbers(0, 9, 2) + 0.1 * numbers(1, 9, 2)
    found = measure(answers * scale + shift, truth * scale + shift)
    assert found.value == pytest.approx(measure(answers, truth).value, rel=1e-6)
    assert found.also[0].value == pytest.approx(scale * measure(answers, truth).also[0].value, rel=1e-6)


def test_the_worst_of_few_numbers_counts() -> None:
    truth = numbers(0, 9, 3)
    answers = truth.copy()
    answers[:, 1] = 0
    assert measure(answers, truth).value < 0.2


def test_a_number_that_never_varies_must_be_right_up_to_rounding() -> None:
    truth = numbers(0, 9, 2)
    truth[:, 1] = 5.0
    assert measure(truth * (1 + 1e-8), truth).value > 0.9
    wrong = truth.copy()
    wrong[:, 1] = 0.0
    assert measure(wrong, truth).value == 0.0
    with pytest.raises(ProfileError, match="the same for all 9 inputs"):
        measure(truth[:, 1:], truth[:, 1:])


def test_the_drop_is_what_the_labels_show() -> None:
    labels, exact = numbers(0, 9, 1), numbers(0, 9, 1) + 0.02 * numbers(1, 9, 1)
    worse = labels + 0.06 * numbers(1, 9, 1)
    found, whole = measure(worse, exact, labels), measure(exact, exact, labels)
    assert whole.drop == 0.0
    assert found.drop == pytest.approx(whole.value - found.value)
    assert found.also[0].drop == pytest.approx(whole.also[0].value - found.also[0].value)
    assert found.also[0].drop < 0  # the error grew


def test_an_answer_that_is_not_finite_gets_0() -> None:
    truth = numbers(0, 9, 1)
    broken = truth.copy()
    broken[0] = np.inf
    assert measure(broken, truth).value == 0.0


@pytest.mark.parametrize(
    ("label", "truth", "words"),
    [
        (None, np.zeros(3), "the network gives 2 numbers, the labels have 3"),
        (4, None, "the labels have 1"),
        (None, np.array([0.0, np.nan]), "NaN"),
    ],
)
def test_labels_that_do_not_fit_are_refused(label: int | None, truth: Any, words: str) -> None:
    with pytest.raises(ProfileError, match=words):
        metric(2, "labels").label(Sample(name="a", group="a", tensor=np.zeros((1, 1)), label=label, truth=truth))


def test_whole_numbers_are_labels_too() -> None:
    sample = Sample(name="a", group="a", tensor=np.zeros((1, 1)), label=31)
    assert metric(1, "labels").label(sample).tolist() == [31.0]
