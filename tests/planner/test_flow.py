"""What `plan` takes from the configuration and hands to its stages."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitpoint.planner import flow
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import load_problem


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
