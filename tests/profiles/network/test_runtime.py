"""The wrapper of ONNX Runtime: names and shapes in and out, one kind of error, the profiler, silence."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnx.parser
import pytest

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.runtime import IoSpec, Level, open_session, optimize_basic

MODEL = """<ir_version: 8, opset_import: ["": 17]> g (float[N,4] x, uint8[2] u) => (float[N,4] y, uint8[2] v)
  { a = Sigmoid(x)  y = Tanh(a)  v = Identity(u) }"""


@pytest.fixture
def model(nets: ModuleType) -> bytes:
    data: bytes = nets.from_text(MODEL)
    return data


@pytest.mark.parametrize("level", ["all", "basic", "disabled"])
def test_specs_and_outputs_by_name(model: bytes, level: Level) -> None:
    session = open_session(model, level=level, threads=1)
    assert session.inputs == (
        IoSpec(name="x", shape=(None, 4), dtype="float32"),
        IoSpec(name="u", shape=(2,), dtype="uint8"),
    )
    x = np.linspace(-1, 1, 4, dtype=np.float32)[None]
    outputs = session.run({"u": np.array([1, 2], np.uint8), "x": x})
    assert list(outputs) == ["y", "v"]
    assert np.allclose(outputs["y"], np.tanh(1 / (1 + np.exp(-x))))
    assert outputs["v"].tolist() == [1, 2]


def test_a_file_and_its_bytes_are_the_same_model(model: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    assert open_session(path).outputs == open_session(model).outputs


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"x": np.zeros((1, 5), np.float32), "u": np.zeros(2, np.uint8)},
        {"x": np.zeros((1, 4)), "u": np.zeros(2, np.uint8)},
        {"z": np.zeros((1, 4), np.float32), "u": np.zeros(2, np.uint8)},
    ],
    ids=["missing", "shape", "type", "name"],
)
def test_wrong_feeds_name_the_model_and_what_was_expected(model: bytes, feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(ProfileError, match=r"at    the model\n  fix   expected inputs x float32 \[None, 4\], u uint8"):
        open_session(model, name="the model").run(feeds)


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x08\x08"])
def test_bytes_that_are_no_model(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ProfileError, match="cannot load the model") as caught:
        open_session(data, name="broken.onnx")
    assert "broken.onnx" in str(caught.value)
    assert "[ONNXRuntimeError]" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_error_that_is_no_text_is_not_printed(nets: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime's Python layer prints errors that it cannot decode, and loads the model again."""
    data = nets.from_text('<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[4] y) { y = Relu(x) }')
    with pytest.raises(ProfileError, match="cannot load the model"):
        open_session(data.replace(b"Relu", b"Re\xff\xff"), name="broken.onnx")
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"absent\.onnx"):
        open_session(tmp_path / "absent.onnx")


def test_optimizing_folds_constants(nets: ModuleType, tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[4] y)
      <float[4] a = {1.,2.,3.,4.}> { b = Add(a, a)  y = Mul(x, b) }"""
    target = tmp_path / "basic.onnx"
    running = optimize_basic(nets.from_text(text), target)
    assert running.run({"x": np.ones(4, np.float32)})["y"].tolist() == [2, 4, 6, 8]
    optimized = open_session(target, level="disabled")
    assert b"Add" not in target.read_bytes()
    assert optimized.run({"x": np.ones(4, np.float32)})["y"].tolist() == [2, 4, 6, 8]


def test_profiling_gives_the_events_and_leaves_no_file(model: bytes, tmp_path: Path) -> None:
    session = open_session(model, level="disabled", profile_to=tmp_path / "profile")
    for _ in range(3):
        session.run({"x": np.zeros((1, 4), np.float32), "u": np.zeros(2, np.uint8)})
    nodes = [event for event in session.end_profiling() if event.get("cat") == "Node"]
    assert sorted({event["args"]["op_name"] for event in nodes}) == ["Identity", "Sigmoid", "Tanh"]
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_allowed_onnx_runtime_is_one_that_reads_no_weights_outside_the_model() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'"onnxruntime>=([0-9.]+)"', text)
    assert tuple(int(part) for part in oldest.split(".")) >= (1, 25)  # 1.24.4 followed links, 1.24.2 also "../.."


@pytest.mark.parametrize("location", ["../secret", "link", "folder/secret"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_weights_outside_the_folder_are_not_read(
    location: str, in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_bytes(bytes(range(4)))
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").symlink_to(tmp_path, target_is_directory=True)
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.UINT8, dims=[4])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    proto = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g () => (uint8[4] y) { y = Identity (w) }')
    proto.graph.initializer.append(weight)
    (inside / "model.onnx").write_bytes(proto.SerializeToString())
    monkeypatch.chdir(inside)  # where a model in memory has its data
    with pytest.raises(ProfileError, match="cannot load the model"):
        open_session(proto.SerializeToString() if in_memory else inside / "model.onnx")
