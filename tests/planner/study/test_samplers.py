"""Samplers on a synthetic landscape, the plateau that ends a search, and searches that go on after an interruption."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from splitpoint.planner.search.pareto import hypervolume
from splitpoint.planner.setup.config import SamplerName, SearchConfig
from splitpoint.planner.study.plateau import reference_point, share_gained
from splitpoint.planner.study.sampler import Space, make_sampler
from splitpoint.planner.study.search import Found, search
from splitpoint.planner.study.storage import Place, open_study
from splitpoint.planner.study.trials import Trials, candidate_of
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.tests.landscape import OBJECTIVES, Landscape, Make


def run(landscape: Landscape, needs: Any, *, trials: Trials | None = None, first: Any = (), **changes: Any) -> Found:
    settings = SearchConfig(**{"evaluations": 24, "patience": 0, **changes})
    space = Space(options=landscape.options, first=first)
    return search(space, landscape.evaluate, needs, OBJECTIVES, settings, trials=trials)


def journal(folder: Path) -> Trials:
    with open_study(Place(storage=str(folder / "journal")), "one", "problem", OBJECTIVES) as opened:
        return opened.trials  # of a journal, which has nothing to close


@pytest.mark.parametrize(("sampler", "budget"), [("tpe", 24), ("nsga2", 24), ("random", 24), ("gp", 12)])
def test_every_sampler_measures_its_budget_of_distinct_candidates_by_its_seed(
    make_point: Make, make_needs: Make, sampler: SamplerName, budget: int
) -> None:
    asked = []
    for seed in (0, 0, 1):
        landscape = Landscape(make_point)
        found = run(landscape, make_needs(latency=0.08, drop=0.2), sampler=sampler, seed=seed, evaluations=budget)
        assert found.measured == len(found.points) == len(landscape.asked) == len({*landscape.asked}) == budget
        asked.append(landscape.asked)
    assert asked[0] == asked[1] != asked[2]


def test_a_sampler_is_the_one_of_its_name() -> None:
    made = {
        name: type(make_sampler(name, seed=1, asked=2, first=3, evaluations=40)).__name__
        for name in get_args(SamplerName)
    }
    assert made == {
        "tpe": "TPESampler",
        "nsga2": "NSGAIISampler",
        "gp": "GPSampler",
        "random": "RandomSampler",
        "exhaustive": "RandomSampler",
    }


def test_exhaustive_measures_every_candidate_in_order_whatever_the_budget(make_point: Make, make_needs: Make) -> None:
    landscape = Landscape(make_point)
    landscape.options = [row[:3] for row in landscape.options[:2]]
    everything = [candidate for row in landscape.options for rates in row for candidate in rates]
    found = run(landscape, make_needs(), sampler="exhaustive", evaluations=3, patience=2)
    assert landscape.asked == everything
    assert (found.measured, found.stopped) == (len(everything), "")


def test_a_plateau_of_the_hypervolume_ends_the_search_and_is_said(make_point: Make, make_needs: Make) -> None:
    """All candidates are equal but the first: nothing is gained after it."""
    landscape = Landscape(make_point)

    def flat(candidate: Candidate) -> Evaluated:
        point: Evaluated = make_point(cut=candidate.cut, codec=candidate.codec, rate=candidate.rate, payload=100.0)
        return point

    needs = make_needs(latency=1.0, drop=0.5)
    space = Space(options=landscape.options, first=landscape.candidates[:5])
    settings = SearchConfig(evaluations=100, patience=12)
    found = search(space, flat, needs, OBJECTIVES, settings)
    assert found.measured == 17  # the first five, and patience
    assert found.stopped == "stopped after 17 of 100: the hypervolume grew by less than 0.1 % in the last 12"
    assert search(space, flat, needs, OBJECTIVES, SearchConfig(evaluations=40, patience=0)).measured == 40


def test_what_infeasible_points_gain_does_not_count(make_point: Make, make_needs: Make) -> None:
    """Behind the first five every point is better than all before it, and none fits the device."""
    landscape = Landscape(make_point)
    measured: list[Candidate] = []

    def tempting(candidate: Candidate) -> Evaluated:
        measured.append(candidate)
        late = len(measured) > 5
        point: Evaluated = make_point(
            cut=candidate.cut,
            codec=candidate.codec,
            rate=candidate.rate,
            payload=100.0 / len(measured) if late else 100.0,
            head_peak_bytes=2000 if late else 0,
        )
        return point

    space = Space(options=landscape.options, first=landscape.candidates[:5])
    needs = make_needs(latency=1.0, drop=0.5, device_memory=1000)
    found = search(space, tempting, needs, OBJECTIVES, SearchConfig(evaluations=100, patience=12))
    assert found.measured == 17


def test_while_something_is_gained_or_nothing_is_feasible_the_search_goes_on(
    make_point: Make, make_needs: Make
) -> None:
    landscape = Landscape(make_point)
    payloads = iter(10_000 * 0.9**n for n in range(1000))

    def better(candidate: Candidate) -> Evaluated:
        point: Evaluated = make_point(
            cut=candidate.cut, codec=candidate.codec, rate=candidate.rate, payload=next(payloads)
        )
        return point

    space = Space(options=landscape.options, first=())
    settings = SearchConfig(evaluations=40, patience=5)
    assert search(space, better, make_needs(latency=1.0), OBJECTIVES, settings).measured == 40
    assert run(landscape, make_needs(latency=1e-6), evaluations=40, patience=5).measured == 40


def test_the_share_that_was_gained_is_that_of_the_volume() -> None:
    rows = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.75]])
    reference = np.array([1.0, 1.0])
    before, after = (hypervolume(rows[:n], reference) for n in (1, 3))
    assert (before, after) == (0.25, 0.3125)
    assert share_gained(rows[:1], rows, reference) == pytest.approx(1 - 0.25 / 0.3125)
    assert share_gained(rows[:2], rows, reference) == 0.0
    assert share_gained(rows[:0], rows, reference) == 1.0
    assert share_gained(rows[:0], rows + 2, reference) == 1.0  # nothing has volume yet


def test_objectives_that_are_not_known_have_no_part_in_the_volume() -> None:
    rows = np.array([[0.5, 1.7e308], [0.25, 1.7e308]])
    assert share_gained(rows[:1], rows, np.array([1.0, 2.0])) == pytest.approx(1 / 3)


def test_the_reference_is_the_limit_or_the_worst_that_was_seen(make_needs: Make) -> None:
    rows = np.array([[-2.0, 3.0, 0.1], [-1.5, 2.0, 0.05]])
    reference = reference_point(rows, make_needs(latency=0.1), OBJECTIVES)
    assert reference == pytest.approx([math.log10(0.1), 3.0, 0.1])
    assert reference[1] > 3.0  # the worst point itself counts


@pytest.mark.parametrize("after", [1, 4, 13, 20])
def test_a_search_that_was_interrupted_goes_on_as_it_would_have(
    tmp_path: Path, make_point: Make, make_needs: Make, after: int
) -> None:
    """Interrupted while it measures candidate `after`: among the first, and among those that TPE proposes."""
    needs, whole = make_needs(latency=0.08, drop=0.2), Landscape(make_point)
    first = whole.candidates[3::50]
    run(whole, needs, trials=journal(tmp_path / "whole"), first=first)
    assert len(whole.asked) == 24

    class Stop(KeyboardInterrupt):
        pass

    class Interrupted(Landscape):
        def evaluate(self, candidate: Candidate) -> Evaluated | None:
            if len(self.asked) == after:
                raise Stop
            return super().evaluate(candidate)

    part = Interrupted(make_point)
    with pytest.raises(Stop):
        run(part, needs, trials=journal(tmp_path / "part"), first=first)
    rest = Landscape(make_point)
    trials = journal(tmp_path / "part")
    assert run(rest, needs, trials=trials, first=first).measured == 24
    assert part.asked + rest.asked == whole.asked
    assert [candidate_of(trial) for trial in trials.judged().values()] == whole.asked


def test_a_study_that_is_complete_measures_nothing(tmp_path: Path, make_point: Make, make_needs: Make) -> None:
    run(Landscape(make_point), make_needs(), trials=journal(tmp_path))
    again = Landscape(make_point)
    found = run(again, make_needs(), trials=journal(tmp_path))
    assert (again.asked, found.points, found.measured) == ([], {}, 24)
