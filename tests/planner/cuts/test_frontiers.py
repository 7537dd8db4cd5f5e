"""Cuts of several tensors equal the definition, and the minimum cut equals the best of all of them."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from types import ModuleType

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from splitpoint.planner.cuts import frontiers
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.cuts.mincut import gain_of_several, optimum
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

# Two branches that both shrink: together they are less than what they come from and what they grow into.
BRANCHES = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4,8,8] x) => (float[1,8,8,8] y)
  <float[2] w = {1.0, 2.0}> {
  a = Sigmoid(x)
  p = MaxPool <kernel_shape = [4, 4], strides = [4, 4]> (a)
  q = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (a)
  s = Tanh(p)
  t = Sin(q)
  u = Concat <axis = 1> (s, t)
  y = Resize <mode = "nearest"> (u, , scales)
}"""


def crossing(graph: ModelGraph, head: set[int]) -> tuple[str, ...]:
    """By definition, in no special order: made by the head or given, and read by the rest or the model's output."""
    made = {tensor.name for tensor in graph.inputs}
    made |= {name for index in head for name in graph.nodes[index].outputs}
    read = {tensor.name for tensor in graph.outputs}
    read |= {name for node in graph.nodes if node.index not in head for name in node.inputs}
    return tuple(sorted(made & read))


def down_sets(graph: ModelGraph) -> list[set[int]]:
    """All of them: with a node its makers. Exponential; for graphs of a dozen nodes."""
    makers = {name: node.index for node in graph.nodes for name in node.outputs}
    needs = [{makers[name] for name in node.inputs if name in makers} for node in graph.nodes]
    found: list[set[int]] = [set()]
    for node in graph.nodes:
        found += [head | {node.index} for head in found if needs[node.index] <= head]
    return found


@hypothesis.settings(max_examples=80)
@hypothesis.given(data=st.data(), k=st.integers(1, 3))
def test_cuts_of_random_graphs_equal_the_definition(strategies: ModuleType, data: st.DataObject, k: int) -> None:
    graph = load_graph(data.draw(strategies.random_models()))
    outputs = {tensor.name for tensor in graph.outputs}
    expected = {
        crossing(graph, head): frozenset(head)
        for head in down_sets(graph)
        if len(head) < len(graph.nodes)
        and 1 <= len(crossing(graph, head)) <= k
        and not outputs & set(crossing(graph, head))
    }
    cuts = enumerate_cuts(graph, k=k).cuts
    assert {tuple(sorted(cut.tensors)): frozenset(cut.head) for cut in cuts} == expected
    assert len(cuts) == len(expected)
    for cut in cuts:
        assert cut.bytes == sum(graph.tensors[name].bytes for name in cut.tensors)
        assert cut.head_macs == sum(graph.nodes[index].macs or 0 for index in cut.head)
    assert [cut.index for cut in cuts] == list(range(len(cuts)))


@hypothesis.settings(max_examples=80)
@hypothesis.given(data=st.data(), seed=st.integers(0, 2**32))
def test_the_minimum_cut_is_the_best_of_all_heads(strategies: ModuleType, data: st.DataObject, seed: int) -> None:
    graph = load_graph(data.draw(strategies.random_models()))
    rng = random.Random(seed)
    head_s = [rng.choice([0.0, 1.0, 2.0, 5.0]) for _ in graph.nodes]
    tail_s = [rng.choice([0.0, 0.5, 1.0]) for _ in graph.nodes]
    send_s = {name: rng.choice([0.25, 1.0, 3.0, 8.0]) for name in graph.tensors}
    outputs = {tensor.name for tensor in graph.outputs}

    def seconds(head: set[int]) -> float:
        split_s = sum(head_s[index] if index in head else tail_s[index] for index in range(len(graph.nodes)))
        return split_s + sum(send_s[name] for name in crossing(graph, head) if len(head) < len(graph.nodes))

    allowed = [
        head for head in down_sets(graph) if len(head) == len(graph.nodes) or not outputs & set(crossing(graph, head))
    ]
    best = optimum(graph, head_s=head_s, tail_s=tail_s, send_s=send_s)
    assert best.seconds == pytest.approx(min(map(seconds, allowed)))
    assert seconds(set(best.head)) == pytest.approx(best.seconds)
    if len(best.head) < len(graph.nodes):
        assert tuple(sorted(best.tensors)) == crossing(graph, set(best.head))
    else:
        assert best.tensors == ()


@pytest.fixture(scope="module")
def branches(nets: ModuleType) -> ModelGraph:
    text = BRANCHES.replace("float[2] w = {1.0, 2.0}", "float[4] scales = {1.0, 1.0, 4.0, 4.0}")
    return load_graph(nets.from_text(text))


def test_two_tensors_win_where_two_branches_shrink(branches: ModelGraph) -> None:
    send_s = {name: 1e-3 * tensor.bytes for name, tensor in branches.tensors.items()}
    head_s = [0.001] * 6 + [10.0]  # the last operator is too slow for the device
    best = optimum(branches, head_s=head_s, tail_s=[0.0001] * 7, send_s=send_s)
    assert best.seconds == pytest.approx(3 * 0.001 + 4 * 0.0001 + send_s["p"] + send_s["q"])
    assert set(best.tensors) == {"p", "q"}
    assert min(send_s[name] for name in ("x", "a", "u")) > 0.9 * (send_s["p"] + send_s["q"])
    send_s["u"] /= 100
    best = optimum(branches, head_s=head_s, tail_s=[0.0001] * 7, send_s=send_s)
    assert best.tensors == ("u",)


def test_a_gain_is_reported_where_single_tensors_do_not_hold_the_optimum(branches: ModelGraph) -> None:
    send_s = {name: 1e-3 * tensor.bytes for name, tensor in branches.tensors.items()}
    check = functools.partial(
        gain_of_several, branches, head_s=[0.001] * 6 + [10.0], tail_s=[0.0001] * 7, send_s=send_s
    )
    singles = enumerate_cuts(branches).cuts
    send_s["u"] *= 1.2
    gain = check(singles)
    assert gain is not None
    assert set(gain.best.tensors) == {"p", "q"}
    assert gain.single_s == pytest.approx(6 * 0.001 + 0.0001 + send_s["u"])
    assert 0.1 < gain.fraction < 0.2
    assert "sending 2 tensors together ('p', 'q')" in str(gain)
    assert check(enumerate_cuts(branches, k=2).cuts) is None
    del send_s["p"], send_s["s"]
    assert check(singles) is None


def test_pairs_lie_between_single_cuts(branches: ModelGraph) -> None:
    assert [cut.tensors for cut in enumerate_cuts(branches).cuts] == [("x",), ("a",), ("u",)]
    pairs = [set(cut.tensors) for cut in enumerate_cuts(branches, k=2).cuts if len(cut.tensors) == 2]
    expected = [{"p", "q"}, {"p", "t"}, {"s", "q"}, {"s", "t"}, {"a", "p"}, {"a", "q"}, {"a", "s"}, {"a", "t"}]
    assert sorted(map(sorted, pairs)) == sorted(map(sorted, expected))


def test_heads_and_tails_of_pairs_equal_the_whole(branches: ModelGraph, torch_graph: Callable[..., ModelGraph]) -> None:
    resnet = torch_graph("resnet18", input_side=64, width=8, classes=10)
    for graph in (branches, resnet):
        whole = open_session(whole_bytes(graph), level="basic", threads=1)
        feeds = random_feeds(whole.inputs)
        expected = whole.run(feeds)
        pairs = [cut for cut in enumerate_cuts(graph, k=2).cuts if len(cut.tensors) == 2]
        assert pairs
        for cut in itertools.islice(pairs, 0, None, 3):
            head, tail = split(graph, cut)
            sent = open_session(head, level="basic", threads=1).run(feeds)
            assert list(sent) == list(cut.tensors)
            got = open_session(tail, level="basic", threads=1).run(sent)
            assert all(np.array_equal(got[name], expected[name]) for name in expected)


def test_two_inputs_are_a_cut_of_two(nets: ModuleType) -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x, float[1,4] z) => (float[1,4] y)'
    graph = load_graph(nets.from_text(text + " { a = Add(x, z)  y = Tanh(a) }"))
    cuts = enumerate_cuts(graph, k=2).cuts
    assert (cuts[0].tensors, cuts[0].head, cuts[0].after) == (("x", "z"), (), "input")


def test_a_segment_with_too_many_sets_says_so_and_tries_smaller_ones(
    branches: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontiers, "MAX_HEADS", 5)  # of the five nodes between a and u: alone, not in pairs
    result = enumerate_cuts(branches, k=2)
    assert {cut.tensors for cut in result.cuts} == {("x",), ("a",), ("u",), *(("a", name) for name in "pqst")}
    (place,) = result.rejected
    assert (place.after, place.tensors) == (branches.nodes[0].name, ())
    assert place.reason.endswith("heads that end in more than 1 were not tried")


def test_what_every_cut_costs_alike_counts_against_staying_on_the_device(branches: ModelGraph) -> None:
    send_s = {name: 1e-3 * tensor.bytes for name, tensor in branches.tensors.items()}
    send_s["u"] *= 1.2
    singles = enumerate_cuts(branches).cuts
    check = functools.partial(gain_of_several, branches, singles, tail_s=[0.0001] * 7, send_s=send_s)
    assert check(head_s=[0.001] * 6 + [0.5]) is not None
    assert check(head_s=[0.001] * 6 + [0.5], fixed_s=0.4) is None
