"""Which point answers at which link: borders against closed forms, and every rate against the decision of a plan."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from splitpoint.planner.answers.policy import (
    RATE_STEP,
    SNR_STEP_DB,
    Stretch,
    plan_policy,
    rate_range,
    stretches_of_rate,
    stretches_of_snr,
)
from splitpoint.planner.answers.question import Question, over_channel, question_of
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.deploy.schema import PolicyRow
from splitpoint.planner.search.decide import decide
from splitpoint.planner.search.result import SearchResult
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import mean_rate_bit_s
from splitpoint.profiles.link.types import FixedLink

Make = Callable[..., Any]
PI, CLOUD = load_device("raspberry-pi-4"), load_server("cloud-8core")
LINK = FixedLink(
    name="flat",
    description="nothing but a rate",
    downlink_bit_s=1e12,
    rtt_s=0.0,
    uplink_bit_s=1e6,
    per_packet_overhead_bytes=0,
)
LOW, HIGH = 5e4, 5e7
ASIDE = 1e-3  # of a border, relative: what the issue asks of borders


def ask(points: list[Any], needs: Any, *, link: Any = LINK, load: float = 0.0, aim: Aim | None = None) -> Question:
    channel = Channel(link=link, share=needs.deadline_share, server_load=load)
    question = Question(
        points=tuple(points),
        device=PI,
        server=CLOUD,
        channel=channel,
        needs=needs,
        objectives=("latency", "payload", "drop"),
        aim=aim or Aim(),
    )
    return question.over(link)


def whats(stretches: list[Stretch]) -> list[str | None]:
    return [None if s.point is None else s.point.candidate.cut or s.point.candidate.placement for s in stretches]


def check_covered(stretches: list[Stretch], low: float = LOW, high: float = HIGH) -> None:
    assert (stretches[0].low, stretches[-1].high) == (low, high)
    for before, after in itertools.pairwise(stretches):
        assert before.high == after.low
        assert whats([before]) != whats([after])


def test_a_point_over_another_link_takes_that_links_seconds(make_point: Make) -> None:
    point = make_point(payload=1250.0, latency=0.020)
    moved = over_channel(point, Channel(link=LINK), PI, CLOUD)
    assert moved.cost.link_s == pytest.approx(0.010, rel=0.01)  # 10,000 bits at 1 Mbit/s
    assert moved.cost.head_s == point.cost.head_s
    assert (moved.candidate, moved.accuracy) == (point.candidate, point.accuracy)
    alone = make_point(placement="device", cut="", payload=0.0)
    assert over_channel(alone, Channel(link=LINK), PI, CLOUD) is alone


def test_one_point_takes_over_where_both_are_as_fast(make_point: Make, make_needs: Make) -> None:
    """30 ms + 10 kbit / rate equals 5 ms + 100 kbit / rate at 3.6 Mbit/s."""
    small = make_point(cut="small", payload=1250, latency=0.030)
    large = make_point(cut="large", payload=12500, latency=0.005, drop=-0.01)
    found = stretches_of_rate(ask([small, large], make_needs(drop=0.1)), LOW, HIGH)
    assert whats(found) == ["small", "large"]
    check_covered(found)
    assert found[0].high == pytest.approx(3.6e6, rel=RATE_STEP)
    assert found[0].high >= 3.6e6  # the border is of the stretch above it


def test_where_nothing_fits_is_a_stretch_too(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=1250, latency=0.030)
    found = stretches_of_rate(ask([small], make_needs(latency=0.050)), LOW, HIGH)
    assert whats(found) == [None, "small"]
    check_covered(found)
    assert found[0].high == pytest.approx(0.5e6, rel=RATE_STEP)  # 20 ms for 10 kbit


@pytest.mark.parametrize("deadline_s", [None, 0.030, 0.060, 0.2])
def test_the_borders_of_four_points_are_the_crossings_of_their_lines(
    make_point: Make, make_needs: Make, deadline_s: float | None
) -> None:
    made = {"a": (500, 0.100), "b": (4000, 0.040), "c": (20_000, 0.015), "d": (150_000, 0.001)}  # bytes, head
    points = [make_point(cut=cut, payload=n, latency=s) for cut, (n, s) in made.items()]
    found = stretches_of_rate(ask(points, make_needs(latency=deadline_s, drop=0.5)), LOW, HIGH)
    check_covered(found)
    edges = [8 * (n2 - n1) / (s1 - s2) for (n1, s1), (n2, s2) in itertools.combinations(made.values(), 2)]
    edges += [] if deadline_s is None else [8 * n / (deadline_s - s) for n, s in made.values() if s < deadline_s]
    for border in (stretch.high for stretch in found[:-1]):
        assert min(abs(border / edge - 1) for edge in edges if edge > 0) <= 1.01 * RATE_STEP


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    made=st.lists(
        st.tuples(st.integers(1, 200_000), st.floats(0.0, 0.2), st.floats(0.0, 0.05)), min_size=1, max_size=6
    ),
    deadline_s=st.one_of(st.none(), st.floats(0.01, 0.3)),
    prefer=st.sampled_from(["latency", "payload", "quality"]),
    rates=st.lists(st.floats(math.log(LOW), math.log(HIGH)).map(math.exp), min_size=5, max_size=5),
)
def test_at_every_rate_it_is_what_a_plan_would_decide(
    make_point: Make, make_needs: Make, made: Any, deadline_s: float | None, prefer: str, rates: list[float]
) -> None:
    points = [
        make_point(cut=f"c{i}", payload=n, latency=s, drop=drop, layer="" if i == 1 else None)
        for i, (n, s, drop) in enumerate(made)
    ]
    points.append(make_point(placement="device", cut="", codec="-", payload=0.0, latency=0.15))
    needs = make_needs(latency=deadline_s, drop=0.04)
    aim = Aim(prefer=prefer)
    question = ask(points, needs, aim=aim)
    found = stretches_of_rate(question, LOW, HIGH)
    check_covered(found)
    for rate in rates:
        (stretch,) = [s for s in found if s.low <= rate < s.high or rate == s.high == HIGH]
        if min(abs(rate / s.low - 1) for s in found) < ASIDE:
            continue
        channel = Channel(link=at_rate(LINK, rate))
        moved = [over_channel(point, channel, PI, CLOUD) for point in question.points]
        best = decide(moved, needs, question.objectives, aim).recommended
        assert (None if best is None else best.candidate) == (
            None if stretch.point is None else stretch.point.candidate
        )


@pytest.mark.parametrize("prefer", ["latency", "payload", "knee"])
def test_a_plan_has_the_policy_of_its_measured_points(fixed_result: SearchResult, prefer: str) -> None:
    """Real outcomes, paired: the answer of the product at 60 rates of the table."""
    asked = question_of(fixed_result)
    question = dataclasses.replace(asked, aim=msgspec.structs.replace(asked.aim, prefer=prefer))
    span = rate_range(question.channel.link)
    assert span is not None
    found = stretches_of_rate(question, *span)
    check_covered(found, *span)
    for step in range(60):
        rate = span[0] * (span[1] / span[0]) ** ((step + 0.5) / 60)
        (stretch,) = [s for s in found if s.low <= rate < s.high]
        if min(abs(rate / s.low - 1) for s in found) < ASIDE:
            continue
        best = question.over(at_rate(question.channel.link, rate)).decide().recommended
        assert (None if best is None else best.candidate) == (
            None if stretch.point is None else stretch.point.candidate
        )


def test_an_answer_that_wins_a_short_stretch_between_two_of_the_grid_is_found(
    make_point: Make, make_needs: Make
) -> None:
    """b beats a and c for 4 % of the rate around 1 Mbit/s; the grid has a look every 15 %."""
    made = {"a": (1000, 0.040), "b": (3000, 0.0239), "c": (5000, 0.008)}  # a = c at 1 Mbit/s
    points = [make_point(cut=cut, payload=n, latency=s) for cut, (n, s) in made.items()]
    found = stretches_of_rate(ask(points, make_needs(drop=0.5)), LOW, HIGH)
    assert whats(found) == ["a", "b", "c"]
    assert found[1].low == pytest.approx(8 * 2000 / 0.0161, rel=RATE_STEP)
    assert found[1].high == pytest.approx(8 * 2000 / 0.0159, rel=RATE_STEP)


def test_a_radio_link_gets_another_bandwidth_and_keeps_its_noise(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=1250, latency=0.030)
    large = make_point(cut="large", payload=12500, latency=0.005)
    link = load_link("rayleigh-10db")
    found = stretches_of_rate(ask([small, large], make_needs(drop=0.1), link=link), LOW, HIGH)
    assert whats(found) == ["small", "large"]
    assert mean_rate_bit_s(at_rate(link, 2e6)) == pytest.approx(2e6)


def test_by_snr_the_borders_are_steps_of_the_table_of_rates(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=1250, latency=0.030)
    large = make_point(cut="large", payload=12500, latency=0.005)
    link = load_link("awgn-5db")
    question = ask([small, large], make_needs(drop=0.1), link=link)
    found = stretches_of_snr(question, -20.0, 30.0)
    assert whats(found) == [None, "small", "large"]  # below the least SNR of the table nothing arrives
    check_covered(found, -20.0, 30.0)
    for border in (stretch.high for stretch in found[:-1]):
        below, above = (mean_rate_bit_s(at_snr(link, border + by)) for by in (-2 * SNR_STEP_DB, SNR_STEP_DB))
        assert below < above  # a step lies at the border
    with pytest.raises(ProfileError, match="no signal-to-noise ratio"):
        stretches_of_snr(ask([small], make_needs()), -5.0, 20.0)


def test_a_range_has_a_lower_and_a_higher_end(make_point: Make, make_needs: Make) -> None:
    with pytest.raises(ProfileError, match="lower to a higher"):
        stretches_of_rate(ask([make_point()], make_needs()), 2e6, 1e6)


def test_the_rates_of_a_plan_reach_around_the_links_own() -> None:
    assert rate_range(LINK) == (5e4, 5e7)
    for name, expected in (("ethernet-1g", (None, 10.0)), ("lorawan-eu433", (0.1, None))):
        own, span = mean_rate_bit_s(load_link(name)), rate_range(load_link(name))
        assert span is not None
        assert span[0] == pytest.approx(5e4 if expected[0] is None else expected[0] * own)
        assert span[1] == pytest.approx(5e7 if expected[1] is None else expected[1] * own)
    assert rate_range(at_snr(load_link("awgn-5db"), -100.0)) is None


def test_rows_say_which_point_of_the_front_and_name_those_that_win_elsewhere_only(
    make_point: Make, make_needs: Make
) -> None:
    small = make_point(cut="small", payload=1250, latency=0.030)
    large = make_point(cut="large", payload=12500, latency=0.005, variant="int8")
    rows = plan_policy(ask([small, large], make_needs(latency=0.050)), {small.candidate: 7})
    assert [(row.number, row.what) for row in rows] == [
        (None, None),
        (7, "after small, k q1"),
        (None, "int8: after large, k q1"),
    ]
    assert isinstance(rows[0], PolicyRow)
    nothing = at_snr(load_link("awgn-5db"), -100.0)
    assert plan_policy(ask([small], make_needs(), link=nothing), {}) == ()
