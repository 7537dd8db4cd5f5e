"""What look-ups rule out before anything is measured."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.racing.contenders import contenders
from splitpoint.planner.search.table import Entry
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes
from splitpoint.tests.points import make_needs

Make = Callable[..., Any]
OBJECTIVES = ("latency", "payload", "drop")


def entry(make_point: Make, name: str, *, latency: float, payload: float) -> Entry:
    point = make_point(cut=name, latency=latency, payload=payload)
    place: Any = types.SimpleNamespace(name=name)
    dear = msgspec.structs.replace(point.cost, payload_bytes=1e6)  # the estimate itself decides nothing
    return Entry(candidate=point.candidate, cut=place, cost=dear, least_cost=point.cost, error=0.0)


def baseline(make_point: Make, *, latency: float, payload: float, error: float = 0.0) -> Evaluated:
    row = InputOutcome(
        counts=(1.0,),
        unsplit_counts=(1.0,),
        margin_change=0.0,
        truth_margin=None,
        unsplit_truth_margin=None,
        divergence=0.0,
        relative_error=error,
        output_errors=(error,),
        group="a",
    )
    outcomes = Outcomes(subset="search", inputs=(row,), payload_bytes=(0,))
    point: Evaluated = make_point(placement="device", latency=latency, payload=payload, drop=0.0)
    return msgspec.structs.replace(point, outcomes=outcomes)


@pytest.fixture
def table(make_point: Make) -> list[Entry]:
    """Two that the device alone does not beat, one that is slower, and one that sends too much."""
    sizes = {"fast": (0.02, 500.0), "small": (0.09, 10.0), "slow": (0.11, 10.0), "large": (0.02, 5000.0)}
    return [entry(make_point, name, latency=s, payload=size) for name, (s, size) in sizes.items()]


def names(table: list[Entry], points: list[Evaluated], **needs: Any) -> list[str]:
    return [candidate.cut for candidate in contenders(table, points, make_needs(**needs), OBJECTIVES)]


def test_what_costs_no_less_than_a_point_that_loses_nothing_is_ruled_out(make_point: Make, table: list[Entry]) -> None:
    device = baseline(make_point, latency=0.1, payload=0.0)
    assert names(table, [device]) == ["fast", "small", "large"]
    assert names(table, [device], payload=1000.0) == ["fast", "small"]


def test_a_point_that_loses_something_rules_nothing_out(make_point: Make, table: list[Entry]) -> None:
    lossy = baseline(make_point, latency=0.001, payload=1.0, error=0.01)
    assert names(table, [lossy]) == ["fast", "small", "slow", "large"]


def test_a_point_that_meets_no_limit_rules_nothing_out(make_point: Make, table: list[Entry]) -> None:
    """Then nothing is feasible, and the nearest misses are the answer."""
    device = baseline(make_point, latency=0.1, payload=0.0)
    assert names(table, [device], latency=0.015) == ["fast", "small", "slow", "large"]


def test_quality_is_no_cost(make_point: Make, table: list[Entry]) -> None:
    """A candidate has no quality before it is measured: that of the table's template decides nothing."""
    device = baseline(make_point, latency=0.1, payload=0.0)
    assert names(table, [device], drop=0.01, quality=0.9) == ["fast", "small", "large"]


def test_where_all_are_ruled_out_the_fastest_stays(make_point: Make, table: list[Entry]) -> None:
    """So that the answer says by how much splits miss."""
    device = baseline(make_point, latency=0.001, payload=0.0)
    assert names(table, [device]) == ["fast"]
    assert names([], [device]) == []
