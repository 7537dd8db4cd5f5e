"""MACs of ONNX Runtime's own operators: by hand for each, and equal before and after its optimizers and quantizers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnxruntime as ort
import onnxruntime.quantization as quantization
import pytest
from onnx import TensorProto, numpy_helper

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph

F, U8, I8, I32, I64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64
ONE, ZERO = np.float32(0.1), np.uint8(3)


def model_of(
    op_type: str,
    inputs: Sequence[tuple[int, tuple[int, ...]] | Array | np.generic | None],
    *,
    domain: str = "com.microsoft",
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    **attributes: Any,
) -> bytes:
    """A model of one operator: a (type, shape) is an input of the model, an array a weight, None is left out."""
    entries, weights, names = [], [], []
    for place, given in enumerate(inputs):
        names.append("" if given is None else f"i{place}")
        if isinstance(given, tuple):
            entries.append(onnx.helper.make_tensor_value_info(f"i{place}", given[0], given[1]))
        elif given is not None:
            weights.append(numpy_helper.from_array(np.asarray(given), f"i{place}"))
    node = onnx.helper.make_node(op_type, names, list(outputs), "op", domain=domain, **attributes)
    ends = [onnx.helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs if name]
    for end in ends:
        end.ClearField("type")
    graph = onnx.helper.make_graph([node], "g", entries, ends, weights)
    imports = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("com.microsoft", 1)]
    return bytes(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString())


def floats(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def bytes_of(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 16, shape).astype(np.uint8)


# What the operator is given; its MACs by hand.
OPERATORS: Mapping[str, tuple[bytes, int]] = {
    # 4 x 6 x 6 outputs, each a sum over 3 channels of a 3 x 3 kernel
    "FusedConv": (
        model_of("FusedConv", [(F, (1, 3, 8, 8)), floats(4, 3, 3, 3)], activation="Relu", kernel_shape=[3, 3]),
        4 * 36 * 27,
    ),
    "QLinearConv": (
        model_of(
            "QLinearConv",
            [(U8, (1, 8, 8, 3)), ONE, ZERO, bytes_of(4, 3, 3, 3), ONE, ZERO, ONE, ZERO],
            channels_last=1,
            kernel_shape=[3, 3],
        ),
        4 * 36 * 27,
    ),
    "FusedGemm": (
        model_of("FusedGemm", [(F, (5, 3)), floats(5, 7), floats(7)], transA=1, activation="Relu"),
        3 * 5 * 7,
    ),
    "QGemm": (
        model_of("QGemm", [(U8, (3, 5)), ONE, ZERO, bytes_of(7, 5), ONE, ZERO, None, ONE, ZERO], transB=1),
        3 * 5 * 7,
    ),
    "FusedMatMul": (model_of("FusedMatMul", [(F, (2, 3, 5)), floats(7, 5)], transB=1, alpha=0.5), 2 * 3 * 5 * 7),
    "FusedMatMul of a transposed": (model_of("FusedMatMul", [(F, (2, 5, 3)), floats(5, 7)], transA=1), 2 * 3 * 5 * 7),
    # with transBatchA and transA, (K, 2, M) is two matrices of M x K
    "FusedMatMul of a transposed batch": (
        model_of("FusedMatMul", [(F, (5, 2, 3)), floats(2, 5, 7)], transA=1, transBatchA=1),
        2 * 3 * 5 * 7,
    ),
    "MatMulNBits": (
        model_of("MatMulNBits", [(F, (3, 32)), bytes_of(7, 2, 8), floats(14)], K=32, N=7, bits=4, block_size=16),
        3 * 32 * 7,
    ),
    "DynamicQuantizeMatMul": (
        model_of("DynamicQuantizeMatMul", [(F, (2, 3, 5)), bytes_of(5, 7), ONE, ZERO]),
        2 * 3 * 5 * 7,
    ),
    "MatMulIntegerToFloat": (
        model_of("MatMulIntegerToFloat", [(U8, (3, 5)), bytes_of(5, 7), ONE, ONE, ZERO, ZERO]),
        3 * 5 * 7,
    ),
    "MatMulInteger": (model_of("MatMulInteger", [(U8, (3, 5)), bytes_of(5, 7)], domain=""), 3 * 5 * 7),
    # 6 steps of 4 gates of 4 cells, each over 5 inputs and 4 states
    "DynamicQuantizeLSTM": (
        model_of(
            "DynamicQuantizeLSTM",
            [
                (F, (6, 1, 5)),
                bytes_of(1, 5, 16),
                bytes_of(1, 4, 16),
                *[None] * 5,
                *(np.full(1, ONE), np.full(1, ZERO), np.full(1, ONE), np.full(1, ZERO)),
            ],
            hidden_size=4,
        ),
        6 * 16 * (5 + 4),
    ),
    # 6 queries, keys and values of 8 from 10 features; 6 x 6 pairs of 8 for scores and 8 for sums
    "Attention": (
        model_of("Attention", [(F, (1, 6, 10)), floats(10, 24), floats(24)], num_heads=2),
        6 * 10 * 24 + 6 * 6 * (8 + 8),
    ),
    "Attention with values of another width": (
        model_of("Attention", [(F, (1, 6, 10)), floats(10, 20), floats(20)], num_heads=2, qkv_hidden_sizes=[8, 8, 4]),
        6 * 10 * 20 + 6 * 6 * (8 + 4),
    ),
    "Attention with a cache": (
        model_of(
            "Attention",
            [(F, (1, 1, 10)), floats(10, 24), floats(24), None, (F, (2, 1, 2, 9, 4))],
            num_heads=2,
            outputs=("y", "present"),
        ),
        10 * 24 + 10 * (8 + 8),
    ),
    "QAttention": (
        model_of(
            "QAttention",
            [(U8, (1, 6, 10)), bytes_of(10, 24), floats(24), ONE, ONE, None, ZERO, ZERO],
            num_heads=2,
        ),
        6 * 10 * 24 + 6 * 6 * (8 + 8),
    ),
    "MultiHeadAttention": (
        model_of("MultiHeadAttention", [(F, (1, 6, 8)), (F, (1, 5, 8)), (F, (1, 5, 4))], num_heads=2),
        6 * 5 * (8 + 4),
    ),
    "MultiHeadAttention across": (
        model_of("MultiHeadAttention", [(F, (1, 6, 8)), (F, (1, 2, 5, 4)), (F, (1, 2, 5, 4))], num_heads=2),
        6 * 5 * (8 + 8),
    ),
    "MultiHeadAttention with a cache": (
        model_of(
            "MultiHeadAttention",
            [(F, (1, 1, 8)), (F, (1, 1, 8)), (F, (1, 1, 8)), None, None, None, (F, (1, 2, 9, 4)), (F, (1, 2, 9, 4))],
            num_heads=2,
            outputs=("y", "keys", "values"),
        ),
        10 * (8 + 8),
    ),
    "GroupQueryAttention": (
        model_of(
            "GroupQueryAttention",
            [
                *[(F, (1, 1, 32)), (F, (1, 1, 16)), (F, (1, 1, 16)), (F, (1, 2, 9, 8)), (F, (1, 2, 9, 8))],
                *[np.array([9], np.int32), np.array(10, np.int32)],
            ],
            num_heads=4,
            kv_num_heads=2,
            outputs=("y", "keys", "values"),
        ),
        10 * (32 + 32),
    ),
    # every row goes through 2 of 3 experts of 4 x 8 and 8 x 4
    "MoE": (
        model_of("MoE", [(F, (6, 4)), (F, (6, 3)), floats(3, 8, 4), None, floats(3, 4, 8)], k=2),
        6 * 2 * (8 * 4 + 4 * 8),
    ),
    "CDist": (model_of("CDist", [(F, (3, 5)), floats(7, 5)], metric="euclidean"), 3 * 7 * 5),
    "standard Attention with a cache": (
        model_of(
            "Attention",
            [(F, (1, 1, 8)), (F, (1, 1, 4)), (F, (1, 1, 4)), None, (F, (1, 1, 9, 4)), (F, (1, 1, 9, 4))],
            domain="",
            opset=23,
            q_num_heads=2,
            kv_num_heads=1,
            outputs=("y", "keys", "values"),
        ),
        10 * (8 + 8),
    ),
    "LinearRegressor": (
        model_of("LinearRegressor", [(F, (3, 5))], domain="ai.onnx.ml", coefficients=[1.0] * 10, targets=2),
        3 * 10,
    ),
    # no sums of products
    "SkipLayerNormalization": (
        model_of("SkipLayerNormalization", [(F, (1, 6, 8)), (F, (1, 6, 8)), floats(8)]),
        0,
    ),
    "BiasGelu": (model_of("BiasGelu", [(F, (1, 6, 8)), floats(8)]), 0),
    "FastGelu": (model_of("FastGelu", [(F, (1, 6, 8))]), 0),
    "NhwcMaxPool": (model_of("NhwcMaxPool", [(U8, (1, 8, 8, 3))], kernel_shape=[2, 2]), 0),
    "QLinearAdd": (model_of("QLinearAdd", [(U8, (1, 6)), ONE, ZERO, (U8, (1, 6)), ONE, ZERO, ONE, ZERO]), 0),
}


@pytest.mark.parametrize(("model", "macs"), OPERATORS.values(), ids=OPERATORS)
def test_macs_of_an_operator(model: bytes, macs: int) -> None:
    graph = load_graph(model)
    assert (graph.macs, graph.uncounted) == (macs, {})
    assert {name for node in graph.nodes for name in node.outputs} <= graph.tensors.keys()


NETWORKS = {  # the channels are multiples of ORT's blocks of 16, so that its blocked layout pads nothing
    "convolutions": ("resnet18", {"width": 16, "classes": 16}),
    "transformer": ("vit", {"dim": 48, "depth": 2, "heads": 3, "patch": 16, "side": 64, "classes": 10}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def plain(request: pytest.FixtureRequest, exported: Callable[..., bytes]) -> bytes:
    name, options = NETWORKS[request.param]
    return exported(name, 64, **options)


def optimized(model: bytes, folder: Path, level: str) -> bytes:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (folder / "optimized.onnx").read_bytes()


class _Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]  # ORT has no types
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._rows = iter([{"input": rng.standard_normal((1, 3, 64, 64)).astype(np.float32)} for _ in range(2)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._rows, None)


def quantized(model: bytes, folder: Path, how: str) -> bytes:
    logging.disable(logging.WARNING)  # it advises to infer shapes first
    try:
        proto, target = onnx.load_model_from_string(model), folder / "quantized.onnx"
        if how == "dynamic":
            quantization.quantize_dynamic(proto, str(target))
        else:
            quantization.quantize_static(
                proto, str(target), _Inputs(), quant_format=getattr(quantization.QuantFormat, how)
            )
        return target.read_bytes()
    finally:
        logging.disable(logging.NOTSET)


def own_operators(graph: ModelGraph) -> int:
    return sum(node.domain.startswith("com.microsoft") for node in graph.model.graph)


@pytest.mark.parametrize("level", ["EXTENDED", "ALL"])
@pytest.mark.parametrize("how", ["float", "dynamic", "QOperator"])
def test_optimizing_and_quantizing_change_neither_macs_nor_what_is_known(
    plain: bytes, tmp_path: Path, how: str, level: str
) -> None:
    before = load_graph(plain)
    model = plain if how == "float" else quantized(plain, tmp_path, how)
    after = load_graph(optimized(model, tmp_path, level))
    assert own_operators(after) > 0
    assert (after.macs, after.uncounted, after.unsized) == (before.macs, {}, {})
    assert {name for node in after.nodes for name in node.outputs} <= after.tensors.keys()
    assert len(enumerate_cuts(after).cuts) > len(enumerate_cuts(before).cuts) / 2  # fusing joins a few
