"""A graph run by torch gives what ONNX Runtime gives, operator by operator, or says which one it does not know."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest
import torch

from splitpoint.planner.coding.torch_graph import torch_graph
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph

SHAPE = (1, 4, 6, 8)
ONES = "1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0"
WEIGHTS = ", ".join(f"{i / 10:.1f}" for i in range(8))


def model(body: str, initializers: str = "") -> bytes:
    held = f"<{initializers}>" if initializers else ""
    text = f'<ir_version: 9, opset_import: ["" : 20]> g (float[1,4,6,8] x) => (float y) {held} {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("body", "initializers"),
    [
        (
            "y = Slice(x, s, e, a, t)",
            "int64[2] s = {1, 0}, int64[2] e = {4, 7}, int64[2] a = {1, 3}, int64[2] t = {2, 3}",
        ),
        ("y = Slice(x, s, e, a)", "int64[1] s = {-3}, int64[1] e = {-1}, int64[1] a = {-1}"),
        ("y = Slice(x, s, e)", "int64[2] s = {0, 1}, int64[2] e = {1, 3}"),
        ("y = Gather <axis = 2> (x, i)", "int64[2,2] i = {0, -1, 3, 2}"),
        ("y = Gather <axis = -1> (x, i)", "int64[3] i = {7, 0, 0}"),
        ("y, z = Split <axis = 1> (x, s)", "int64[2] s = {3, 1}"),
        ("y, z, w = Split <axis = 3, num_outputs = 3> (x)", ""),
        ("z, y = Split <axis = 2, num_outputs = 2> (x)", ""),
        ("y = Unsqueeze(x, a)", "int64[2] a = {0, -1}"),
        ("z = Unsqueeze(x, a)\n y = Squeeze(z, b)", "int64[1] a = {2}, int64[2] b = {0, 2}"),
        ("y = Squeeze(x)", ""),
        ("y = Reshape(x, s)", "int64[3] s = {0, -1, 12}"),
        ("y = Reshape <allowzero = 1> (x, s)", "int64[2] s = {4, -1}"),
        ("y = ReduceMean(x, a)", "int64[2] a = {2, -1}"),
        ("y = ReduceMean <keepdims = 0> (x, a)", "int64[1] a = {1}"),
        ("y = ReduceMean(x)", ""),
        ("y = LayerNormalization(x, w, b)", f"float[8] w = {{{WEIGHTS}}}, float[8] b = {{{ONES}}}"),
        ("y = LayerNormalization <epsilon = 0.1> (x, w)", f"float[8] w = {{{WEIGHTS}}}"),
        ("y = Flatten <axis = 2> (x)", ""),
        ("z = Flatten(x)\n y = Gemm <alpha = 0.5, transA = 1> (z, z)", ""),
        ("y = Gelu(x)", ""),
        ('y = Gelu <approximate = "tanh"> (x)', ""),
        ("y = HardSigmoid <alpha = 0.3> (x)", ""),
        ("y = HardSwish(x)", ""),
        ("y = LeakyRelu(x)", ""),
        ("y = Clip(x, l, h)", "float l = {-0.5}, float h = {0.25}"),
        ("y = Clip(x, , h)", "float h = {0.25}"),
        ("y = MaxPool <kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]> (x)", ""),
        ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)", ""),
        ("y = Transpose(x)", ""),
        ("y = Softmax <axis = 1> (x)", ""),
    ],
)
def test_an_operator_gives_what_onnx_runtime_gives(body: str, initializers: str) -> None:
    serialized = model(body, initializers)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    session = ort.InferenceSession(serialized, providers=["CPUExecutionProvider"])
    expected = session.run(["y"], {"x": x})[0]
    run = torch_graph(load_graph(serialized, name="small"))
    entry = torch.from_numpy(x).requires_grad_()
    outputs = run(entry)
    assert tuple(outputs.shape) == expected.shape
    np.testing.assert_allclose(outputs.detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    outputs.sum().backward()
    assert entry.grad is not None


@pytest.mark.parametrize(
    ("body", "initializers", "why"),
    [
        (
            "y = Slice(x, s, e, a, t)",
            "int64[1] s = {5}, int64[1] e = {0}, int64[1] a = {3}, int64[1] t = {-1}",
            "a negative step",
        ),
        ('y = MaxPool <kernel_shape = [2, 2], auto_pad = "SAME_UPPER"> (x)', "", "auto_pad SAME_UPPER"),
        ("y = MaxPool <kernel_shape = [4, 4], strides = [4, 4], ceil_mode = 1> (x)", "", "ceil_mode"),
        ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)", "", "pads that are not counted"),
    ],
)
def test_what_torch_would_do_otherwise_is_refused(body: str, initializers: str, why: str) -> None:
    run = torch_graph(load_graph(model(body, initializers), name="small"))
    with pytest.raises(ProfileError, match=f"no gradients through this .*: {why}"):
        run(torch.zeros(SHAPE))


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(ProfileError, match="no gradients through CumSum"):
        torch_graph(load_graph(model("y = CumSum(x, a)", "int64 a = {1}"), name="small"))
