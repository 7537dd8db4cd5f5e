"""Data to train on: of the network's inputs and classes, and apart from what judges."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from splitpoint.planner.samples.dataset import Dataset, Split, split_three
from splitpoint.planner.samples.npz import load_npz
from splitpoint.planner.samples.readers import load_folder
from splitpoint.planner.setup.checks import check_cuts
from splitpoint.planner.setup.config import DataConfig, PlanConfig, TrainConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.setup.training_data import load_training_set
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.tests.nets import with_weights

NET = "agraph (float[1, 6] x) => (float[1, 4] y) <float[6, 4] w> { y = MatMul (x, w) }"
MODEL = with_weights(f'<ir_version: 10, opset_import: ["": 21]>\n{NET}')
TENSOR = msgspec.convert({"kind": "tensor"}, InputSpec)


def archive(path: Path, count: int, *, seed: int = 0, most: int = 4) -> Path:
    rng = np.random.default_rng(seed)
    np.savez(path, x=rng.normal(size=(count, 6)).astype(np.float32), labels=np.arange(count) % most)
    return path


def split(path: Path) -> Split:
    data: Dataset = load_npz(path, TENSOR)
    return split_three(data)


def test_a_configuration_names_the_data_relative_to_itself(tmp_path: Path) -> None:
    archive(tmp_path / "more.npz", 80)
    (tmp_path / "c.yaml").write_text("model: net.onnx\ndata: {source: d.npz}\ntrain: {source: more.npz, minutes: 2}\n")
    config = read_config(tmp_path / "c.yaml")
    assert config.train == TrainConfig(source=str(tmp_path / "more.npz"), minutes=2.0)


@pytest.mark.parametrize("minutes", ["0", "-1", ".nan", "1e9"])
def test_minutes_are_a_positive_number(tmp_path: Path, minutes: str) -> None:
    text = f"model: net.onnx\ndata: {{source: d.npz}}\ntrain: {{source: more.npz, minutes: {minutes}}}\n"
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ProfileError, match=r"minutes|finite|number"):
        read_config(tmp_path / "c.yaml")


def test_a_problem_has_its_training_set(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(MODEL)
    same = archive(tmp_path / "d.npz", 100)
    config = PlanConfig(
        model=str(tmp_path / "net.onnx"),
        data=DataConfig(source=str(same)),
        train=TrainConfig(source=str(same)),
        input=TENSOR,
        accept_baseline=True,
        threads=1,
    )
    with pytest.raises(ProfileError, match="there are 20 inputs to train on"):  # the others judge
        load_problem(config)
    more = archive(tmp_path / "more.npz", 90, seed=1)
    problem = load_problem(msgspec.structs.replace(config, train=TrainConfig(source=str(more))))
    assert problem.training is not None
    assert len(problem.training) == 90
    assert load_problem(msgspec.structs.replace(config, train=None)).training is None
    with pytest.raises(ProfileError, match="no such folder or file"):
        load_problem(msgspec.structs.replace(config, train=TrainConfig(source="nowhere.npz")))


def test_labels_that_are_no_outputs_are_refused(tmp_path: Path) -> None:
    judging, graph = split(archive(tmp_path / "d.npz", 100)), load_graph(MODEL)
    data = archive(tmp_path / "more.npz", 90, seed=1, most=5)
    with pytest.raises(ProfileError, match="label 4 but 4 outputs"):
        load_training_set(TrainConfig(source=str(data)), judging, graph)


def test_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    spec = msgspec.convert({"kind": "image", "size": [4, 4]}, InputSpec)
    for name, classes in (("judging", "abcd"), ("training", "bacd")):
        for number, folder in enumerate(classes):
            (tmp_path / name / folder).mkdir(parents=True)
            for i in range(20):
                level = np.full((4, 4, 3), 10 * i + number + 5 * (name == "training"), np.uint8)
                Image.fromarray(level).save(tmp_path / name / folder / f"{i}.png")
        (tmp_path / name / "classes.txt").write_text("\n".join(classes))
    judging = split_three(load_folder(tmp_path / "judging", spec))
    with pytest.raises(ProfileError, match=r"its classes are 4 \(b, a, c, \.\.\.\), those of the inputs that judge"):
        load_training_set(TrainConfig(source=str(tmp_path / "training")), judging, load_graph(MODEL))
    (tmp_path / "training" / "classes.txt").write_text("a\nb\nc\nd")
    made, _ = load_training_set(TrainConfig(source=str(tmp_path / "training")), judging, load_graph(MODEL))
    assert made is not None


RESIDUAL = """
agraph (float[1, 6] x) => (float[1, 4] y) <float[6, 6] w, float[6, 4] v>
{ a = MatMul (x, w) b = Relu (a) c = MatMul (b, w) d = Add (a, c) y = MatMul (d, v) }
"""


@pytest.mark.parametrize("name", ["b", "node_1"])
def test_a_cut_inside_a_residual_branch_says_that_a_bridge_is_missing(name: str) -> None:
    """The tensor and the node beside the skip connection: the place exists, and is no cut."""
    graph = load_graph(with_weights(f'<ir_version: 10, opset_import: ["": 21]>\n{RESIDUAL}'))
    config = PlanConfig(
        model="net.onnx", data=DataConfig(source="d.npz"), train=TrainConfig(source="d.npz", cuts=("d", name))
    )
    with pytest.raises(ProfileError, match=rf"cannot be cut after '{name}': 2 tensors cross.*need a bridge") as error:
        check_cuts(config, graph)
    assert error.value.at == "$.train.cuts[1]"
