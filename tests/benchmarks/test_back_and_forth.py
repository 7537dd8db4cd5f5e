"""Where a network is cut, and what is said of the goal."""

from __future__ import annotations

from splitpoint.benchmarks.back_and_forth import Row, goal_lines, strided_cuts
from splitpoint.benchmarks.strided import LAYERS, strided_network
from splitpoint.planner.coding.frozen_layer import Found, convolution_of
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.torch_model import export_module


def test_a_network_is_cut_at_its_convolutions_of_stride_2_before_their_activations() -> None:
    graph = load_graph(export_module(strided_network(), (1, 3, 32, 32)))
    cuts = strided_cuts(graph)
    shapes = [graph.tensors[cut.tensors[0]].shape for cut in cuts]
    assert shapes == [(1, 64, 16, 16), (1, 128, 8, 8), (1, 256, 4, 4)]
    assert [shape[1] for shape in shapes] == [width for width, stride in LAYERS if stride == 2]
    layers = [convolution_of(graph, cut.tensors[0]) for cut in cuts]
    assert [layer.layer.behind is not None for layer in layers if isinstance(layer, Found)] == [True] * 3


def row(rate: str, high: float, codec: str = "choi-baf") -> Row:
    return Row(cut="Conv_4", codec=codec, rate=rate, payload_bytes=100, figures={"F1 lost": (1.0, 0.5, high)})


def test_the_goal_is_the_upper_end_at_a_quarter_of_the_channels_and_8_bits() -> None:
    assert goal_lines([row("1/4 at 6", 9), row("1/4 at 8", 2), row("1/4 at 8", 9, codec="other")]) == [
        "goal at Conv_4, 1/4 at 8: upper end of F1 lost at most 2, is 2.00: met"
    ]
    assert goal_lines([row("1/4 at 8", 2.01)])[0].endswith("is 2.01: missed")
