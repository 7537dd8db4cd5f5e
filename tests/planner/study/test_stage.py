"""The stage that measures accuracy, with and without the race."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from splitpoint.planner.deploy.task import Task
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.racing.race import Race
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.study import stage
from splitpoint.planner.values.candidate import Candidate


class Said:
    """Progress that keeps the last text of every stage, and what it is told of stages to come."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.expected: dict[str, float] = {}

    def expect(self, name: str, seconds: float) -> None:
        self.expected[name] = seconds

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        def step(text: str) -> None:
            self.texts[name] = text

        yield step


@pytest.fixture
def many(fixed_home: Path, tmp_path: Path) -> Path:
    """The pictures of labelled.npz, each several times with other noise: a few dozen settle nothing."""
    with np.load(fixed_home / "labelled.npz") as stored:
        x, y = (np.repeat(stored[name], 6, axis=0) for name in ("x", "y"))
    noise = np.random.default_rng(0).integers(-20, 21, x.shape)
    np.savez(tmp_path / "many.npz", x=np.clip(x + noise, 0, 255).astype(np.uint8), y=y)
    return tmp_path / "many.npz"


@pytest.fixture
def planned(fixed_home: Path, many: Path) -> Callable[[bool], tuple[SearchResult, str]]:
    """`planned(race)` is a plan over every candidate of two presets, and the text of its stage."""

    def call(race: bool) -> tuple[SearchResult, str]:
        search = SearchConfig(
            sampler="exhaustive", codecs=("fast", "uniform-zstd", "assine-pca", "range-rans"), max_cuts=2, race=race
        )
        config: PlanConfig = msgspec.structs.replace(
            read_config(fixed_home / "labelled.yaml"),
            device=str(fixed_home / "slow.yaml"),
            data=DataConfig(source=str(many)),
            task=Task(name="classify"),
            need=Need(max_drop=0.05),
            search=search,
        )
        said = Said()
        return plan(load_problem(config), stored_profile=fixed_home / "fixed.yaml", progress=said), said.texts[
            "accuracy"
        ]

    return call


def test_a_race_measures_less_and_decides_on_points_that_are_measured_on_everything(
    planned: Callable[[bool], tuple[SearchResult, str]],
) -> None:
    whole, text = planned(False)
    raced, raced_text = planned(True)
    known = {point.candidate: point for point in whole.points}
    assert "settled early" in raced_text
    assert "settled" not in text
    assert raced.tail_runs < whole.tail_runs
    assert len(raced.points) < len(whole.points)
    for point in raced.points:
        assert point.accuracy.n == len(raced.problem.split.search)
        assert point.outcomes == known[point.candidate].outcomes
        assert point.cost == known[point.candidate].cost
    chosen, best = raced.decision.recommended, whole.decision.recommended
    assert chosen is not None
    assert best is not None
    assert chosen.cost.latency_s <= 1.05 * best.cost.latency_s


def test_what_was_stopped_is_no_point_of_the_plan(
    planned: Callable[[bool], tuple[SearchResult, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Candidate] = []

    class Strict(Race):
        def finish(self, **options: object) -> None:
            stopped.append(self.complete[0].candidate)
            self.stopped[stopped[0]] = "as if it were measured in part"

    monkeypatch.setattr(stage, "Race", Strict)
    monkeypatch.setattr(Strict, "enter", lambda race, candidate: race._grow(candidate, race._looks))
    result, _ = planned(True)
    assert stopped
    assert stopped[0] not in {point.candidate for point in result.points}
    assert len(result.points) > 20
