"""Trainings in the order of what they could add, within a budget, and once: a later plan finds them all."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from splitpoint.planner.flow import plan, train
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.pareto import hypervolume
from splitpoint.planner.setup.config import PlanConfig, PruneConfig, TrainConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.study.plateau import order_by_gain
from splitpoint.planner.study.trainings import Trainings, budget_text
from splitpoint.planner.training import loop
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests import small_plan

MINUTES = 0.002
Run = Callable[..., tuple[int, str, str]]
NET = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
    ).eval()
"""


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four steps a training; two threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: 0.03)
    monkeypatch.setattr(trainer_module, "measure_evaluation_s", lambda *given: 0.0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, make_profile: Callable[[ModelGraph], ModelProfile]) -> Path:
    """A network, pictures that judge, other pictures to train on, and a profile."""
    home = tmp_path_factory.mktemp("trainings")
    small_plan.write_inputs(home)
    rng = np.random.default_rng(5)
    for number in range(80):
        folder = home / "more" / str(number % small_plan.CLASSES)
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.kron(rng.uniform(0, 255, size=(4, 4, 3)), np.ones((4, 4, 1)))
        Image.fromarray(coarse.astype(np.uint8)).save(folder / f"{number}.png")
    (home / "net.py").write_text(NET)
    write_yaml(home / "fixed.yaml", make_profile(load_graph((home / "model.onnx").read_bytes(), name="model")))
    return home


def config_of(home: Path, *, budget: float | None = None, cuts: tuple[str, ...] = ("r0", "r1")) -> PlanConfig:
    config = small_plan.config_of(home, ("dynamic-switch", "fast"), evaluations=6, max_drop=0.9)
    training = TrainConfig(source=str(home / "more"), minutes=MINUTES, budget=budget, cuts=cuts)
    return msgspec.structs.replace(config, train=training)


def ahead(home: Path, store: Store, **asked: float | None) -> Trainings:
    return train(load_problem(config_of(home, **asked)), stored_profile=home / "fixed.yaml", store=store)  # type: ignore[arg-type]  # budget


def volume(points: list[NDArray[np.float64]], corner: NDArray[np.float64]) -> float:
    return hypervolume(np.vstack(points), corner)


def test_each_next_candidate_adds_most_to_those_before_it() -> None:
    """Compared with every choice at every step, and with the best of all sets of the same size."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        known, corner = rng.uniform(0.5, 1, (2, 2)), np.ones(2)
        candidates = [rng.uniform(0, 1, (int(rng.integers(1, 3)), 2)) for _ in range(5)]
        order = order_by_gain(candidates, known, corner)
        assert sorted(order) == list(range(5))
        for size in range(1, 6):
            before = [known, *(candidates[i] for i in order[: size - 1])]
            reached = volume([*before, candidates[order[size - 1]]], corner)
            others = [volume([*before, candidates[i]], corner) for i in order[size - 1 :]]
            assert reached == pytest.approx(max(others))
            best = max(
                volume([known, *(candidates[i] for i in chosen)], corner)
                for chosen in itertools.combinations(range(5), size)
            )
            nothing = volume([known], corner)
            assert reached - nothing >= (1 - 1 / np.e) * (best - nothing) - 1e-12


def test_what_a_candidate_has_in_common_with_one_before_counts_once() -> None:
    corner, known = np.ones(2), np.array([[0.99, 0.99]])
    twin = np.array([[0.1, 0.4]])
    assert order_by_gain([twin, twin + 0.001, np.array([[0.6, 0.05]])], known, corner) == [0, 2, 1]
    unknown = np.array([[0.6, np.inf]])
    assert order_by_gain([unknown, twin], known, corner) == [1, 0]  # by the objective that is known of all


def test_what_was_trained_ahead_is_not_trained_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "kept")
    first = ahead(home, store)
    assert [row.state for row in first.rows] == ["trained", "trained"]
    assert all(row.spent is not None and row.spent.steps == 4 for row in first.rows)

    def fail(*given: object, **named: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(trainer_module.Trainer, "train", fail)
    again = ahead(home, store, budget=0.0)  # what is kept costs nothing
    assert [(row.name, row.where, row.state) for row in again.rows] == [
        (row.name, row.where, "kept") for row in first.rows
    ]
    assert [row.spent for row in again.rows] == [row.spent for row in first.rows]
    result = plan(load_problem(config_of(home)), stored_profile=home / "fixed.yaml", store=store)
    assert {p.candidate.cut for p in result.points if p.candidate.codec == "dynamic-switch"} <= {"r0", "r1"}
    assert not any("minutes are left" in why for why in result.left_out.values())
    used = {entry.candidate.cut for entry in result.table if entry.candidate.codec == "dynamic-switch"}
    assert used == {"r0", "r1"}


def test_what_does_not_fit_into_the_budget_is_not_begun(home: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    every = ahead(home, Store(tmp_path / "other"))
    some = ahead(home, store, budget=1.5 * MINUTES)
    assert [row.state for row in some.rows] == ["trained", "not begun"]
    assert [row.where for row in some.rows] == [row.where for row in every.rows]  # the same order
    assert some.rows[1].reason == budget_text(MINUTES, 0.5 * MINUTES, 1.5 * MINUTES)
    result = plan(load_problem(config_of(home, budget=0.0)), stored_profile=home / "fixed.yaml", store=store)
    reasons = [why for name, why in result.left_out.items() if "0.002" in why and name.startswith("dynamic-switch")]
    assert reasons == [budget_text(MINUTES, 0.0, 0.0)]
    used = {entry.candidate.cut for entry in result.table if entry.candidate.codec == "dynamic-switch"}
    assert len(used) == 1  # the one that is kept
    assert [row.state for row in ahead(home, store).rows] == ["kept", "trained"]


def test_a_resumed_training_counts_what_is_left(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "kept")
    monkeypatch.setattr(loop, "SAVED_EVERY_S", 0.0)
    take, steps = loop._take_step, []

    def killed(*given: object) -> object:
        steps.append(1)
        if len(steps) == 4:  # three of four steps are in the checkpoint
            raise KeyboardInterrupt
        return take(*given)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(loop, "_take_step", killed)
    with pytest.raises(KeyboardInterrupt):
        ahead(home, store)
    monkeypatch.setattr(loop, "_take_step", take)
    rows = ahead(home, store, budget=0.26 * MINUTES).rows
    assert [row.state for row in rows] == ["trained", "not begun"]


def test_pruned_networks_are_trained_and_planned_beside_codecs(home: Path, tmp_path: Path) -> None:
    config = msgspec.structs.replace(
        config_of(home, cuts=()),
        model=f"{home / 'net.py'}:make",
        shapes=(1, 3, small_plan.SIDE, small_plan.SIDE),
        task="classify",
        prune=PruneConfig(method="taylor", ratios=(0.5,)),
        accept_baseline=True,
    )
    problem = load_problem(config)
    store = Store(tmp_path / "kept")
    done = train(problem, store=store)
    kinds = {row.kind for row in done.rows if row.state == "trained"}
    assert kinds == {"codec", "pruned network"}
    assert done.variants
    limited = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, budget=0.0))  # type: ignore[type-var]  # not None
    again = train(load_problem(limited), store=store)
    assert {row.state for row in again.rows} == {"kept"}
    assert [variant.graph.sha256 for variant in again.variants] == [variant.graph.sha256 for variant in done.variants]
    nothing = train(load_problem(limited), store=Store(tmp_path / "empty"))
    assert nothing.variants == ()
    assert any(note.startswith("left out: pruned .5 by Taylor before") for note in nothing.notes)


def test_codecs_are_trained_behind_pruned_heads_where_that_is_asked_for(home: Path, tmp_path: Path) -> None:
    """Jankowski's scheme: a head that is pruned and trained, then joint source-channel coding of what it gives."""
    config = msgspec.structs.replace(
        config_of(home, cuts=("2",)),
        model=f"{home / 'net.py'}:make",
        shapes=(1, 3, small_plan.SIDE, small_plan.SIDE),
        task="classify",
        prune=PruneConfig(method="taylor", ratios=(0.5,), cuts=("2",)),
        accept_baseline=True,
        link="awgn-20db",
    )
    search = msgspec.structs.replace(config.search, codecs=("jankowski-jscc", "fast"), evaluations=30)
    config = msgspec.structs.replace(config, search=search)
    store = Store(tmp_path / "kept")
    without = train(load_problem(config), store=store)
    assert [(row.name, row.where) for row in without.rows if row.kind == "codec"] == [("jankowski-jscc", "after 2")]

    asked = msgspec.structs.replace(config, train=msgspec.structs.replace(config.train, pruned=True))  # type: ignore[type-var]  # not None
    done = train(load_problem(asked), store=store)
    rows = {row.where: row for row in done.rows if row.kind == "codec"}
    assert {where: row.state for where, row in rows.items()} == {
        "after 2": "kept",
        "after 2 of pruned .5 by Taylor before 3": "trained",
    }
    result = plan(load_problem(asked), store=store)
    pruned = [p for p in result.points if p.candidate.variant == "pruned .5 by Taylor before 3"]
    symbols = [p for p in pruned if p.candidate.codec == "jankowski-jscc"]
    assert {p.candidate.rate for p in symbols} == {0, 1, 2, 3}
    assert all("trained for" in result.codecs[p.candidate][0].notes[1] for p in symbols)
    given = next(p for p in result.points if p.candidate.codec == "jankowski-jscc" and p not in symbols)
    assert symbols[0].cost.head_s < given.cost.head_s
    written = write_plan(result, symbols[-1], tmp_path / "plan")
    assert written.file.variant == "pruned .5 by Taylor before 3"
    assert [check for check in verify(tmp_path / "plan") if check.status == "failed"] == []

    def with_budget(minutes: float) -> PlanConfig:
        return msgspec.structs.replace(asked, train=msgspec.structs.replace(asked.train, budget=minutes))  # type: ignore[type-var]  # not None

    again = train(load_problem(with_budget(0.0)), store=store)
    assert {row.state for row in again.rows} == {"kept"}
    few = train(load_problem(with_budget(2.1 * MINUTES)), store=Store(tmp_path / "another"))  # of one budget
    assert [row.state for row in few.rows] == ["trained", "trained", "not begun"]


def test_a_network_is_trained_end_to_end_with_the_codecs_that_are_named(home: Path, tmp_path: Path) -> None:
    """After its codec; the codec is trained there once more, where the network was trained with it, and no other is."""
    config = msgspec.structs.replace(config_of(home, cuts=("r1",)), accept_baseline=True, link="awgn-20db")
    codecs = ("jankowski-jscc", "dynamic-switch", "fast")
    search = msgspec.structs.replace(config.search, codecs=codecs, evaluations=60, patience=0)
    training = msgspec.structs.replace(config.train, end_to_end=("jankowski-jscc",))  # type: ignore[type-var]  # not None
    config = msgspec.structs.replace(config, search=search, train=training)
    store, fixed = Store(tmp_path / "kept"), home / "fixed.yaml"
    done = train(load_problem(config), stored_profile=fixed, store=store)
    name = "end to end with jankowski-jscc after r1"
    assert [(row.kind, row.name, row.where, row.state) for row in done.rows][2:] == [
        ("network end to end", "with jankowski-jscc", "after r1", "trained"),
        ("codec", "jankowski-jscc", f"after r1 of {name}", "trained"),
    ]
    assert [variant.name for variant in done.variants] == [name]

    result = plan(load_problem(config), stored_profile=fixed, store=store)
    other = [entry.candidate for entry in result.table if entry.candidate.variant == name]
    assert {candidate.cut for candidate in other} == {"r1"}
    assert {candidate.codec for candidate in other} == {"jankowski-jscc", "fast"}
    assert any("this network is trained with jankowski-jscc" in why for why in result.left_out.values())
    given, tuned = result.networks
    assert given.graph.sha256 != tuned.graph.sha256
    assert given.graph.macs == tuned.graph.macs

    def with_budget(minutes: float) -> PlanConfig:
        return msgspec.structs.replace(config, train=msgspec.structs.replace(training, budget=minutes))  # type: ignore[type-var]  # not None

    again = train(load_problem(with_budget(0.0)), stored_profile=fixed, store=store)
    assert {row.state for row in again.rows} == {"kept"}
    few = train(load_problem(with_budget(2.1 * MINUTES)), stored_profile=fixed, store=Store(tmp_path / "other"))
    assert [row.state for row in few.rows] == ["trained", "trained", "not begun"]  # of one budget
    none = train(load_problem(with_budget(0.0)), stored_profile=fixed, store=Store(tmp_path / "empty"))
    refused = next(row for row in none.rows if row.kind == "network end to end")
    assert refused.state == "refused"  # without its codec
    assert refused.reason == budget_text(MINUTES, 0.0, 0.0)


def test_a_configuration_that_trains_nothing_is_one_clear_error(home: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "c.yaml").write_text(f"model: {home / 'model.onnx'}\ndata: {{source: {home / 'photos'}}}\n")
    code, _, err = run("train", tmp_path / "c.yaml")
    assert code == 3
    assert "trains nothing" in err
    assert "add train: {source: DIR" in err
    code, _, err = run("plan", tmp_path / "c.yaml", "--train-minutes", 3)
    assert code == 2
    assert "--train-minutes" in err


def test_the_command_says_what_became_of_each_and_what_is_next(home: Path, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "c.yaml"
    write_yaml(path, config_of(home))
    fixed = ("--profile", home / "fixed.yaml")
    code, out, _ = run("train", path, *fixed, "--train-minutes", 1.5 * MINUTES, "--json")
    document = json.loads(out)
    assert (code, document["complete"], document["next"]) == (1, False, f"splitpoint train {path}")
    assert [row["state"] for row in document["rows"]] == ["trained", "not begun"]
    assert document["rows"][0]["steps"] == 4
    code, out, _ = run("train", path, *fixed)
    assert code == 0
    assert "kept" in out
    assert "trained now" in out
    assert "next: splitpoint plan" in out


def test_what_ctrl_c_leaves_is_said(home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer_module, "train", interrupted)
    path = tmp_path / "c.yaml"
    write_yaml(path, config_of(home))
    code, _, err = run("train", path, "--profile", home / "fixed.yaml")
    assert code == 130
    assert err.splitlines()[-1] == "interrupted: what was trained is kept, and the same command goes on"
