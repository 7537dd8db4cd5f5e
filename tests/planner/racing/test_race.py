"""The race on synthetic landscapes, against measuring everything."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.benchmarks.search import OBJECTIVES, Recorded, Replay, on_device
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.racing.race import Race
from splitpoint.planner.search.decide import decide
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.tests.points import make_needs

CUTS, CODECS, RATES, INPUTS = 4, 4, 6, 200
SEEDS = range(5)


def metric(task: str = "classify") -> Metric:
    return make_metric(Task(name=task), [IOTensor(name="scores", shape=(1, 10), dtype="float32")], "unsplit")  # type: ignore[arg-type]  # a name


def landscape(seed: int) -> Recorded:
    """Candidates of which each is wrong on the inputs that are harder than its level: no luck, so a front is a fact."""
    rng = np.random.default_rng(seed)
    cut, codec, rate = (axis.ravel() for axis in np.meshgrid(*map(np.arange, (CUTS, CODECS, RATES)), indexing="ij"))
    level = 0.4 * rng.uniform(0.3, 2, CODECS)[codec] * 0.45**rate * (1 + 0.3 * cut)
    payload = 20_000 * 0.6**cut * 1.5 ** (rate - RATES) * rng.uniform(0.7, 1.4, CODECS)[codec]
    ease = rng.uniform(0, 1, INPUTS)
    divergence = level[:, None] ** 2 * np.exp(0.5 * rng.normal(size=(len(level), INPUTS)) - ease)
    return Recorded(
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


def run(recorded: Recorded, needs: Requirements, *, seed: int = 0, estimates: Any = None) -> tuple[Race, Replay]:
    replay = Replay(recorded, metric(), seed=seed)
    start = [on_device(recorded, metric())]
    race = Race(replay, metric(), needs, OBJECTIVES, complete=start, estimates=estimates or {})
    for candidate in recorded.candidates:
        race.enter(candidate)
    race.finish()
    return race, replay


@pytest.mark.parametrize("seed", SEEDS)
def test_no_candidate_of_the_front_is_stopped_or_skipped(seed: int) -> None:
    """Every candidate is measured for the front; the race, whose table is off by a factor of up to 3, knows none."""
    recorded, needs = landscape(seed), make_needs(latency=0.035, quality=0.95)
    replay = Replay(recorded, metric(), seed=0)
    everything = [replay.measure(c, len(replay.blocks.ends)) for c in recorded.candidates]
    start = on_device(recorded, metric())
    truth = decide([start, *everything], needs, OBJECTIVES)
    assert len(truth.front) >= 3
    factors = np.random.default_rng(seed).uniform(1 / 3, 3, len(everything))
    estimates = {
        p.candidate: msgspec.structs.replace(p.cost, head_s=p.cost.head_s * f, payload_bytes=p.cost.payload_bytes * f)
        for p, f in zip(everything, factors.tolist(), strict=True)
    }
    race, counted = run(recorded, needs, estimates=estimates)
    found = decide([start, *race.complete], needs, OBJECTIVES)
    assert {p.candidate for p in found.front} == {p.candidate for p in truth.front}
    assert found.recommended == truth.recommended
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


@pytest.mark.parametrize("task", ["tensor", "segment"])
def test_a_metric_without_a_test_is_measured_on_all_inputs_at_once(task: str) -> None:
    recorded, asked = landscape(0), list[int]()

    @dataclasses.dataclass
    class Watched(Replay):
        def measure(self, candidate: Candidate, blocks: int) -> Evaluated:
            asked.append(blocks)
            return super().measure(candidate, blocks)

        def __init__(self) -> None:
            super().__init__(recorded, metric(), seed=0)

    replay, needs = Watched(), make_needs(latency=0.5, quality=0.95)
    outputs = [IOTensor(name="y", shape=(1, 4, 8, 8), dtype="float32")]
    other = make_metric(Task(name=task), outputs, "unsplit")  # type: ignore[arg-type]  # a name
    assert other.statistic == "ratio"
    race = Race(replay, other, needs, OBJECTIVES, complete=[on_device(recorded, metric())], estimates={})
    race.enter(recorded.candidates[0])
    race.finish()
    assert asked == [len(replay.blocks.ends)]


class Stub(Replay):
    """A landscape whose payloads are given."""

    def __init__(self, recorded: Recorded, sizes: dict[Candidate, float]) -> None:
        super().__init__(recorded, metric(), seed=0)
        self.sizes = sizes

    def payload(self, candidate: Candidate) -> float:
        return self.sizes[candidate]

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        return msgspec.structs.replace(super().price(candidate, payload_bytes), payload_bytes=payload_bytes)


@pytest.mark.parametrize(("true_bytes", "measured"), [(900.0, True), (1100.0, False)])
def test_bytes_of_all_inputs_decide_what_the_table_only_suspects(true_bytes: float, measured: bool) -> None:
    recorded = landscape(0)
    candidate = recorded.candidates[0]
    stub, needs = Stub(recorded, {candidate: true_bytes}), make_needs(payload=1000.0, quality=0.9)
    estimate = msgspec.structs.replace(stub.price(candidate, 0.0), payload_bytes=5000.0)
    start = on_device(recorded, metric())
    race = Race(stub, metric(), needs, OBJECTIVES, complete=[start], estimates={candidate: estimate})
    assert (race.enter(candidate) is not None) == measured
    assert race.stopped == ({} if measured else {candidate: "misses the limit of payload whatever it loses"})
    assert (stub.tail_runs > 0) == measured


def test_what_is_slower_than_all_on_the_device_is_not_measured() -> None:
    """The device alone loses nothing and sends nothing: nothing that takes longer can be on the front."""
    recorded = dataclasses.replace(landscape(0), device_s=0.02)
    costs = {c: Replay(recorded, metric(), seed=0).price(c, 0.0) for c in recorded.candidates}
    race, _ = run(recorded, make_needs(quality=0.95), estimates=costs)
    slower = {c for c, cost in costs.items() if cost.latency_s >= 0.02}
    assert slower
    assert {c for c, why in race.stopped.items() if why == "a point that loses nothing costs no more"} >= slower
    assert not slower & set(race.points)
