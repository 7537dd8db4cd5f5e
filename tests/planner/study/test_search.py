"""The search on synthetic landscapes, against their enumeration and against random sampling."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from splitpoint.planner.search.decide import decide, objective_rows, violations
from splitpoint.planner.search.pareto import hypervolume, pareto
from splitpoint.planner.setup.config import SearchConfig
from splitpoint.planner.study.sampler import Space
from splitpoint.planner.study.search import Found, search
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.tests.landscape import OBJECTIVES, RATES, Landscape, Make

SEEDS = range(12)
BUDGET = 36  # a tenth of the landscape


def volume(points: Sequence[Evaluated]) -> float:
    """Hypervolume below (100 ms, 100 kB, drop 0.2)."""
    rows = objective_rows(points, OBJECTIVES)
    reference = np.array([-1.0, 5.0, 0.2])
    return hypervolume(rows[pareto(rows)], reference)


def run(landscape: Landscape, needs: Any, **changes: Any) -> list[Evaluated]:
    return list(found_in(landscape.options, landscape.evaluate, needs, **changes).points.values())


def found_in(
    options: Any, evaluate: Any, needs: Any, objectives: Sequence[str] = OBJECTIVES, first: Any = (), **changes: Any
) -> Found:
    settings = SearchConfig(**{"evaluations": BUDGET, "patience": 0, **changes})
    return search(Space(options=options, first=first), evaluate, needs, objectives, settings)


def test_the_front_is_the_exhaustive_one_when_all_may_be_evaluated(make_point: Make, make_needs: Make) -> None:
    landscape, needs = Landscape(make_point), make_needs(latency=0.050, drop=0.1)
    assert 200 <= len(landscape.candidates) <= 500
    exhaustive = decide([landscape.point(c) for c in landscape.candidates], needs, OBJECTIVES)
    found = run(landscape, needs, first=landscape.candidates, evaluations=len(landscape.candidates))
    assert sorted(p.candidate for p in found) == sorted(landscape.candidates)
    assert set(decide(found, needs, OBJECTIVES).front) == set(exhaustive.front)
    assert decide(found, needs, OBJECTIVES).recommended == exhaustive.recommended


def test_a_tenth_of_the_evaluations_beats_random_sampling(make_point: Make, make_needs: Make) -> None:
    """Paired over seeds; the margin lies well below what TPE gains and well above the noise of the mean."""
    landscape, needs = Landscape(make_point), make_needs(latency=0.080, drop=0.2)
    gains = []
    for seed in SEEDS:
        found = run(landscape, needs, seed=seed)
        drawn = random.Random(seed).sample(landscape.candidates, len(found))
        gains.append(volume(found) - volume([landscape.point(c) for c in drawn]))
    exhaustive = volume([landscape.point(c) for c in landscape.candidates])
    error = statistics.stdev(gains) / len(gains) ** 0.5
    assert statistics.mean(gains) > max(3 * error, 0.02 * exhaustive), (gains, exhaustive)


def test_the_sampler_is_told_which_candidates_are_infeasible(make_point: Make, make_needs: Make) -> None:
    """Most candidates lose too much, and the objectives pull to them when the sampler does not know the limit."""
    landscape, needs = Landscape(make_point), make_needs(drop=0.01)

    def share(told: Any, seed: int) -> float:
        found = run(landscape, told, seed=seed)
        return statistics.mean(not violations(point, needs) for point in found)

    gains = [share(needs, seed) - share(make_needs(), seed) for seed in SEEDS]
    assert statistics.mean(gains) > 3 * statistics.stdev(gains) / len(gains) ** 0.5, gains
    assert statistics.mean(gains) > 0.15


def test_the_same_seed_asks_the_same_candidates_and_another_does_not(make_point: Make, make_needs: Make) -> None:
    asked = []
    for seed in (0, 0, 1):
        landscape = Landscape(make_point)
        run(landscape, make_needs(), seed=seed)
        asked.append(landscape.asked)
    assert asked[0] == asked[1] != asked[2]


def test_the_first_candidates_are_asked_first_and_in_order(make_point: Make, make_needs: Make) -> None:
    landscape = Landscape(make_point)
    first = random.Random(4).sample(landscape.candidates, 20)
    found = run(landscape, make_needs(), first=first)
    assert landscape.asked[: len(first)] == first
    assert len(found) == len(set(landscape.asked)) == len(landscape.asked) == BUDGET


def test_cut_codec_and_rate_are_drawn_together(
    make_point: Make, make_needs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a rate loses depends on the codec and the cut: a joint density sees that, three separate ones do not."""
    import optuna

    drawn = []

    class Recording(optuna.samplers.TPESampler):
        def sample_relative(self, *arguments: Any) -> dict[str, Any]:
            together = super().sample_relative(*arguments)
            drawn.append(set(together))
            return together

    monkeypatch.setattr(optuna.samplers, "TPESampler", Recording)
    run(Landscape(make_point), make_needs())
    random_trials = drawn.index({"cut", "codec", "rate"})  # before the densities are fitted
    assert len(drawn) >= BUDGET
    assert 10 <= random_trials <= 14  # some of the ten places may be empty
    assert all(names == set() for names in drawn[:random_trials])
    assert all(names == {"cut", "codec", "rate"} for names in drawn[random_trials:])


def test_where_the_sampler_repeats_itself_the_nearest_candidates_are_measured(
    make_point: Make, make_needs: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rates of the same place, then the other cuts of the same codec."""
    import optuna

    class Lowest(optuna.samplers.BaseSampler):
        """Always the same trial."""

        def infer_relative_search_space(self, *_: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, *_: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return distribution.choices[0] if name == "codec" else distribution.low

    monkeypatch.setattr(optuna.samplers, "TPESampler", lambda **_: Lowest())
    landscape = Landscape(make_point)
    run(landscape, make_needs(), evaluations=RATES + 3)
    assert landscape.asked[:RATES] == landscape.options[0][0]
    assert [(candidate.cut, candidate.codec) for candidate in landscape.asked[RATES:]] == [("1", "0")] * 3
    monkeypatch.setattr(Lowest, "sample_independent", lambda self, s, t, name, d: "1" if name == "codec" else d.low)
    landscape = Landscape(make_point)  # the lowest place of codec 1 is empty
    run(landscape, make_needs(), evaluations=2)
    assert [(candidate.cut, candidate.codec) for candidate in landscape.asked] == [("1", "1")] * 2


@pytest.mark.parametrize("budget", [0, 1, 7, BUDGET])
def test_the_budget_counts_distinct_candidates(make_point: Make, make_needs: Make, budget: int) -> None:
    landscape = Landscape(make_point)
    found = run(landscape, make_needs(), evaluations=budget)
    assert len(found) == len(landscape.asked) == len(set(landscape.asked)) == budget


def test_candidates_that_cannot_be_fitted_are_asked_once_and_left_out(make_point: Make, make_needs: Make) -> None:
    landscape = Landscape(make_point, unfit=True)
    found = run(landscape, make_needs(), evaluations=len(landscape.candidates), first=landscape.candidates)
    assert len(landscape.asked) == len(set(landscape.asked)) == len(landscape.candidates)
    assert {p.candidate for p in found} == {c for c in landscape.candidates if c.rate > 0}


def test_every_rate_of_a_single_place_is_reached(make_point: Make, make_needs: Make) -> None:
    landscape = Landscape(make_point)
    rates = landscape.options[2][0]
    found = found_in([[rates]], landscape.evaluate, make_needs(), first=rates, evaluations=RATES)
    assert list(found.points) == rates


def test_nothing_to_search_is_no_error(make_needs: Make) -> None:
    found = found_in([], lambda c: pytest.fail("asked"), make_needs())
    assert found.points == {}


def test_an_infinite_cost_is_told_as_a_finite_value(make_point: Make, make_needs: Make) -> None:
    landscape = Landscape(make_point)

    def never(candidate: Candidate) -> Evaluated:
        point: Evaluated = make_point(cut=candidate.cut, codec=candidate.codec, rate=candidate.rate, compute_j=None)
        return point

    found = found_in(landscape.options, never, make_needs(), ("energy",), evaluations=30)
    assert len(found.points) == 30


def test_searching_is_silent_and_leaves_optunas_log_as_it_was(
    make_point: Make, make_needs: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    run(Landscape(make_point), make_needs(), evaluations=5)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
