"""MACs: equal to fvcore on torch networks to the last one, to formulas by operator, and never silently zero."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import fvcore_operators

HEADER = '<ir_version: 10, opset_import: ["": 18]>'
NETWORKS = [
    ("resnet18", 64, {"width": 8, "classes": 10}),
    ("vgg16", 64, {"width": 4, "side": 64, "classes": 10, "hidden": 32}),
    ("densenet121", 64, {"growth": 4, "stem": 8, "stages": (3, 4, 3, 3), "classes": 10}),
    ("mobilenet_v2", 64, {"width": 0.25, "classes": 10}),
]
PRODUCTS = ("conv", "linear", "matmul", "addmm", "bmm")


@pytest.mark.parametrize(("name", "input_side", "options"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_products_agree_with_fvcore_to_the_last_mac(
    nets: ModuleType,
    torch_graph: Callable[..., ModelGraph],
    name: str,
    input_side: int,
    options: dict[str, object],
) -> None:
    parts = fvcore_operators(getattr(nets, name)(**options), (1, 3, input_side, input_side))
    graph = torch_graph(name, input_side=input_side, **options)
    assert graph.macs == sum(part.counted.get(kind, 0) for part in parts for kind in PRODUCTS) > 0


# Text of a graph with one counted operator; its MACs by hand; its class.
OPERATORS = {
    # 2 x 3 products for each of 4 outputs of a 3-wide kernel over 1 channel pair
    "conv": ("(float[1,2,6] x) => (float[1,4,4] y) <float[4,2,3] w> { y = Conv(x, w) }", 4 * 4 * 2 * 3, "dense"),
    "strided": (
        "(float[1,2,8] x) => (float[1,4,3] y) <float[4,2,3] w> { y = Conv <strides = [2]> (x, w) }",
        4 * 3 * 2 * 3,
        "dense",
    ),
    "pointwise": ("(float[1,2,6] x) => (float[1,4,6] y) <float[4,2,1] w> { y = Conv(x, w) }", 4 * 6 * 2, "pointwise"),
    "depthwise": (
        "(float[1,4,6] x) => (float[1,4,4] y) <float[4,1,3] w> { y = Conv <group = 4> (x, w) }",
        4 * 4 * 3,
        "depthwise",
    ),
    "grouped": (
        "(float[1,4,6] x) => (float[1,6,4] y) <float[6,2,3] w> { y = Conv <group = 2> (x, w) }",
        6 * 4 * 2 * 3,
        "dense",
    ),
    "transposed": (
        "(float[1,2,5] x) => (float[1,4,7] y) <float[2,4,3] w> { y = ConvTranspose(x, w) }",
        2 * 5 * 4 * 3,
        "dense",
    ),
    "gemm": (
        "(float[3,5] x) => (float[3,7] y) <float[7,5] w> { y = Gemm <transB = 1> (x, w) }",
        3 * 5 * 7,
        "matmul",
    ),
    "gemm transposed": (
        "(float[5,3] x) => (float[3,7] y) <float[5,7] w> { y = Gemm <transA = 1> (x, w) }",
        3 * 5 * 7,
        "matmul",
    ),
    "matmul": ("(float[2,3,5] x) => (float[2,3,7] y) <float[5,7] w> { y = MatMul(x, w) }", 2 * 3 * 5 * 7, "matmul"),
    "two inputs": (
        "(float[2,3,5] x, float[2,5,4] z) => (float[2,3,4] y) { y = MatMul(x, z) }",
        2 * 3 * 5 * 4,
        "matmul",
    ),
    "einsum": (
        '(float[2,3,5] x, float[2,4,5] z) => (float[2,3,4] y) { y = Einsum <equation = "bij,bkj->bik"> (x, z) }',
        2 * 3 * 5 * 4,
        "matmul",
    ),
    "gru": (
        """(float[6,1,5] x) => (float[6,1,1,4] y) <float[1,12,5] w, float[1,12,4] r>
        { y = GRU <hidden_size = 4> (x, w, r) }""",
        6 * 12 * (5 + 4),
        "matmul",
    ),
    "integers": (
        "(uint8[1,2,6] x) => (int32[1,4,4] y) <uint8[4,2,3] w> { y = ConvInteger(x, w) }",
        4 * 4 * 2 * 3,
        "dense",
    ),
}


@pytest.mark.parametrize(("text", "macs", "kind"), OPERATORS.values(), ids=OPERATORS)
def test_macs_and_class_of_an_operator(nets: ModuleType, text: str, macs: int, kind: str) -> None:
    graph = load_graph(nets.with_weights(HEADER + " g " + text))
    assert (graph.macs, graph.uncounted) == (macs, {})
    assert [node.op_class for node in graph.nodes if node.macs] == [kind]


def test_attention_counts_both_products(nets: ModuleType) -> None:
    text = """<ir_version: 10, opset_import: ["": 23]> g
      (float[1,2,5,8] q, float[1,2,6,8] k, float[1,2,6,4] v) => (float[1,2,5,4] y) { y = Attention(q, k, v) }"""
    assert load_graph(nets.from_text(text)).macs == 2 * 5 * 6 * (8 + 4)


def test_what_is_not_counted_is_listed_and_not_zero(nets: ModuleType) -> None:
    text = " g (float[3,2,2] x) => (float[3] y) { a = Det(x)  b = Sigmoid(a)  y = Softmax(b) }"
    graph = load_graph(nets.from_text(HEADER + text))
    assert graph.uncounted == {"Det": 1}
    assert [node.macs for node in graph.nodes] == [None, 0, 0]


def test_an_einsum_of_three_is_not_counted(nets: ModuleType) -> None:
    text = """ g (float[2,3] x, float[3,4] z) => (float[2,5] y) <float[4,5] w>
      { y = Einsum <equation = "ij,jk,kl->il"> (x, z, w) }"""
    assert load_graph(nets.with_weights(HEADER + text)).uncounted == {"Einsum": 1}
