"""A model and data that fit each other: what is a picture, what a tensor, and what flags say in place of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx.helper
import onnx.parser
import pytest
from PIL import Image

from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.setup.config import PlanConfig, read_config
from splitpoint.planner.setup.inputs import PictureFlags, load_inputs, load_source
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import IMAGENET_MEAN, InputSpec

Run = Callable[..., tuple[int, str, str]]
COUNT, SIDE = 6, 12
MODULE = """import torch
from torch import nn

def cnn(channels=3):
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

def gray():
    return cnn(1)

def only_32():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 30 * 30, 2))

def only_50():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 48 * 48, 2))

class Broken(nn.Module):
    def forward(self, x):
        return x * weight

def broken():
    return Broken()

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 4)

    def forward(self, ids, mask, rate=1.0):
        return (self.words(ids) * mask.unsqueeze(-1)).mean(1) * rate

def two():
    return Two()
"""


def relu(path: Path, *dims: int | str, kind: str = "FLOAT") -> str:
    element = getattr(onnx.TensorProto, kind)
    nodes = [onnx.helper.make_node("Cast", ["x"], ["c"], to=1), onnx.helper.make_node("Relu", ["c"], ["y"])]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", element, dims)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return str(path)


def npz(path: Path, x: Any) -> str:
    np.savez(path, x=x)
    return str(path)


def folder(path: Path, side: int = SIDE) -> str:
    path.mkdir()
    for i in range(COUNT):
        levels = np.random.default_rng(i).integers(0, 256, (side, side, 3)).astype(np.uint8)
        Image.fromarray(levels).save(path / f"{i}.png")
    return str(path)


def test_float_arrays_that_fit_an_image_input_are_tensors_not_pictures(tmp_path: Path) -> None:
    model = relu(tmp_path / "m.onnx", "N", 3, SIDE, SIDE)
    x = np.random.default_rng(0).normal(size=(COUNT, 3, SIDE, SIDE)).astype(np.float32)
    loaded = load_inputs(model, npz(tmp_path / "d.npz", x), spec=None)
    assert loaded.dataset.spec == InputSpec(kind="tensor")
    np.testing.assert_array_equal(NetworkInputs(loaded.dataset)[1], x[1:2])
    assert "tensors of float32, taken as they are" in loaded.notes[0]
    with pytest.raises(ProfileError, match=r"float32\[N, 3, 12, 12\], the data are \[1, 12, 12, 3\]"):
        load_inputs(model, npz(tmp_path / "d.npz", x.transpose(0, 2, 3, 1)), spec=None)


@pytest.mark.parametrize("dims", [(1, 3, SIDE, SIDE), ("N", 3, "H", "W"), (-1, SIDE, SIDE, 3), ("", "H", "W", 3)])
def test_bytes_are_pictures_where_the_network_has_room_for_them(tmp_path: Path, dims: tuple[int | str, ...]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8)
    loaded = load_inputs(relu(tmp_path / "m.onnx", *dims), npz(tmp_path / "d.npz", pictures), spec=None)
    assert loaded.dataset.spec.kind == "image"
    assert loaded.dataset.spec.layout == ("NCHW" if dims[1] == 3 else "NHWC")
    assert loaded.graph.inputs[0].shape == loaded.dataset.spec.shape
    (line,) = [note for note in loaded.notes if "shape fixed" in note] or [""]
    assert bool(line) is (dims[0] != 1)


def test_bytes_that_are_no_pictures_are_tensors(tmp_path: Path) -> None:
    model = relu(tmp_path / "m.onnx", 1, 3, SIDE, SIDE, kind="UINT8")
    x = np.zeros((COUNT, 3, SIDE, SIDE), np.uint8)
    assert load_inputs(model, npz(tmp_path / "d.npz", x), spec=None).dataset.spec.kind == "tensor"
    flat = relu(tmp_path / "flat.onnx", "N", SIDE, 3, kind="UINT8")
    x = np.zeros((COUNT, SIDE, 3), np.uint8)
    assert load_inputs(flat, npz(tmp_path / "d.npz", x), spec=None).dataset.spec.kind == "tensor"


def test_a_folder_of_pictures_needs_the_size_of_a_free_input(tmp_path: Path) -> None:
    model, pictures = relu(tmp_path / "m.onnx", "N", 3, "H", "W"), folder(tmp_path / "p")
    with pytest.raises(ProfileError) as caught:
        load_inputs(model, pictures, spec=None)
    assert "--size 1x3x224x224" in str(caught.value.fix)
    assert load_inputs(model, pictures, spec=None, shapes=(1, 3, 8, 8)).graph.inputs[0].shape == (1, 3, 8, 8)
    assert load_inputs(model, pictures, spec=None, shapes={"x": (1, 3, 8, 8)}).dataset.spec.height_width == (8, 8)
    two = {"x": (1, 3, 8, 8), "y": (1, 2)}
    with pytest.raises(ProfileError, match="--size of y, but the inputs are x"):
        load_inputs(model, pictures, spec=InputSpec(size=8), shapes=two)
    with pytest.raises(ProfileError, match="the data have 1x3x9x9, --size says 1x3x8x8"):
        load_inputs(model, pictures, spec=InputSpec(size=9), shapes=(1, 3, 8, 8))


def test_pictures_of_a_network_whose_other_inputs_are_constant(tmp_path: Path) -> None:
    text = """g (float[N,3,12,12] x, float[N,2] scale) => (float[N,3,12,12] y) {
        s = ReduceMean <keepdims = 0> (scale)  h = Mul(x, s)  y = Relu(h) }"""
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 17]>' + text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    loaded = load_inputs(str(tmp_path / "m.onnx"), folder(tmp_path / "p"), spec=None, constants={"scale": [[1, 3]]})
    assert loaded.dataset.spec.kind == "image"
    assert [tensor.name for tensor in loaded.graph.inputs] == ["x"]
    assert "constant: scale = [[1, 3]]" in loaded.notes


def test_a_function_may_give_tensors_by_name(tmp_path: Path) -> None:
    text = "g (float[N,2] a, float[N,2] b) => (float[N,2] y) { y = Add(a, b) }"
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 17]>' + text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "from splitpoint.planner.samples.dataset import Sample\n"
        "def samples():\n"
        "    x = np.zeros((1, 2), np.float32)\n"
        "    return [Sample(name=str(i), group=str(i), tensors={'a': x + i, 'b': x}) for i in range(4)]\n"
    )
    loaded = load_inputs(str(tmp_path / "m.onnx"), f"{tmp_path / 'mine.py'}:samples", spec=None)
    assert NetworkInputs(loaded.dataset)[3]["a"].tolist() == [[3, 3]]
    assert [tensor.shape for tensor in loaded.graph.inputs] == [(1, 2), (1, 2)]


def test_flags_say_the_levels_of_pictures(tmp_path: Path) -> None:
    model, pictures = relu(tmp_path / "m.onnx", 1, 3, SIDE, SIDE), folder(tmp_path / "p")

    def spec(flags: PictureFlags) -> InputSpec:
        return load_inputs(model, pictures, spec=None, flags=flags).dataset.spec

    imagenet = spec(PictureFlags(preset="imagenet"))
    assert (imagenet.scale, imagenet.mean) == (255.0, IMAGENET_MEAN)
    assert spec(PictureFlags(mean=IMAGENET_MEAN, std=(0.2,))).scale == 255.0
    by_level = spec(PictureFlags(mean=(127.5,), std=(127.5,)))
    assert (by_level.scale, by_level.mean, by_level.std) == (1.0, 127.5, 127.5)
    assert spec(PictureFlags(scale=128.0)).scale == 128.0
    assert spec(PictureFlags(color="bgr")).color == "bgr"
    assert spec(PictureFlags(preset="signed", color="bgr")) == spec(
        PictureFlags(mean=(127.5,), std=(127.5,), color="bgr")
    )
    stated = load_inputs(model, pictures, spec=InputSpec(size=SIDE, mean=3.0), flags=PictureFlags(std=(2.0,)))
    assert (stated.dataset.spec.mean, stated.dataset.spec.std) == (3.0, 2.0)
    notes = load_inputs(model, pictures, spec=None, flags=PictureFlags(preset="imagenet")).notes
    assert notes[0].endswith("levels as the flags say")
    with pytest.raises(ProfileError, match="needs 1 or 3 numbers"):
        spec(PictureFlags(mean=(1.0, 2.0)))


def test_a_torch_module_is_given_the_first_usual_picture_that_it_runs_with(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    pictures, small = folder(tmp_path / "p", side=150), folder(tmp_path / "small", side=20)
    for factory, data, shape in [
        ("cnn", pictures, (1, 3, 224, 224)),
        ("cnn", small, (1, 3, 20, 20)),
        ("gray", pictures, (1, 1, 224, 224)),
        ("only_32", small, (1, 3, 32, 32)),
    ]:
        loaded = load_inputs(f"{tmp_path / 'net.py'}:{factory}", data, spec=None)
        assert loaded.graph.inputs[0].shape == shape, factory
        assert "does not say its input's size" in loaded.notes[0]
        assert "--size" in loaded.notes[0]
    source = f"{tmp_path / 'net.py'}:only_50"
    with pytest.raises(ProfileError, match="runs with no usual picture") as caught:
        load_inputs(source, pictures, spec=None)
    assert "--size" in str(caught.value.fix)
    assert "a picture of 1x3x224x224 failed: RuntimeError: mat1 and mat2 shapes" in caught.value.message
    loaded = load_inputs(source, pictures, spec=None, shapes=(1, 3, 50, 50))
    assert loaded.graph.inputs[0].shape == (1, 3, 50, 50)
    assert "does not say" not in loaded.notes[0]


def test_a_fault_in_forward_is_not_hidden_by_the_search_for_a_size(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    with pytest.raises(ProfileError, match="NameError: name 'weight' is not defined") as caught:
        load_inputs(f"{tmp_path / 'net.py'}:broken", folder(tmp_path / "p", side=150), spec=None)
    assert str(caught.value.at).endswith(", in forward")


def test_a_torch_module_of_two_inputs_takes_arrays_by_its_parameters_names(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(MODULE)
    source = f"{tmp_path / 'net.py'}:two"
    ids, mask = np.arange(COUNT * 7).reshape(COUNT, 7), np.ones((COUNT, 7))
    np.savez(tmp_path / "d.npz", ids=ids, mask=mask)
    loaded = load_inputs(source, str(tmp_path / "d.npz"), spec=None, constants={"rate": 2.0})
    assert [(t.name, t.shape, t.dtype) for t in loaded.graph.inputs] == [
        ("ids", (1, 7), "int64"),
        ("mask", (1, 7), "float32"),
    ]
    graph = load_source(source, {"ids": (1, 7), "mask": (1, 7)})  # the types that it runs with
    assert [tensor.dtype for tensor in graph.inputs] == ["int64", "float32"]
    with pytest.raises(ProfileError, match="forward takes 2 inputs: ids, mask"):
        load_source(source, (1, 7))
    with pytest.raises(ProfileError, match="forward has no parameter 'rat' to be constant"):
        load_inputs(source, str(tmp_path / "d.npz"), spec=None, constants={"rat": 2.0})
    np.savez(tmp_path / "d.npz", ids=ids)
    with pytest.raises(ProfileError, match="expected arrays one for each input: ids, mask"):
        load_inputs(source, str(tmp_path / "d.npz"), spec=None)


def test_yaml_has_what_the_flags_have(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "model: m.onnx\ndata: {source: d.npz}\nshapes: {a: [1, 512], b: [2, 1, 128]}\n"
        "inputs: {sr: 16000, w: [1, 2.5]}\n"
    )
    config = read_config(tmp_path / "c.yaml")
    assert config.shapes == {"a": (1, 512), "b": (2, 1, 128)}
    assert config.inputs == {"sr": 16000, "w": [1, 2.5]}
    (tmp_path / "c.yaml").write_text("model: m.onnx\ndata: {source: d.npz}\nshapes: [1, 3, 8, 8]\n")
    assert read_config(tmp_path / "c.yaml").shapes == (1, 3, 8, 8)
    (tmp_path / "c.yaml").write_text("model: m.onnx\ndata: {source: d.npz}\nshapes: {a: [1, 0]}\n")
    with pytest.raises(ProfileError, match=r"\$\.shapes"):
        read_config(tmp_path / "c.yaml")
    assert PlanConfig.__struct_fields__.index("shapes")


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--size", "1x3x"), "expected a shape such as"),
        (("--size", "a=1x0"), "expected a shape such as"),
        (("--size", "=1x3"), "expected a shape such as"),
        (("--size", "a=1x3", "--size", "a=1x4"), "once for each input"),
        (("--size", "1x3", "--size", "b=1x3"), "name every shape"),
        (("--constant", "sr"), "expected NAME=VALUE"),
        (("--constant", "sr=fast"), "expected NAME=VALUE"),
    ],
)
def test_flags_that_cannot_be_read_are_usage_errors(
    tmp_path: Path, run: Run, flags: tuple[str, ...], what: str
) -> None:
    code, _, err = run("cuts", relu(tmp_path / "m.onnx", 1, 4), *flags)
    assert code == 2
    assert what in " ".join(err.replace("│", " ").split())


def test_cuts_says_what_was_fixed(tmp_path: Path, run: Run) -> None:
    model = relu(tmp_path / "m.onnx", "N", "seq")
    code, out, _ = run("cuts", model, "--size", "x=1x9", "--json")
    assert code == 0
    assert json.loads(out)["inputs"] == ["input shape fixed: x [N, seq] as 1x9"]
    assert "x [N, seq] as 1x9" in run("cuts", model, "--size", "1x9")[1]
