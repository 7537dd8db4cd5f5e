"""The race on synthetic landscapes, against measuring everything."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from splitpoint.benchmarks.replay import OBJECTIVES, Priced, Replay, on_device
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.racing.race import Race
from splitpoint.planner.samples.blocks import Blocks
from splitpoint.planner.search.decide import decide
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.tests.points import make_needs

CUTS, CODECS, RATES, INPUTS = 4, 4, 6, 200
SEEDS = range(5)


def metric(task: str = "classify") -> Metric:
    return make_metric(Task(name=task), [IOTensor(name="scores", shape=(1, 10), dtype="float32")], "unsplit")  # type: ignore[arg-type]  # a name


def landscape(seed: int) -> Priced:
    """Candidates of which each is wrong on the inputs that are harder than its level: no luck, so a front is a fact."""
    rng = np.random.default_rng(seed)
    cut, codec, rate = (axis.ravel() for axis in np.meshgrid(*map(np.arange, (CUTS, CODECS, RATES)), indexing="ij"))
    level = 0.4 * rng.uniform(0.3, 2, CODECS)[codec] * 0.45**rate * (1 + 0.3 * cut)
    payload = 20_000 * 0.6**cut * 1.5 ** (rate - RATES) * rng.uniform(0.7, 1.4, CODECS)[codec]
    ease = rng.uniform(0, 1, INPUTS)
    divergence = level[:, None] ** 2 * np.exp(0.5 * rng.normal(size=(len(level), INPUTS)) - ease)
    return Priced(
        candidates=tuple(
            Candidate(variant="given", placement="split", cut=str(a), codec=str(b), rate=int(c))
            for a, b, c in zip(cut, codec, rate, strict=True)
        ),
        latency_s=0.01 + 0.008 * cut + payload / 1e6,
        device_s=0.2,
        payload_bytes=np.rint(payload),
        most_bytes=30_000,
        right=ease > level[:, None],
        right_unsplit=np.ones(INPUTS, bool),
        divergence=divergence,
        margin=None,
        margin_unsplit=None,
    )


def run(recorded: Priced, needs: Requirements, *, seed: int = 0) -> tuple[Race, Replay]:
    replay = Replay(recorded, metric(), seed=seed)
    race = Race(replay, metric(), needs, OBJECTIVES, complete=[on_device(recorded, metric())])
    for candidate in recorded.candidates:
        race.enter(candidate)
    race.finish()
    return race, replay


@pytest.mark.parametrize("seed", SEEDS)
def test_no_candidate_of_the_front_is_stopped_or_skipped(seed: int) -> None:
    """Every candidate is measured for the front; the race knows none."""
    recorded, needs = landscape(seed), make_needs(latency=0.035, quality=0.95)
    replay = Replay(recorded, metric(), seed=0)
    everything = [replay.measure(c, len(replay.blocks.ends)) for c in recorded.candidates]
    start = on_device(recorded, metric())
    truth = decide([start, *everything], needs, OBJECTIVES)
    assert len(truth.front) >= 3
    race, counted = run(recorded, needs)
    found = decide([start, *race.complete], needs, OBJECTIVES)
    assert {p.candidate for p in found.front} == {p.candidate for p in truth.front}
    assert found.recommended is not None
    assert truth.recommended is not None
    assert found.recommended.candidate == truth.recommended.candidate
    assert counted.tail_runs < 0.7 * recorded.right.size


def test_what_is_complete_has_all_inputs_and_what_was_stopped_has_not() -> None:
    recorded = landscape(1)
    race, _ = run(recorded, make_needs(latency=0.035, quality=0.95))
    assert {p.accuracy.n for p in race.complete} == {INPUTS}
    stopped = [race.points[c] for c in race.stopped if c in race.points]
    assert stopped
    assert all(20 <= p.accuracy.n < INPUTS for p in stopped)
    assert len(race.complete) + len(race.stopped) == len(recorded.candidates)
    saved = sum(INPUTS - (race.points[c].accuracy.n if c in race.points else 0) for c in race.stopped)
    assert race.summary() == f"96 candidates, {len(race.stopped)} of them settled early, {saved:,} tail runs saved"


def test_every_kind_of_reason_is_met() -> None:
    reasons = set()
    for seed in SEEDS:
        race, _ = run(landscape(seed), make_needs(latency=0.035, quality=0.95))
        reasons |= set(race.stopped.values())
    assert reasons >= {"surely loses too much", "surely lossier than a point that costs no more"}


def test_the_same_seed_gives_the_same_race_and_another_another() -> None:
    needs = make_needs(latency=0.035, quality=0.95)
    first, again, other = (run(landscape(2), needs, seed=seed)[0] for seed in (0, 0, 1))
    assert (first.stopped, first.points) == (again.stopped, again.points)
    assert first.points != other.points


def test_where_nothing_is_feasible_all_are_measured_for_the_nearest_misses() -> None:
    recorded = landscape(3)
    race, replay = run(recorded, make_needs(latency=0.001, quality=0.95))
    assert not race.stopped
    assert replay.tail_runs == recorded.right.size


def with_sums(point: Evaluated) -> Evaluated:
    """`point` with two more counts of every input, for metrics that are a function of several sums."""
    assert point.outcomes is not None
    replace = msgspec.structs.replace
    more = [
        replace(row, counts=(*row.counts, 1.0, 1.0), unsplit_counts=(1.0, 1.0, 1.0)) for row in point.outcomes.inputs
    ]
    return replace(point, outcomes=replace(point.outcomes, inputs=tuple(more)))


@pytest.mark.parametrize("task", ["tensor", "segment"])
def test_a_metric_without_a_test_is_measured_on_all_inputs_at_once(task: str) -> None:
    recorded, asked = landscape(0), list[int]()

    class Watched(Replay):
        def measure(self, candidate: Candidate, blocks: int) -> Evaluated:
            asked.append(blocks)
            return with_sums(super().measure(candidate, blocks))

    replay, needs = Watched(recorded, metric(), seed=0), make_needs(latency=0.5, quality=0.95)
    outputs = [IOTensor(name="y", shape=(1, 4, 8, 8), dtype="float32")]
    other = make_metric(Task(name=task), outputs, "unsplit")  # type: ignore[arg-type]  # a name
    assert other.statistic == "ratio"
    race = Race(replay, other, needs, OBJECTIVES, complete=[with_sums(on_device(recorded, metric()))])
    race.enter(recorded.candidates[0])
    race.finish()
    assert asked == [len(replay.blocks.ends)]


def test_a_point_that_lost_nothing_by_luck_rules_nothing_out() -> None:
    """Two candidates cost the same of the same inputs; that the first was right on all is no proof of anything."""
    recorded = landscape(0)
    cheap, dear = np.argsort(recorded.latency_s)[[10, 60]]
    right = recorded.right.copy()
    right[cheap] = True
    payload = recorded.payload_bytes.copy()
    payload[cheap] = payload[dear]
    divergence = recorded.divergence.copy()
    divergence[cheap] = divergence.max()
    lucky = dataclasses.replace(recorded, right=right, payload_bytes=payload, divergence=divergence)
    race = Race(
        replay := Replay(lucky, metric(), seed=0),
        metric(),
        make_needs(quality=0.5),
        OBJECTIVES,
        complete=[on_device(lucky, metric()), replay.measure(lucky.candidates[cheap], len(replay.blocks.ends))],
    )
    assert race.enter(lucky.candidates[dear]) is not None
    race.finish()
    assert race.stopped == {}


class Sized(Replay):
    """A landscape in which measured inputs need `shown` bytes, by turns 10 % more and less, and all of them `true`."""

    shown, true, coded = 0.0, 0.0, 0

    def measure(self, candidate: Candidate, blocks: int) -> Evaluated:
        point = super().measure(candidate, blocks)
        assert point.outcomes is not None
        sizes = tuple(round(self.shown * (0.9 + 0.2 * (i % 2))) for i in range(len(point.outcomes.inputs)))
        outcomes = msgspec.structs.replace(point.outcomes, payload_bytes=sizes)
        return msgspec.structs.replace(point, cost=self.price(candidate, self.shown), outcomes=outcomes)

    def payload(self, candidate: Candidate) -> float:
        self.coded += 1
        return self.true

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        cost = on_device(landscape(0), metric()).cost
        return msgspec.structs.replace(cost, head_s=0.01, payload_bytes=payload_bytes)


@pytest.mark.parametrize(
    ("shown", "true", "stopped", "coded"),
    [
        (2000.0, 0.0, True, 0),  # surely above the limit of 1,000 by what was measured
        (1050.0, 1010.0, True, 1),  # not surely: all inputs are coded, and say so
        (1050.0, 990.0, False, 1),  # and here say the contrary
    ],
)
def test_a_candidate_is_stopped_by_bytes_that_all_inputs_surely_need(
    shown: float, true: float, stopped: bool, coded: int
) -> None:
    recorded = landscape(0)
    replay = Sized(recorded, metric(), seed=0)
    replay.shown, replay.true = shown, true
    needs = make_needs(payload=1000.0, quality=0.1)
    race = Race(replay, metric(), needs, OBJECTIVES, complete=[on_device(recorded, metric())])
    point = race.enter(recorded.candidates[5])
    assert point is not None
    reason = race._settled(point.candidate, None)
    assert (reason == "misses the limit of payload whatever it loses") == stopped
    assert replay.coded == coded


def test_few_groups_say_little_of_the_bytes_of_the_others() -> None:
    recorded = landscape(0)
    replay = Sized(recorded, metric(), seed=0)
    replay.shown, replay.true = 2000.0, 990.0
    replay.blocks = Blocks(groups=tuple(tuple(range(i, i + 50)) for i in range(0, INPUTS, 50)), ends=(1, 2, 4))
    needs = make_needs(payload=1000.0, quality=0.1)
    race = Race(replay, metric(), needs, OBJECTIVES, complete=[on_device(recorded, metric())])
    point = race.enter(recorded.candidates[5])
    assert point is not None
    assert race._settled(point.candidate, None) == ""
    assert replay.coded == 1
