"""An operator run by torch gives what ONNX Runtime gives, attribute by attribute; what is not known is named."""

from __future__ import annotations

import re

import numpy as np
import onnx.parser
import onnxruntime as ort
import pytest
import torch

from splitpoint.planner.coding.torch_graph import torch_graph
from splitpoint.planner.coding.torch_operators.registry import torch_operators
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph

SAME = 1e-4  # of the largest output: torch and ONNX Runtime add in other orders
ROWS = 3  # of a batch


def numbers(count: int) -> str:
    return ", ".join(f"{(i * 7 % 11 - 4) / 10:.1f}" for i in range(count))


def weight(name: str, *shape: int) -> str:
    return f"float[{', '.join(map(str, shape))}] {name} = {{{numbers(int(np.prod(shape)))}}}"


def ints(**values: tuple[int, ...]) -> str:
    return ", ".join(f"int64[{len(v)}] {name} = {{{', '.join(map(str, v))}}}" for name, v in values.items())


def model(body: str, initializers: str = "", shape: str = "1,4,6,8", kind: str = "float", opset: int = 20) -> bytes:
    held = f"<{initializers}>" if initializers else ""
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g (float[{shape}] x) => ({kind} y) {held} {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return bytes(proto.SerializeToString())


LINE, CUBE = "1,4,9", "1,2,5,6,4"
CASES = [
    # windows
    *(
        (f"y = Conv <{a}> (x, w, b)", f"{weight('w', 2, 4, 3, 3)}, {weight('b', 2)}")
        for a in (
            "pads = [1, 1, 1, 1]",
            "pads = [0, 1, 2, 1], strides = [2, 1]",
            "dilations = [2, 1]",
            'auto_pad = "SAME_UPPER", strides = [2, 3]',
            'auto_pad = "SAME_LOWER", strides = [2, 2]',
            'auto_pad = "VALID"',
        )
    ),
    ("y = Conv <group = 2> (x, w)", weight("w", 6, 2, 1, 1)),
    ("y = Conv <pads = [1, 2]> (x, w)", weight("w", 2, 4, 3), LINE),
    ("y = Conv <strides = [2, 1, 1], pads = [1, 1, 0, 1, 1, 0]> (x, w)", weight("w", 3, 2, 3, 3, 2), CUBE),
    *(
        (f"y = ConvTranspose <{a}> (x, w, b)", f"{weight('w', 4, 2, 3, 2)}, {weight('b', 2)}")
        for a in (
            "strides = [2, 2]",
            "strides = [2, 2], pads = [1, 0, 1, 0], output_padding = [1, 1]",
            "strides = [2, 1], pads = [0, 1, 1, 0], dilations = [1, 2]",
            'strides = [2, 3], auto_pad = "SAME_UPPER"',
        )
    ),
    ("y = ConvTranspose <group = 2, strides = [3]> (x, w)", weight("w", 4, 3, 2), LINE),
    *(
        (f"y = {pool} <kernel_shape = [3, 2], {a}> (x)", "")
        for pool in ("MaxPool", "AveragePool")
        for a in (
            "strides = [2, 1], pads = [1, 0, 1, 0]",
            "strides = [2, 3], pads = [0, 1, 2, 0]",
            "strides = [2, 3], ceil_mode = 1",
            "strides = [2, 3], pads = [1, 1, 1, 0], ceil_mode = 1",
            'strides = [2, 3], auto_pad = "SAME_UPPER"',
            'strides = [2, 2], auto_pad = "SAME_LOWER"',
        )
    ),
    ("y = MaxPool <kernel_shape = [2, 2], strides = [4, 5], ceil_mode = 1> (x)", ""),
    ("y = MaxPool <kernel_shape = [2, 3], dilations = [2, 2]> (x)", ""),
    ("y = MaxPool <kernel_shape = [3], strides = [2], ceil_mode = 1> (x)", "", LINE),
    ("y = MaxPool <kernel_shape = [2, 2, 2]> (x)", "", CUBE),
    ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)", ""),
    ("y = AveragePool <kernel_shape = [3, 3], pads = [1, 0, 0, 1], count_include_pad = 1> (x)", ""),
    (
        "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1, "
        "ceil_mode = 1> (x)",
        "",
    ),
    ("y = AveragePool <kernel_shape = [2, 2, 2], strides = [2, 2, 2]> (x)", "", CUBE),
    ("y = GlobalAveragePool(x)", ""),
    ("y = GlobalMaxPool(x)", "", CUBE),
    # elements
    *(
        (f"y = {name}(x)", "")
        for name in (
            *("Abs", "Atan", "Cos", "Elu", "Erf", "Exp", "HardSwish", "Mish", "Neg", "Reciprocal", "Relu", "Selu"),
            *("Sigmoid", "Sin", "Sinh", "Softplus", "Softsign", "Tanh", "Celu", "Gelu", "LeakyRelu", "Identity"),
        )
    ),
    *((f"z = Abs(x)\n y = {name}(z)", "") for name in ("Sqrt", "Log")),
    *((f"z = Tanh(x)\n y = {name}(z)", "") for name in ("Acos", "Asin", "Atanh")),
    *((f"z = Abs(x)\n b = Exp(z)\n y = {name}(b)", "") for name in ("Acosh", "Asinh")),
    *((f"z = Tanh(x)\n y = {name}(z)", "") for name in ("Cosh", "Tan")),
    ("y = Elu <alpha = 0.3> (x)", ""),
    ("y = Selu <alpha = 1.5, gamma = 2.0> (x)", ""),
    ("y = Celu <alpha = 0.5> (x)", ""),
    ("y = ThresholdedRelu <alpha = 0.4> (x)", ""),
    ('y = Gelu <approximate = "tanh"> (x)', ""),
    ("y = HardSigmoid <alpha = 0.3> (x)", ""),
    ("y = LeakyRelu <alpha = 0.3> (x)", ""),
    ("y = PRelu(x, w)", weight("w", 4, 1, 1)),
    ("y = Clip(x, l, h)", "float l = {-0.5}, float h = {0.25}"),
    ("y = Clip(x, , h)", "float h = {0.25}"),
    ("y = Clip(x, l)", "float l = {0}"),
    *((f"y = {name}(x, w)", weight("w", 6, 1)) for name in ("Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean")),
    ("y = Max(x, w, b)", f"{weight('w', 6, 1)}, {weight('b', 8)}"),
    ("y = Div(x, w)", "float[1] w = {-3.0}"),
    ("y = Pow(x, n)", "int64 n = {3}"),
    ("y = Mod <fmod = 1> (x, w)", "float w = {0.4}"),
    ("c = Greater(x, w)\n y = Where(c, x, w)", weight("w", 8)),
    ("c = LessOrEqual(x, w)\n d = Not(c)\n e = Or(c, d)\n y = Where(e, x, w)", weight("w", 8)),
    ("c = Less(x, w)\n d = GreaterOrEqual(x, w)\n e = Xor(c, d)\n y = Where(e, x, w)", weight("w", 8)),
    ("z = Log(x)\n c = IsNaN(z)\n d = Greater(x, w)\n e = And(c, d)\n y = Where(e, x, w)", "float w = {-0.5}"),
    ("c = Cast <to = 7> (x)\n z = Equal(c, i)\n d = Cast <to = 1> (z)\n y = Mul(x, d)", "int64 i = {0}"),
    ("c = Cast <to = 7> (x)\n z = Div(c, i)\n d = CastLike(z, x)\n y = Add(x, d)", "int64 i = {2}"),
    ("a = Ceil(x)\n b = Floor(x)\n c = Round(x)\n d = Sign(x)\n e = Sum(a, b, c, d)\n y = Mul(x, e)", ""),
    # layouts
    ("y = Slice(x, s, e, a, t)", ints(s=(1, 0), e=(4, 7), a=(1, 3), t=(2, 3))),
    ("y = Slice(x, s, e, a)", ints(s=(-3,), e=(-1,), a=(-1,))),
    ("y = Slice(x, s, e)", ints(s=(0, 1), e=(1, 3))),
    ("y = Slice(x, s, e, a, t)", ints(s=(5,), e=(0,), a=(3,), t=(-1,))),
    ("y = Slice(x, s, e, a, t)", ints(s=(-1,), e=(-9223372036854775807,), a=(2,), t=(-2,))),
    ("y = Gather <axis = 2> (x, i)", "int64[2,2] i = {0, -1, 3, 2}"),
    ("y = Gather <axis = -1> (x, i)", "int64[3] i = {7, 0, 0}"),
    ("y = Gather <axis = 1> (x, i)", "int64 i = {-2}"),
    ("y = GatherElements <axis = 3> (x, i)", "int64[1,1,2,2] i = {0, -1, 3, 2}"),
    ("y = GatherND(x, i)", "int64[2,3] i = {0, 1, 2, 0, -1, 0}"),
    ("y = ScatterND(x, i, w)", f"int64[2,3] i = {{0, 1, 2, 0, 3, 0}}, {weight('w', 2, 8)}"),
    ("y, z = Split <axis = 1> (x, s)", ints(s=(3, 1))),
    ("y, z, w = Split <axis = 3, num_outputs = 3> (x)", ""),
    ("z, y = Split <axis = 2, num_outputs = 2> (x)", ""),
    ("y = Unsqueeze(x, a)", ints(a=(0, -1))),
    ("z = Unsqueeze(x, a)\n y = Squeeze(z, b)", ints(a=(2,), b=(0, 2))),
    ("y = Squeeze(x)", ""),
    ("y = Reshape(x, s)", ints(s=(0, -1, 12))),
    ("y = Reshape <allowzero = 1> (x, s)", ints(s=(4, -1))),
    ("y = Flatten <axis = 2> (x)", ""),
    ("y = Flatten <axis = -1> (x)", ""),
    ("y = Transpose(x)", ""),
    ("y = Transpose <perm = [0, 2, 3, 1]> (x)", ""),
    ("y = Expand(x, s)", ints(s=(2, 1, 1, 1, 1))),
    ("y = Tile(x, s)", ints(s=(1, 2, 1, 3))),
    ("y = Concat <axis = -2> (x, w, x)", weight("w", 1, 4, 2, 8)),
    ("y = DepthToSpace <blocksize = 2> (x)", ""),
    ('y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)', ""),
    ("y = SpaceToDepth <blocksize = 2> (x)", ""),
    ("y = Pad(x, p, v)", f"{ints(p=(0, 0, 1, 2, 0, 1, 0, 3))}, float v = {{0.5}}"),
    ("y = Pad(x, p)", ints(p=(0, 0, 1, -2, 0, 0, -1, 3))),
    ("y = Pad(x, p, , a)", ints(p=(1, 2, 0, 1), a=(-1, 2))),
    *((f'y = Pad <mode = "{m}"> (x, p)', ints(p=(0, 1, 2, 0, 0, 0, 1, 3))) for m in ("reflect", "edge", "wrap")),
    ("y = Trilu(x)", ""),
    ("y = Trilu <upper = 0> (x, k)", "int64 k = {-1}"),
    ("y = Dropout(x)", ""),
    # reductions
    *(
        (f"y = Reduce{name} <keepdims = {keep}> (x, a)", ints(a=(1, -1)))
        for name in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
        for keep in (0, 1)
    ),
    ("z = Abs(x)\n y = ReduceLogSum(z, a)", ints(a=(2,))),
    ("y = ReduceMean(x)", ""),
    ("y = ReduceSum <noop_with_empty_axes = 1> (x)", ""),
    ("y = Softmax <axis = 1> (x)", ""),
    ("y = LogSoftmax(x)", ""),
    ("y = CumSum <reverse = 1, exclusive = 1> (x, a)", "int64 a = {2}"),
    ("y, i = TopK <axis = 2, largest = 0> (x, k)", ints(k=(2,))),
    ("i = ArgMax <axis = 3> (x)\n y = GatherElements <axis = 3> (x, i)", ""),
    ("i = ArgMin <axis = 1, select_last_index = 1, keepdims = 0> (x)\n c = Cast <to = 1> (i)\n y = Mul(x, c)", ""),
    ("y = MatMul(x, w)", weight("w", 8, 3)),
    ('y = Einsum <equation = "bchw,cd->bdhw"> (x, w)', weight("w", 4, 3)),
    ("z = Flatten(x)\n y = Gemm <alpha = 0.5, transA = 1> (z, z)", ""),
    ("y = Gemm <transB = 1> (x, w, b)", f"{weight('w', 3, 5)}, {weight('b', 3)}", "1,5"),
    ("y = Gemm <beta = 0.5> (x, w, b)", f"{weight('w', 5, 3)}, {weight('b', 1, 3)}", "1,5"),
    ("y = BatchNormalization <epsilon = 0.1> (x, w, b, m, v)", ", ".join(
        [*(weight(name, 4) for name in "wbm"), "float[4] v = {0.5, 1, 2, 3}"])),
    ("y = InstanceNormalization <epsilon = 0.1> (x, w, b)", f"{weight('w', 4)}, {weight('b', 4)}"),
    ("y = LayerNormalization(x, w, b)", f"{weight('w', 8)}, {weight('b', 8)}"),
    ("y = LayerNormalization <epsilon = 0.1> (x, w)", weight("w", 8)),
    ("y = LayerNormalization <axis = 2> (x, w)", weight("w", 6, 8)),
    ("y = LpNormalization <axis = 1, p = 1> (x)", ""),
    ("y = LpNormalization(x)", ""),
    ("y = LRN <size = 3, alpha = 0.5> (x)", ""),
    ("i = ArgMax <axis = 3, keepdims = 0> (x)\n o = OneHot(i, d, v)\n y = Mul(x, o)",
     "int64 d = {8}, float[2] v = {1, 3}"),
    ("i = ArgMax <axis = 2, keepdims = 0> (x)\n o = OneHot <axis = 2> (i, d, v)\n y = Mul(x, o)",
     "int64[1] d = {6}, float[2] v = {1, 3}"),
    # shapes, which the canonical form folds
    ("s = Shape(x)\n n = Gather(s, i)\n t = Concat <axis = 0> (n, m)\n y = Reshape(x, t)", ints(i=(0,), m=(-1,))),
    ("s = Shape(x)\n o = ConstantOfShape(s)\n z = Expand(w, s)\n y = Sum(x, o, z)", weight("w", 8)),
    # sizes
    *(
        (f'y = Resize <mode = "{mode}", coordinate_transformation_mode = "{where}"{rest}> (x, , s)', scales)
        for scales in ("float[4] s = {1, 1, 2, 2}", "float[4] s = {1, 1, 0.6, 1.7}")
        for mode, where, rest in (
            ("nearest", "asymmetric", ', nearest_mode = "floor"'),
            ("nearest", "half_pixel", ""),
            ("nearest", "half_pixel", ', nearest_mode = "ceil"'),
            ("nearest", "align_corners", ', nearest_mode = "round_prefer_ceil"'),
            ("linear", "half_pixel", ""),
            ("linear", "asymmetric", ""),
            ("linear", "align_corners", ""),
            ("linear", "pytorch_half_pixel", ""),
            ("linear", "half_pixel_symmetric", ""),
            ("cubic", "half_pixel", ""),
            ("cubic", "half_pixel", ", exclude_outside = 1, cubic_coeff_a = -0.5"),
        )
    ),
    ('y = Resize <mode = "linear"> (x, , , s)', ints(s=(1, 4, 9, 4))),
    ('y = Resize <mode = "nearest", axes = [2, 3]> (x, , , s)', ints(s=(9, 4))),
]  # fmt: skip


@pytest.mark.parametrize(("body", "initializers", "shape"), [(*case, "1,4,6,8")[:3] for case in CASES])
def test_an_operator_gives_what_onnx_runtime_gives_for_one_input_and_for_a_batch(
    body: str, initializers: str, shape: str
) -> None:
    serialized = model(body, initializers, shape)
    sizes = [int(n) for n in shape.split(",")]
    x = np.random.default_rng(0).normal(size=(ROWS, *sizes[1:])).astype(np.float32)
    session = ort.InferenceSession(serialized, providers=["CPUExecutionProvider"])
    expected = [session.run(["y"], {"x": row[None]})[0] for row in x]
    run = torch_graph(load_graph(serialized, name="small"))
    entry = torch.from_numpy(x[:1]).requires_grad_()
    outputs = run(entry)
    assert tuple(outputs.shape) == expected[0].shape
    assert_same(outputs, expected[0])
    outputs.sum().backward()
    assert entry.grad is not None
    assert bool(entry.grad.isfinite().all())
    assert_same(run(torch.from_numpy(x)), np.concatenate(expected))


def assert_same(outputs: torch.Tensor, expected: np.ndarray) -> None:
    error = np.abs(outputs.detach().numpy() - expected).max()
    assert error <= SAME * np.abs(expected).max()


@pytest.mark.parametrize(
    ("body", "initializers"),
    [
        ("y = AveragePool <kernel_shape = [3, 2], strides = [2, 3], pads = [1, 1, 1, 0], ceil_mode = 1> (x)", ""),
        ('y = ConvTranspose <strides = [2, 3], auto_pad = "SAME_UPPER"> (x, w)', weight("w", 4, 2, 3, 2)),
        ("y = Slice(x, s, e, a, t)", ints(s=(5,), e=(0,), a=(3,), t=(-2,))),
        ('y = Resize <mode = "cubic"> (x, , s)', "float[4] s = {1, 1, 0.6, 1.7}"),
        ('y = Resize <mode = "nearest"> (x, , s)', "float[4] s = {1, 1, 1.5, 2}"),
        ('y = Pad <mode = "reflect"> (x, p)', ints(p=(0, 1, 2, 0, 0, 0, 1, 3))),
        ("y = GroupNormalization <num_groups = 2> (x, w, b)", f"{weight('w', 4)}, {weight('b', 4)}"),
        ("y = PRelu(x, w)", weight("w", 4, 1, 1)),
        ("y = DepthToSpace <blocksize = 2> (x)", ""),
    ],
)
def test_gradients_are_those_of_differences(body: str, initializers: str) -> None:
    opset = 21 if "Group" in body else 20
    run = torch_graph(load_graph(model(body, initializers, opset=opset), name="small")).double()
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 4, 6, 8))).requires_grad_()
    assert torch.autograd.gradcheck(run, (x,), fast_mode=True)


@pytest.mark.parametrize("opset", [18, 21])
def test_a_group_is_normalized_as_its_operator_set_says(opset: int) -> None:
    """Scale and bias have a number for each group under operator set 18, for each channel under 21."""
    size = 2 if opset == 18 else 4
    body = "y = GroupNormalization <num_groups = 2> (x, w, b)"
    serialized = model(body, f"{weight('w', size)}, {weight('b', size)}", opset=opset)
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 8)).astype(np.float32)
    expected = ort.InferenceSession(serialized, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
    assert_same(torch_graph(load_graph(serialized, name="small"))(torch.from_numpy(x)), expected)


@pytest.mark.parametrize(
    ("body", "initializers", "why"),
    [
        ("y, i = MaxPool <kernel_shape = [2, 2]> (x)\n z = Cast <to = 1> (i)\n k = Add(z, y)", "", "output Indices"),
        ("y = AveragePool <kernel_shape = [2, 2], dilations = [2, 2]> (x)", "", "dilations"),
        ("y = ConvTranspose <output_shape = [8, 10]> (x, w)", weight("w", 4, 2, 3, 3), "output_shape"),
        ('y = Resize <mode = "linear", antialias = 1> (x, , s)', "float[4] s = {1, 1, 0.5, 0.5}", "antialias"),
    ],
)
def test_what_torch_would_do_otherwise_is_refused(body: str, initializers: str, why: str) -> None:
    serialized = model(body, initializers)
    if "k =" in body:
        serialized = model(body.replace("y, i", "p, i").replace("(z, y)", "(z, p)").replace("k =", "y ="))
    run = torch_graph(load_graph(serialized, name="small"))
    with pytest.raises(ProfileError, match=f"no gradients through this .*: .*{why}"):
        run(torch.zeros(1, 4, 6, 8))


def test_unknown_operators_are_named_all_at_once() -> None:
    body = "z = GlobalLpPool(x)\n d = Det(z)\n y = Relu(d)"
    with pytest.raises(ProfileError, match=r"no gradients through Det, GlobalLpPool$"):
        torch_graph(load_graph(model(body), name="small"))


def test_every_operator_that_is_known_is_tested_here() -> None:
    assert set(torch_operators()) <= {name for case in CASES for name in re.findall(r"= (\w+)[ (]", case[0])}


@pytest.mark.parametrize(("name", "inputs"), [("HardSwish", 1), ("Mish", 1), ("CastLike", 2)])
def test_operators_that_onnx_runtime_writes_as_others_are_the_same_when_it_does_not(name: str, inputs: int) -> None:
    body = f"y = {name}({', '.join(['x'] * inputs)})"
    x = np.random.default_rng(0).normal(scale=3, size=(1, 4, 6, 8)).astype(np.float32)
    expected = ort.InferenceSession(model(body), providers=["CPUExecutionProvider"]).run(["y"], {"x": x})[0]
    assert_same(torch_operators()[name]([torch.from_numpy(x)] * inputs, {}), expected)
