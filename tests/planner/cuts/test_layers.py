"""Names of the places where a network is cut, from the names that exporters give to nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from splitpoint.planner.cuts.enumeration import enumerate_cuts, find_cut
from splitpoint.planner.cuts.layers import module_path
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("blocks.1.conv/Conv", "blocks 1 conv"),
        ("/blocks.1/conv/Conv", "blocks 1 conv"),
        ("/blocks/blocks.1/conv/Conv", "blocks 1 conv"),
        ("/model/blocks/blocks.1/blocks.1.0/conv/Conv_2", "model blocks 1 0 conv"),
        ("/layer1/layer1.0/relu/Relu_1", "layer1 0 relu"),
        ("model/block_1/conv/Conv2D", "model block_1 conv"),
        ("Conv_41", ""),
        ("/Conv", ""),
        ("", ""),
    ],
)
def test_the_path_of_a_module(name: str, path: str) -> None:
    assert module_path(name) == tuple(path.split())


def chain(names: Sequence[str]) -> ModelGraph:
    """Convolutions of these names, one after the other."""
    nodes, x = [], "x"
    for i, name in enumerate(names):
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"t{i}"], name, pads=[1] * 4))
        x = f"t{i}"
    shape = (1, 2, 4, 4)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.full((2, 2, 3, 3), 0.1 + i, np.float32), f"w{i}") for i in range(len(names))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return load_graph(model.SerializeToString())


def layers(graph: ModelGraph) -> list[str]:
    return [cut.layer for cut in enumerate_cuts(graph).cuts]


def test_a_layer_is_the_outermost_module_that_ends_there() -> None:
    names = ["stem/Conv", "blocks.0.a/Conv", "blocks.0.b/Conv", "blocks.1.a/Conv", "blocks.1.b/Conv", "head/Conv"]
    assert layers(chain(names)) == ["input", "stem", "blocks.0.a", "blocks.0", "blocks.1.a", "blocks"]


def test_a_module_that_is_used_again_ends_at_its_last_use() -> None:
    names = ["a/Conv", "shared/Conv", "b/Conv", "shared/Conv_2", "c/Conv"]
    assert layers(chain(names)) == ["input", "a", "shared/Conv", "b", "shared"]


def test_without_paths_the_name_of_the_node_is_the_layer() -> None:
    assert layers(chain(["Conv_1", "Conv_2", "Conv_3"])) == ["input", "Conv_1", "Conv_2"]


def test_a_node_without_a_name_is_called_by_the_tensor_that_crosses() -> None:
    assert layers(chain(["", "b/Conv", "", ""])) == ["input", "t0", "b", "t2"]


def test_no_two_cuts_have_one_name() -> None:
    graph = chain(["a", "a/Conv", "b/Conv"])
    assert layers(graph) == ["input", "a (t0)", "a (t1)"]


def test_the_share_is_of_all_multiply_adds() -> None:
    assert [cut.head_share for cut in enumerate_cuts(chain(["a", "b", "c", "d"])).cuts] == [0.0, 0.25, 0.5, 0.75]


def test_a_cut_is_found_by_its_layer_node_or_tensor() -> None:
    graph = chain(["stem/Conv", "block.a/Conv", "block.b/Conv", "head/Conv"])
    for text in ("block", "block.b/Conv", "t2"):
        assert find_cut(graph, text, at="here").tensors == ("t2",)


def test_a_file_of_torchs_exporter_has_the_layers_of_the_module_whatever_its_nodes_are_called(
    exported: Callable[..., bytes],
) -> None:
    proto = onnx.load_model_from_string(exported("resnet20", 32))
    named = layers(load_graph(proto.SerializeToString()))
    for i, node in enumerate(proto.graph.node):
        node.name = f"n{i}"
    assert layers(load_graph(proto.SerializeToString())) == named
    assert "blocks.1" in named
    for node in proto.graph.node:
        node.metadata_props.clear()
    assert "n0" in layers(load_graph(proto.SerializeToString()))


@pytest.mark.parametrize("text", ["no list", "{}", "['', ", "['only']"])
def test_metadata_that_is_no_path_names_nothing(exported: Callable[..., bytes], text: str) -> None:
    proto = onnx.load_model_from_string(exported("resnet20", 32))
    for i, node in enumerate(proto.graph.node):
        node.name = f"n{i}"
        for entry in node.metadata_props:
            entry.value = text
    assert "n0" in layers(load_graph(proto.SerializeToString()))
