"""The choice among hand-made points: feasibility, the front, the recommendation, near misses, what would fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.search.decide import (
    CONSTRAINTS,
    INFEASIBLE,
    decide,
    misses_quality,
    objective_rows,
    violations,
)
from splitpoint.planner.values.candidate import Evaluated

Make = Callable[..., Any]
OBJECTIVES = ("latency", "payload", "drop")

# limit, its bound, the point's field, a value at the bound, one beyond it, the name of the miss, its text, its excess
LIMITS = [
    ("latency", 0.010, "latency", 0.010, 0.015, "latency", "latency by 5 ms", 0.5),
    ("payload", 1000, "payload", 1000, 1500, "payload", "payload by 500 B", 0.5),
    ("device_memory", 1000, "head_peak_bytes", 1000, 3000, "device memory", "device memory by 2 kB", 2.0),
    (
        "device flash",
        1000,
        "head_file_bytes",
        1000,
        1100,
        "device flash",
        "device flash by 100 B (mcu has 1 kB)",
        0.1,
    ),
    ("drop", 0.01, "drop", 0.01, 0.03, "drop", "drop by 2.0 points", 0.02),
    ("quality", 0.9, "value", 0.9, 0.875, "quality", "top1 by 0.025", 0.025),
]


@pytest.mark.parametrize(("limit", "bound", "field", "good", "bad", "name", "text", "excess"), LIMITS)
def test_a_limit_holds_at_its_bound_and_is_missed_beyond_it(
    make_point: Make,
    make_needs: Make,
    limit: str,
    bound: float,
    field: str,
    good: float,
    bad: float,
    name: str,
    text: str,
    excess: float,
) -> None:
    needs = make_needs(device={limit: bound}) if limit == "device flash" else make_needs(**{limit: bound})
    assert violations(make_point(**{field: good}), needs) == ()
    (missed,) = violations(make_point(**{field: bad}), needs)
    assert (missed.name, missed.text) == (name, text)
    assert missed.excess == pytest.approx(excess)
    assert missed.name in CONSTRAINTS
    assert violations(make_point(**{field: bad}), make_needs()) == ()


def test_energy_money_and_frame_rate(make_point: Make, make_needs: Make) -> None:
    point = make_point(compute_j=0.5, radio_j=0.25, idle_j=0.25, server_usd=1e-5, link_usd=1e-5, latency=0.1)
    assert violations(point, make_needs(energy=1.0, cost=2e-5, frame_rate=10.0)) == ()
    missed = violations(point, make_needs(energy=0.8, cost=1e-5, frame_rate=12.5))
    assert [(m.name, m.text) for m in missed] == [
        ("frame rate", "frame rate by 2.5/s"),
        ("energy", "energy by 200 mJ"),
        ("cost", "cost by 10 USD per million"),
    ]
    assert [m.excess for m in missed] == pytest.approx([0.2, 0.25, 1.0])


def test_what_is_not_known_misses_its_limit(make_point: Make, make_needs: Make) -> None:
    unknown = make_point(compute_j=0.1, radio_j=None, idle_j=0.1)
    assert unknown.cost.energy_j is None
    (missed,) = violations(unknown, make_needs(energy=1e9))
    assert (missed.name, missed.text, missed.excess) == ("energy", "energy, which is not known", 1.0)
    (missed,) = violations(make_point(server_usd=None, link_usd=0.0), make_needs(cost=1e9))
    assert missed.name == "cost"


def test_a_message_that_never_arrives_is_infeasible_and_nothing_else_of_it_counts(
    make_point: Make, make_needs: Make
) -> None:
    never = make_point(link_s=math.inf, infeasible="the message is too long")
    needs = make_needs(latency=1.0, energy=1.0, cost=1.0, frame_rate=1.0)
    (missed,) = violations(never, needs)
    assert (missed.name, missed.text, missed.excess) == (
        "infeasible",
        "infeasible: the message is too long",
        INFEASIBLE,
    )
    assert violations(never, make_needs())[0].name == "infeasible"


def test_the_excess_of_an_infinite_latency_is_bounded(make_point: Make, make_needs: Make) -> None:
    (missed,) = violations(make_point(latency=1e9), make_needs(latency=0.001))
    assert missed.excess == INFEASIBLE


def test_a_deadline_in_a_share_of_the_draws_binds_that_latency(make_point: Make, make_needs: Make) -> None:
    point = make_point(latency=0.010, link_s=0.010, deadline_link_s=0.040)
    assert violations(point, make_needs(latency=0.050)) == ()
    assert [m.text for m in violations(point, make_needs(latency=0.045))] == ["latency by 5 ms"]


def test_a_limit_of_the_device_says_whose_it_is(make_point: Make, make_needs: Make) -> None:
    point = make_point(head_peak_bytes=1500)
    (own,) = violations(point, make_needs(device={"device memory": 1000}))
    assert own.text == "device memory by 500 B (mcu has 1 kB)"
    (asked,) = violations(point, make_needs(device_memory=800))
    assert asked.text == "device memory by 700 B"


def test_confident_binds_the_bounds_of_the_interval(make_point: Make, make_needs: Make) -> None:
    point = make_point(drop=0.01, drop_high=0.03, value=0.95, low=0.85)
    assert violations(point, make_needs(drop=0.02, quality=0.9)) == ()
    missed = violations(point, make_needs(drop=0.02, quality=0.9, confident=True))
    assert [m.text for m in missed] == ["drop by 1.0 points", "top1 by 0.05"]
    assert violations(point, make_needs(drop=0.03, quality=0.85, confident=True)) == ()


def test_rounding_does_not_miss_a_quality_floor(make_point: Make, make_needs: Make) -> None:
    assert violations(make_point(drop=0.1 + 0.2 - 0.3 + 0.01), make_needs(drop=0.01)) == ()
    assert violations(make_point(value=0.9 - 1e-15), make_needs(quality=0.9)) == ()
    assert violations(make_point(drop=0.01 + 1e-9), make_needs(drop=0.01)) != ()
    assert violations(make_point(value=0.9 - 1e-9), make_needs(quality=0.9)) != ()


def test_quality_is_missed_only_through_its_own_limits(make_point: Make, make_needs: Make) -> None:
    needs = make_needs(drop=0.01, quality=0.9, latency=0.001)
    assert not misses_quality(make_point(), needs)
    assert misses_quality(make_point(drop=0.02), needs)
    assert misses_quality(make_point(value=0.8, metric="agreement"), needs)
    assert misses_quality(make_point(value=0.8, metric="tensor"), needs)


def test_a_deadline_is_a_limit_and_no_preference(make_point: Make, make_needs: Make) -> None:
    split: Evaluated = make_point(cut="split", payload=18_200, latency=0.0486)
    jpeg: Evaluated = make_point(placement="server", cut="", codec="jpeg", payload=24_000, latency=0.0192)
    decision = decide([split, jpeg], make_needs(latency=0.055), OBJECTIVES)
    assert decision.recommended is jpeg
    assert decision.reason == "do not split: the best split (after split, k q1) is 29.4 ms slower"
    assert decide([split, jpeg], make_needs(latency=0.055), OBJECTIVES, Aim(prefer="payload")).recommended is split
    assert decide([split, jpeg], make_needs(latency=0.019), OBJECTIVES).recommended is None


def test_the_runner_ups_stand_beside_the_answer_with_what_they_miss(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", label="-", payload=0.0, latency=0.150)
    large = make_point(placement="server", cut="", codec="jpeg", label="q95", payload=9000, latency=0.110)
    small = make_point(placement="server", cut="", codec="jpeg", label="q92", payload=8000, latency=0.100)
    split = make_point(cut="c", payload=2000, latency=0.050)
    decision = decide([alone, large, small, split], make_needs(latency=0.090), OBJECTIVES)
    assert decision.recommended is split
    assert [(other.kind, other.point, other.misses) for other in decision.instead] == [
        ("device", alone, ("latency by 60 ms",)),
        ("input", small, ("latency by 10 ms",)),  # the one that misses least
    ]
    assert decision.reason == (
        "it is the fastest; all on device misses latency by 60 ms; send picture, jpeg q92 misses latency by 10 ms"
    )


def test_a_runner_up_that_loses_too_much_is_the_last_resort(make_point: Make, make_needs: Make) -> None:
    """Prices are compared at the quality that was asked for, though a lossy picture is nearer to the limits."""
    answer = make_point(placement="device", cut="", payload=0.0, latency=0.010)
    late = make_point(cut="late", latency=0.050, drop=0.0)
    lossy = make_point(cut="lossy", latency=0.010, drop=0.05)
    needs = make_needs(latency=0.020, drop=0.02)
    assert [other.point for other in decide([answer, lossy, late], needs, OBJECTIVES).instead] == [late]
    assert [other.point for other in decide([answer, lossy], needs, OBJECTIVES).instead] == [lossy]


def test_the_answer_stands_on_the_front_though_a_split_dominates_it(make_point: Make, make_needs: Make) -> None:
    jpeg = make_point(placement="server", cut="", codec="jpeg", payload=2000, latency=0.0505)
    split = make_point(cut="c", payload=1000, latency=0.050, tail_s=0.0)
    aim = Aim(errors=SpeedErrors(device=1.1))  # all of both is on the device: 5 ms, but common to both
    assert decide([jpeg, split], make_needs(), OBJECTIVES, aim).recommended is split
    near = make_point(cut="c", payload=1000, latency=0.040, tail_s=0.010)  # 10 ms fewer on the device: 1 ms of 0.5
    decision = decide([jpeg, near], make_needs(), OBJECTIVES, aim)
    assert decision.recommended is jpeg
    assert decision.front == (near, jpeg)
    assert decision.reason.startswith("do not split: the best split (after c, k q1) is 500 µs faster, within the ±")


def test_the_preferred_quantity_is_an_objective_of_the_front(make_point: Make, make_needs: Make) -> None:
    def point(cut: str, payload: float, latency: float, joules: float) -> Any:
        return make_point(cut=cut, payload=payload, latency=latency, compute_j=joules, radio_j=0.0, idle_j=0.0)

    small, middle, lean = (
        point("small", 1000, 0.01, 2.0),
        point("middle", 1500, 0.015, 1.5),
        point("lean", 2000, 0.02, 1.0),
    )
    assert decide([lean, middle, small], make_needs(), OBJECTIVES).front == (small,)
    decision = decide([lean, middle, small], make_needs(), OBJECTIVES, Aim(prefer="energy"))
    assert (decision.front, decision.recommended) == ((small, middle, lean), lean)


def test_the_front_holds_feasible_points_that_nothing_dominates_fewest_bytes_first(
    make_point: Make, make_needs: Make
) -> None:
    a = make_point(cut="a", payload=100, latency=0.030, drop=0.010)
    b = make_point(cut="b", payload=300, latency=0.020, drop=0.005)
    c = make_point(cut="c", payload=900, latency=0.010, drop=0.000)
    dominated = make_point(cut="d", payload=301, latency=0.021, drop=0.006)
    late = make_point(cut="e", payload=1, latency=0.060, drop=0.0)
    decision = decide([c, late, dominated, b, a], make_needs(latency=0.050), OBJECTIVES)
    assert decision.front == (a, b, c)
    assert decision.recommended is c
    assert decision.knee is not None
    assert (decision.nearest, decision.would_fit) == ((), ())


def test_points_of_equal_bytes_stand_by_latency(make_point: Make, make_needs: Make) -> None:
    slow, fast = make_point(cut="slow", latency=0.02, drop=0.0), make_point(cut="fast", latency=0.01, drop=0.01)
    assert decide([slow, fast], make_needs(), OBJECTIVES).front == (fast, slow)


def test_the_knee_is_the_point_farthest_below_the_line_of_the_extremes(make_point: Make, make_needs: Make) -> None:
    points = [
        make_point(cut="left", payload=100, latency=1.0),
        make_point(cut="knee", payload=200, latency=0.02),
        make_point(cut="near", payload=3000, latency=0.015),
        make_point(cut="right", payload=10000, latency=0.01),
    ]
    knee = decide(points, make_needs(), OBJECTIVES).knee
    assert knee is not None
    assert knee.candidate.cut == "knee"
    assert decide(points[:2], make_needs(), OBJECTIVES).knee is None
    assert decide(points[:1], make_needs(), OBJECTIVES).knee is None


def test_one_point_is_the_front_and_the_recommendation(make_point: Make, make_needs: Make) -> None:
    point = make_point()
    decision = decide([point], make_needs(latency=0.010), OBJECTIVES)
    assert (decision.front, decision.recommended) == ((point,), point)


def test_near_misses_are_at_most_three_least_missed_first(make_point: Make, make_needs: Make) -> None:
    late = [make_point(cut=str(ms), latency=ms / 1000) for ms in (90, 20, 60, 30, 40)]
    both = make_point(cut="both", latency=0.011, drop=0.9)
    decision = decide([*late, both], make_needs(latency=0.010, drop=0.1), OBJECTIVES)
    assert [p.candidate.cut for p in decision.nearest] == ["both", "20", "30"]
    assert (decision.front, decision.recommended, decision.knee) == ((), None, None)
    assert decision.reason == "no candidate meets every requirement"


def test_no_point_at_all_gives_no_front_and_no_recommendation(make_needs: Make) -> None:
    decision = decide([], make_needs(), OBJECTIVES)
    assert (decision.front, decision.recommended, decision.nearest, decision.would_fit) == ((), None, (), ())


@pytest.mark.parametrize(
    ("limits", "field", "values", "expected"),
    [
        ({"latency": 0.001}, "latency", (0.030, 0.020), ("latency <= 20 ms",)),
        ({"payload": 10}, "payload", (3000, 2000), ("payload <= 2 kB",)),
        ({"device_memory": 10}, "head_peak_bytes", (3000, 2000), ("device memory <= 2 kB",)),
        ({"device": {"device memory": 10}}, "head_peak_bytes", (3000, 2000), ("device memory of 2 kB",)),
        ({"device": {"device flash": 10}}, "head_file_bytes", (3000, 2000), ("device flash of 2 kB",)),
        ({"drop": 0.01}, "drop", (0.2, 0.1), ("drop <= 10 %",)),
        ({"quality": 0.99}, "value", (0.7, 0.8), ("top1 >= 0.8",)),
        ({"frame_rate": 500.0}, "latency", (0.02, 0.01), ("frame rate >= 100/s",)),
    ],
)
def test_what_would_fit_is_the_best_value_among_points_that_miss_that_limit_alone(
    make_point: Make, make_needs: Make, limits: dict[str, Any], field: str, values: tuple[float, float], expected: Any
) -> None:
    points = [make_point(cut=str(value), **{field: value}) for value in values]
    assert decide(points, make_needs(**limits), OBJECTIVES).would_fit == expected


def test_energy_and_money_that_would_fit(make_point: Make, make_needs: Make) -> None:
    known = {"compute_j": 0.0, "radio_j": 0.0, "server_usd": 0.0}
    points = [make_point(cut=str(j), idle_j=j, link_usd=j / 1000, **known) for j in (3.0, 2.0)]
    assert decide(points, make_needs(energy=1.0), OBJECTIVES).would_fit == ("energy <= 2 J",)
    assert decide(points, make_needs(cost=0.001), OBJECTIVES).would_fit == ("cost <= 0.002 USD",)
    unknown = [make_point(cut="u", compute_j=None)]
    assert decide(unknown, make_needs(energy=1.0), OBJECTIVES).would_fit == ()


def test_a_value_of_zero_would_fit(make_point: Make, make_needs: Make) -> None:
    point = make_point(cut="x", drop=0.0)
    assert decide([point], make_needs(drop=-0.01), OBJECTIVES).would_fit == ("drop <= 0 %",)


@pytest.mark.parametrize(
    ("limits", "field", "got", "text"),
    [
        ({"drop": 0.01}, "drop", 0.11, "drop by 10.0 points"),
        ({"latency": 0.010}, "latency", 0.025, "latency by 15 ms"),
    ],
)
def test_a_miss_says_by_how_much(
    make_point: Make, make_needs: Make, limits: dict[str, float], field: str, got: float, text: str
) -> None:
    found = violations(make_point(cut="x", **{field: got}), make_needs(**limits))
    assert [violation.text for violation in found] == [text]


def test_what_never_arrives_misses_no_limit_of_arrival(make_point: Make, make_needs: Make) -> None:
    point = make_point(cut="x", latency=0.5, payload=5000, infeasible="it never arrives")
    found = violations(point, make_needs(latency=0.1, frame_rate=100.0, payload=1000))
    assert [violation.name for violation in found] == ["infeasible", "payload"]


def test_a_point_that_misses_two_limits_does_not_show_what_would_fit(make_point: Make, make_needs: Make) -> None:
    both = make_point(cut="both", latency=0.02, drop=0.05)
    late = make_point(cut="late", latency=0.03, drop=0.0)
    needs = make_needs(latency=0.010, drop=0.01)
    assert decide([both], needs, OBJECTIVES).would_fit == ()
    assert decide([both, late], needs, OBJECTIVES).would_fit == ("latency <= 30 ms",)


def test_objectives_are_minimised_and_sending_nothing_is_best(make_point: Make) -> None:
    point = make_point(latency=0.1, payload=1000, drop=0.02, compute_j=1.0, radio_j=1.0, idle_j=1.0)
    alone = make_point(payload=0.0)
    unknown = make_point(compute_j=None)
    names = ("latency", "payload", "drop", "energy", "cost")
    rows = objective_rows([point, alone, unknown], names)
    assert rows[0].tolist() == pytest.approx([-1.0, 3.0, 0.02, 3.0, math.inf])
    assert rows[1, 1] == 0.0
    assert rows[2, 3] == math.inf


values = st.integers(1, 4)


@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=12))
def test_the_recommended_point_is_of_the_front_and_feasible(make_point: Make, make_needs: Make, rows: Any) -> None:
    points: list[Evaluated] = [
        make_point(cut=str(i), payload=100.0 * a, latency=0.01 * b, drop=0.01 * c) for i, (a, b, c) in enumerate(rows)
    ]
    needs = make_needs(latency=0.025, drop=0.02)
    decision = decide(points, needs, OBJECTIVES)
    feasible = [p for p in points if p.cost.latency_s <= 0.025 and p.accuracy.drop <= 0.02 + 1e-12]
    assert (decision.recommended is None) == (not feasible)
    if decision.recommended is not None:
        assert decision.recommended in decision.front
        assert decision.recommended.cost.latency_s == min(p.cost.latency_s for p in feasible)
        kept = np.unique(objective_rows(decision.front, OBJECTIVES), axis=0)
        for row in objective_rows(feasible, OBJECTIVES):
            assert ((kept <= row).all(axis=1)).any()
