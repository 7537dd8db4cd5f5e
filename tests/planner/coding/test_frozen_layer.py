"""Convolutions before an activation are found with their settings, and run as ONNX Runtime runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitpoint.codecs.contract.frozen import Activation, append_layer
from splitpoint.codecs.contract.graphs import Graph
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.context import Contexts
from splitpoint.planner.coding.frozen_layer import Found, convolution_of
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.deploy.expose import expose
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.nets import with_weights

HEADER = '<ir_version: 10, opset_import: ["": 21]>\nagraph (float[1, 3, 12, 12] x) => (float[1, 8, 1, 1] y)\n'
MOBILE = (
    HEADER
    + """<float[8, 3, 3, 3] w, float[8] wb, float[8, 1, 3, 3] d, float[8, 8, 1, 1] p, float[8] pb>
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w, wb)
    r = Relu (a)
    m = Conv <pads = [0, 1, 1, 0], strides = [2, 2], group = 8> (r, d)
    s = Sigmoid (m)
    t = Mul (m, s)
    z = Conv (t, p, pb)
    g = Sigmoid (z)
    u = Mul (g, z)
    y = GlobalAveragePool (u)
}
"""
)
PLAIN = (
    HEADER
    + """<float[8, 3, 3, 3] w, float[8, 8, 3, 3] v, float[8, 8, 1, 1] p, float low = {0}, float high = {6}>
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    r = Clip (a, low, high)
    b = Conv <strides = [2, 2], dilations = [2, 2]> (r, v)
    e = LeakyRelu <alpha = 0.2> (b)
    c = Conv (e, p)
    f = Add (c, b)
    h = Relu (f)
    y = GlobalAveragePool (h)
}
"""
)


def net(text: str) -> ModelGraph:
    return load_graph(with_weights(text))


def found(graph: ModelGraph, tensor: str) -> Found:
    made = convolution_of(graph, tensor)
    assert isinstance(made, Found)
    return made


@pytest.mark.parametrize(
    ("text", "tensor", "source", "steps", "behind"),
    [
        (MOBILE, "a", "x", 1, Activation(kind="relu")),
        (MOBILE, "m", "r", 1, Activation(kind="silu")),
        (MOBILE, "z", "r", 3, Activation(kind="silu")),
        (PLAIN, "a", "x", 1, Activation(kind="clip", low=0.0, high=6.0)),
        (PLAIN, "b", "r", 1, None),  # an addition reads it, too
        (PLAIN, "c", "e", 1, None),  # no depthwise convolution before it
    ],
)
def test_a_layer_gives_the_tensor_again(
    text: str, tensor: str, source: str, steps: int, behind: Activation | None
) -> None:
    graph = net(text)
    made = found(graph, tensor)
    assert (made.input, len(made.layer.steps), made.layer.behind) == (source, steps, behind)
    names = [name for name in (source, tensor) if name != "x"]
    session = open_session(expose(whole_bytes(graph), names), level="all", threads=1)
    x = np.random.default_rng(0).normal(size=(1, 3, 12, 12)).astype(np.float32)
    values = {"x": x, **session.run({"x": x})}
    again = Graph()
    output = again.op("Identity", append_layer(again, "in", made.layer.steps), output="out")
    shapes = {name: ("float32", values[name].shape) for name in (source, tensor)}
    model = again.model({"in": shapes[source]}, {output: shapes[tensor]})
    given = open_session(model, level="all", threads=1).run({"in": values[source]})["out"]
    np.testing.assert_allclose(given, values[tensor], rtol=1e-4, atol=1e-4 * np.abs(values[tensor]).max())


def test_strides_multiply() -> None:
    assert found(net(MOBILE), "z").layer.stride == (2, 2)
    assert found(net(MOBILE), "a").layer.stride == (1, 1)


@pytest.mark.parametrize(
    ("change", "source", "steps"),
    [
        (("u = Mul (g, z)", "v = Add (z, m)\n    u = Mul (g, v)"), "t", 1),  # something else reads what is between
        (("t = Mul (m, s)", "t = Mul (m, m)"), "t", 1),
        (("group = 8> (r, d)", "group = 8> (r, d)\n    k = Identity (m)"), "r", 3),
    ],
)
def test_a_depthwise_convolution_belongs_to_it_only_where_nothing_else_reads_it(
    change: tuple[str, str], source: str, steps: int
) -> None:
    made = found(net(MOBILE.replace(*change)), "z")
    assert (made.input, len(made.layer.steps)) == (source, steps)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        ("x", "it is the network's input"),
        ("r", "it comes from Relu; cut before the activation, after the convolution itself"),
        ("y", "it comes from GlobalAveragePool; cut before the activation, after the convolution itself"),
    ],
)
def test_other_tensors_are_refused_with_the_reason(tensor: str, reason: str) -> None:
    assert convolution_of(net(MOBILE), tensor) == reason


def test_a_codec_is_given_the_convolution_and_its_input() -> None:
    graph = net(MOBILE)
    cuts = {cut.tensors: cut for cut in enumerate_cuts(graph).cuts}
    inputs = [np.random.default_rng(i).normal(size=(1, 3, 12, 12)).astype(np.float32) for i in range(3)]
    contexts = Contexts(graph, inputs, training=lambda tensor: None if tensor != "z" else _Asked())
    codec = REGISTRY["choi-baf"]
    context = contexts(codec, cuts["z",], "z", [0, 2])
    assert context.convolution is not None
    assert context.layer_input is not None
    assert context.layer_input.shape == (2, 8, 12, 12)
    assert contexts.lacks(codec, cuts["z",]) is None
    assert contexts.lacks(codec, cuts["r",]) == "is not trained there ($.train.cuts)"
    everywhere = Contexts(graph, inputs, training=lambda tensor: _Asked())
    assert everywhere.lacks(codec, cuts["r",]) == (
        "needs the output of a convolution: it comes from Relu; cut before the activation, after the convolution itself"
    )


class _Asked:
    key = "asked"

    def __call__(self, module: Any, *, rates: int, losses: Any, first: Any = (), codec: str = "") -> Any:
        raise AssertionError
