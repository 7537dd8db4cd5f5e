"""Which cuts are timed, in which order and how many, on hosts whose times are made up."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.search.timed_cuts import time_leading_cuts
from splitpoint.planner.values.candidate import Evaluated

Make = Callable[..., Any]


class Times:
    """Remembers what was timed."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self.known, self.timed = set(known), list[str]()

    def __contains__(self, cut: str) -> bool:
        return cut in self.known

    def time(self, cut: str) -> None:
        assert cut not in self.known
        self.known.add(cut)
        self.timed.append(cut)


class FakeMeasurer:
    """A network whose cuts are their own names; a timed cut takes `true` seconds instead of the predicted ones."""

    def __init__(self, name: str, times: Times | None, true: Mapping[str, float]) -> None:
        self.network = types.SimpleNamespace(name=name, cut=lambda cut: cut)
        self.pricer = types.SimpleNamespace(times=times)
        self.repriced: list[str] = []
        self._true = true

    def reprice(self, point: Evaluated) -> Evaluated:
        cut, times = point.candidate.cut, self.pricer.times
        self.repriced.append(cut)
        if times is None or cut not in times or cut not in self._true:
            return point
        return msgspec.structs.replace(point, cost=msgspec.structs.replace(point.cost, head_s=self._true[cut]))


def timed_by(
    points: Sequence[Evaluated],
    needs: Any,
    *,
    known: Sequence[str] = (),
    true: Mapping[str, float] | None = None,
    aim: Aim | None = None,
) -> tuple[list[str], list[Evaluated], int]:
    """Cuts of the given network that were timed, in order, and what the function gave back."""
    times = Times(known)
    measurer: Any = FakeMeasurer("given", times, true or {})
    found, count = time_leading_cuts(problem(needs), {"given": measurer}, list(points), aim)
    return times.timed, found, count


def problem(needs: Any) -> Any:
    config = types.SimpleNamespace(objectives=("latency", "payload"))
    return types.SimpleNamespace(needs=needs, config=config)


def staircase(make_point: Make, count: int) -> list[Evaluated]:
    """Points that are all on the front: each next one sends 100 bytes more and is 1 ms faster."""
    return [make_point(cut=f"c{i}", payload=100.0 * (i + 1), latency=0.050 - 0.001 * i) for i in range(count)]


def test_three_cuts_a_pass_and_three_passes(make_point: Make, make_needs: Make) -> None:
    timed, _, count = timed_by(staircase(make_point, 12), make_needs(latency=1.0))
    assert (len(timed), len(set(timed)), count) == (9, 9, 9)
    assert timed[0] == "c11"  # the fastest, whatever the deadline


def test_it_ends_when_all_that_lead_were_timed(make_point: Make, make_needs: Make) -> None:
    timed, _, count = timed_by(staircase(make_point, 4), make_needs())
    assert (sorted(timed), count) == (["c0", "c1", "c2", "c3"], 4)


def test_nothing_is_timed_or_priced_again_when_all_are_known(make_point: Make, make_needs: Make) -> None:
    points = staircase(make_point, 2)
    measurer: Any = FakeMeasurer("given", Times(["c0", "c1"]), {"c0": 9.0})
    assert time_leading_cuts(problem(make_needs()), {"given": measurer}, points) == (points, 0)
    assert measurer.repriced == []


def test_the_recommended_cut_is_first_then_the_knee_then_the_front(make_point: Make, make_needs: Make) -> None:
    bend = [(1000, 0.001), (900, 0.0011), (110, 0.002), (100, 0.100)]  # fastest, near it, knee, fewest bytes
    points = [make_point(cut=f"{b}", payload=float(b), latency=s) for b, s in bend]
    assert timed_by(points, make_needs())[0] == ["1000", "110", "100", "900"]
    assert timed_by(points, make_needs(), aim=Aim(prefer="payload"))[0] == ["100", "110", "900", "1000"]


def test_the_split_that_runs_up_to_a_simple_answer_is_timed_first(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", payload=0.0, latency=0.010)
    near, far = make_point(cut="near", payload=900.0, latency=0.011), make_point(cut="far", payload=100.0, latency=0.03)
    assert timed_by([alone, far, near], make_needs())[0] == ["near"]


def test_the_nearest_misses_are_timed_when_nothing_fits(make_point: Make, make_needs: Make) -> None:
    points = [make_point(cut=f"c{i}", latency=0.010 + 0.001 * i) for i in range(5)]
    assert timed_by(points, make_needs(latency=0.001))[0] == ["c0", "c1", "c2"]


def test_a_cut_that_comes_to_lead_by_timing_is_timed_too(make_point: Make, make_needs: Make) -> None:
    """The predicted leader is slow in truth; the one behind it then leads, and is timed in the next pass."""
    points = [make_point(cut="first", latency=0.010), make_point(cut="second", latency=0.020)]
    timed, found, count = timed_by(points, make_needs(), true={"first": 0.030, "second": 0.025})
    assert (timed, count) == (["first", "second"], 2)
    assert [p.cost.latency_s for p in found] == pytest.approx([0.030, 0.025])


def test_a_cut_that_never_leads_is_not_timed_but_priced_again(make_point: Make, make_needs: Make) -> None:
    points = [make_point(cut="good", latency=0.010), make_point(cut="bad", latency=0.020)]
    measurer: Any = FakeMeasurer("given", Times(), {})
    _, count = time_leading_cuts(problem(make_needs()), {"given": measurer}, points)
    assert (measurer.pricer.times.timed, count) == (["good"], 1)
    assert measurer.repriced == ["good", "bad"]


def test_a_cut_with_several_codecs_is_timed_once(make_point: Make, make_needs: Make) -> None:
    points = [make_point(cut="c", codec=f"k{i}", payload=100.0 + i, latency=0.020 - 0.001 * i) for i in range(4)]
    assert timed_by(points, make_needs())[::2] == (["c"], 1)


@pytest.mark.parametrize("placement", ["device", "server"])
def test_only_splits_are_timed(make_point: Make, make_needs: Make, placement: str) -> None:
    points = [make_point(cut="", placement=placement)]
    assert timed_by(points, make_needs()) == ([], points, 0)


def test_a_network_with_no_half_on_this_host_is_left_alone(make_point: Make, make_needs: Make) -> None:
    points = staircase(make_point, 2)
    measurer: Any = FakeMeasurer("given", None, {})
    assert time_leading_cuts(problem(make_needs()), {"given": measurer}, points) == (points, 0)


def test_the_same_cut_of_two_networks_is_timed_in_each(make_point: Make, make_needs: Make) -> None:
    points = [make_point(variant="given", cut="c", latency=0.020, payload=1.0)]
    points += [make_point(variant="half", cut="c", latency=0.010, payload=2.0)]
    measurers: dict[str, Any] = {name: FakeMeasurer(name, Times(), {}) for name in ("given", "half")}
    _, count = time_leading_cuts(problem(make_needs()), measurers, points)
    assert count == 2
    assert [m.pricer.times.timed for m in measurers.values()] == [["c"], ["c"]]
    assert [m.repriced for m in measurers.values()] == [["c"], ["c"]]  # each prices its own points


def test_no_points_are_no_error(make_needs: Make) -> None:
    assert timed_by([], make_needs(latency=1.0)) == ([], [], 0)
