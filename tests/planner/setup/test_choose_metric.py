"""The metric that a configuration, its data and its network have, and the flags that say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.planner.deploy.task import Task
from splitpoint.planner.limits.need import Need
from splitpoint.planner.setup.config import DataConfig, PlanConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError

Run = Callable[..., tuple[int, str, str]]


def config_of(home: Path, name: str = "labelled.yaml", **changes: Any) -> PlanConfig:
    return msgspec.structs.replace(read_config(home / name), **changes)


@pytest.mark.parametrize(
    ("name", "changes", "metric", "against"),
    [
        ("labelled.yaml", {}, "top1", "labels"),
        ("labelled.yaml", {"task": "classify"}, "top1", "labels"),
        ("labelled.yaml", {"task": Task(name="classify", top=2)}, "top2", "labels"),
        ("labelled.yaml", {"need": Need(min_agreement=0.7)}, "agreement", "unsplit"),
        ("labelled.yaml", {"task": "tensor", "need": Need()}, "tensor", "unsplit"),
        ("plain.yaml", {}, "agreement", "unsplit"),
    ],
)
def test_labels_are_compared_with_unless_agreement_is_asked_for(
    home: Path, name: str, changes: dict[str, Any], metric: str, against: str
) -> None:
    problem = load_problem(config_of(home, name, **changes))
    assert (problem.metric.use.name, problem.metric.use.against) == (metric, against)
    bound = problem.needs.bounds[0].limit
    assert bound == ("drop" if against == "labels" else "quality")


def test_a_task_that_was_recognized_is_said_and_one_that_was_asked_for_is_not(fixed_home: Path) -> None:
    recognized = load_problem(config_of(fixed_home)).notes
    assert any(
        note.startswith("taken for a classifier of 6 classes: its highest output is the label") for note in recognized
    )
    assert not any("taken for" in note for note in load_problem(config_of(fixed_home, task="classify")).notes)


def test_labels_that_are_no_classes_are_refused_by_a_classifier(fixed_home: Path, tmp_path: Path) -> None:
    with np.load(fixed_home / "labelled.npz") as stored:
        x, y = stored["x"], stored["y"]
    for labels, message in ((y / 2, "class numbers, one integer an input"), (y + 10, "but 6 outputs")):
        np.savez(tmp_path / "data.npz", x=x, y=labels)
        data = DataConfig(source=str(tmp_path / "data.npz"))
        with pytest.raises(ProfileError, match=message) as caught:
            load_problem(config_of(fixed_home, task="classify", data=data))
        assert "data.npz" in str(caught.value.at)


def test_a_metric_beside_a_task_is_refused() -> None:
    config = PlanConfig(model="m", data=DataConfig(source="d"))
    assert config.asked_task() is None
    own = msgspec.structs.replace(config, metric="m.py:f").asked_task()
    assert own == Task(name="custom", metric="m.py:f")
    with pytest.raises(ProfileError, match="task detect has a metric of its own, and a metric is given too"):
        msgspec.structs.replace(config, task="detect", metric="m.py:f").asked_task()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "classify", "decode": "yolox"}, "decode is for task detect or sequence, this task is classify"),
        ({"name": "detect", "top": 5}, "top is for task classify, this task is detect"),
        ({"name": "custom"}, "task custom needs a metric"),
    ],
)
def test_options_of_another_task_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        Task(**options)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--task", "clasify"], 2, "'clasify' is none of classify, detect, segment"),
        (["--decode", "yolox"], 2, "say for which task: --task"),
        (["--task", "classify", "--output", "logits"], 3, "the network has no output 'logits', it has scores"),
        (["--task", "classify", "--decode", "yolox"], 3, "decode is for task detect or sequence"),
    ],
)
def test_flags_of_the_task(
    fixed_home: Path, run: Run, tmp_path: Path, flags: list[str], code: int, message: str
) -> None:
    got, _, err = run("plan", fixed_home / "labelled.yaml", "--out", tmp_path / "p", *flags)
    assert got == code
    assert message in " ".join(err.replace("│", "").split())
