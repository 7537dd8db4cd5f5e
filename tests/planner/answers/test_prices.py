"""Prices on other machines equal those of a plan that was made for them, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.record import PlanRecord, make_record
from splitpoint.planner.choice.answer import point_text
from splitpoint.planner.cost.price import at_speed
from splitpoint.planner.flow import plan
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_link, load_server


@pytest.fixture(scope="module")
def record(fixed_result: SearchResult) -> PlanRecord:
    return make_record(fixed_result, fixed_result.decision.front)


def by_candidate(points: Any) -> dict[Candidate, Evaluated]:
    return {point.candidate: point for point in points}


def test_on_the_plans_own_sides_every_price_is_the_stored_one(record: PlanRecord) -> None:
    prices, question = ask(record, Changes())
    assert question.points is record.points
    for point in record.points:
        assert prices.cost(point.candidate, point.cost.payload_bytes) == point.cost
    assert prices.errors == record.aim.errors


@pytest.mark.parametrize(
    ("device", "server", "link"),
    [
        ("pixel-4", None, None),
        (None, "nvidia-t4", None),
        ("stm32h747", "nvidia-t4", "wifi-5"),
        ("jetson-nano", None, "lorawan-eu433"),
        ("coral-dev-board", None, "rayleigh-10db"),
    ],
)
def test_they_are_those_of_a_plan_for_the_other_machines(
    record: PlanRecord,
    fixed_result: SearchResult,
    fixed_home: Path,
    device: str | None,
    server: str | None,
    link: str | None,
) -> None:
    config = fixed_result.problem.config
    other = msgspec.structs.replace(
        config, device=device or config.device, server=server or config.server, link=link or config.link
    )
    planned = plan(load_problem(other), stored_profile=fixed_home / "fixed.yaml")
    _, question = ask(
        record,
        Changes(
            device=None if device is None else load_device(device),
            server=None if server is None else load_server(server),
            link=None if link is None else load_link(link),
        ),
    )
    assert (question.needs, question.aim) == (planned.problem.needs, planned.aim)
    here, there = by_candidate(question.points), by_candidate(planned.points)
    shared = here.keys() & there.keys()
    assert len(shared) >= 8
    for candidate in shared:
        assert here[candidate].cost == there[candidate].cost, candidate
    question = type(question)(
        **{name: getattr(question, name) for name in question.__slots__ if name != "points"},
        points=tuple(planned.points),
    )
    assert question.decide() == planned.decision


def test_the_host_of_the_plan_is_a_side_without_limits(record: PlanRecord) -> None:
    prices, question = ask(record, Changes(device=record.host, server=record.host))
    assert (prices.device.is_host, prices.device.known) == (True, None)
    assert [bound.device for bound in question.needs.bounds] == [""]


def test_a_device_twice_as_fast_takes_half_the_seconds_of_its_side_alone(fixed_result: SearchResult) -> None:
    for point in fixed_result.points:
        cost, fast = point.cost, at_speed(point.cost, 2.0, fixed_result.device)
        assert fast.device_s == pytest.approx(cost.device_s / 2)
        assert (fast.server_s, fast.link_s, fast.payload_bytes) == (cost.server_s, cost.link_s, cost.payload_bytes)
        assert at_speed(point.cost, 1.0, fixed_result.device) == cost


def test_limits_replace_those_that_were_asked_and_the_device_s_stay(record: PlanRecord) -> None:
    _, question = ask(record, Changes(limits={"latency": 0.5, "drop": 0.01}, confident=True, prefer="payload"))
    assert (question.needs.value("latency"), question.needs.value("drop")) == (0.5, 0.01)
    assert question.needs.confident
    assert question.aim.prefer == "payload"
    assert any(bound.device == "slow" for bound in question.needs.bounds)


def test_a_share_of_cases_is_priced_as_a_plan_prices_it(record: PlanRecord) -> None:
    _, question = ask(record, Changes(limits={"latency": 0.5}, deadline_share=0.9, link=load_link("rayleigh-10db")))
    sent = [point for point in question.points if point.candidate.placement != "device"]
    assert all(point.cost.deadline_link_s is not None for point in sent)
    with pytest.raises(ProfileError, match="needs a deadline"):
        ask(record, Changes(deadline_share=0.9))


def test_limits_of_what_is_not_known_are_refused(record: PlanRecord) -> None:
    for limits, message in (({"cosine": 0.9}, "has no cosine"), ({"energy": 1.0}, "energy is not known")):
        with pytest.raises(ProfileError, match=message):
            ask(record, Changes(limits=limits, link=load_link("awgn-5db")))
    unlabelled = msgspec.structs.replace(record, against="unsplit")
    with pytest.raises(ProfileError, match="max_drop needs labels"):
        ask(unlabelled, Changes(limits={"drop": 0.1}))


def test_an_answer_under_other_limits_is_a_measured_point(record: PlanRecord) -> None:
    _, question = ask(record, Changes(prefer="quality", limits={"payload": 300.0}))
    answer = question.answer()
    assert answer is not None
    assert answer.cost.payload_bytes <= 300
    assert point_text(answer)
