"""Networks in torch: whole, halved at a cut, for batches, and with weights that are trained and written back."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from splitpoint.planner.coding import torch_graph as made
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_canonical, load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module

SAME = 1e-4  # of the largest output: torch and ONNX Runtime add in other orders
ROWS = 3  # of a batch

NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (64, {"width": 8, "classes": 10}),
    "resnet50": (64, {"width": 8, "classes": 10}),
    "resnet20": (32, {"width": 4}),
    "vgg16": (32, {"width": 8, "side": 32, "classes": 10, "hidden": 32}),
    "densenet121": (64, {"growth": 4, "stages": (2, 2, 2, 2), "stem": 8, "classes": 10}),
    "mobilenet_v2": (64, {"width": 0.25, "classes": 10}),
    "shufflenet_v2": (64, {"width": (8, 16, 32, 64, 64), "classes": 10}),
    "vit": (32, {"dim": 16, "depth": 2, "heads": 2, "side": 32, "patch": 8, "classes": 10}),
}

# YOLOX as its own exporter writes it, small: focus, SiLU, spatial pyramid pooling, a pyramid with nearest resize, and
# boxes of all scales one behind another. Shapes are written into Reshape, and the pools begin outside of the picture.
YOLOX = """
<ir_version: 8, opset_import: ["" : 13]>
yolox (float[1,3,32,32] images) => (float[1,80,7] output)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] far = {9223372036854775807}, int64[1] two = {2},
 int64[1] rows = {2}, int64[1] columns = {3}, int64[3] boxes = {1, 7, -1}, float[4] twice = {1, 1, 2, 2}, float[0] roi,
 float[8,12,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[8] b2, float[8,32,1,1] w3, float[8] b3,
 float[7,16,1,1] w4, float[7] b4, float[7,8,1,1] w5, float[7] b5>
{
  even = Slice(images, zero, far, rows, two)
  odd = Slice(images, one, far, rows, two)
  q1 = Slice(even, zero, far, columns, two)
  q2 = Slice(odd, zero, far, columns, two)
  q3 = Slice(even, one, far, columns, two)
  q4 = Slice(odd, one, far, columns, two)
  focus = Concat <axis = 1> (q1, q2, q3, q4)
  c1 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (focus, w1, b1)
  s1 = Sigmoid(c1)
  a1 = Mul(c1, s1)
  c2 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (a1, w2, b2)
  s2 = Sigmoid(c2)
  a2 = Mul(c2, s2)
  p1 = MaxPool <kernel_shape = [5, 5], pads = [2, 2, 2, 2]> (a2)
  p2 = MaxPool <kernel_shape = [9, 9], pads = [4, 4, 4, 4]> (a2)
  p3 = MaxPool <kernel_shape = [13, 13], pads = [6, 6, 6, 6]> (a2)
  spp = Concat <axis = 1> (a2, p1, p2, p3)
  c3 = Conv (spp, w3, b3)
  up = Resize <coordinate_transformation_mode = "asymmetric", mode = "nearest", nearest_mode = "floor">
       (c3, roi, twice)
  both = Concat <axis = 1> (up, a1)
  o1 = Conv (both, w4, b4)
  o2 = Conv (c3, w5, b5)
  r1 = Reshape(o1, boxes)
  r2 = Reshape(o2, boxes)
  all = Concat <axis = 2> (r1, r2)
  output = Transpose <perm = [0, 2, 1]> (all)
}
"""


def answers(model: bytes, rows: np.ndarray) -> list[np.ndarray]:
    """Every output, of one run for each row, one behind another."""
    session = open_session(model, level="basic", threads=1)
    names = [spec.name for spec in session.inputs]
    runs = [session.run({names[0]: row[None]}) for row in rows]
    return [np.concatenate([run[name] for run in runs]) for name in runs[0]]


def assert_same(outputs: Any, expected: np.ndarray) -> None:
    assert tuple(outputs.shape) == expected.shape
    assert np.abs(outputs.detach().numpy() - expected).max() <= SAME * np.abs(expected).max()


def pictures(side: int, count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, side, side)).astype(np.float32)


@pytest.fixture
def graph_of(nets: ModuleType, torch_graph: Callable[..., ModelGraph]) -> Callable[[str], ModelGraph]:
    def load(name: str) -> ModelGraph:
        if name == "yolox":
            return load_graph(nets.with_weights(YOLOX), name=name)
        if name == "efficientnet_lite0":
            from efficientnet_lite_pytorch import EfficientNet

            return load_graph(export_module(EfficientNet.from_name("efficientnet-lite0").eval(), (1, 3, 64, 64)))
        side, options = NETWORKS[name]
        return torch_graph(name, side, **options)

    return load


@pytest.mark.parametrize("name", [*NETWORKS, "yolox", "efficientnet_lite0"])
def test_a_network_answers_as_onnx_runtime_does_for_one_picture_and_for_many(
    graph_of: Callable[[str], ModelGraph], name: str
) -> None:
    graph = graph_of(name)
    x = pictures(graph.inputs[0].shape[-1])
    (expected,) = answers(whole_bytes(graph), x)
    module = made.torch_graph(graph)
    one, batch = module(torch.from_numpy(x[:1])), module(torch.from_numpy(x))
    assert_same(one, expected[:1])
    assert_same(batch, expected)


@pytest.mark.parametrize("name", ["resnet20", "vit", "yolox"])
def test_the_gradient_of_a_batch_is_that_of_its_rows(graph_of: Callable[[str], ModelGraph], name: str) -> None:
    graph = graph_of(name)
    module = made.torch_graph(graph).requires_grad_(True)
    x = torch.from_numpy(pictures(graph.inputs[0].shape[-1]))
    weights = list(made.torch_weights(module).values())
    of_batch = torch.autograd.grad(module(x).square().sum(), weights)
    rows = [torch.autograd.grad(module(row[None]).square().sum(), weights) for row in x]
    for batch, *single in zip(of_batch, *rows, strict=True):
        assert_same(batch, torch.stack(single).sum(0).numpy())


@pytest.mark.parametrize("name", ["resnet20", "densenet121", "vit", "yolox"])
def test_halves_together_are_the_whole_at_every_cut(graph_of: Callable[[str], ModelGraph], name: str) -> None:
    graph = graph_of(name)
    x = pictures(graph.inputs[0].shape[-1])
    (expected,) = answers(whole_bytes(graph), x)
    cuts = enumerate_cuts(graph).cuts
    for cut in [*cuts[:: max(1, len(cuts) // 6)], cuts[-1]]:
        head, tail = made.torch_halves(graph, cut)
        crossing = head(torch.from_numpy(x))
        assert [tuple(t.shape[1:]) for t in crossing] == [graph.tensors[name].shape[1:] for name in cut.tensors]
        for tensor, value in zip(crossing, answers(split(graph, cut)[0], x), strict=True):
            assert_same(tensor, value)
        (output,) = tail(*crossing)
        assert_same(output, expected)


def test_trained_weights_are_those_of_the_model_that_is_written(graph_of: Callable[[str], ModelGraph]) -> None:
    graph = graph_of("resnet20")
    cut = enumerate_cuts(graph).cuts[8]
    head, tail = made.torch_halves(graph, cut)
    weights = made.torch_weights(tail)
    assert all(not weight.requires_grad for weight in weights.values())
    assert set(weights) <= set(graph.model.graph.initializers)
    tail.requires_grad_(True)
    x = pictures(32)
    before = answers(whole_bytes(graph), x)[0]
    rates = torch.optim.SGD(tail.parameters(), lr=1e-3)
    for _ in range(2):
        rates.zero_grad()
        tail(*head(torch.from_numpy(x)))[0].square().mean().backward()
        rates.step()
    written = made.trained_model(graph, head, tail)
    expected = tail(*head(torch.from_numpy(x)))[0]
    after = answers(written, x)[0]
    assert_same(expected, after)
    assert np.abs(after - before).max() > 100 * SAME * np.abs(before).max()
    assert answers(whole_bytes(graph), x)[0].tolist() == before.tolist()  # the graph itself has not changed
    assert {t.name for t in onnx.load_model_from_string(written).graph.initializer} == set(
        graph.model.graph.initializers
    )
    assert_same(made.torch_graph(load_canonical(written))(torch.from_numpy(x)), after)


def test_weights_survive_a_state_dict_under_any_name(nets: ModuleType) -> None:
    """Names with dots, and those of torch's own attributes, are names of initializers too."""
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y)
              <float[4,4] training, float[4,4] forward, float[4] types> {
                a = MatMul(x, training)
                b = MatMul(a, forward)
                y = Add(b, types)
              }"""
    proto = onnx.load_model_from_string(nets.with_weights(text))
    for node in proto.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = {"types": "a.b%2E.c"}.get(name, name)
    for weight in proto.graph.initializer:
        weight.name = {"types": "a.b%2E.c"}.get(weight.name, weight.name)
    graph = load_graph(proto.SerializeToString())
    module = made.torch_graph(graph)
    assert set(made.torch_weights(module)) == set(graph.model.graph.initializers) == {"training", "forward", "a.b%2E.c"}
    other = made.torch_graph(graph)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    other.load_state_dict(module.state_dict())
    x = torch.ones(5, 4)
    assert torch.equal(other(x), module(x))


def test_weights_that_cannot_be_written_are_named(graph_of: Callable[[str], ModelGraph]) -> None:
    graph = graph_of("resnet20")
    module = made.torch_graph(graph)
    name, weight = next(iter(made.torch_weights(module).items()))
    with torch.no_grad():
        weight.view(-1)[0] = torch.nan
    with pytest.raises(ProfileError, match=f"weight '{name}' is not finite"):
        made.trained_model(graph, module)
    with pytest.raises(ProfileError, match="one value in the head and another in the tail"):
        made.trained_model(graph, module, made.torch_graph(graph))
    with pytest.raises(ProfileError, match="the network has no weight"):
        made.trained_model(graph_of("yolox"), made.torch_graph(graph))


def test_numbers_of_formulas_are_no_weights(graph_of: Callable[[str], ModelGraph]) -> None:
    """The square root of two in a GELU and the scale of an attention stay what they are."""
    graph = graph_of("vit")
    weights = made.torch_weights(made.torch_graph(graph))
    assert all(weight.ndim for weight in weights.values())
    assert sum(weight.numel() for weight in weights.values()) > 0.99 * graph.parameters


def test_statistics_of_a_batch_normalization_are_no_weights(graph_of: Callable[[str], ModelGraph]) -> None:
    graph = graph_of("densenet121")
    weights = made.torch_weights(made.torch_graph(graph))
    (node, *_) = [node for node in graph.model.graph if node.op_type == "BatchNormalization"]
    names = [value.name for value in node.inputs if value is not None]
    assert [name in weights for name in names[1:]] == [True, True, False, False]


BOTH = """<ir_version: 9, opset_import: ["" : 17]> g (float[2,3] x, float[1,3] b) => (float[2,3] y, float[2] z)
          <int64[1] rest = {-1}, int64[1] one = {1}> {
            y = Add(x, b)
            s = ReduceSum <keepdims = 0> (y, one)
            z = Reshape(s, rest)
          }"""


def test_batches_of_the_networks_own_size_and_inputs_that_serve_all(nets: ModuleType) -> None:
    module = made.torch_graph(load_graph(nets.from_text(BOTH)), every_output=True)
    x, shift = torch.arange(18.0).reshape(6, 3), torch.ones(1, 3)
    y, z = module(x, shift)
    assert torch.equal(y, x + 1)
    assert torch.equal(z, (x + 1).sum(1))
    own = torch.arange(9.0).reshape(3, 3)
    assert torch.equal(module(x, own)[0], x + own.repeat_interleave(2, 0))
    with pytest.raises(ProfileError, match=r"input 'x' is \(5, 3\), the network's \(2, 3\)"):
        module(x[:5], shift)
    with pytest.raises(ProfileError, match=r"different batches: \{'x': 3, 'b': 2\}"):
        module(x, own[:2])
    with pytest.raises(ProfileError, match="1 inputs for a network of 2"):
        module(x)


def test_an_operator_that_cannot_be_mapped_over_a_batch_is_named(nets: ModuleType) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[1,4] x, int64[2] s) => (float[2,2] y) {
                y = Reshape(x, s)
              }"""
    module = made.torch_graph(load_graph(nets.from_text(text), constants=None, input_shapes=None))
    sizes = torch.tensor([2, 2])
    assert tuple(module(torch.ones(1, 4), sizes).shape) == (2, 2)
    with pytest.raises(ProfileError, match=r"no batches through Reshape '.*'"):
        module(torch.ones(3, 4), sizes.repeat(3))
