"""Other spellings of the same model: the default operator set by its full name, sparse weights; and inputs refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest
from onnx import TensorProto, numpy_helper

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.canonical import to_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import open_session

DENSE = np.array([[1, 0, 0], [0, 0, 2], [0, 3, 0]], np.float32)
FLAT = np.array([0, 5, 7])
ROWS = np.array([[0, 0], [1, 2], [2, 1]])
node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info


def model_of(nodes: list[Any], *, sets: dict[str, int], weights: Any = (), kind: int = TensorProto.FLOAT) -> Any:
    x, y = value("x", kind, [1, 3]), value("y", TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], list(weights))
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in sets.items()]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)


def sparse(indices: Any, *, values: Any = (1, 2, 3), shape: tuple[int, ...] = (3, 3)) -> onnx.SparseTensorProto:
    numbers = numpy_helper.from_array(np.array(values, np.float32), "w")
    return onnx.helper.make_sparse_tensor(numbers, numpy_helper.from_array(indices, "at"), shape)


def test_the_default_operator_set_by_its_full_name() -> None:
    def body(domain: str) -> list[Any]:
        branches = [
            onnx.helper.make_graph([node(op, ["r"], [op], domain=domain)], op, [], [value(op, TensorProto.FLOAT, None)])
            for op in ("Exp", "Sin")
        ]
        return [
            node("Relu", ["x"], ["r"], "relu", domain=domain),
            node("ReduceSum", ["r"], ["s"], "sum", domain=domain, keepdims=0),
            node("Cast", ["s"], ["c"], "cast", domain=domain, to=TensorProto.BOOL),
            node("If", ["c"], ["y"], "if", domain=domain, then_branch=branches[0], else_branch=branches[1]),
        ]

    full, short = (
        load_graph(model_of(body(domain), sets={domain: 17}).SerializeToString()) for domain in ("ai.onnx", "")
    )
    assert full.sha256 == short.sha256
    assert (full.opset, full.uncounted) == (17, {})
    both = model_of(body("ai.onnx"), sets={"": 17, "ai.onnx": 17, "com.microsoft": 1}).SerializeToString()
    assert load_graph(both).sha256 == short.sha256


def test_two_versions_of_the_default_operator_set_are_refused() -> None:
    model = model_of([node("Relu", ["x"], ["y"])], sets={"": 17, "ai.onnx": 18}).SerializeToString()
    with pytest.raises(ProfileError, match=r"imported in 2 versions: \[17, 18\]"):
        load_graph(model)


@pytest.mark.parametrize("indices", [FLAT, ROWS], ids=["flat", "coordinates"])
@pytest.mark.parametrize("held", ["initializer", "constant"])
def test_a_sparse_weight_is_a_weight(indices: Any, held: str) -> None:
    multiply = node("MatMul", ["x", "w"], ["y"], "multiply")
    if held == "constant":
        model = model_of([node("Constant", [], ["w"], sparse_value=sparse(indices)), multiply], sets={"": 17})
    else:
        model = model_of([multiply], sets={"": 17})
        model.graph.sparse_initializer.append(sparse(indices))
    graph = load_graph(model.SerializeToString())
    assert (graph.macs, graph.parameters, graph.nodes[0].weight_bytes) == (9, 9, 36)
    x = np.array([[1, 10, 100]], np.float32)
    assert np.array_equal(open_session(to_bytes(graph.model)).run({"x": x})["y"], x @ DENSE)


@pytest.mark.parametrize(
    "weight", [sparse(np.array([0, 5, 9])), sparse(ROWS, shape=(2, 2)), sparse(FLAT, values=(1, 2))], ids=str
)
def test_a_damaged_sparse_weight_is_named(weight: Any) -> None:
    model = model_of([node("MatMul", ["x", "w"], ["y"])], sets={"": 17})
    model.graph.sparse_initializer.append(weight)
    with pytest.raises(ProfileError, match="the sparse weight 'w' is damaged"):
        load_graph(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProto.STRING, "string"), (TensorProto.BFLOAT16, "bfloat16")], ids=["string", "bfloat16"]
)
def test_inputs_that_no_data_can_give_are_refused_by_name(kind: int, name: str) -> None:
    first = (
        node("StringNormalizer", ["x"], ["y"])
        if kind == TensorProto.STRING
        else node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    )
    model = model_of([first], sets={"": 17}, kind=kind).SerializeToString()
    with pytest.raises(ProfileError, match=f"input 'x' holds {name}") as raised:
        load_graph(model)
    assert "'x'" in (raised.value.at or "")
