"""What one stage gives to the next can be written and read back, so that it can be stored or sent to a process."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.search.decide import Decision, Violation, violations
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Candidate, Evaluated, Measured
from splitpoint.planner.values.cut import Cut, Rejected
from splitpoint.planner.values.outcomes import BoxMatches, InputOutcome, Outcomes
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.measurement.model_profile import ModelProfile

CUT = Cut(
    index=3,
    tensors=("a", "b"),
    after="conv",
    head=(0, 1, 2),
    elements=12,
    bytes=48,
    head_macs=10**12,
    head_parameters=7,
    head_weight_bytes=28,
)
ROW = InputOutcome(
    counts=(1.0, 0.25),
    unsplit_counts=(0.0, 1 / 7),
    margin_change=-0.1 - 0.2,  # no short decimal fraction
    truth_margin=0.1 + 0.2,
    unsplit_truth_margin=None,
    divergence=None,
    relative_error=1 / 3,
    output_errors=(1 / 3, 0.0),
    group="scene 1",
)
BOXES = BoxMatches(scores=(0.9, 1 / 3), classes=(1, 0), hits=(1023, 0), ignored=(0, 1), truths={1: 2})
BOXES_ROW = msgspec.structs.replace(ROW, matches=BOXES, unsplit_matches=BOXES)
OUTCOMES = Outcomes(subset="report", inputs=(ROW, BOXES_ROW), payload_bytes=(1234, 5))


def read_msgpack(value: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))


def read_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


@pytest.mark.parametrize("read", [read_msgpack, read_json])
@pytest.mark.parametrize(
    "value",
    [
        Candidate(variant="int8", placement="split", cut="a+b", codec="kltq-ctx", rate=3),
        CUT,
        Rejected(tensors=("a",), after="conv", reason="a subgraph captures it"),
        Timed(seconds=0.1 + 0.2, how="profiled", spread_s=None),
        Violation(name="latency", text="latency by 4.1 ms", excess=1 / 7),
        OUTCOMES,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_made_by_hand(read: Callable[[Any], Any], value: Any) -> None:
    assert read(value) == value
    assert type(read(value)) is type(value)


@pytest.mark.parametrize("read", [read_msgpack, read_json])
def test_a_point_and_its_parts(read: Callable[[Any], Any], make_point: Callable[..., Evaluated]) -> None:
    point = msgspec.structs.replace(make_point(latency=1 / 3, wait_s=0.1 + 0.2), outcomes=OUTCOMES)
    measured = Measured(
        candidate=point.candidate, label=point.label, outcomes=OUTCOMES, accuracy=make_point(drop=1 / 7).accuracy
    )
    parts: list[Cost | Accuracy] = [point.cost, point.accuracy]
    assert [read(value) for value in (point, measured, *parts)] == [point, measured, *parts]


@pytest.mark.parametrize("read", [read_msgpack, read_json])
def test_requirements(read: Callable[[Any], Any], make_needs: Callable[..., Requirements]) -> None:
    needs = make_needs(latency=0.1, drop=0.02, confident=True, deadline_share=0.98, device={"device memory": 10.0**6})
    assert len(needs.bounds) == 3
    assert read(needs) == needs


@pytest.mark.parametrize("read", [read_msgpack, read_json])
def test_a_decision_with_its_profile(
    read: Callable[[Any], Any], fixed_result: SearchResult, make_needs: Callable[..., Requirements]
) -> None:
    decision, profile = fixed_result.decision, fixed_result.profile
    assert isinstance(decision, Decision)
    assert len(decision.front) > 1
    assert isinstance(profile, ModelProfile)
    missed = violations(decision.front[0], make_needs(latency=1e-9))
    assert missed
    assert (read(decision), read(profile), read(missed[0])) == (decision, profile, missed[0])


def test_a_message_that_never_arrives_keeps_its_infinite_seconds(make_point: Callable[..., Evaluated]) -> None:
    # JSON has no infinity: such a cost is stored as msgpack.
    point = make_point(link_s=math.inf, infeasible="the payload limit is 51 bytes")
    assert read_msgpack(point) == point
    assert read_msgpack(point).cost.latency_s == math.inf


def test_values_cannot_be_changed(fixed_result: SearchResult) -> None:
    violation = Violation(name="latency", text="", excess=1.0)
    for value, field in (
        (fixed_result.decision, "reason"),
        (violation, "excess"),
        (CUT, "index"),
        (OUTCOMES, "subset"),
    ):
        with pytest.raises(AttributeError, match="immutable type"):
            setattr(value, field, None)


def test_a_field_that_does_not_exist_is_refused(fixed_result: SearchResult) -> None:
    for value in (fixed_result.decision, OUTCOMES, CUT):
        data = msgspec.msgpack.encode({**msgspec.to_builtins(value), "unknown": 1})
        with pytest.raises(msgspec.ValidationError, match="unknown field `unknown`"):
            msgspec.msgpack.decode(data, type=type(value))
