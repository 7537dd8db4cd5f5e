"""Halves timed on this host replace predicted ones, correct the others, and are labelled as measured."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.cost.price import Party, other_half, party
from splitpoint.planner.cost.timing import HostTimes, time_halves, with_anchors
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.search.decide import decide
from splitpoint.planner.search.timed_cuts import time_leading_cuts
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.measure import measure_profile
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile, Samples
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

HEAVY = """<ir_version: 8, opset_import: ["": 17]> g (float[1,16,64,64] x) => (float[1,16,64,64] y)
  { a = Sigmoid(x)  b = Tanh(a)  c = Sin(b)  d = Exp(c)  y = Cos(d) }"""


@pytest.fixture(scope="module")
def graph(nets: ModuleType) -> ModelGraph:
    return load_graph(nets.from_text(HEAVY))


@pytest.fixture(scope="module")
def profile(graph: ModelGraph, host: Device) -> ModelProfile:
    return measure_profile(graph, host=host, threads=1)


@pytest.fixture(scope="module")
def here(graph: ModelGraph, profile: ModelProfile, host: Device) -> Party:
    mine = msgspec.structs.replace(host, fingerprint=profile.machine.fingerprint)
    return party(mine, graph, profile)


def known(tensors: tuple[str, ...], head_s: float, tail_s: float) -> HalvesTiming:
    head, tail = (Samples(n=20, min_s=s, median_s=1.1 * s, mad_s=0.02 * s) for s in (head_s, tail_s))
    return HalvesTiming(tensors=tensors, head=head, tail=tail)


def test_nothing_is_known_before_a_cut_is_timed(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    times = HostTimes(graph, cuts, here, threads=1)
    assert times.halves(cuts[2]) is None
    assert cuts[2] not in times


def test_a_timed_cut_is_measured_and_corrects_its_neighbours(graph: ModelGraph, here: Party) -> None:
    assert here.how == "profiled"
    cuts = enumerate_cuts(graph).cuts
    head_s = 1.2 * here.seconds(cuts[2].head)
    times = HostTimes(graph, cuts, here, threads=1, known=[known(cuts[2].tensors, head_s, 3e-4)])
    assert cuts[2] in times
    found = times.halves(cuts[2])
    assert found is not None
    assert [(half.seconds, half.how, half.spread_s) for half in found] == [
        (head_s, "measured", 0.02 * head_s),
        (3e-4, "measured", 0.02 * 3e-4),
    ]
    beyond = times.halves(cuts[1])
    assert beyond is not None
    assert beyond[0].how == "profiled"
    assert beyond[0].seconds == pytest.approx(
        1.2 * here.seconds(cuts[1].head)
    )  # before the first anchor its ratio holds


def test_timing_exports_and_runs_the_halves(graph: ModelGraph, here: Party) -> None:
    """Scaled to a whole of 1 second, the two halves of this chain of equal operators make about one."""
    cuts = enumerate_cuts(graph).cuts
    timed = time_halves(graph, cuts[2], 1.0, threads=1)
    assert timed.tensors == cuts[2].tensors
    assert 0.1 < timed.head.min_s + timed.tail.min_s < 10  # without the scale: the whole's microseconds
    times = HostTimes(graph, cuts, here, threads=1)
    times.time(cuts[2])
    assert cuts[2] in times


def test_the_input_has_no_head_to_time(graph: ModelGraph, here: Party) -> None:
    cuts = enumerate_cuts(graph).cuts
    times = HostTimes(graph, cuts, here, threads=1, known=[known(cuts[2].tensors, 1.0, 1.0)])
    assert cuts[0] in times
    assert times.halves(cuts[0]) is None


def test_what_a_profile_says_of_the_whole_was_measured(graph: ModelGraph, here: Party) -> None:
    everything = [node.index for node in graph.nodes]
    assert here.timed(everything).how == "measured"
    assert here.timed(everything[:2]).how == "profiled"
    assert here.timed([]).seconds == 0.0
    assert other_half(graph, enumerate_cuts(graph).cuts[2]) == everything[2:]


def test_a_profile_holds_two_anchors(graph: ModelGraph, profile: ModelProfile, home: Path) -> None:
    assert profile.halves == ()
    tensors = {cut.tensors for cut in enumerate_cuts(graph).cuts}
    found = with_anchors(graph, profile).halves
    assert len(found) == 2
    assert {halves.tensors for halves in found} < tensors
    assert len(read_yaml(home / "profile.yaml", ModelProfile).halves) == 2  # `splitpoint profile` wrote it


def test_the_best_cuts_of_a_plan_are_timed_on_the_side_that_is_here(home: Path, tmp_path: Path) -> None:
    """A slow device sends everything: the server is this host, so tails of the front's cuts are measured."""
    config = msgspec.structs.replace(
        read_config(home / "labelled.yaml"), device=str(home / "slow.yaml"), server="host", need=Need(max_drop=0.3)
    )
    result = plan(load_problem(config))
    points = [p for p in result.points if p.candidate.placement == "split"]
    inside = [p for p in points if p.candidate.cut != "x"]
    assert all(p.cost.head_how == "modelled" and p.cost.how == "modelled" for p in points)
    assert {p.cost.tail_how for p in points} == {"measured", "profiled"}
    assert all(p.cost.tail_spread_s is not None for p in points)
    measurer = Measurer(result.problem, result.given, host=result.profile.host, cache=ByteCache(2**28), given=None)
    with measurer:  # as if nothing but splits had been measured
        repriced, _ = time_leading_cuts(result.problem, {"given": measurer}, points)
    front = decide(repriced, result.problem.needs, config.objectives).front
    assert front
    assert all(p.cost.tail_how == "measured" for p in front)
    picture = next(p for p in result.points if p.candidate.placement == "server")
    assert (picture.cost.head_how, picture.cost.tail_how) == (None, "measured")
    point = next(p for p in inside if p.cost.tail_how == "measured")
    written = write_plan(result, point, tmp_path / "plan")
    assert written.file.predicted.tail_how == "measured"
    assert written.file.predicted.tail_spread_s == point.cost.tail_spread_s
