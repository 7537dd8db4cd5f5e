"""Halves timed on this host take the place of predicted ones, correct the others, and say how they are known."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from splitpoint.planner.config import Need, read_config
from splitpoint.planner.cost import Party, other_half, party
from splitpoint.planner.cuts import enumerate_cuts
from splitpoint.planner.flow import load_problem, plan
from splitpoint.planner.timing import HostTimes
from splitpoint.planner.write import write_plan
from splitpoint.profiles.device import Device
from splitpoint.profiles.graph import load_graph
from splitpoint.profiles.measure import measure_profile
from splitpoint.profiles.model import ModelGraph

HEAVY = """<ir_version: 8, opset_import: ["": 17]> g (float[1,16,64,64] x) => (float[1,16,64,64] y)
  { a = Sigmoid(x)  b = Tanh(a)  c = Sin(b)  d = Exp(c)  y = Cos(d) }"""


@pytest.fixture(scope="module")
def graph(nets: ModuleType) -> ModelGraph:
    return load_graph(nets.from_text(HEAVY))


@pytest.fixture(scope="module")
def here(graph: ModelGraph, host: Device) -> Party:
    profile = measure_profile(graph, host=host, threads=1)
    mine = msgspec.structs.replace(host, fingerprint=profile.machine.fingerprint)
    return party(mine, graph, profile)


def test_nothing_is_known_before_a_cut_is_timed(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    times = HostTimes(graph, cuts, here, threads=1)
    assert times.halves(cuts[2]) is None
    assert cuts[2] not in times


def test_a_timed_cut_is_measured_and_corrects_its_neighbours(graph: ModelGraph, here: Party) -> None:
    assert here.how == "profiled"
    cuts = enumerate_cuts(graph).cuts
    times = HostTimes(graph, cuts, here, threads=1)
    timing = times.time(cuts[2])
    assert timing.head is not None
    assert timing.tail is not None
    found = times.halves(cuts[2])
    assert found is not None
    head, tail = found
    scale = here.seconds([node.index for node in graph.nodes]) / timing.whole.min_s  # to the speed when profiled
    assert (head.how, tail.how) == ("measured", "measured")
    assert (head.seconds, head.spread_s) == pytest.approx((scale * timing.head.min_s, scale * timing.head.mad_s))
    assert (tail.seconds, tail.spread_s) == pytest.approx((scale * timing.tail.min_s, scale * timing.tail.mad_s))
    beyond = times.halves(cuts[1])
    assert beyond is not None
    assert beyond[0].how == "profiled"
    ratio = head.seconds / here.seconds(cuts[2].head)  # before the first anchor its ratio holds
    assert beyond[0].seconds == pytest.approx(ratio * here.seconds(cuts[1].head))


def test_the_input_has_no_head_to_time(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    times = HostTimes(graph, cuts, here, threads=1)
    assert times.time(cuts[0]).head is None
    found = times.halves(cuts[0])
    assert found is not None
    assert (found[0].seconds, found[0].spread_s) == (0.0, None)


def test_what_a_profile_says_of_the_whole_was_measured(graph: ModelGraph, here: Party) -> None:
    everything = [node.index for node in graph.nodes]
    assert here.timed(everything).how == "measured"
    assert here.timed(everything[:2]).how == "profiled"
    assert here.timed([]).seconds == 0.0
    assert other_half(graph, enumerate_cuts(graph).cuts[2]) == everything[2:]


def test_the_best_cuts_of_a_plan_are_timed_on_the_side_that_is_here(home: Path, tmp_path: Path) -> None:
    """A slow device sends everything: the server is this host, so tails of the front's cuts are measured."""
    config = msgspec.structs.replace(
        read_config(home / "labelled.yaml"), device=str(home / "slow.yaml"), server="host", need=Need(max_drop=0.3)
    )
    outcome = plan(load_problem(config))
    points = [p for p in outcome.points if p.candidate.placement == "split"]
    timed = [p for p in points if p.cost.tail_how == "measured"]
    assert timed
    assert all(p.cost.head_how == "modelled" and p.cost.how == "modelled" for p in points)
    assert {p.cost.tail_how for p in points} <= {"measured", "profiled"}
    assert all(p.cost.tail_spread_s is not None for p in points)
    front = [p for p in outcome.decision.front if p.candidate.placement == "split"]
    assert all(p.cost.tail_how == "measured" for p in front[:1])
    point = timed[0]
    made = write_plan(outcome, point, tmp_path / "plan")
    assert made.file.predicted.tail_how == "measured"
    assert made.file.predicted.tail_spread_s == point.cost.tail_spread_s
