"""Export: head then tail gives the whole's bits for every cut, codecs join on, and wrong joins are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType

import hypothesis
import numpy as np
import onnx
import pytest
from hypothesis import strategies as st

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import join_decoder, join_encoder, split, whole_bytes
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import Array, open_session

HEADER = '<ir_version: 8, opset_import: ["": 17]>'
RESIDUAL = """ g (float[1,2,4,4] x) => (float[1,3] y)
<float[2,2,1,1] w = {0.5, -1.0, 2.0, 0.25}, float[32,3] v> {
  a = Conv(x, w)  b = Relu(a)  c = Conv(b, w)  d = Add(b, c)  e = Relu(d)  f = Flatten(e)  y = MatMul(f, v)
}"""
NETWORKS = [
    ("resnet18", 64, {"width": 8, "classes": 10}),
    ("vgg16", 64, {"width": 4, "side": 64, "classes": 10, "hidden": 32}),
    ("densenet121", 64, {"growth": 4, "stem": 8, "stages": (3, 4, 3, 3), "classes": 10}),
    ("mobilenet_v2", 64, {"width": 0.25, "classes": 10}),
]
FullSize = tuple[str, int, dict[str, object]]
FULL_SIZE: list[FullSize] = [("resnet18", 224, {}), ("vgg16", 224, {}), ("densenet121", 224, {})]


def run(model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return open_session(model, level="basic", threads=1).run(feeds)


def check_all_cuts(graph: ModelGraph) -> int:
    """Head then tail equals the whole bit for bit, and the sides share no operator; gives the number of cuts."""
    whole = open_session(whole_bytes(graph), level="basic", threads=1)
    feeds = random_feeds(whole.inputs, seed=1)
    expected = whole.run(feeds)
    cuts = enumerate_cuts(graph).cuts
    for cut in cuts:
        head, tail = split(graph, cut)
        crossing = run(head, feeds)
        assert list(crossing) == list(cut.tensors)
        got = run(tail, crossing)
        assert all(np.array_equal(got[name], expected[name]) for name in expected), cut.after
        names = [[node.name for node in onnx.load_model_from_string(side).graph.node] for side in (head, tail)]
        assert sorted(names[0] + names[1]) == sorted(node.name for node in graph.nodes)
    return len(cuts)


@pytest.fixture(scope="module")
def residual(nets: ModuleType) -> ModelGraph:
    return load_graph(nets.with_weights(HEADER + RESIDUAL))


def cut_at(graph: ModelGraph, tensor: str) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == (tensor,))


@pytest.mark.parametrize(("name", "input_side", "options"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_head_and_tail_equal_the_whole_bit_for_bit_at_every_cut(
    torch_graph: Callable[..., ModelGraph], name: str, input_side: int, options: dict[str, object]
) -> None:
    assert check_all_cuts(torch_graph(name, input_side=input_side, **options)) > 20


@pytest.mark.slow
@pytest.mark.parametrize(("name", "input_side", "options"), FULL_SIZE, ids=[row[0] for row in FULL_SIZE])
def test_head_and_tail_equal_the_whole_at_full_size(
    torch_graph: Callable[..., ModelGraph], name: str, input_side: int, options: dict[str, object]
) -> None:
    assert check_all_cuts(torch_graph(name, input_side=input_side, **options)) > 20


@hypothesis.settings(max_examples=60)
@hypothesis.given(data=st.data())
def test_head_and_tail_equal_the_whole_on_random_graphs(strategies: ModuleType, data: st.DataObject) -> None:
    check_all_cuts(load_graph(data.draw(strategies.random_models())))


def test_a_weight_of_both_sides_is_in_both(residual: ModelGraph) -> None:
    head, tail = split(residual, cut_at(residual, "b"))
    sides = [{w.name for w in onnx.load_model_from_string(side).graph.initializer} for side in (head, tail)]
    assert sides == [{"w"}, {"w", "v"}]


def test_the_same_cut_gives_the_same_bytes(residual: ModelGraph) -> None:
    cut = cut_at(residual, "b")
    assert split(residual, cut) == split(residual, cut)
    assert split(residual, cut) == split(load_graph(whole_bytes(residual)), cut)


def test_the_head_of_the_input_gives_the_input_back(residual: ModelGraph) -> None:
    head, tail = split(residual, enumerate_cuts(residual).cuts[0])
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    assert np.array_equal(run(head, {"x": x})["x"], x)
    assert tail == whole_bytes(residual)


def test_captured_values_go_with_the_tail(nets: ModuleType) -> None:
    graph = load_graph(
        nets.from_text(
            HEADER
            + """ g (float[1,4] x) => (float[1,4] y) {
              h = Sigmoid(x)
              s = ReduceSum <keepdims = 0> (h)
              c = Cast <to = 9> (s)
              y = If (c) <
                then_branch = t () => (float[1,4] p) { p = Exp(h) },
                else_branch = e () => (float[1,4] q) { q = Sin(h) }
              >
            }"""
        )
    )
    assert check_all_cuts(graph) == 2


def test_a_wrong_head_is_refused(residual: ModelGraph) -> None:
    good = cut_at(residual, "b")
    wrong = Cut(
        index=0,
        tensors=("b",),
        after="x",
        head=(0,),
        elements=32,
        bytes=128,
        head_macs=0,
        head_parameters=0,
        head_weight_bytes=0,
    )
    assert good.head != wrong.head
    with pytest.raises(ProfileError, match=r"operator .* would be in both sides"):
        split(residual, wrong)


ENCODER = """ e (float[1,2,4,4] x) => (uint8[1,2,4,4] symbols, float[1,2,1,1] scale)
<float step = {0.05}, float low = {0.0}, float high = {255.0}> {
  scale = GlobalMaxPool(x)
  scaled = Div(x, step)
  rounded = Round(scaled)
  clipped = Clip(rounded, low, high)
  symbols = Cast <to = 2> (clipped)
}"""
DECODER = """ d (uint8[1,2,4,4] symbols, float[1,2,1,1] scale) => (float[1,2,4,4] y) <float step = {0.05}> {
  reals = Cast <to = 1> (symbols)
  scaled = Mul(reals, step)
  y = Min(scaled, scale)
}"""
OLD_HEADER = '<ir_version: 7, opset_import: ["": 13]>'


def test_joined_codecs_give_what_the_parts_give(residual: ModelGraph, nets: ModuleType) -> None:
    encoder, decoder = nets.from_text(OLD_HEADER + ENCODER), nets.from_text(OLD_HEADER + DECODER)
    head, tail = split(residual, cut_at(residual, "b"))
    joined_head, joined_tail = join_encoder(head, {"b": encoder}), join_decoder(tail, {"b": decoder})
    for joined in (joined_head, joined_tail):
        onnx.checker.check_model(onnx.load_model_from_string(joined), full_check=True)
        assert {entry.version for entry in onnx.load_model_from_string(joined).opset_import} == {17}
    feeds = {"x": np.random.default_rng(3).standard_normal((1, 2, 4, 4)).astype(np.float32)}
    symbols = run(joined_head, feeds)
    assert list(symbols) == ["codec0/symbols", "codec0/scale"]
    by_parts = run(encoder, {"x": run(head, feeds)["b"]})
    assert all(np.array_equal(symbols[f"codec0/{name}"], value) for name, value in by_parts.items())
    assert symbols["codec0/symbols"].max() > 3  # real numbers cross
    tensor = run(decoder, by_parts)["y"]
    assert np.array_equal(run(joined_tail, symbols)["y"], run(tail, {"b": tensor})["y"])
    assert join_encoder(head, {"b": encoder}) == joined_head
    assert join_decoder(tail, {"b": decoder}) == joined_tail


def test_an_uncoded_tensor_stays_as_it_is(residual: ModelGraph) -> None:
    head, tail = split(residual, cut_at(residual, "b"))
    assert join_encoder(head, {}) == head
    assert join_decoder(tail, {}) == tail


def test_a_codec_of_a_newer_opset_is_refused(residual: ModelGraph, nets: ModuleType) -> None:
    head, _ = split(residual, cut_at(residual, "b"))
    newer = nets.from_text('<ir_version: 10, opset_import: ["": 21]>' + ENCODER)
    with pytest.raises(ProfileError, match="needs opset 21, the model has opset 17"):
        join_encoder(head, {"b": newer})


def test_a_codec_for_another_tensor_is_refused(residual: ModelGraph, nets: ModuleType) -> None:
    head, tail = split(residual, cut_at(residual, "b"))
    with pytest.raises(ProfileError, match="no output 'c'"):
        join_encoder(head, {"c": nets.from_text(OLD_HEADER + ENCODER)})
    with pytest.raises(ProfileError, match="no input 'c'"):
        join_decoder(tail, {"c": nets.from_text(OLD_HEADER + DECODER)})
