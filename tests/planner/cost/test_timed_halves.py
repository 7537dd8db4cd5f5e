"""Timed halves by hand: scaled to the profile, the faster of two, interpolated between, for the side that is here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import hypothesis
import msgspec
import numpy as np
import pytest
from hypothesis import strategies as st

from splitpoint.planner.cost import timing
from splitpoint.planner.cost.anchors import Halves, choose_anchors, correct
from splitpoint.planner.cost.price import Party
from splitpoint.planner.cost.timing import HostTimes, time_halves, with_anchors
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.timed import Timed
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.measure import PairTiming
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile, Samples
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

NODE_S = (1.0, 2.0, 3.0, 4.0)
RUN_S = 0.5
WHOLE_S = RUN_S + sum(NODE_S)


@pytest.fixture(scope="module")
def graph(nets: ModuleType) -> ModelGraph:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y)'
    return load_graph(nets.from_text(text + " { a = Sigmoid(x)  b = Tanh(a)  c = Sin(b)  y = Cos(c) }"))


@pytest.fixture(scope="module")
def cuts(graph: ModelGraph) -> list[Cut]:
    return list(enumerate_cuts(graph).cuts)


@pytest.fixture(scope="module")
def here(host: Device) -> Party:
    return Party(device=host, node_s=np.array(NODE_S), run_s=RUN_S, how="profiled", retest_error=0.1)


def samples(min_s: float, mad_s: float = 0.0) -> Samples:
    return Samples(n=20, min_s=min_s, median_s=2 * min_s, mad_s=mad_s)


def known(cut: Cut, head_s: float, tail_s: float) -> HalvesTiming:
    return HalvesTiming(tensors=cut.tensors, head=samples(head_s, 0.01), tail=samples(tail_s, 0.02))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[tuple[float, float, float]]], list[int]]:
    """`measured([(head_s, tail_s, whole_s), ...])` is what timing gives from now on; the threads of each call."""

    def install(rows: Sequence[tuple[float, float, float]]) -> list[int]:
        threads_of_calls: list[int] = []

        def pair(head: bytes, tail: bytes, whole: bytes, *, threads: int) -> PairTiming:
            head_s, tail_s, whole_s = rows[len(threads_of_calls) % len(rows)]
            threads_of_calls.append(threads)
            return PairTiming(
                head=samples(head_s, 0.1), tail=samples(tail_s, 0.2), whole=samples(whole_s), retest_error=0.0
            )

        monkeypatch.setattr(timing, "measure_pair", pair)
        return threads_of_calls

    return install


def test_halves_are_stated_for_the_speed_of_the_profile(
    graph: ModelGraph, cuts: list[Cut], measured: Callable[..., list[int]]
) -> None:
    """The second time the host is twice as slow, so that it makes the head slower and the tail faster."""
    calls = measured([(1.0, 3.0, 4.0), (4.0, 4.0, 8.0)])
    found = time_halves(graph, cuts[2], 40.0, threads=3)
    assert calls == [3, 3]
    assert found.tensors == cuts[2].tensors
    assert found.head == Samples(n=20, min_s=10.0, median_s=20.0, mad_s=1.0)
    assert found.tail == Samples(n=20, min_s=20.0, median_s=40.0, mad_s=1.0)


def test_a_timed_cut_is_known_and_the_others_by_it(
    graph: ModelGraph, cuts: list[Cut], here: Party, measured: Callable[..., list[int]]
) -> None:
    times = HostTimes(graph, cuts, here, threads=2)
    assert [cut in times for cut in cuts] == [True, False, False, False]
    assert [times.halves(cut) for cut in cuts] == [None] * 4
    calls = measured([(2 * 3.5, 3 * 7.5, WHOLE_S)])  # twice and three times of what the profile says of cut 2
    times.time(cuts[2])
    assert calls == [2, 2]
    assert [cut in times for cut in cuts] == [True, False, True, False]
    assert times.halves(cuts[0]) is None  # the whole and nothing: the profile's own figures
    assert times.halves(cuts[2]) == (
        Timed(seconds=7.0, how="measured", spread_s=0.1),
        Timed(seconds=22.5, how="measured", spread_s=0.2),
    )
    first, last = times.halves(cuts[1]), times.halves(cuts[3])
    assert first is not None
    assert last is not None
    # Before the anchor its ratio of the head holds; the tail's falls to 1 where the tail is the whole.
    share, anchor = 1.5 / 11.0, 3.5 / 11.0
    assert [half.how for half in (*first, *last)] == ["profiled"] * 4
    assert (first[0].seconds, first[0].spread_s) == pytest.approx((2 * 1.5, 0.1 * 2 * 1.5))
    ratio = 1 + (3 - 1) * share / anchor
    assert (first[1].seconds, first[1].spread_s) == pytest.approx((ratio * 9.5, 0.1 * ratio * 9.5))
    share = 6.5 / 11.0
    ratio = 2 + (1 - 2) * (share - anchor) / (1 - anchor)
    assert last[0].seconds == pytest.approx(ratio * 6.5)
    assert last[1].seconds == pytest.approx(3 * 4.5)
    assert (last[0].spread_s, last[1].spread_s) == pytest.approx((0.1 * ratio * 6.5, 0.1 * 3 * 4.5))


def test_the_whole_of_the_party_and_not_its_nodes_scales(
    graph: ModelGraph, cuts: list[Cut], here: Party, measured: Callable[..., list[int]]
) -> None:
    measured([(1.0, 1.0, 2.0)])
    times = HostTimes(graph, cuts, here, threads=1)
    times.time(cuts[1])
    found = times.halves(cuts[1])
    assert found is not None
    assert found[0].seconds == pytest.approx(WHOLE_S / 2)


def test_what_a_profile_knows_of_cuts_that_are_not_asked_for_is_left_out(
    graph: ModelGraph, cuts: list[Cut], here: Party
) -> None:
    times = HostTimes(graph, cuts[:3], here, threads=1, known=[known(cuts[3], 1.0, 1.0)])
    assert times.halves(cuts[1]) is None
    both = HostTimes(graph, cuts, here, threads=1, known=[known(cuts[3], 6.5, 9.0), known(cuts[1], 3.0, 9.5)])
    found = [both.halves(cut) for cut in cuts[1:]]
    assert [half and half[0].how for half in found] == ["measured", "profiled", "measured"]
    middle = found[1]
    assert middle is not None
    weight = (3.5 - 1.5) / (6.5 - 1.5)
    assert middle[0].seconds == pytest.approx(3.5 * (2 + weight * (1 - 2)))
    assert middle[1].seconds == pytest.approx(7.5 * (1 + weight * (2 - 1)))


def test_a_later_time_takes_the_place_of_the_profiles(
    graph: ModelGraph, cuts: list[Cut], here: Party, measured: Callable[..., list[int]]
) -> None:
    times = HostTimes(graph, cuts, here, threads=1, known=[known(cuts[1], 3.0, 9.5)])
    measured([(5.0, 6.0, WHOLE_S)])
    times.time(cuts[1])
    found = times.halves(cuts[1])
    assert found is not None
    assert (found[0].seconds, found[1].seconds) == (5.0, 6.0)


def test_an_unknown_retest_error_is_no_spread(graph: ModelGraph, cuts: list[Cut], host: Device) -> None:
    party = Party(device=host, node_s=np.array(NODE_S), run_s=RUN_S, how="profiled", retest_error=None)
    found = HostTimes(graph, cuts, party, threads=1, known=[known(cuts[2], 3.5, 7.5)]).halves(cuts[1])
    assert found is not None
    assert (found[0].spread_s, found[1].spread_s) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("node_s", "chosen"),
    [
        ((1.0, 1.0, 1.0, 1.0), ("a", "c")),  # shares 1/4, 1/2, 3/4: nearest to 1/3 and 2/3
        ((1.0, 2.0, 3.0, 4.0), ("b", "c")),  # 1/10, 3/10, 6/10
        ((97.0, 1.0, 1.0, 1.0), ("a",)),  # 97, 98, 99 of 100: one cut is nearest to both
        ((1.0, 1.0, 1.0, 97.0), ("c",)),
    ],
)
def test_a_profile_times_the_cuts_nearest_to_its_thirds(
    graph: ModelGraph, cuts: list[Cut], host: Device, node_s: tuple[float, ...], chosen: tuple[str, ...]
) -> None:
    party = Party(device=host, node_s=np.array(node_s), run_s=RUN_S, how="profiled", retest_error=0.0)
    assert [cut.name for cut in choose_anchors(party, cuts[1:])] == list(chosen)


def test_more_anchors_are_more_even_shares(graph: ModelGraph, cuts: list[Cut], host: Device) -> None:
    party = Party(device=host, node_s=np.ones(4), run_s=0.0, how="profiled", retest_error=0.0)
    assert [cut.name for cut in choose_anchors(party, cuts[1:], 3)] == ["a", "b", "c"]
    assert [cut.name for cut in choose_anchors(party, cuts[1:], 1)] == ["b"]


def test_a_profile_without_anchors_gets_them(
    graph: ModelGraph,
    cuts: list[Cut],
    make_profile: Callable[[ModelGraph], ModelProfile],
    measured: Callable[..., list[int]],
    nets: ModuleType,
) -> None:
    profile = make_profile(graph)
    total_s = profile.whole.min_s
    profile = msgspec.structs.replace(profile, machine=msgspec.structs.replace(profile.machine, threads=2))
    calls = measured([(1.0, 2.0, 4.0)])
    found = with_anchors(graph, profile)
    assert [halves.tensors for halves in found.halves] == [("a",), ("c",)]
    assert [halves.head.min_s for halves in found.halves] == pytest.approx([total_s / 4] * 2)
    assert [halves.tail.min_s for halves in found.halves] == pytest.approx([total_s / 2] * 2)
    assert calls == [2] * 4
    assert msgspec.structs.replace(found, halves=()) == profile
    single = load_graph(
        nets.from_text('<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[4] y) { y = Sin(x) }')
    )
    assert with_anchors(single, make_profile(single)).halves == ()
    assert len(calls) == 4


def test_a_network_beyond_protobuf_has_no_anchors(
    nets: ModuleType,
    make_profile: Callable[[ModelGraph], ModelProfile],
    measured: Callable[..., list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = load_graph(
        nets.with_weights(
            '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y) <float[4,4] w>'
            " { a = MatMul(x, w)  y = Cos(a) }"
        )
    )
    profile, calls = make_profile(graph), measured([(1.0, 1.0, 2.0)])
    monkeypatch.setattr(timing, "PROTOBUF_LIMIT", 63)  # the weights take 64 bytes
    assert with_anchors(graph, profile) == profile
    assert calls == []
    monkeypatch.setattr(timing, "PROTOBUF_LIMIT", 64)
    assert len(with_anchors(graph, profile).halves) == 1


SECONDS = st.floats(min_value=0.01, max_value=100)
RATIOS = st.floats(min_value=0.2, max_value=5)


@hypothesis.given(
    steps=st.lists(SECONDS, min_size=2, max_size=8),
    run_s=st.floats(min_value=0, max_value=1),
    data=st.data(),
)
def test_corrections(steps: list[float], run_s: float, data: Any) -> None:
    """Met at every anchor, between the ratios of its neighbours, and 1 where a half is the whole network."""
    total = sum(steps)
    heads = [sum(steps[:i]) for i in range(len(steps))]
    predicted = [Halves(head_s=run_s + h if h else 0.0, tail_s=run_s + total - h) for h in heads]
    places = data.draw(st.lists(st.integers(1, len(steps) - 1), min_size=1, unique=True))
    ratios = {place: (data.draw(RATIOS), data.draw(RATIOS)) for place in places}
    anchors = {
        place: Halves(head_s=up * predicted[place].head_s, tail_s=down * predicted[place].tail_s)
        for place, (up, down) in ratios.items()
    }
    found = correct(predicted, anchors)
    assert len(found) == len(predicted)
    assert found[0] == predicted[0]  # no head, and the whole as tail
    for i in range(1, len(steps)):
        below = max((place for place in places if place <= i), default=None)
        above = min((place for place in places if place >= i), default=None)
        head = [1.0 if above is None else ratios[above][0], *([] if below is None else [ratios[below][0]])]
        tail = [1.0 if below is None else ratios[below][1], *([] if above is None else [ratios[above][1]])]
        slack = 1e-9
        assert min(head) - slack <= found[i].head_s / predicted[i].head_s <= max(head) + slack
        assert min(tail) - slack <= found[i].tail_s / predicted[i].tail_s <= max(tail) + slack
    for place, (up, down) in ratios.items():
        assert found[place].head_s == pytest.approx(up * predicted[place].head_s)
        assert found[place].tail_s == pytest.approx(down * predicted[place].tail_s)
    assert correct(predicted, {}) == predicted


def test_an_anchor_without_one_of_its_halves_corrects_nothing() -> None:
    predicted = [Halves(head_s=0.0, tail_s=3.0), Halves(head_s=1.0, tail_s=2.0), Halves(head_s=3.0, tail_s=0.0)]
    for place in (0, 2):
        assert correct(predicted, {place: Halves(head_s=9.0, tail_s=9.0)}) == predicted
    good = correct(predicted, {1: Halves(head_s=2.0, tail_s=2.0), 0: Halves(head_s=9.0, tail_s=9.0)})
    assert good == [Halves(head_s=0.0, tail_s=3.0), Halves(head_s=2.0, tail_s=2.0), Halves(head_s=3.0, tail_s=0.0)]
