"""A training that is stopped anywhere goes on to the same bits; what is not finite stops it; the best weights stay."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from splitpoint.planner.training import loop
from splitpoint.planner.training.batches import Batches
from splitpoint.planner.training.checkpoint import read_checkpoint
from splitpoint.planner.training.loop import measure_step_s, train
from splitpoint.planner.training.losses import cross_entropy
from splitpoint.planner.training.recipe import Recipe
from splitpoint.profiles.errors import ProfileError

Loss = Callable[[int], Mapping[str, Tensor]]


def network() -> nn.Module:
    """Batch normalization and dropout: buffers and random numbers, which a continued training must have, too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = (nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
        return nn.Sequential(*layers).train()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(240, 8, generator=generator)
    return x, (x[:, :3] + 0.3 * torch.randn(240, 3, generator=generator)).argmax(1)


def loss_of(module: nn.Module, batch: int = 16) -> Loss:
    x, y = data()
    batches = Batches(inputs=len(x), size=batch, seed=0)

    def loss(step: int) -> Mapping[str, Tensor]:
        rows = torch.from_numpy(batches.rows(step))
        return {"cross-entropy": cross_entropy(module(x[rows]), y[rows])}

    return loss


def accuracy_of(module: nn.Module) -> Callable[[], float]:
    x, y = data()
    return lambda: float((module(x).argmax(1) == y).float().mean())


def errors_of(module: nn.Module) -> Callable[[], float]:
    right = accuracy_of(module)
    return lambda: 1.0 - right()


def bits(module: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


RECIPE = Recipe(steps=60, batch=16, peak=0.02, evaluate_every=7)


def stop_at(step: int) -> Callable[[str], None]:
    def report(text: str) -> None:
        if f"step {step} " in text:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("stop", [1, 20, 59])
def test_a_stopped_training_goes_on_to_the_same_bits(
    optimizer: str, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(steps=60, batch=16, peak=0.02, evaluate_every=7, optimizer=optimizer)  # type: ignore[arg-type]  # pytest gives a text
    whole = network()
    expected = train(whole, loss_of(whole), recipe, evaluate=errors_of(whole))
    monkeypatch.setattr(loop, "SAVED_EVERY_S", 0.0)
    checkpoint = tmp_path / "state.pt"
    first = network()
    with pytest.raises(KeyboardInterrupt):
        train(
            first,
            loss_of(first),
            recipe,
            key="a",
            checkpoint=checkpoint,
            evaluate=errors_of(first),
            report=stop_at(stop),
        )
    second = network()
    torch.manual_seed(stop)  # what else happened in the process does not matter
    found = train(second, loss_of(second), recipe, key="a", checkpoint=checkpoint, evaluate=errors_of(second))
    assert found.resumed_at == stop
    assert bits(second) == bits(whole)
    assert (found.values, found.losses, found.best_step) == (expected.values, expected.losses, expected.best_step)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_continued(tmp_path: Path) -> None:
    checkpoint = tmp_path / "state.pt"
    module = network()
    train(module, loss_of(module), RECIPE, key="a", checkpoint=checkpoint)
    assert read_checkpoint(checkpoint, "a") is not None
    assert read_checkpoint(checkpoint, "b") is None
    content = checkpoint.read_bytes()
    for damaged in (content[:100], b"", b"no archive", content[:-200]):
        checkpoint.write_bytes(damaged)
        again = network()
        found = train(again, loss_of(again), RECIPE, key="a", checkpoint=checkpoint)
        assert found.resumed_at is None
        assert bits(again) == bits(module)


def test_a_finished_training_is_read_and_not_repeated(tmp_path: Path) -> None:
    module = network()
    train(module, loss_of(module), RECIPE, key="a", checkpoint=tmp_path / "state.pt")
    again, asked = network(), list[int]()
    found = train(again, lambda step: asked.append(step) or {}, RECIPE, key="a", checkpoint=tmp_path / "state.pt")  # type: ignore[func-returns-value]  # to count
    assert asked == []
    assert found.steps == RECIPE.steps
    assert bits(again) == bits(module)


KILLED = """
    from pathlib import Path
    from splitpoint.planner.training import loop
    from splitpoint.tests.planner.training import test_loop as t
    import sys, torch
    torch.set_num_threads(1)
    loop.SAVED_EVERY_S = 0.0
    module = t.network()
    recipe = t.Recipe(steps=300, batch=16, peak=0.02, evaluate_every=7)
    def report(text):
        print(text, flush=True)
    loop.train(module, t.loss_of(module), recipe, key="a", checkpoint=Path(sys.argv[1]), report=report,
               evaluate=t.errors_of(module))
    torch.save(module.state_dict(), sys.argv[2])
"""


def test_kill_9_and_the_same_bits(tmp_path: Path) -> None:
    """The process is killed wherever it is, most often while it writes a checkpoint, until one run ends."""
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "state.pt"), str(tmp_path / "weights.pt")]
    environment = os.environ | {"COVERAGE_PROCESS_START": ""}
    for steps in (1, 40, 97):  # of this run, before it is killed
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
            assert running.stdout is not None
            for _ in range(steps):
                assert running.stdout.readline()
            time.sleep(0.002)
            running.send_signal(signal.SIGKILL)
        assert running.returncode == -signal.SIGKILL
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    whole = network()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        recipe = Recipe(steps=300, batch=16, peak=0.02, evaluate_every=7)
        train(whole, loss_of(whole), recipe, evaluate=errors_of(whole))
    finally:
        torch.set_num_threads(threads)
    continued = network()
    continued.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert bits(continued) == bits(whole)


def test_what_is_not_finite_stops_the_training_with_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SAVED_EVERY_S", 0.0)
    module = network()
    good = loss_of(module)

    def loss(step: int) -> Mapping[str, Tensor]:
        return {**good(step), "rate": torch.tensor(float("nan") if step == 12 else 1.0)}

    with pytest.raises(ProfileError, match=r"batch 12 is not finite \(rate nan\).*state\.pt") as caught:
        train(module, loss, RECIPE, key="a", checkpoint=tmp_path / "state.pt")
    assert "learning rate" in (caught.value.fix or "")
    stored = read_checkpoint(tmp_path / "state.pt", "a")
    assert stored is not None
    assert stored["progress"]["step"] == 12
    assert all(torch.isfinite(value).all() for value in stored["module"].values())


def test_a_gradient_that_is_not_finite_stops_it_too() -> None:
    module = network()
    weight = next(module.parameters())

    def loss(step: int) -> Mapping[str, Tensor]:
        return {"root": (weight - weight.detach()).square().sum().sqrt()}  # of slope 0 / 0

    with pytest.raises(ProfileError, match=r"batch 0 is not finite \(norm of the gradients nan\); nothing was kept"):
        train(module, loss, RECIPE)


def test_the_best_weights_are_kept_and_patience_ends_it() -> None:
    module = network()
    values = iter([0.9, 0.5, 0.1, 0.4, 0.5, 0.6])
    states: list[dict[str, bytes]] = []

    def evaluate() -> float:
        assert not module.training
        states.append(bits(module))
        return next(values)

    recipe = Recipe(steps=100, batch=16, evaluate_every=5, patience=3)
    found = train(module, loss_of(module), recipe, evaluate=evaluate)
    assert (found.steps, found.best_step) == (30, 15)
    assert bits(module) == states[2]
    assert module.training


def test_each_step_tells_loss_metric_and_time_left() -> None:
    module, told = network(), list[str]()
    recipe = Recipe(steps=10, batch=16, evaluate_every=5)
    train(module, loss_of(module), recipe, evaluate=lambda: 0.5834, metric="top-1", report=told.append)
    assert len(told) == 10
    for number, text in enumerate(told, start=1):
        assert re.fullmatch(rf"loss [\d.]+, (top-1 0.583, )?\d+ s left, step {number} of 10", text)
    assert ["top-1" in text for text in told] == [False] * 4 + [True] * 6
    assert told[-1].split(", ")[-2] == "0 s left"


def test_training_lowers_the_loss_and_leaves_the_callers_random_numbers() -> None:
    module = network()
    before = accuracy_of(module.eval())()
    module.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(module, loss_of(module), RECIPE)
    assert (torch.rand(3) == expected).all()
    assert accuracy_of(module.eval())() > max(0.8, before + 0.2)


def test_weights_that_need_no_gradient_stay_and_biases_do_not_decay() -> None:
    module = network()
    first, last = module[0], module[4]  # type: ignore[index]  # a Sequential
    for parameter in first.parameters():
        parameter.requires_grad_(False)
    frozen = first.weight.clone()
    bias, weight = last.bias.detach().clone(), last.weight.detach().clone()
    recipe = Recipe(steps=10, batch=16, peak=0.1, schedule="constant", decay=0.5, optimizer="sgd")
    train(module, lambda step: {"nothing": 0.0 * sum(p.sum() for p in last.parameters())}, recipe)
    assert (first.weight == frozen).all()
    assert (last.bias == bias).all()
    assert float(last.weight.detach().norm()) < 0.7 * float(weight.norm())
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        train(module, loss_of(module), recipe)


def test_steps_are_timed_and_nothing_is_changed() -> None:
    module = network()
    before = bits(module)
    assert measure_step_s(module, loss_of(module), RECIPE, seconds=0.05) > 0
    assert bits(module) == before


def test_the_last_weights_are_judged_too() -> None:
    module, asked = network(), list[int]()

    def evaluate() -> float:
        asked.append(1)
        return 1.0 / len(asked)

    found = train(module, loss_of(module), Recipe(steps=11, batch=16, evaluate_every=5), evaluate=evaluate)
    assert [step for step, _ in found.values] == [5, 10, 11]
    assert found.best_step == 11
