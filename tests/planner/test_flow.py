"""What `plan` takes from the configuration and hands to its stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner import flow
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.errors import ProfileError


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
