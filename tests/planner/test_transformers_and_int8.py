"""Vision transformers and quantized (QDQ) models: MACs, cuts, sizes of crossing tensors, exact halves, attribution."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime.quantization as quantization
import pytest

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.profiles.measurement.measure import attribution
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

DIM, DEPTH, HEADS, PATCH, SIDE, CLASSES = 48, 3, 3, 16, 64, 10
RESNET = {"width": 8, "classes": 10}


def exact_at_every_cut(graph: ModelGraph, stride: int = 1) -> None:
    whole = open_session(whole_bytes(graph), level="basic", threads=1)
    feeds = random_feeds(whole.inputs)
    expected = whole.run(feeds)
    for cut in enumerate_cuts(graph).cuts[::stride]:
        head, tail = split(graph, cut)
        sent = open_session(head, level="basic", threads=1).run(feeds)
        got = open_session(tail, level="basic", threads=1).run(sent)
        assert all(np.array_equal(got[name], expected[name]) for name in expected), cut.after


@pytest.fixture(scope="module")
def vit(torch_graph: Callable[..., ModelGraph]) -> ModelGraph:
    options = {"dim": DIM, "depth": DEPTH, "heads": HEADS, "patch": PATCH, "side": SIDE, "classes": CLASSES}
    return torch_graph("vit", input_side=SIDE, **options)


def test_attention_is_counted(vit: ModelGraph) -> None:
    tokens = 1 + (SIDE // PATCH) ** 2
    patches = (tokens - 1) * DIM * 3 * PATCH**2
    linear = tokens * DIM * (3 * DIM + DIM + 4 * DIM + 4 * DIM)  # queries, keys and values; output; MLP up; MLP down
    attention = 2 * tokens * tokens * DIM  # queries with keys, weights with values, over all heads
    assert vit.macs == patches + DEPTH * (linear + attention) + DIM * CLASSES
    assert vit.uncounted == {}  # normalization and Softmax are work by the element


def test_blocks_of_a_transformer_are_cuts(vit: ModelGraph) -> None:
    tokens = 1 + (SIDE // PATCH) ** 2
    between = [cut for cut in enumerate_cuts(vit).cuts if vit.tensors[cut.tensors[0]].shape == (1, tokens, DIM)]
    assert len(between) >= 2 * DEPTH  # after each sum, twice a block
    exact_at_every_cut(vit)


class _Images(quantization.CalibrationDataReader):  # type: ignore[misc]  # ORT has no types
    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        self._rows = iter([{"input": rng.standard_normal(shape).astype(np.float32)} for _ in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._rows, None)


@pytest.fixture(scope="module")
def quantized(
    torch_graph: Callable[..., ModelGraph], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ModelGraph, ModelGraph]:
    """ResNet-18 in fp32, and quantized to int8 with QuantizeLinear and DequantizeLinear around its operators."""
    graph = torch_graph("resnet18", input_side=64, **RESNET)
    folder = tmp_path_factory.mktemp("int8")
    (folder / "fp32.onnx").write_bytes(whole_bytes(graph))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer logs advice at the root
    quantization.quantize_static(folder / "fp32.onnx", folder / "int8.onnx", _Images((1, 3, 64, 64)))
    root.setLevel(level)
    return graph, load_graph((folder / "int8.onnx").read_bytes(), name="int8")


def test_a_quantized_model_has_the_same_macs_and_a_quarter_of_the_weights(
    quantized: tuple[ModelGraph, ModelGraph],
) -> None:
    fp32, int8 = quantized
    assert int8.macs == fp32.macs
    assert int8.uncounted == {}
    bytes_of = [sum(node.weight_bytes for node in graph.nodes) for graph in (fp32, int8)]
    assert 0.25 < bytes_of[1] / bytes_of[0] < 0.3


def test_int8_tensors_are_cuts_of_a_quarter_of_the_size(quantized: tuple[ModelGraph, ModelGraph]) -> None:
    _, int8 = quantized
    cuts = enumerate_cuts(int8).cuts
    kinds = {cut.tensors[0]: int8.tensors[cut.tensors[0]] for cut in cuts}
    small = [tensor for tensor in kinds.values() if tensor.dtype in ("int8", "uint8")]
    assert len(small) == 13  # the input, the stem, its pool, eight sums, the mean, the linear layer
    assert all(tensor.bytes == tensor.elements for tensor in small)
    assert all(tensor.bytes == 4 * tensor.elements for tensor in kinds.values() if tensor.dtype == "float32")
    exact_at_every_cut(int8, stride=3)


def test_every_quantized_product_has_a_runner(quantized: tuple[ModelGraph, ModelGraph], tmp_path: Path) -> None:
    _, int8 = quantized
    open_session(whole_bytes(int8), level="all", threads=1, optimized_to=tmp_path / "runs.onnx")
    running = onnx.load(tmp_path / "runs.onnx")
    assert {"QLinearConv"} <= {node.op_type for node in running.graph.node}
    sources = attribution(int8, running)
    assert sources.keys() == {node.name for node in running.graph.node}
    assert {node.name for node in int8.nodes if node.macs} <= set(sources.values())


def test_every_transformer_product_has_a_runner(vit: ModelGraph, tmp_path: Path) -> None:
    open_session(whole_bytes(vit), level="all", threads=1, optimized_to=tmp_path / "runs.onnx")
    running = onnx.load(tmp_path / "runs.onnx")
    sources = attribution(vit, running)
    assert sources.keys() == {node.name for node in running.graph.node}
    assert {node.name for node in vit.nodes if node.macs} <= set(sources.values())
