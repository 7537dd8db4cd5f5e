"""Inputs of a model: which dimensions are fixed to what, what must be asked for, and inputs that are constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.parser
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import parse_model, to_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.input_shapes import Shapes, constant_array, declared_inputs
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

HEADER = '<ir_version: 9, opset_import: ["" : 17]>'
TWO = """g (float[batch,frames,3] x, float[2,batch,3] state) => (float[batch,frames,3] y) {
  m = ReduceMean <axes = [0], keepdims = 1> (state)
  y = Add(x, m)
}"""


def load(text: str, shapes: Shapes | None = None, constants: Mapping[str, Any] | None = None) -> ModelGraph:
    model = onnx.parser.parse_model(HEADER + text).SerializeToString()
    return load_graph(model, input_shapes=shapes, constants=constants)


def refusal(text: str, shapes: Shapes | None = None, constants: Mapping[str, Any] | None = None) -> str:
    with pytest.raises(ProfileError) as caught:
        load(text, shapes, constants)
    return str(caught.value)


def relu_of(dims: list[int | str | None], *, kind: int = onnx.TensorProto.FLOAT) -> bytes:
    """Relu of an input whose dimensions are as given: a number, a name, or None for no name."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["h"]), onnx.helper.make_node("Tanh", ["h"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", kind, dims)],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
    )
    return bytes(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString())


@pytest.mark.parametrize("batch", [-1, 0, "", None, "N", "batch_size", "unk__7", "s0"])
def test_every_way_to_write_a_free_batch_is_one_input_and_is_said(batch: int | str | None) -> None:
    graph = load_graph(relu_of([batch, 3, 8, 8]))
    assert graph.inputs[0].shape == (1, 3, 8, 8)
    (line,) = graph.fixed
    name = batch if isinstance(batch, str) and batch else "?"
    assert line == f"input shape fixed: x [{name}, 3, 8, 8] as 1x3x8x8 (one input at a time)"
    given = load_graph(relu_of([batch, 3, 8, 8]), input_shapes=(1, 3, 8, 8))
    assert given.fixed == (f"input shape fixed: x [{name}, 3, 8, 8] as 1x3x8x8",)
    assert given.sha256 == graph.sha256


def test_a_fixed_shape_is_not_said() -> None:
    assert load_graph(relu_of([1, 3, 8, 8])).fixed == ()


@pytest.mark.parametrize("size", [-1, 0, "", "W"])
def test_another_free_dimension_must_be_given_by_the_flag(size: int | str) -> None:
    with pytest.raises(ProfileError, match="is not fixed") as caught:
        load_graph(relu_of(["N", 3, 8, size]))
    assert caught.value.fix == "give its size, such as --size 1x3x8x224 (shapes: in a configuration)"


@pytest.mark.parametrize(
    "symbol", ["seq", "seq_len", "sequence_length", "time", "num_frames", "T", "t", "samples", "n_tokens", "audio_len"]
)
def test_time_is_never_fixed_to_one_by_itself(symbol: str) -> None:
    for dims in ([symbol, 1, 3], [1, symbol, 3], [symbol]):
        with pytest.raises(ProfileError, match=rf"\({symbol}\) is a length, which must be given") as caught:
            load_graph(relu_of([*dims]))
        assert "--size" in str(caught.value.fix)


@pytest.mark.parametrize("symbol", ["s77", "dim_0", None])
@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_what_a_recurrent_operator_reads_first_is_time(symbol: str | None, kind: str, gates: int) -> None:
    text = f"""g (float[T,1,3] x, float[1,{5 * gates},3] w, float[1,{5 * gates},5] r) => (float[T,1,1,5] y) {{
        y = {kind} <hidden_size = 5> (x, w, r)
    }}"""
    model = onnx.parser.parse_model(HEADER + text)
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    first.Clear()
    if symbol is not None:
        first.dim_param = symbol
    with pytest.raises(ProfileError, match=r"dimension 0 .* is not fixed"):
        load_graph(model.SerializeToString())


def test_a_vector_is_a_waveform_unless_its_name_says_batch() -> None:
    with pytest.raises(ProfileError, match=r"dimension 0 \(without a name\) is not fixed"):
        load_graph(relu_of([None]))
    assert load_graph(relu_of(["batch"])).inputs[0].shape == (1,)


def test_a_symbol_that_was_given_holds_for_every_input() -> None:
    text = "g (float[N,L] a, float[N,L] b) => (float[N,L] y) { y = Add(a, b) }"
    graph = load(text, {"b": (1, 7)})
    assert [tensor.shape for tensor in graph.inputs] == [(1, 7), (1, 7)]
    graph = load(TWO, {"x": (1, 5, 3)})
    assert [tensor.shape for tensor in graph.inputs] == [(1, 5, 3), (2, 1, 3)]
    text = refusal(TWO)
    assert "--size x=1x512x3 --size state=2x1x3" in text


def test_a_shape_without_a_name_is_refused_for_several_inputs() -> None:
    text = refusal(TWO, (1, 5, 3))
    assert "does not say of which input" in text
    assert "--size x=... --size state=..." in text
    assert "no input 'stat'; did you mean 'state'?" in refusal(TWO, {"stat": (2, 1, 3)})


def test_a_shape_that_contradicts_the_model_names_the_flag() -> None:
    text = refusal("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }", (1, 4))
    assert "the shape given, 1x4, does not fit the model's [N, 3]" in text
    assert "--size 1x3" in text
    assert "input_shapes" not in text
    fixed = refusal("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }", (1, 4))
    assert "leave --size out" in fixed


def test_a_constant_input_is_folded() -> None:
    text = """g (float[1,4] x, int64 sr) => (float[1,4] y) {
        c = Cast <to = 1> (sr)
        d = Constant <value_float = 16000.0> ()
        r = Div(c, d)
        m = Mul(x, r)
        y = Relu(m)
    }"""
    graph = load(text, constants={"sr": 8000})
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert [node.op_type for node in graph.nodes] == ["Mul", "Relu"]
    assert "constant: sr = 8000" in graph.fixed
    x = np.array([[1, -1, 2, 4]], np.float32)
    (y,) = open_session(to_bytes(graph.model)).run({"x": x}).values()
    np.testing.assert_array_equal(y, [[0.5, 0, 1, 2]])
    assert load(text, constants={"sr": 16000}).sha256 != graph.sha256
    assert "no input 'rate' to be constant" in refusal(text, constants={"rate": 1})
    assert "nothing to send" in refusal(text, constants={"sr": 8000, "x": 0})


def test_a_branch_that_a_constant_decides_is_gone() -> None:
    text = """g (float[1,4] x, bool loud) => (float[1,4] y) {
        h = Relu(x)
        z = If (loud) <
            then_branch = a () => (float[1,4] p) { p = Exp(h) },
            else_branch = b () => (float[1,4] q) { q = Sin(h) }
        >
        y = Tanh(z)
    }"""
    kinds = {value: [n.op_type for n in load(text, constants={"loud": value}).nodes] for value in (True, False)}
    assert kinds == {True: ["Relu", "Exp", "Tanh"], False: ["Relu", "Sin", "Tanh"]}


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "array"),
    [
        (16000, "int64", (), np.int64(16000)),
        (16000, "int64", (1,), np.array([16000])),
        (0.5, "float32", (1, 3), np.full((1, 3), 0.5, np.float32)),
        ([1, 2], "float32", (None,), np.array([1, 2], np.float32)),
        (True, "bool", (1,), np.array([True])),
        (1, "bool", (), np.bool_(True)),
        (2.0, "int32", (), np.int32(2)),
    ],
)
def test_constants_take_the_inputs_type_and_shape(value: Any, dtype: str, shape: tuple[int, ...], array: Any) -> None:
    made = constant_array(value, dtype, shape, at="sr")
    assert made.dtype == array.dtype
    np.testing.assert_array_equal(made, array)


@pytest.mark.parametrize(
    ("value", "dtype", "shape", "what"),
    [
        ([1, 2], "float32", (3,), "the shape 2, the input 3"),
        (1.5, "int64", (), "no int64"),
        (300, "uint8", (), "no uint8"),
        ("loud", "float32", (), "no number"),
        ([[1], [2, 3]], "float32", (2,), "cannot be read"),
        (2, "bool", (), "no truth value"),
        (None, "float32", (), "no number"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused(value: Any, dtype: str, shape: tuple[int, ...], what: str) -> None:
    with pytest.raises(ProfileError, match=what):
        constant_array(value, dtype, shape, at="sr")


def test_an_input_that_nothing_reads_is_left_out_and_said() -> None:
    text = "g (int64[1,4] ids, int64[1,4] types) => (float[1,4] y) { c = Cast <to = 1> (ids)  y = Relu(c) }"
    graph = load(text, {"ids": (1, 4), "types": (1, 4)}, {"types": 0})
    assert [tensor.name for tensor in graph.inputs] == ["ids"]
    assert graph.fixed == ("left out: input types, which nothing reads",)
    parsed = parse_model(onnx.parser.parse_model(HEADER + text).SerializeToString(), at="text")
    assert [entry.name for entry in declared_inputs(parsed)] == ["ids"]


@pytest.mark.parametrize("kind", ["STRING", "BFLOAT16", "COMPLEX64"])
def test_types_that_cannot_be_sent_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ProfileError, match=f"input 'x' holds {kind.lower()}, which cannot be sent"):
        load_graph(relu_of([1, 4], kind=getattr(onnx.TensorProto, kind)))
