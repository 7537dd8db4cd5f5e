"""The unsplit network on the user's inputs: NaN is refused with its place, and so is a network that is at chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from splitpoint.planner.measuring.unsplit import check_unsplit, usual_specs
from splitpoint.planner.setup.config import PlanConfig, read_config
from splitpoint.planner.setup.loading import Problem, load_problem
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec, preprocess
from splitpoint.profiles.network.runtime import open_session


@pytest.fixture(scope="module")
def config(home: Path) -> PlanConfig:
    return msgspec.structs.replace(read_config(home / "labelled.yaml"), task="classify")


def relabelled(home: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    """The labelled data with other labels."""
    with np.load(home / "labelled.npz") as given:
        np.savez(folder / "data.npz", x=given["x"], y=change(given["y"]))
    return str(folder / "data.npz")


def problem(config: PlanConfig, source: str | None = None, **changes: object) -> Problem:
    data = config.data if source is None else msgspec.structs.replace(config.data, source=source)
    return load_problem(msgspec.structs.replace(config, data=data, **changes))


def test_a_network_that_fits_its_labels_has_no_remarks(config: PlanConfig) -> None:
    steps: list[None] = []
    assert check_unsplit(problem(config), lambda: steps.append(None)) == ()
    assert len(steps) == 60


def test_labels_in_another_order_stop_the_plan_and_the_order_is_named(
    home: Path, tmp_path: Path, config: PlanConfig
) -> None:
    source = relabelled(home, tmp_path, lambda y: 5 - y)
    with pytest.raises(ProfileError, match="no better than chance") as caught:
        check_unsplit(problem(config, source))
    assert "36 with the labels reversed: correct classes.txt" in caught.value.message
    assert caught.value.at == source
    assert "--accept-baseline" in str(caught.value.fix)
    (remark,) = check_unsplit(problem(config, source, accept_baseline=True))
    assert "no better than chance" in remark
    assert "the labels reversed" in remark


def test_labels_that_fit_in_no_order_stop_the_plan_with_the_likely_reasons(
    home: Path, tmp_path: Path, config: PlanConfig
) -> None:
    source = relabelled(home, tmp_path, lambda y: np.random.default_rng(3).permutation(y))
    with pytest.raises(ProfileError, match=r"likely wrong: the order of classes\.txt, mean and std, .*color: bgr"):
        check_unsplit(problem(config, source))


def test_another_normalisation_is_named(home: Path, tmp_path: Path, config: PlanConfig) -> None:
    """The labels are what the network gives for levels -1..1, and the configuration says 0..255."""
    usual, plain = InputSpec(size=16, mean=127.5, std=127.5), InputSpec(size=16)
    session = open_session(home / "model.onnx", level="all", threads=1)
    with np.load(home / "labelled.npz") as given:
        x = given["x"]
    labels = [int(session.run({"x": preprocess(picture, usual)})["scores"].argmax()) for picture in x]
    np.savez(tmp_path / "data.npz", x=x, y=np.array(labels))
    asked = problem(config, str(tmp_path / "data.npz"), input=plain, accept_baseline=True)
    remark = " ".join(check_unsplit(asked))
    assert "with the input block {color: rgb, scale: 1, mean: 127.5, std: 127.5}" in remark
    assert check_unsplit(problem(config, str(tmp_path / "data.npz"), input=usual)) == ()


def test_colours_in_the_other_order_are_named(config: PlanConfig, home: Path, tmp_path: Path) -> None:
    with np.load(home / "labelled.npz") as given:
        np.savez(tmp_path / "data.npz", x=given["x"][..., ::-1], y=given["y"])
    (remark,) = check_unsplit(problem(config, str(tmp_path / "data.npz")))  # above chance: a note
    assert remark.startswith("the unsplit network is right on 19 of 36 labelled inputs, and on 36 of 36")
    assert remark.endswith("(rather than 19) with the input block {color: bgr, scale: 1, mean: 127, std: 64}")


def test_usual_blocks_leave_the_given_one_out() -> None:
    given = InputSpec(size=8, scale=255.0)
    others = usual_specs(given)
    assert given not in others
    assert len(others) == len(set(others)) == 7
    assert {other.color for other in others} == {"rgb", "bgr"}
    assert {other.color for other in usual_specs(InputSpec(size=8, color="gray"))} == {"gray"}
    assert usual_specs(InputSpec(size=8, dtype="uint8")) == [InputSpec(size=8, dtype="uint8", color="bgr")]


def nan_model(op: str) -> bytes:
    """x -> 10 Relu(x), then a node that is not finite where the first channel is all 0."""
    kind = onnx.TensorProto.FLOAT
    nodes = {
        "Log": [helper.make_node("Log", ["m"], ["bad"], "log")],
        "Div": [helper.make_node("Div", ["m", "m"], ["bad"], "ratio")],
    }[op]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["r"], "relu"),
            helper.make_node("GlobalAveragePool", ["r"], ["m"], "pool"),
            *nodes,
            helper.make_node("Flatten", ["bad"], ["flat"], "flatten"),
            helper.make_node("MatMul", ["flat", "w"], ["scores"], "linear"),
        ],
        "nan",
        [helper.make_tensor_value_info("x", kind, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("scores", kind, (1, 6))],
        [numpy_helper.from_array(np.abs(np.random.default_rng(0).normal(size=(3, 6))).astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("op", "says"),
    [
        ("Log", "gives infinity in 'scores': first in 'bad', which Log 'log' makes"),
        ("Div", "gives NaN in 'scores': first in 'bad', which Div 'ratio' makes"),
    ],
)
def test_nan_and_infinity_are_refused_with_the_first_input_and_tensor(
    home: Path, tmp_path: Path, config: PlanConfig, op: str, says: str
) -> None:
    (tmp_path / "nan.onnx").write_bytes(nan_model(op))
    with np.load(home / "labelled.npz") as given:
        x = given["x"].copy()
        x[17] = 0  # below the mean everywhere: Relu leaves nothing
        np.savez(
            tmp_path / "data.npz", x=np.maximum(x, 140) * (np.arange(60) != 17)[:, None, None, None].astype(np.uint8)
        )
    changed = msgspec.structs.replace(config, model=str(tmp_path / "nan.onnx"))
    with pytest.raises(ProfileError) as caught:
        check_unsplit(problem(changed, str(tmp_path / "data.npz"), need=type(config.need)()))
    assert says in caught.value.message
    assert caught.value.at == "data.npz[17]"


def test_the_plan_stops_before_anything_is_measured(
    run: Callable[..., tuple[int, str, str]], home: Path, tmp_path: Path
) -> None:
    source = relabelled(home, tmp_path, lambda y: 5 - y)
    flags = (
        "--data",
        source,
        "--profile",
        home / "fixed.yaml",
        "--max-drop",
        "60%",
        "--evaluations",
        1,
        "--task",
        "classify",
    )
    code, out, err = run("plan", home / "labelled.yaml", *flags, "--out", tmp_path / "plan")
    assert (code, out) == (3, "")
    assert "no better than chance" in err
    assert "profile" not in [line.split()[1] for line in err.splitlines() if line.startswith("✓")]
    code, out, _ = run("plan", home / "labelled.yaml", *flags, "--out", tmp_path / "plan", "--accept-baseline")
    assert code == 0
    assert "THE NETWORK DOES NOT FIT THE LABELS" in out
    assert "no better than chance" in " ".join(out.replace("┃", " ").split())
    assert "accept_baseline: true" in (tmp_path / "plan" / "config.yaml").read_text()
