"""The relative error of the worst output: by its definition, its invariances, and answers that ignore their input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.tensor import make_tensor

WIDTHS = {"a": 3, "b": 5}


def value(answers: dict[str, Array], exact: dict[str, Array]) -> float:
    metric = make_tensor(
        Task(name="tensor"),
        [IOTensor(name=name, shape=(1, width), dtype="float32") for name, width in WIDTHS.items()],
        "unsplit",
    )
    count = len(exact["a"])
    truths = [metric.answer({name: y[i : i + 1] for name, y in exact.items()}) for i in range(count)]
    found = [metric.answer({name: y[i : i + 1] for name, y in answers.items()}) for i in range(count)]
    metric = metric.prepare(truths)
    counts = np.sum([metric.compare(y, y0) for y, y0 in zip(found, truths, strict=True)], axis=0)
    return float(metric.value(np.append(counts, count)))


def outputs(seed: int, level: float = 0.0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(9, width)) + level for name, width in WIDTHS.items()}


@given(seed=st.integers(0, 2**32 - 2), size=st.floats(0, 0.4), level=st.floats(-100, 100))
def test_the_value_is_that_of_the_worst_output(seed: int, size: float, level: float) -> None:
    exact, noise = outputs(seed, level), outputs(seed + 1)
    answers = {"a": exact["a"] + size * noise["a"], "b": exact["b"] + 0.5 * size * noise["b"]}
    errors = [np.linalg.norm(answers[name] - y) / np.linalg.norm(y - y.mean(axis=0)) for name, y in exact.items()]
    assert value(answers, exact) == pytest.approx(max(0.0, 1 - max(errors)), abs=1e-9)
    assert value(exact, exact) == 1.0
    scaled = {"a": 1000, "b": 1}
    assert value({n: scaled[n] * y for n, y in answers.items()}, {n: scaled[n] * y for n, y in exact.items()}) == (
        pytest.approx(value(answers, exact), abs=1e-9)
    )


@given(seed=st.integers(0, 2**32 - 2), level=st.sampled_from([0.0, 1e3]))
def test_one_output_that_ignores_its_input_gets_0(seed: int, level: float) -> None:
    exact = outputs(seed, level)
    for constant in (exact["b"].mean(axis=0), exact["b"][0], np.zeros(5)):
        answers = {"a": exact["a"], "b": np.tile(constant, (9, 1))}
        assert value(answers, exact) == pytest.approx(0.0, abs=1e-9)


def test_an_answer_that_is_not_finite_gets_0() -> None:
    exact = outputs(0)
    broken = {"a": exact["a"], "b": np.where(np.arange(5) == 2, np.nan, exact["b"])}
    assert value(broken, exact) == 0.0
