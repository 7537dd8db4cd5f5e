"""What `plan` takes from the configuration and hands to its stages."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner import flow
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.values.progress import Silent
from splitpoint.profiles.errors import ProfileError


class Expected(Silent):
    """What stages to come are thought to take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def expect(self, name: str, seconds: float) -> None:
        self.seconds[name] = seconds


class StoppedError(Exception):
    """Ends a plan when its cache has been made."""


@pytest.mark.parametrize("cache", [None, 0, 123_456])
def test_the_configured_memory_is_the_budget_of_the_cache(
    fixed_result: SearchResult, fixed_home: Path, monkeypatch: pytest.MonkeyPatch, cache: int | None
) -> None:
    budgets = []

    def stop(budget_bytes: int) -> ByteCache:
        budgets.append(budget_bytes)
        raise StoppedError

    monkeypatch.setattr(flow, "ByteCache", stop)
    monkeypatch.setattr(flow, "default_budget", lambda: 77)
    problem = load_problem(msgspec.structs.replace(fixed_result.problem.config, cache=cache))
    with pytest.raises(StoppedError):
        flow.plan(problem, stored_profile=fixed_home / "fixed.yaml")
    assert budgets == [77 if cache is None else cache]


def test_a_plan_that_may_keep_nothing_is_the_same(fixed_result: SearchResult, fixed_home: Path) -> None:
    problem = load_problem(msgspec.structs.replace(fixed_result.problem.config, cache=0))
    result = flow.plan(problem, stored_profile=fixed_home / "fixed.yaml")
    assert result.decision == fixed_result.decision
    assert result.points == fixed_result.points


def test_a_timing_of_the_whole_network_scales_the_device_and_is_noted(
    fixed_result: SearchResult, fixed_home: Path
) -> None:
    given = fixed_result.given
    nodes = [node.index for node in given.graph.nodes]
    seconds = 3 * given.edge.seconds(nodes)
    config = msgspec.structs.replace(fixed_result.problem.config, measured_device=(seconds,))
    result = flow.plan(load_problem(config), stored_profile=fixed_home / "fixed.yaml")
    assert result.given.edge.seconds(nodes) == pytest.approx(seconds)
    assert all(network.edge.device == result.device for network in result.networks)
    assert fixed_result.aim.errors.device > result.aim.errors.device == pytest.approx(1.05, abs=0.002)
    assert any("times 3, since the whole network was measured" in note for note in result.notes)


def test_a_timing_of_the_host_is_refused_before_anything_is_read(fixed_result: SearchResult) -> None:
    for side in ("device", "server"):
        changes: dict[str, Any] = {side: "host", f"measured_{side}": (0.1,)}
        config = msgspec.structs.replace(fixed_result.problem.config, **changes)
        with pytest.raises(ProfileError, match="that side is the host") as caught:
            load_problem(config)
        assert caught.value.at == f"$.measured_{side}"


def test_candidates_are_expected_to_take_what_the_whole_network_does_and_nothing_that_is_kept(
    fixed_result: SearchResult, fixed_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000, 9000, 5))
    monkeypatch.setattr(flow, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))  # 5 s for all inputs
    problem, store = load_problem(fixed_result.problem.config), Store(tmp_path)
    first, again = Expected(), Expected()
    flow.plan(problem, stored_profile=fixed_home / "fixed.yaml", store=store, progress=first)
    flow.plan(problem, stored_profile=fixed_home / "fixed.yaml", store=store, progress=again)
    split = problem.split
    inputs = len(split.calibration) + len(split.search) + len(split.report)
    evaluations = problem.config.search.evaluations
    assert first.seconds == {"accuracy": pytest.approx(5 * evaluations * len(split.search) / inputs)}
    assert again.seconds == {}
