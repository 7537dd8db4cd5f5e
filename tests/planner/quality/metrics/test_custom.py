"""A metric of the user's own: its ratio, and one clear error for everything that can be wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.custom import Custom, check_unchanged, make_custom
from splitpoint.planner.samples.dataset import Sample
from splitpoint.profiles.errors import ProfileError

SOURCE = '''
def near(outputs, truth):
    """How near y is.

    More text.
    """
    y0 = truth["y"] if isinstance(truth, dict) else truth
    return 1 / (1 + abs(float(outputs["y"].sum()) - float(y0.sum())))

def text(outputs, truth):
    return "good"

def nothing(outputs, truth):
    pass

def nan(outputs, truth):
    return float("nan")

def loss(outputs, truth):
    return -1.0

def broken(outputs, truth):
    return outputs["z"]

number = 3
'''
SAMPLE = Sample(name="a", group="a", tensor=np.zeros((1, 1)), truth=np.array([2.0]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(SOURCE)
    return tmp_path / "own.py"


def metric(file: Path, name: str, against: Any = "unsplit") -> Custom:
    outputs = [IOTensor(name="y", shape=(1, 2), dtype="float32"), IOTensor(name="other", shape=(1,), dtype="float32")]
    return make_custom(Task(name="custom", metric=f"{file}:{name}", outputs=("y",)), outputs, against)


def outputs(*values: float) -> dict[str, Any]:
    return {"y": np.array([values]), "other": np.zeros(1)}


def test_the_value_is_relative_to_the_unsplit_network(file: Path) -> None:
    judge = metric(file, "near", "labels")
    exact, worse = judge.answer(outputs(1, 2)), judge.answer(outputs(1, 4))
    assert exact is not None
    assert set(exact) == {"y"}  # what `outputs` of the task names
    truth = judge.truth_of(SAMPLE, exact)
    assert judge.compare(exact, truth) == (0.5, 0.5)
    assert judge.compare(worse, truth) == (0.25, 0.5)
    prepared = judge.prepare([truth])
    assert float(prepared.value(np.array([0.25, 0.5, 1]))) == 0.5
    assert float(prepared.value(np.array([0.9, 0.5, 1]))) == 1.0  # never above
    assert float(prepared.value(np.array([-0.9, 0.5, 1]))) == 0.0


def test_without_labels_the_truth_is_the_unsplit_networks_outputs(file: Path) -> None:
    judge = metric(file, "near")
    exact = judge.answer(outputs(1, 2))
    assert judge.truth_of(SAMPLE, exact) == (exact, 1.0)
    assert judge.compare(judge.answer(outputs(1, 5)), (exact, 1.0)) == (0.25, 1.0)


def test_the_first_line_of_the_docstring_is_the_definition(file: Path) -> None:
    use = metric(file, "near").use
    assert use.name == "near"
    assert use.definition.startswith("How near y is; its mean")
    assert metric(file, "text").use.definition.startswith("text(outputs, truth); its mean")
    assert len(use.sha256) == 64


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text", "returned str 'good', expected a number"),
        ("nothing", "returned NoneType 'None', expected a number"),
        ("nan", "returned nan, expected a finite number"),
        ("broken", "calling your metric failed: KeyError: 'z'"),
    ],
)
def test_what_is_no_number_is_one_error(file: Path, name: str, words: str) -> None:
    judge = metric(file, name)
    with pytest.raises(ProfileError, match=words) as caught:
        judge.truth_of(SAMPLE, judge.answer(outputs(1, 2)))
    assert str(file) in str(caught.value.at)
    if name == "broken":
        line = SOURCE.splitlines().index('    return outputs["z"]') + 1
        assert f"line {line}, in broken" in str(caught.value.at)


def test_a_mean_that_is_not_above_0_is_refused(file: Path) -> None:
    judge = metric(file, "loss")
    truths = [judge.truth_of(SAMPLE, judge.answer(outputs(1, 2)))]
    with pytest.raises(ProfileError, match="unsplit network is -1, expected a number above 0"):
        judge.prepare(truths)


def test_what_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(ProfileError, match="has no 'absent'"):
        metric(file, "absent")
    with pytest.raises(ProfileError, match="expected a function, got int"):
        metric(file, "number")
    with pytest.raises(ProfileError, match="no such file"):
        metric(file.with_name("none.py"), "near")


def test_a_file_that_changed_is_noticed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    judge = metric(Path(file.name), "near")
    assert judge.task.metric == f"{file}:near"  # found again from another folder
    check_unchanged(judge.task, judge.use)
    file.write_text(SOURCE + "\n")
    with pytest.raises(ProfileError, match="is not the one this plan was made with"):
        check_unchanged(judge.task, judge.use)
    file.unlink()
    with pytest.raises(ProfileError, match="cannot be read"):
        check_unchanged(judge.task, judge.use)
