"""Cuts that hold NaN or infinity for some input, or another shape, are left out with the reason; others are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.flow import plan
from splitpoint.planner.search.usable_cuts import choose_usable
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph, load_model
from splitpoint.profiles.network.model import ModelGraph

# Log of a negative number is NaN and of 0 minus infinity; the output is finite all the same.
TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y) {
  a = Log(x)  b = Exp(a)  c = Clip(b)  s = Relu(c)  y = Tanh(s) }"""
FINE = np.full((1, 4), 2.0, np.float32)
ZERO = np.array([[1, 0, 1, 1]], np.float32)


@pytest.fixture(scope="module")
def runs(nets: ModuleType) -> Iterator[NetworkRuns]:
    with NetworkRuns(load_graph(nets.from_text(TEXT), name="net"), {}, threads=1) as made:
        yield made


def choose(
    runs: NetworkRuns, sets: Sequence[Sequence[Array]], taken: Callable[[Sequence[Cut]], list[Cut]]
) -> tuple[list[str], dict[str, str]]:
    cuts = enumerate_cuts(runs.graph).cuts
    chosen, unusable = choose_usable(runs, cuts, taken, sets=sets, probes=2)
    return [cut.name for cut in chosen], unusable


def everything(cuts: Sequence[Cut]) -> list[Cut]:
    return list(cuts)


@pytest.mark.parametrize(
    "sets",
    [
        [[ZERO, FINE], [FINE], [FINE]],  # among the probes
        [[FINE, FINE, FINE], [FINE, ZERO], [FINE]],  # in a later set
        [[FINE, FINE], [FINE], [FINE, FINE, FINE, ZERO]],  # in the last input of the report set
    ],
    ids=["probe", "search", "report"],
)
def test_a_cut_with_infinity_in_any_input_is_left_out(runs: NetworkRuns, sets: list[list[Array]]) -> None:
    chosen, unusable = choose(runs, sets, everything)
    assert unusable == {"a": "'a' holds infinity for some input"}
    assert chosen == ["x", "b", "c", "s"]


def test_all_cuts_stay_when_all_numbers_are_finite(runs: NetworkRuns) -> None:
    assert choose(runs, [[FINE], [FINE], [FINE]], everything) == (["x", "a", "b", "c", "s"], {})


def test_nan_is_called_nan(runs: NetworkRuns) -> None:
    _, unusable = choose(runs, [[FINE, -FINE], [], []], everything)
    assert unusable["a"] == "'a' holds NaN for some input"


def test_the_choice_is_made_again_without_what_later_inputs_rule_out(runs: NetworkRuns) -> None:
    asked: list[list[str]] = []

    def second(cuts: Sequence[Cut]) -> list[Cut]:
        asked.append([cut.name for cut in cuts])
        return list(cuts[1:2])

    assert choose(runs, [[FINE, FINE], [ZERO], []], second) == (["b"], {"a": "'a' holds infinity for some input"})
    assert asked == [["x", "a", "b", "c", "s"], ["x", "b", "c", "s"]]


def test_no_usable_cut_is_no_choice(runs: NetworkRuns) -> None:
    chosen, unusable = choose(runs, [[np.full((1, 4), np.nan, np.float32)], [], []], everything)
    assert chosen == []
    assert {"x", "a", "b"} <= unusable.keys()


def test_a_tensor_of_another_shape_than_planned_is_left_out(nets: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = load_graph(nets.from_text(TEXT), name="net")
    with NetworkRuns(graph, {}, threads=1) as runs:
        rows = [{"x": FINE, "a": FINE, "b": FINE[:, :3]}]
        monkeypatch.setattr(runs, "sweep_inputs", lambda cuts, inputs: iter(rows))
        _, unusable = choose(runs, [[FINE], [], []], everything)
    assert unusable == {"b": "'b' was planned as [1, 4] and is [1, 3] for some input"}


def test_a_plan_goes_on_without_the_mask_of_minus_infinity(
    tmp_path: Path, make_profile: Callable[[ModelGraph], ModelProfile]
) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 8)).astype(np.float32),
        "mask": np.triu(np.full((8, 8), -np.inf, np.float32), 1),
        "v": rng.standard_normal((64, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["s"], "score"),
        helper.make_node("Add", ["s", "mask"], ["m"], "mask"),
        helper.make_node("Softmax", ["m"], ["p"], "softmax"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "v"], ["y"], "out"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 8, 16))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(w, name) for name, w in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=rng.standard_normal((24, 8, 16)).astype(np.float32))
    write_yaml(tmp_path / "profile.yaml", make_profile(load_model(tmp_path / "m.onnx")))
    (tmp_path / "c.yaml").write_text(
        "model: m.onnx\ninput: {kind: tensor}\ndata: {source: d.npz}\ndevice: raspberry-pi-4\nserver: cloud-8core\n"
        "link: wifi-5\nsearch: {evaluations: 4, codecs: [raw, fp16, fast]}\n"
    )
    result = plan(load_problem(read_config(tmp_path / "c.yaml")), stored_profile=tmp_path / "profile.yaml")
    assert result.left_out["cut after mask"] == "'m' holds infinity for some input"
    splits = {point.candidate.cut for point in result.points if point.candidate.placement == "split"}
    assert splits
    assert "m" not in splits
    assert result.decision.recommended is not None
