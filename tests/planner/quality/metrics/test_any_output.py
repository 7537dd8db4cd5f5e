"""Any task with any outputs: one error of the user's, or a value in 0..1 that is 1 for the unsplit network."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.registry import make_metric, settle_task
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

TASKS = ("classify", "segment", "embed", "regress", "sequence", "tensor")
DTYPES = ("float32", "float16", "float64", "int64", "int32", "uint8", "bool")
shapes = st.lists(st.integers(1, 6), max_size=4).map(tuple)


@given(
    task=st.sampled_from(TASKS),
    decode=st.sampled_from(["", "ctc", "scores", "ids"]),
    kinds=st.lists(st.tuples(shapes, st.sampled_from(DTYPES)), min_size=1, max_size=2),
    chosen=st.booleans(),
    input_shape=st.sampled_from([(1, 3, 12, 12), (1, 12, 12, 3), (1, 16)]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_outputs_give_an_error_or_a_value(
    task: Any, decode: str, kinds: Any, chosen: bool, input_shape: Any, seed: int
) -> None:
    assume(task == "sequence" or not decode)
    outputs = [IOTensor(name=f"y{i}", shape=shape, dtype=dtype) for i, (shape, dtype) in enumerate(kinds)]
    rng = np.random.default_rng(seed)
    rows = [{t.name: rng.normal(2, 2, t.shape).astype(t.dtype) for t in outputs} for _ in range(6)]
    samples = [Sample(name=str(i), group=str(i), tensor=np.zeros((1, 1))) for i in range(6)]
    asked = Task(name=task, decode=decode, outputs=("y0",) if chosen else ())
    try:
        settled = settle_task(asked, outputs, rows, input_shape)
        metric = make_metric(settled, outputs, "unsplit")
        answers = [metric.answer(row) for row in rows]
        truths = [metric.truth_of(s, y) for s, y in zip(samples, answers, strict=True)]
        metric = metric.prepare(truths)
    except ProfileError:
        return
    assert metric.use.definition
    for given_answers, expected in ((answers, 1.0), ([answers[0]] * 6, None), ([None] * 6, None)):
        counts = np.sum([metric.compare(y, t) for y, t in zip(given_answers, truths, strict=True)], axis=0)
        value = float(metric.value(np.append(counts, 6)))
        assert 0 <= value <= 1
        assert expected is None or value == expected or task == "embed"  # vectors may be equal
