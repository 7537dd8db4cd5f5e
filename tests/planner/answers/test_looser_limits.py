"""What a limit costs, how the front grew, and which candidates are worth measuring; on points made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.hypervolume import MARGIN, hypervolume_series, shares_reached
from splitpoint.planner.answers.question import Question
from splitpoint.planner.answers.record import PlanRecord, make_record
from splitpoint.planner.answers.relax import relax_limits
from splitpoint.planner.answers.unmeasured import could_win, unmeasured
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.search.decide import objective_rows
from splitpoint.planner.search.pareto import hypervolume
from splitpoint.planner.search.result import SearchResult
from splitpoint.profiles.library.catalog import load_device, load_link, load_server

Make = Callable[..., Any]


def asked(points: list[Any], needs: Any, *, prefer: str = "latency") -> Question:
    return Question(
        points=tuple(points),
        device=load_device("raspberry-pi-4"),
        server=load_server("cloud-8core"),
        channel=Channel(link=load_link("wifi-5")),
        needs=needs,
        objectives=("latency", "payload", "drop"),
        aim=Aim(prefer=prefer),
    )


def test_a_limit_that_keeps_a_better_point_out_is_named_with_what_it_would_buy(
    make_point: Make, make_needs: Make
) -> None:
    small = make_point(cut="small", payload=100, latency=0.105, label="q1")
    large = make_point(cut="large", payload=900, latency=0.05, label="q2")
    question = asked([small, large], make_needs(latency=0.1, drop=0.1), prefer="payload")
    (found,) = relax_limits(question, question.answer())
    assert (found.limit, found.asked) == ("latency", 0.1)
    assert found.relaxed == pytest.approx(0.11)
    assert found.text == "latency <= 110 ms instead of 100 ms"
    assert found.what == "after small, k q1"
    assert found.price == "2.1x slower, 800 B less"


def test_a_limit_that_does_not_bind_is_not_named(make_point: Make, make_needs: Make) -> None:
    only = make_point(cut="c", payload=100, latency=0.01)
    slow = make_point(cut="slow", payload=100, latency=0.105)
    question = asked([only, slow], make_needs(latency=0.1, drop=0.1, payload=1000.0))
    assert relax_limits(question, question.answer()) == ()


def test_a_quality_is_relaxed_by_the_loss_that_it_allows(make_point: Make, make_needs: Make) -> None:
    fast = make_point(cut="fast", latency=0.01, value=0.895)
    slow = make_point(cut="slow", latency=0.05, value=0.95)
    (found,) = relax_limits(asked([fast, slow], make_needs(quality=0.9)), slow)
    assert found.relaxed == pytest.approx(0.89)
    assert found.what == "after fast, k q1"
    worse = make_point(cut="fast", latency=0.01, value=0.885)
    assert relax_limits(asked([worse, slow], make_needs(quality=0.9)), slow) == ()


def test_where_nothing_fits_it_names_the_limit_that_a_tenth_would_open(make_point: Make, make_needs: Make) -> None:
    late = make_point(cut="c", latency=0.108)
    (found,) = relax_limits(asked([late], make_needs(latency=0.1, drop=0.1)), None)
    assert (found.limit, found.what, found.price) == ("latency", "after c, k q1", "")
    later = make_point(cut="c", latency=0.112)
    assert relax_limits(asked([later], make_needs(latency=0.1, drop=0.1)), None) == ()


def test_the_devices_own_limit_stays(make_point: Make, make_needs: Make) -> None:
    large = make_point(cut="c", head_peak_bytes=1050)
    question = asked([large], make_needs(drop=0.1, device={"device memory": 1000.0}))
    assert relax_limits(question, None) == ()


def test_the_series_is_the_hypervolume_of_the_first_points_over_that_of_all(make_point: Make, make_needs: Make) -> None:
    rng = np.random.default_rng(0)
    points = [
        make_point(cut=f"c{i}", payload=float(rng.integers(10, 10_000)), latency=float(rng.uniform(0.01, 0.1)), drop=d)
        for i, d in enumerate(rng.uniform(0.0, 0.2, size=30))
    ]
    needs = make_needs(drop=0.15)
    series = hypervolume_series(asked(points, needs))
    fits = [point for point in points if point.accuracy.lost <= 0.15]
    rows = objective_rows(fits, ("latency", "payload", "drop"))
    scaled = (rows - rows.min(axis=0)) / np.ptp(rows, axis=0)
    reference = np.full(3, 1 + MARGIN)
    whole = hypervolume(scaled, reference)
    assert len(series) == 30
    for count in (1, 5, 17, 30):
        known = sum(point.accuracy.lost <= 0.15 for point in points[:count])
        assert series[count - 1] == pytest.approx(hypervolume(scaled[:known], reference) / whole)
    assert list(series) == sorted(series)
    assert series[-1] == 1.0
    assert shares_reached(series) == (series[7], series[14], series[21])


def test_without_a_feasible_point_or_with_equal_ones_there_is_no_series(make_point: Make, make_needs: Make) -> None:
    assert hypervolume_series(asked([make_point(drop=0.5)], make_needs(drop=0.1))) == ()
    assert hypervolume_series(asked([make_point(), make_point(cut="d")], make_needs(drop=0.1))) == ()


@pytest.fixture(scope="module")
def record(fixed_result: SearchResult) -> PlanRecord:
    return make_record(fixed_result, fixed_result.decision.front)


def test_no_candidate_that_could_win_was_measured_or_is_ruled_out(record: PlanRecord) -> None:
    prices, question = ask(record, Changes(prefer="payload"))
    found = unmeasured(prices, question)
    assert found
    measured = {point.candidate: point for point in question.points}
    bad = [point.candidate for point in question.points if point.accuracy.lost > 0.3]
    good = {estimate.candidate: estimate.error for estimate in record.table if estimate.candidate in measured}
    worst = max(error for candidate, error in good.items() if measured[candidate].accuracy.lost <= 0.3)
    for other in found:
        candidate = other.estimate.candidate
        assert candidate not in measured
        assert other.estimate.error <= worst
        same = [b for b in bad if (b.cut, b.codec) == (candidate.cut, candidate.codec)]
        assert all(candidate.rate > b.rate for b in same)


def test_a_rate_is_ruled_out_by_a_finer_one_that_lost_too_much(record: PlanRecord) -> None:
    same_error = tuple(msgspec.structs.replace(estimate, error=1.0) for estimate in record.table)
    prices, question = ask(msgspec.structs.replace(record, table=same_error), Changes(limits={"drop": 0.02}))
    bad = [p.candidate for p in question.points if p.accuracy.lost > 0.02 and p.candidate.placement == "split"]
    places = {(candidate.cut, candidate.codec) for candidate in bad}
    here = [estimate.candidate for estimate in record.table]
    assert any((c.cut, c.codec) in places and c not in bad for c in here)
    for other in unmeasured(prices, question):
        candidate = other.estimate.candidate
        finer = [b for b in bad if (b.cut, b.codec) == (candidate.cut, candidate.codec) and b.rate >= candidate.rate]
        assert finer == []


def test_what_could_win_is_better_by_its_estimate_and_meets_the_other_limits(record: PlanRecord) -> None:
    prices, question = ask(record, Changes(prefer="payload"))
    found = unmeasured(prices, question)
    answer = max(question.feasible(), key=lambda point: point.cost.payload_bytes)
    winners = list(could_win(found, question, answer))
    assert winners
    assert all(w.point.cost.payload_bytes < answer.cost.payload_bytes for w in winners)
    least = min(w.estimate.payload_bytes for w in winners)
    best = question.answer()
    assert best is not None
    assert all(w.estimate.payload_bytes < best.cost.payload_bytes for w in could_win(found, question, best))
    _, narrow = ask(record, Changes(prefer="payload", limits={"payload": least / 2}))
    assert list(could_win(found, narrow, None)) == []


def test_of_quality_the_table_knows_nothing(record: PlanRecord) -> None:
    prices, question = ask(record, Changes(prefer="quality"))
    assert unmeasured(prices, question) == ()


def test_a_decision_is_not_changed_by_points_that_are_hopeless(record: PlanRecord) -> None:
    _, question = ask(record, Changes())
    kept = question.without_hopeless()
    assert len(kept.points) < len(question.points)
    assert kept.decide().recommended == question.decide().recommended
