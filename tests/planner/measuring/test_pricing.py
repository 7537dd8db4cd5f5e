"""Prices of one network's candidates by the two sides that run it, and which profile belongs to which network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cost.price import (
    CodingWork,
    Party,
    cost_of_picture,
    cost_of_split,
    cost_on_device,
    op_work,
    other_half,
    work_of,
)
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.network import Network, describe_network
from splitpoint.planner.measuring.pricing import Pricer, host_times
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.profiling.model_profile import obtain_profile, obtain_profiles
from splitpoint.planner.samples.dataset import Dataset, Sample, Split
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import Problem, load_problem
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import read_yaml, write_yaml
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.machine.device import predict_s
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile, Samples
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph

HEAD, TAIL = (Timed(seconds=s, how="measured", spread_s=0.001) for s in (0.25, 0.75))


@pytest.fixture(scope="module")
def problem(fixed_home: Path) -> Problem:
    return load_problem(read_config(fixed_home / "labelled.yaml"))


@pytest.fixture(scope="module")
def profile(fixed_home: Path) -> ModelProfile:
    return read_yaml(fixed_home / "fixed.yaml", ModelProfile)


@pytest.fixture(scope="module")
def variant(problem: Problem) -> Variant:
    return Variant(name="given", kind="given", graph=problem.graph, split=problem.split)


def candidate(placement: str, *, cut: str = "", codec: str = "-", rate: int = 0) -> Candidate:
    return Candidate(variant="given", placement=placement, cut=cut, codec=codec, rate=rate)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def network(problem: Problem, variant: Variant, profile: ModelProfile) -> Network:
    return describe_network(problem, variant, profile, host=profile.host, given=None)


@pytest.fixture
def measurer(problem: Problem, network: Network, profile: ModelProfile) -> Iterator[Measurer]:
    with Measurer(problem, network, host=profile.host, cache=ByteCache(10**8), given=None) as opened:
        yield opened


def common(network: Network, profile: ModelProfile) -> dict[str, Any]:
    return {"graph": network.graph, "host": profile.host, "edge": network.edge, "prepare_symbols": 16 * 16}


WORK = CodingWork(symbols=(("rans", 7),), encoder=(), decoder=(), table_bytes=5, weight_bytes=3)


def pricer_of(problem: Problem, network: Network, profile: ModelProfile, times: Any = None) -> Pricer:
    return Pricer(problem, network, host=profile.host, work_of=lambda asked: WORK, times=times)


def with_sides(network: Network, *, edge: bool, server: bool) -> Network:
    """`network` with the sides that are named profiled here, the others modelled."""

    def side(one: Party, here: bool) -> Party:
        return dataclasses.replace(one, how="profiled" if here else "modelled")

    return dataclasses.replace(network, edge=side(network.edge, edge), server=side(network.server, server))


def test_a_split_is_priced_by_its_fitted_codec(problem: Problem, measurer: Measurer, profile: ModelProfile) -> None:
    network, pricer = measurer.network, measurer.pricer
    asked = candidate("split", cut="r1", codec="range-rans", rate=2)
    fitted = measurer.fitted(asked)
    work = work_of(fitted, table_bytes=len(save_coders([codec.coder for codec in fitted])))
    expected = cost_of_split(
        **common(network, profile),
        server=network.server,
        channel=problem.channel,
        cut=network.cut("r1"),
        work=work,
        payload_bytes=123.0,
        peak_bytes=peak_bytes(network.graph, network.cut("r1")),
    )
    assert pricer.price(asked, 123.0) == expected
    assert expected.side_bytes > 0
    assert pricer.price(asked, 321.0) == pricer.price(asked, 321.0) != expected  # work is kept, bytes are not
    assert pricer.price(candidate("split", cut="c2", codec="range-rans", rate=2), 123.0) != expected
    other = pricer.price(candidate("split", cut="r1", codec="fast", rate=2), 123.0)
    assert other.side_bytes != expected.side_bytes


def test_the_work_of_a_candidate_is_asked_once(problem: Problem, network: Network, profile: ModelProfile) -> None:
    asked: list[Candidate] = []

    def work_of_candidate(one: Candidate) -> CodingWork:
        asked.append(one)
        return WORK

    pricer = Pricer(problem, network, host=profile.host, work_of=work_of_candidate)
    one, other = (candidate("split", cut="r1", codec="range-rans", rate=rate) for rate in (0, 1))
    for each in (one, one, other, one):
        assert pricer.price(each, 5.0).side_bytes == 8
    assert asked == [one, other]


def test_the_other_placements(problem: Problem, network: Network, profile: ModelProfile) -> None:
    pricer = pricer_of(problem, network, profile)
    device = cost_on_device(**common(network, profile), peak_bytes=peak_bytes(network.graph, None))
    assert pricer.price(candidate("device"), 0.0) == device
    picture = cost_of_picture(
        **common(network, profile),
        server=network.server,
        channel=problem.channel,
        coder="jpeg",
        pixels=16 * 16,
        payload_bytes=99.0,
    )
    assert pricer.price(candidate("server", codec="jpeg", rate=3), 99.0) == picture


def test_uncompressed_is_the_tensor_as_it_is(problem: Problem, network: Network, profile: ModelProfile) -> None:
    cut = network.cut("r1")
    symbols = network.graph.tensors["r1"].elements
    expected = cost_of_split(
        **common(network, profile),
        server=network.server,
        channel=problem.channel,
        cut=cut,
        work=CodingWork(symbols=(("raw", symbols),), encoder=(), decoder=(), table_bytes=0, weight_bytes=0),
        payload_bytes=4 * symbols,
        peak_bytes=peak_bytes(network.graph, cut),
    )
    assert pricer_of(problem, network, profile).uncompressed(cut) == expected
    assert expected.side_bytes == 0


class Clock:
    """Timed halves by cut; the others are not known."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Timed, Timed]] = {}

    def halves(self, cut: Any) -> tuple[Timed, Timed] | None:
        return self.known.get(cut.name)


@pytest.mark.parametrize(("edge", "server"), [(True, False), (False, True), (True, True), (False, False)])
def test_timed_halves_are_of_the_side_that_is_here(
    problem: Problem, network: Network, profile: ModelProfile, edge: bool, server: bool
) -> None:
    clock, cut = Clock(), network.cut("r1")
    pricer = pricer_of(problem, with_sides(network, edge=edge, server=server), profile, clock)
    before = pricer.uncompressed(cut)
    assert before.head_s == pytest.approx(network.edge.seconds(cut.head))
    assert before.tail_s == pytest.approx(network.server.seconds(other_half(network.graph, cut)))
    clock.known["r1"] = HEAD, TAIL
    for after in (pricer.uncompressed(cut), pricer.price(candidate("split", cut="r1", codec="range-rans"), 9.0)):
        assert (after.head_s, after.head_how) == ((0.25, "measured") if edge else (before.head_s, "modelled"))
        assert (after.tail_s, after.tail_how) == ((0.75, "measured") if server else (before.tail_s, "modelled"))
        assert after.how == ("measured" if edge and server else "modelled")
    assert pricer.uncompressed(network.cut("c2")).head_s == network.edge.seconds(network.cut("c2").head)


def test_a_point_is_priced_again_as_it_is_known_by_now(
    problem: Problem, measurer: Measurer, profile: ModelProfile
) -> None:
    point, alone = (
        measurer.evaluate(asked)
        for asked in (candidate("split", cut="r1", codec="range-rans", rate=1), candidate("device"))
    )
    assert point is not None
    assert alone is not None
    assert point.cost == measurer.pricer.price(point.candidate, point.accuracy.payload_bytes)
    assert measurer.reprice(point) == point
    clock = Clock()
    clock.known["r1"] = HEAD, TAIL
    here = with_sides(measurer.network, edge=True, server=False)
    measurer.pricer = pricer_of(problem, here, profile, clock)
    repriced = measurer.reprice(point)
    assert msgspec.structs.replace(repriced, cost=point.cost) == point
    assert repriced.cost.payload_bytes == point.cost.payload_bytes
    assert (repriced.cost.head_s, repriced.cost.tail_s) == (0.25, point.cost.tail_s)
    assert measurer.reprice(alone).cost.head_s == alone.cost.head_s


def test_the_host_is_timed_where_it_is_a_side(problem: Problem, variant: Variant, profile: ModelProfile) -> None:
    """The profile's anchors are used on the side that is this host, and by nobody when neither is."""
    here = msgspec.structs.replace(profile.host, fingerprint=profile.machine.fingerprint)
    half = Samples(n=20, min_s=0.25, median_s=0.25, mad_s=0.0)
    profile = msgspec.structs.replace(profile, halves=(HalvesTiming(tensors=("r1",), head=half, tail=half),))
    for device, server in (("host", "cloud-8core"), ("raspberry-pi-4", "host"), ("raspberry-pi-4", "cloud-8core")):
        config = msgspec.structs.replace(problem.config, device=device, server=server)
        asked = dataclasses.replace(problem, config=config)
        network = describe_network(asked, variant, profile, host=here, given=None)
        times = host_times(network, threads=1)
        assert (times is None) == ("host" not in (device, server))
        cost = pricer_of(asked, network, profile, times).uncompressed(network.cut("r1"))
        how = tuple("measured" if side == "host" else "modelled" for side in (device, server))
        assert (cost.head_how, cost.tail_how) == how
        assert (cost.head_s == 0.25, cost.tail_s == 0.25) == (device == "host", server == "host")


def test_a_network_without_a_profile_is_modelled_by_the_given_one(
    problem: Problem, variant: Variant, network: Network, profile: ModelProfile
) -> None:
    """Prediction was off by a factor for the given network; the same factor is expected of the other."""
    slower = dataclasses.replace(
        network, edge=dataclasses.replace(network.edge, node_s=3 * network.edge.node_s, run_s=0.5, how="profiled")
    )
    other = describe_network(problem, variant, None, host=profile.host, given=slower)
    predicted = predict_s(network.edge.device, [op_work(network.graph, node) for node in network.graph.nodes])
    assert other.edge.node_s == pytest.approx(3 * predicted)
    assert other.server.node_s == pytest.approx(network.server.node_s)
    assert (other.edge.run_s, other.edge.how, other.edge.retest_error) == (0.5, "modelled", None)
    assert host_times(other, threads=1) is None
    with pytest.raises(ValueError, match="the given network needs a profile"):
        describe_network(problem, variant, None, host=profile.host, given=None)


def test_devices_are_those_of_the_configuration(network: Network) -> None:
    assert network.edge.device == load_device("raspberry-pi-4")
    assert network.server.device == load_server("cloud-8core")
    assert network.cuttable == list(network.cuts.cuts)
    with pytest.raises(ProfileError, match="has no cut 'elsewhere'"):
        network.cut("elsewhere")


def test_a_variant_is_cut_where_it_was_made_for(network: Network) -> None:
    restricted = dataclasses.replace(network, variant=dataclasses.replace(network.variant, after=frozenset({"relu1"})))
    assert [cut.name for cut in restricted.cuttable] == ["r1"]
    assert len(restricted.cuts.cuts) > 1


@pytest.fixture
def other(problem: Problem, nets: Any) -> Variant:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y) { a = Sin(x)  y = Cos(a) }'
    return Variant(name="other", kind="listed", graph=load_graph(nets.from_text(text)), split=problem.split)


def test_one_stored_profile_is_the_given_networks(variant: Variant, other: Variant, fixed_home: Path) -> None:
    path = fixed_home / "fixed.yaml"
    stored = read_yaml(path, ModelProfile)
    assert obtain_profile(variant.graph, stored=path, threads=1) == stored
    assert obtain_profiles([variant, other], stored=path, threads=1) == (stored, [stored, None])
    with pytest.raises(ProfileError, match="the profile is of another model"):
        obtain_profile(other.graph, stored=path, threads=1)


def test_stored_profiles_are_told_apart_by_their_network(
    variant: Variant, other: Variant, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path: Path
) -> None:
    mine, its = make_profile(variant.graph), make_profile(other.graph)
    write_yaml(tmp_path / "b.yaml", mine)
    (tmp_path / "notes.txt").write_text("no profile")
    assert obtain_profiles([variant, other], stored=tmp_path, threads=1) == (mine, [mine, None])
    write_yaml(tmp_path / "a.yml", its)
    assert obtain_profiles([variant, other], stored=tmp_path, threads=1) == (mine, [mine, its])
    assert obtain_profiles([other], stored=tmp_path, threads=1) == (its, [its])
    (tmp_path / "b.yaml").unlink()
    with pytest.raises(ProfileError, match=r"no profile of \w+ .* among 1 profiles"):
        obtain_profiles([variant, other], stored=tmp_path, threads=1)


def test_a_profile_of_this_processor_with_other_threads_is_refused(
    variant: Variant, make_profile: Callable[[ModelGraph], ModelProfile], tmp_path: Path
) -> None:
    made = msgspec.structs.replace(make_profile(variant.graph), machine=this_machine(threads=1))
    write_yaml(tmp_path / "profile.yaml", made)
    assert obtain_profile(variant.graph, stored=tmp_path / "profile.yaml", threads=1) == made
    with pytest.raises(ProfileError, match="measured with threads 1, not 2"):
        obtain_profile(variant.graph, stored=tmp_path / "profile.yaml", threads=2)


def test_tensors_are_not_prepared(problem: Problem, network: Network, profile: ModelProfile) -> None:
    search = problem.split.search
    spec = InputSpec(kind="tensor")
    samples = tuple(
        Sample(name=s.name, group=s.group, tensor=np.zeros((1, 3, 16, 16), np.float32)) for s in search.samples
    )
    tensors = Dataset(spec=spec, samples=samples)
    split = Split(calibration=tensors, search=tensors, report=tensors)
    plain = dataclasses.replace(network, variant=dataclasses.replace(network.variant, split=split))
    assert pricer_of(problem, plain, profile).price(candidate("device"), 0.0).prepare_s == 0.0
    assert pricer_of(problem, network, profile).price(candidate("device"), 0.0).prepare_s > 0.0
