"""What loading a network keeps in memory and in the process: weights a few times at most, and no SymPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

SIDE, LAYERS = 1024, 16
WEIGHT_BYTES = 4 * SIDE * SIDE * LAYERS  # 67 MB
MOST_COPIES = 3.0  # at once: the file and its message while it is parsed, and the allocator's slack

SCRIPT = """
import json, resource, sys
from splitpoint.profiles.network.graph import load_model
from splitpoint.profiles.network.onnxir import ir

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before = peak_bytes()
graph = load_model(sys.argv[1], input_shapes=(1, {side}))
after = peak_bytes()
sympy = any(name.startswith("sympy.") for name in sys.modules)
text = (ir.SymbolicDim("n") + 1).value
late = any(name.startswith("sympy.") for name in sys.modules)
print(json.dumps(dict(grown=after - before, nodes=len(graph.nodes), sympy=sympy, text=text, late=late)))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process reports of loading 67 MB of weights whose input has a symbolic dimension."""
    path = tmp_path_factory.mktemp("model") / "large.onnx"
    rng = np.random.default_rng(0)
    names = ["x", *(f"t{i}" for i in range(LAYERS))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]], name=f"n{i}") for i in range(LAYERS)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, "n"])],
        [helper.make_tensor_value_info(names[-1], onnx.TensorProto.FLOAT, [1, SIDE])],
        [
            numpy_helper.from_array(rng.standard_normal((SIDE, SIDE), dtype=np.float32) / 32, f"w{i}")
            for i in range(LAYERS)
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{side}", str(SIDE)), str(path)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


def test_loading_holds_the_weights_a_few_times_only(loaded: dict[str, Any]) -> None:
    assert loaded["nodes"] == LAYERS
    assert loaded["grown"] < MOST_COPIES * WEIGHT_BYTES


def test_sympy_is_loaded_when_symbolic_dimensions_are_added_and_not_before(loaded: dict[str, Any]) -> None:
    assert (loaded["sympy"], loaded["text"], loaded["late"]) == (False, "n + 1", True)


def test_no_temporary_file_stays(tmp_path: Path) -> None:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", ["x", "w"], ["y"], name="n")],
            "g",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, SIDE])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, SIDE])],
            [numpy_helper.from_array(np.ones((1, SIDE), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    folder = tmp_path / "temporary"
    folder.mkdir()
    script = (
        "import os, sys; from splitpoint.profiles.network.graph import load_model\n"
        "graph = load_model(sys.argv[1])\n"
        "values = list(graph.model.graph.initializers.values())\n"
        "left = [name for name in os.listdir(sys.argv[2]) if name.startswith('splitpoint')]\n"
        "print(left, float(values[0].const_value.numpy().sum()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "m.onnx"), str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert run.stdout.split("\n")[0] == f"[] {float(SIDE)}", run.stderr
