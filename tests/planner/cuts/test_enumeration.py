"""Cuts: equal to the definition on random graphs, refusals with reasons, counts on known networks."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import ModuleType

import hypothesis
import pytest
from hypothesis import strategies as st

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

HEADER = '<ir_version: 8, opset_import: ["": 17]>'


def text_graph(nets: ModuleType, text: str) -> ModelGraph:
    return load_graph(nets.from_text(HEADER + text))


def brute_force(graph: ModelGraph) -> dict[str, frozenset[int]]:
    """By definition: the head of t is all ancestors of t; t is a cut when nothing else leaves the head."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    inputs = {tensor.name for tensor in graph.inputs}
    outputs = {tensor.name for tensor in graph.outputs}
    found = {}
    for tensor in graph.tensors:
        if tensor in outputs:
            continue
        head: set[int] = set()
        todo = [tensor]
        while todo:
            node = makers.get(todo.pop())
            if node is not None and node.index not in head:
                head.add(node.index)
                todo += node.inputs
        made = inputs | {name for index in head for name in graph.nodes[index].outputs}
        read = {name for node in graph.nodes if node.index not in head for name in node.inputs}
        if made & (read | outputs) == {tensor}:
            found[tensor] = frozenset(head)
    return found


@hypothesis.settings(max_examples=150)
@hypothesis.given(data=st.data())
def test_cuts_of_random_graphs_equal_the_definition(strategies: ModuleType, data: st.DataObject) -> None:
    graph = load_graph(data.draw(strategies.random_models()))
    cuts = enumerate_cuts(graph).cuts
    assert {cut.tensors[0]: frozenset(cut.head) for cut in cuts} == brute_force(graph)


@hypothesis.settings(max_examples=50)
@hypothesis.given(data=st.data())
def test_every_place_is_a_cut_or_has_a_reason_and_totals_are_cumulative(
    strategies: ModuleType, data: st.DataObject
) -> None:
    graph = load_graph(data.draw(strategies.random_models()))
    result = enumerate_cuts(graph)
    assert len(result.cuts) + len(result.rejected) == len(graph.nodes)
    assert all(place.reason for place in result.rejected)
    for cut in result.cuts:
        head = [graph.nodes[index] for index in cut.head]
        assert cut.head_macs == sum(node.macs or 0 for node in head)
        assert cut.head_parameters == sum(node.parameters for node in head)
        assert cut.head_weight_bytes == sum(node.weight_bytes for node in head)
    heads = [set(cut.head) for cut in result.cuts]
    assert all(first < second for first, second in itertools.pairwise(heads))


def test_a_shared_weight_counts_once(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        """ g (float[1,2,3,3] x) => (float[1,2,3,3] y) <float[2,2,1,1] w = {1.0, 2.0, 3.0, 4.0}>
        { a = Conv(x, w)  b = Sigmoid(a)  c = Conv(b, w)  y = Sigmoid(c) }""",
    )
    assert graph.parameters == 4
    assert [cut.head_parameters for cut in enumerate_cuts(graph).cuts] == [0, 4, 4, 4]


def test_the_input_is_cut_zero_and_the_output_is_none(nets: ModuleType) -> None:
    graph = text_graph(nets, " g (float[1,4] x) => (float[1,4] y) { a = Sigmoid(x)  y = Tanh(a) }")
    cuts = enumerate_cuts(graph).cuts
    assert [(cut.index, cut.tensors, cut.after, cut.head) for cut in cuts] == [
        (0, ("x",), "input", ()),
        (1, ("a",), graph.nodes[0].name, (0,)),
    ]
    assert cuts[0].bytes == 16


def test_skip_connection_names_both_tensors(nets: ModuleType) -> None:
    graph = text_graph(
        nets, " g (float[1,4] x) => (float[1,4] y) { a = Sigmoid(x)  b = Tanh(a)  c = Exp(b)  y = Add(a, c) }"
    )
    result = enumerate_cuts(graph)
    assert [cut.tensors for cut in result.cuts] == [("x",), ("a",)]
    assert [place.reason for place in result.rejected] == [
        "2 tensors cross: 'a', 'b'",
        "2 tensors cross: 'a', 'c'",
    ]


def test_two_inputs_cross_together(nets: ModuleType) -> None:
    graph = text_graph(nets, " g (float[1,4] x, float[1,4] z) => (float[1,4] y) { a = Add(x, z)  y = Tanh(a) }")
    result = enumerate_cuts(graph)
    assert [cut.tensors for cut in result.cuts] == [("x", "z"), ("a",)]
    assert result.cuts[0].head == ()


def test_each_further_input_may_cross_beside_what_is_asked_for(nets: ModuleType) -> None:
    text = """ g (float[1,4] x, float[2,4] state, bool[1,4] mask) => (float[1,4] y) {
        a = Relu(x)  b = Tanh(a)  c = Add(a, b)  s = ReduceMean <axes = [0]> (state)  d = Add(c, s)
        m = Cast <to = 1> (mask)  e = Mul(d, m)  y = Tanh(e) }"""
    graph = text_graph(nets, text)
    found = {cut.tensors for cut in enumerate_cuts(graph).cuts}
    assert {("x", "state", "mask"), ("state", "mask", "a"), ("mask", "d"), ("e",)} <= found
    assert not any(len(tensors) > 3 for tensors in found)
    assert ("state", "mask", "a", "b") in {cut.tensors for cut in enumerate_cuts(graph, k=2).cuts}


def test_no_more_tensors_cross_than_a_message_can_hold(nets: ModuleType) -> None:
    names = [f"x{i}" for i in range(16)]
    adds = "  ".join(f"s{i} = Add({'x0' if i == 1 else f's{i - 1}'}, x{i})" for i in range(1, 16))
    graph = text_graph(
        nets, f" g ({', '.join(f'float[1,4] {n}' for n in names)}) => (float[1,4] y) {{ {adds}  y = Tanh(s15) }}"
    )
    result = enumerate_cuts(graph)
    assert len(result.rejected[0].tensors) == 16
    assert max(len(cut.tensors) for cut in result.cuts) == 15


def test_an_output_made_early_refuses_all_places_after_it(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        " g (float[1,4] x) => (float[1,4] e, float[1,4] y) { a = Sigmoid(x)  e = Tanh(a)  b = Exp(a)  y = Sin(b) }",
    )
    result = enumerate_cuts(graph)
    assert [cut.tensors for cut in result.cuts] == [("x",), ("a",)]
    assert any("output 'e' is made before" in place.reason for place in result.rejected)


def test_capture_of_a_subgraph_is_the_reason(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        """ g (float[1,4] x) => (float[1,4] y) {
          h = Sigmoid(x)
          a = Tanh(h)
          s = ReduceSum <keepdims = 0> (a)
          c = Cast <to = 9> (s)
          y = If (c) <
            then_branch = t () => (float[1,4] p) { p = Exp(h) },
            else_branch = e () => (float[1,4] q) { q = Sin(a) }
          >
        }""",
    )
    reader = graph.nodes[-1]
    assert reader.op_type == "If"
    assert {"h", "a"} <= set(reader.inputs)
    assert reader.macs == 0  # of the branch that runs take: one Exp
    result = enumerate_cuts(graph)
    assert [cut.tensors for cut in result.cuts] == [("x",), ("h",)]
    assert all(f"node {reader.name!r} (If) captures outer value 'h'" in place.reason for place in result.rejected)


def test_a_sequence_is_no_tensor(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        """ g (float[2,4] x) => (float[2,4] y) {
          a = Sigmoid(x)
          s = SplitToSequence <axis = 0> (a)
          b = ConcatFromSequence <axis = 0> (s)
          c = Tanh(b)
          y = Identity(c)
        }""",
    )
    result = enumerate_cuts(graph)
    assert "s" not in [cut.tensors[0] for cut in result.cuts]
    assert any("'s' is not a tensor of known shape" in place.reason for place in result.rejected)


@pytest.mark.parametrize("k", [1, 2])
def test_what_no_payload_can_carry_is_no_cut_and_the_reason_is_given(nets: ModuleType, k: int) -> None:
    graph = text_graph(
        nets,
        """ g (float[1,4] x) => (int64[2,N] y) {
          h = Cast <to = 16> (x)
          a = Cast <to = 1> (h)
          z = NonZero(a)
          m = Neg(z)
          y = Abs(m)
        }""",
    )
    result = enumerate_cuts(graph, k=k)
    assert [cut.tensors for cut in result.cuts] == [("x",), ("a",)]
    reasons = {place.tensors: place.reason for place in result.rejected}
    assert reasons["h",] == "'h' holds bfloat16, which no payload here can carry"
    assert reasons["z",] == "'z' has no fixed shape: its size depends on the data ([2, 4] in two runs)"
    assert graph.tensors["h"].bytes == 8  # it counts in memory and traffic all the same
    assert graph.bytes_of("z") == 2 * 4 * 8


def test_an_empty_tensor_is_no_cut(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        """ g (float[1,4] x) => (float[1,4] y) <int64[1] none = {0}, int64[1] axis = {1}> {
          e = Slice(x, none, none, axis)
          f = Tanh(e)
          s = ReduceSum(f, axis)
          y = Add(x, s)
        }""",
    )
    several = enumerate_cuts(graph, k=2)
    assert all("e" not in cut.tensors and "f" not in cut.tensors for cut in several.cuts)
    assert any(place.reason == "'f' is empty: its shape is [1, 0]" for place in several.rejected)


def test_random_numbers_are_made_where_they_are_read(nets: ModuleType) -> None:
    graph = text_graph(
        nets,
        """ g (float[1,4] x) => (float[1,4] y) {
          r = RandomNormal <shape = [1, 4], seed = 1.0> ()
          a = Sigmoid(x)
          b = Tanh(a)
          c = Add(b, r)
          y = Exp(c)
        }""",
    )
    assert [cut.tensors for cut in enumerate_cuts(graph).cuts] == [("x",), ("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # Input, stem (convolution, ReLU, pool), sum and ReLU of each of 8 blocks, mean (the linear makes the output).
        ("resnet18", {"width": 8, "classes": 10}, 21),
        # A chain: every tensor but the output.
        ("vgg16", {"width": 4, "side": 64, "classes": 10, "hidden": 32}, 37),
        # Input, stem (3), of 4 stages the concatenation, of 3 transitions and the end BatchNorm, ReLU, ...: inside a
        # stage every earlier layer's output still crosses.
        ("densenet121", {"growth": 4, "stem": 8, "stages": (3, 4, 3, 3), "classes": 10}, 23),
    ],
)
def test_counts_of_known_networks(
    torch_graph: Callable[..., ModelGraph], name: str, options: dict[str, object], expected: int
) -> None:
    cuts = enumerate_cuts(torch_graph(name, input_side=64, **options)).cuts
    assert len({cut.tensors for cut in cuts}) == len(cuts) == expected
