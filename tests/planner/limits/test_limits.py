"""Rows of limits: each has a field, a flag, a miss, a bound that would fit, and a mark in narrow tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.accuracy import Figure
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import FIGURES, LIMITS, Limit
from splitpoint.planner.limits.need import Need, asked
from splitpoint.planner.limits.text import bound_text
from splitpoint.planner.search.decide import decide, violations

Make = Callable[..., Any]
POINT = {
    "compute_j": 1.0,
    "radio_j": 1.0,
    "idle_j": 1.0,
    "server_usd": 1.0,
    "link_usd": 1.0,
    "head_peak_bytes": 900,
    "encode_s": 0.01,
}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=lambda limit: limit.name)
def test_a_row_is_all_that_a_limit_needs(make_point: Make, run: Callable[..., Any], limit: Limit) -> None:
    figures = [Figure(name=name, value=0.4, drop=0.6) for name in FIGURES]
    point = make_point(**POINT, head_file_bytes=800, drop=0.5, value=0.5, also=figures)
    got = limit.read(point, False)
    assert got is not None
    missed = got / 2 if limit.best == "least" else got * 2
    needs = Requirements(bounds=(Bound(limit=limit.name, value=missed),))
    decision = decide([point], needs, ("latency",))
    assert decision.recommended is None
    assert [violation.name for violation in violations(point, needs)] == [limit.name]
    assert decision.would_fit == (bound_text(limit.name, got, point.accuracy.metric),)
    assert limit.short
    assert LIMITS[limit.name] is limit
    if limit.field is None:
        return
    flag = f"--{limit.field.replace('_', '-')}"
    assert flag in run("plan", "--help")[1]
    assert run("plan", "model.onnx", "--data", "x", flag, "1 parsec")[0] == 2  # parsed before anything is read
    value = msgspec.convert({limit.field: missed if not limit.whole else round(missed)}, Need)
    assert asked(value) == {limit.name: pytest.approx(missed, abs=1)}


def test_a_limit_has_one_bound() -> None:
    with pytest.raises(ValueError, match="two bounds"):
        Requirements(bounds=(Bound(limit="latency", value=1.0), Bound(limit="latency", value=2.0)))


def test_names_fields_and_labels_are_distinct() -> None:
    rows = list(LIMITS.values())
    fields = [limit.field for limit in rows if limit.field is not None]
    assert len(set(fields)) == len(fields)
    assert all(dataclasses.is_dataclass(limit) for limit in rows)
