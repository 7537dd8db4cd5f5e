"""Shapes, trips and branches that only runs tell; what must not be believed of them; and no run without need."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest
from onnx import TensorProto, numpy_helper

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.onnxir import ir
from splitpoint.profiles.network.operators import observed_shapes

HEADER = '<ir_version: 9, opset_import: ["": 20, "com.microsoft": 1]>'


def graph_of(text: str) -> ModelGraph:
    """A graph in ONNX's text; values declared in <...> without data get seeded numbers."""
    proto = onnx.parser.parse_model(HEADER + " g " + text)
    made = {name for node in proto.graph.node for name in node.output} | {value.name for value in proto.graph.input}
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        if value.name not in made | {weight.name for weight in proto.graph.initializer}:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), value.name))
    del proto.graph.value_info[:]
    return load_graph(proto.SerializeToString())


def shapes(graph: ModelGraph) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in graph.tensors.items()}


def node_named(graph: ModelGraph, op_type: str) -> Any:
    return next(node for node in graph.nodes if node.op_type == op_type)


def test_the_same_arithmetic_with_and_without_an_operator_of_onnx_runtime() -> None:
    text = """(float[1,6,8] x) => (float[1,6,4] y) <float[8,8] w, float[8,4] v> {{
      a = {gelu}(x)  b = MatMul(a, w)  c = Relu(b)  y = MatMul(c, v) }}"""
    standard, microsoft = graph_of(text.format(gelu="Gelu")), graph_of(text.format(gelu="com.microsoft.Gelu"))
    assert shapes(microsoft) == shapes(standard)
    assert [cut.after for cut in enumerate_cuts(microsoft).cuts] == [cut.after for cut in enumerate_cuts(standard).cuts]
    assert microsoft.macs == standard.macs == 6 * 8 * 8 + 6 * 8 * 4
    assert microsoft.unsized == {}


def test_types_are_taken_from_runs_too() -> None:
    graph = graph_of(
        """(float[1,4] x) => (float[1,4] y) {
          a = com.microsoft.Gelu(x)  h = Cast <to = 10> (a)  i = Cast <to = 7> (h)  z = Cast <to = 16> (h)
          b = Cast <to = 1> (z)  c = Cast <to = 1> (i)  y = Add(b, c) }"""
    )
    kinds = {name: tensor.dtype for name, tensor in graph.tensors.items()}
    assert (kinds["a"], kinds["h"], kinds["i"], kinds["z"]) == ("float32", "float16", "int64", "bfloat16")
    assert graph.tensors["z"].bytes == 8


def test_a_sequence_is_no_tensor_and_what_comes_from_it_is() -> None:
    graph = graph_of(
        """(float[2,4] x) => (float[2,4] y) <int64 one = {1}> {
          a = com.microsoft.Gelu(x)  s = SplitToSequence <axis = 0> (a, one)  b = ConcatFromSequence <axis = 0> (s)
          y = Relu(b) }"""
    )
    assert shapes(graph)["b"] == ((2, 4), "float32")
    assert "s" not in graph.tensors
    assert [cut.tensors for cut in enumerate_cuts(graph).cuts] == [("x",), ("a",), ("b",)]


def test_outputs_that_are_left_out_keep_their_place() -> None:
    graph = graph_of(
        """(float[1,3,4] x) => (float[1,3,4] y) <float[4] gamma> {
          a, , , s = com.microsoft.SkipLayerNormalization(x, x, gamma)  y = Add(a, s) }"""
    )
    assert shapes(graph) == dict.fromkeys(["x", "a", "s", "y"], ((1, 3, 4), "float32"))
    assert graph.nodes[0].outputs == ("a", "s")


LOOP = """(float[2,4] x) => (float[2,4] y) <float[4,4] w, int64 trips = {3}> {
  a = Relu(x)
  b = Loop (trips, , a) <body = body (int64 i, bool go, float[2,4] s) => (bool go_on, float[2,4] t)
    { go_on = Identity(go)  m = MatMul(s, w)  t = Tanh(m) }>
  y = Relu(b) }"""


def test_a_loop_counts_its_trips() -> None:
    loop = node_named(graph_of(LOOP), "Loop")
    assert (loop.macs, loop.op_class) == (3 * 2 * 4 * 4, "matmul")
    assert loop.operators == 1 + 3 * 3
    floats, flags = 4 * 8, 1
    assert loop.inner_bytes == 3 * (2 * flags + (2 * floats + 4 * 16) + 2 * floats)


def test_trips_that_the_data_decide_are_those_of_the_longer_run_and_what_they_stack_has_no_size() -> None:
    graph = graph_of(
        """(float[2,4] x) => (float[2,4] y, float[N,2,4] z) <float[4,4] w, int64 most = {9}> {
          sum = ReduceSum <keepdims = 0> (x)  zero = Sub(sum, sum)  more = Greater(sum, zero)
          some = Cast <to = 7> (more)  trips = Add(some, most)
          y, all = Loop (trips, , x) <body = body (int64 i, bool go, float[2,4] s)
              => (bool on, float[2,4] t, float[2,4] u) { on = Identity(go)  t = MatMul(s, w)  u = Identity(t) }>
          z = Relu(all) }"""
    )
    assert node_named(graph, "Loop").macs == 10 * 2 * 4 * 4
    assert graph.tensors["y"].shape == (2, 4)
    assert graph.unsized["all"].bytes == 4 * 10 * 2 * 4
    assert "[10, 2, 4]" in graph.unsized["all"].reason
    assert "[9, 2, 4]" in graph.unsized["all"].reason
    assert graph.bytes_of("all") == 4 * 80


def test_what_a_loop_stacks_has_no_size_when_the_data_decide_its_trips_and_two_runs_agree() -> None:
    graph = graph_of(
        """(float[2,4] x) => (float[2,4] y, float[N,2,4] z) <int64 most = {9}> {
          sum = ReduceSum <keepdims = 0> (x)  zero = Sub(sum, sum)  none = Cast <to = 7> (zero)  trips = Add(none, most)
          y, z = Loop (trips, , x) <body = body (int64 i, bool go, float[2,4] s)
              => (bool on, float[2,4] t, float[2,4] u) { on = Identity(go)  t = Tanh(s)  u = Identity(t) }> }"""
    )
    assert graph.unsized.keys() == {"z"}


def test_branches_of_two_sizes_have_none_and_what_follows_has_none() -> None:
    graph = graph_of(
        """(float[1,8] x) => (float[N,8] y) {
          s = ReduceSum <keepdims = 0> (x)  zero = Sub(s, s)  c = Greater(s, zero)
          b = If (c) <then_branch = t () => (float[1,8] p) { p = Tanh(x) },
                      else_branch = e () => (float[2,8] q) { q = Concat <axis = 0> (x, x) }>
          g = com.microsoft.Gelu(b)  y = Relu(g) }"""
    )
    assert graph.unsized.keys() == {"b", "g", "y"}
    assert all("[1, 8]" in found.reason and "[2, 8]" in found.reason for found in graph.unsized.values())
    assert [cut.tensors for cut in enumerate_cuts(graph).cuts] == [("x",)]


def test_a_loop_in_a_loop_and_shapes_that_grow() -> None:
    graph = graph_of(
        """(float[1,4] x) => (float[1,4] y) <float[4,4] w, int64 outer = {2}, int64 inner = {3}> {
          y, all = Loop (outer, , x, x) <body = body (int64 i, bool go, float[1,4] s, float[N,4] kept)
              => (bool on, float[1,4] r, float[M,4] longer)
            { on = Identity(go)
              t = Loop (inner, , s) <body = b (int64 j, bool g, float[1,4] p) => (bool o, float[1,4] q)
                { o = Identity(g)  q = MatMul(p, w) }>
              longer = Concat <axis = 0> (kept, t)  turned = Transpose (longer)
              scores = MatMul(t, turned)  r = MatMul(scores, longer) }> }"""
    )
    loop = next(node for node in graph.nodes if node.op_type == "Loop")
    assert loop.macs == 2 * 3 * 16 + 2 * 4 * (2 + 3)  # 2 keys in the first trip, 3 in the second


def test_scan_counts_its_steps() -> None:
    graph = graph_of(
        """(float[5,4] x) => (float[4] y) <float[4,4] w, float[4] start> {
          y, all = Scan <num_scan_inputs = 1, body = body (float[4] s, float[4] e) => (float[4] t, float[4] u)
            { m = MatMul(e, w)  t = Add(s, m)  u = Identity(t) }> (start, x) }"""
    )
    assert node_named(graph, "Scan").macs == 5 * 4 * 4


IF = """(float[1,8] x) => (float[1,8] y) <float[8,8] w, float[8,8] v> {
  s = ReduceSum <keepdims = 0> (x)  zero = Sub(s, s)  c = Greater(s, zero)
  y = If (c) <then_branch = t () => (float[1,8] p) { h = MatMul(x, w)  p = MatMul(h, v) },
              else_branch = e () => (float[1,8] q) { h = Relu(x)  q = Tanh(h) }> }"""


def test_of_two_branches_the_dearer_one_is_counted_though_node_names_are_equal() -> None:
    graph = graph_of(IF)
    branch = node_named(graph, "If")
    assert branch.macs == 2 * 8 * 8  # x and -x take different branches
    assert branch.operators == 3
    assert graph.uncounted == {}


def test_an_operator_inside_that_is_not_counted_is_named() -> None:
    graph = graph_of(
        """(float[1,2,2] x) => (float[1] y) <bool yes = {1}> {
          s = ReduceSum <keepdims = 0> (x)  c = Cast <to = 9> (s)
          y = If (c) <then_branch = t () => (float[1] p) { p = Det(x) },
                      else_branch = e () => (float[1] q) { q = Det(x) }> }"""
    )
    assert (node_named(graph, "If").macs, graph.uncounted) == (None, {"Det in If": 1})


@pytest.mark.parametrize(
    "text",
    [
        "a = Sigmoid(x)  n = NonZero(a)",  # all 8 in every run
        "a = Relu(x)  b = Sub(a, a)  n = NonZero(b)",  # none in any run
    ],
)
def test_sizes_that_follow_from_numbers_are_not_believed_though_two_runs_agree(text: str) -> None:
    rest = "g = Cast <to = 1> (n)  h = com.microsoft.Gelu(g)  y = Cast <to = 7> (h)"
    graph = graph_of(f"(float[2,4] x) => (int64[2,N] y) {{ {text}  {rest} }}")
    assert {"n", "g", "h"} <= graph.unsized.keys()
    assert graph.unsized["n"].reason.startswith("its size depends on the data")
    assert all(cut.tensors != ("n",) for cut in enumerate_cuts(graph).cuts)


def test_a_size_from_numbers_reaches_through_shape_arithmetic() -> None:
    graph = graph_of(
        """(float[1,4] x) => (float[N] y) <int64[1] one = {1}> {
          a = Sigmoid(x)  n = NonZero(a)  s = Shape(n)  t = Gather(s, one)  o = ConstantOfShape(t)  y = Relu(o) }"""
    )
    assert {"n", "o", "y"} <= graph.unsized.keys()
    assert shapes(graph)["t"] == ((1,), "int64")


def test_a_size_from_the_inputs_shape_alone_is_believed() -> None:
    graph = graph_of(
        """(float[1,4] x) => (float[4] y) <int64[1] one = {1}> {
          a = com.microsoft.Gelu(x)  s = Shape(a)  t = Gather(s, one)  o = Expand(a, t)  r = Reshape(a, t)
          y = Relu(r) }"""
    )
    assert graph.unsized == {}
    assert shapes(graph)["r"] == ((4,), "float32")


def test_integers_that_are_indices_stay_where_only_zero_fits() -> None:
    graph = graph_of(
        """(int64[1,3] ids) => (float[1,3,4] y) <float[1,4] table> {
          e = Gather(table, ids)  g = com.microsoft.Gelu(e)  y = Relu(g) }"""
    )
    assert shapes(graph)["g"] == ((1, 3, 4), "float32")


def test_nothing_is_run_when_all_shapes_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a run that nothing needs")

    monkeypatch.setattr(observed_shapes, "open_model", refuse)
    assert graph_of("(float[1,4] x) => (float[1,4] y) { a = Gelu(x)  y = Relu(a) }").macs == 0
    with pytest.raises(AssertionError, match="a run"):
        graph_of("(float[1,4] x) => (float[1,4] y) { a = com.microsoft.Gelu(x)  y = Relu(a) }")


@pytest.mark.parametrize("text", [LOOP, IF])
def test_observing_leaves_the_model_as_it_was(text: str) -> None:
    graph = graph_of(text)
    again = load_graph(whole_bytes(graph))
    assert again.sha256 == graph.sha256
    names = [node.name or "" for node in ir.traversal.RecursiveGraphIterator(graph.model.graph)]
    assert len(names) > len(graph.nodes)
    assert len(set(names)) == len(names)  # also inside, where the profiler of a measurement lists them too
    assert not any(name.isdecimal() for name in names)


def parameters_in_bodies() -> Any:
    weight = numpy_helper.from_array(np.ones((8, 8), np.float32), "k")
    constant = onnx.helper.make_node("Constant", [], ["k"], value=weight)
    value = onnx.helper.make_tensor_value_info
    for held in ("initializer", "constant"):
        branches = [
            onnx.helper.make_graph(
                [*([constant] if held == "constant" else []), onnx.helper.make_node("MatMul", ["x", "k"], [name])],
                name,
                [],
                [value(name, TensorProto.FLOAT, [1, 8])],
                [weight] if held == "initializer" else [],
            )
            for name in "pq"
        ]
        nodes = [
            onnx.helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
            onnx.helper.make_node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
            onnx.helper.make_node("If", ["c"], ["z"], "if", then_branch=branches[0], else_branch=branches[1]),
            onnx.helper.make_node("Relu", ["z"], ["y"]),
        ]
        x, y = (value(name, TensorProto.FLOAT, [1, 8]) for name in "xy")
        graph = onnx.helper.make_graph(nodes, "g", [x], [y])
        imports = [onnx.helper.make_opsetid("", 17)]
        yield held, onnx.helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


@pytest.mark.parametrize(("held", "model"), list(parameters_in_bodies()))
def test_weights_of_every_branch_have_bytes_and_are_parameters(held: str, model: bytes) -> None:
    graph = load_graph(model)
    assert (graph.parameters, node_named(graph, "If").weight_bytes) == (2 * 64, 2 * 4 * 64)
    after = next(cut for cut in enumerate_cuts(graph).cuts if cut.after == "if")
    assert (after.head_parameters, after.head_weight_bytes, after.head_macs) == (128, 512, 64)
