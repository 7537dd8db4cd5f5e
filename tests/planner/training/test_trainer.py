"""Minutes become steps once, assets are found again, and a killed training goes on with its steps."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.planner.store.results import Results, results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training import loop, trainer
from splitpoint.planner.training.checkpoint import from_bytes, to_bytes
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.losses import mse
from splitpoint.planner.training.recipe import Recipe
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.network.inputs import InputSpec

TENSOR = msgspec.convert({"kind": "tensor"}, InputSpec)
RECIPE = Recipe(steps=0, batch=16, peak=0.05)


def make_trainer(folder: Path, results: Results | None) -> Trainer:
    content = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    data = TrainingSet(content=content, labels=None, spec=TENSOR)
    return Trainer(data=data, data_sha256=data.sha256(), minutes=0.01, folder=folder / "checkpoints", results=results)


def linear() -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 4)


def loss_of(made: Trainer, module: nn.Module) -> loop.Loss:
    batches = made.batches(RECIPE)

    def loss(step: int) -> dict[str, torch.Tensor]:
        x = made.data.inputs(batches.rows(step))
        return {"mse": mse(module(x), 2 * x)}

    return loss


@pytest.fixture
def steps_of_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every step "takes" the first of these seconds."""
    seconds = [0.01]
    monkeypatch.setattr(trainer, "measure_step_s", lambda *given: seconds[0])
    return seconds


def test_minutes_become_steps_once(tmp_path: Path, steps_of_a_millisecond: list[float]) -> None:
    made = make_trainer(tmp_path, results_here(Store(tmp_path / "store"), threads=1))
    module = linear()
    spent = made.train(module, loss_of(made, module), RECIPE, key=made.key(what="a"), stage="one")
    assert (spent.steps, spent.images) == (60, 60 * 16)
    steps_of_a_millisecond[0] = 0.001  # a faster machine, or an idle one
    again = linear()
    spent = made.train(again, loss_of(made, again), RECIPE, key=made.key(what="a"), stage="one")
    assert spent.steps == 60
    assert (again.weight == module.weight).all()
    assert made.train(linear(), loss_of(made, again), RECIPE, key=made.key(what="b"), stage="one").steps == 600
    assert (
        make_trainer(tmp_path / "x", None)
        .train(again, loss_of(made, again), RECIPE, key="c", stage="one", share=0.5)
        .steps
        == 300
    )


def test_time_for_evaluations_is_part_of_the_minutes(
    tmp_path: Path, steps_of_a_millisecond: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("splitpoint.planner.training.trainer.time.monotonic", lambda: clock[0])

    def evaluate() -> float:
        clock[0] += 0.04  # four steps
        return 0.0

    made, module = make_trainer(tmp_path, None), linear()
    steps = made.train(module, loss_of(made, module), RECIPE, key="a", stage="one").steps
    begin = clock[0]
    judged = made.train(module, loss_of(made, module), RECIPE, key="b", stage="one", evaluate=evaluate).steps
    assert judged == steps - 9 * 4  # once to know what it takes
    assert clock[0] - begin == pytest.approx(0.04 * (1 + 8))


def test_the_time_that_steps_are_timed_is_part_of_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, given = [0.0], list[float]()
    monkeypatch.setattr("splitpoint.planner.training.trainer.time.monotonic", lambda: clock[0])

    def measure(module: nn.Module, loss: loop.Loss, recipe: Recipe, seconds: float) -> float:
        given.append(seconds)
        clock[0] += 0.1  # ten steps: the least number of them took longer than `seconds`
        return 0.01

    monkeypatch.setattr(trainer, "measure_step_s", measure)
    made, module = make_trainer(tmp_path, None), linear()
    assert made.train(module, loss_of(made, module), RECIPE, key="a", stage="one").steps == 60 - 10
    assert given == pytest.approx([0.05 * 0.6])
    monkeypatch.setattr(
        trainer, "train", lambda *args, **options: loop.Trained(steps=1, best_step=1, losses={}, values=())
    )
    dataclasses.replace(made, minutes=40.0).train(module, loss_of(made, module), RECIPE, key="b", stage="one")
    assert given[-1] == 3.0


def test_a_quarter_of_the_minutes_trains_however_long_the_timing_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("splitpoint.planner.training.trainer.time.monotonic", lambda: clock[0])

    def measure(*given: object) -> float:
        clock[0] += 5.0  # of the 0.6 s that there are: a machine that was busy at the first step
        return 0.01

    monkeypatch.setattr(trainer, "measure_step_s", measure)
    made, module = make_trainer(tmp_path, None), linear()
    assert made.train(module, loss_of(made, module), RECIPE, key="a", stage="one").steps == 15


def test_an_asset_is_trained_once_and_its_checkpoints_go(
    tmp_path: Path, steps_of_a_millisecond: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVED_EVERY_S", 0.0)
    made = make_trainer(tmp_path, results_here(Store(tmp_path / "store"), threads=1))
    key, trainings = made.key(what="a"), []

    def make() -> bytes:
        module = linear()
        trainings.append(made.train(module, loss_of(made, module), RECIPE, key=key, stage="one"))
        assert list((tmp_path / "checkpoints").rglob("*.pt"))
        return module.weight.detach().numpy().tobytes()

    first, there = made.asset(key, make, encode=bytes, decode=bytes)
    assert not there
    assert list((tmp_path / "checkpoints").rglob("*")) == []
    second, there = make_trainer(tmp_path, made.results).asset(key, make, encode=bytes, decode=bytes)
    assert there
    assert second == first
    assert len(trainings) == 1


@pytest.mark.parametrize("part", ["code", "library"])
def test_another_code_or_library_trains_again(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_trainer(tmp_path, None)
    before = made.key(what="a")
    if part == "code":
        monkeypatch.setattr(trainer, "code_sha256", lambda name: f"another {name}")
    else:
        monkeypatch.setattr("splitpoint.planner.training.trainer.importlib.metadata.version", lambda name: "0.0")
    assert made.key(what="a") != before


def test_what_is_no_state_of_a_training_is_refused(tmp_path: Path) -> None:
    state = {"a": torch.ones(2), "b": [1, "c"]}
    read = from_bytes(to_bytes(state))
    assert (read["a"] == state["a"]).all()
    assert read["b"] == [1, "c"]
    for wrong in (b"", b"no archive", to_bytes(state)[:-9], to_bytes([1]), pickle.dumps(Path, protocol=2)):  # type: ignore[arg-type]  # a list
        with pytest.raises(ValueError, match="no state of a training"):
            from_bytes(wrong)


def test_a_key_depends_on_data_minutes_threads_and_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_trainer(tmp_path, None)
    others = [
        dataclasses.replace(made, data_sha256="0" * 64).key(what="a"),
        dataclasses.replace(made, minutes=0.02).key(what="a"),
        made.key(what="b"),
    ]
    assert make_trainer(tmp_path / "elsewhere", None).key(what="a") == made.key(what="a")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    others.append(made.key(what="a"))
    monkeypatch.undo()
    assert len({made.key(what="a"), *others}) == 5
