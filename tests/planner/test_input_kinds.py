"""Networks that take no picture, planned from the command line: two inputs and a constant, token ids, a waveform."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest
import yaml

from splitpoint import Plan
from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.flow import plan
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.inputs import load_inputs, load_source
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

Run = Callable[..., tuple[int, str, str]]
MakeProfile = Callable[[ModelGraph], ModelProfile]

COUNT, FRAMES, IDS, WORDS, SAMPLES = 40, 30, 64, 500, 800
HEADER = '<ir_version: 9, opset_import: ["" : 17]>\n'
# The state joins late, so that every place before has two tensors; the rate is an integer that never changes.
TWO = """two (float[batch,frames,20] x, float[2,batch,16] state, int64[1] sr) => (float[batch,5] y) {
  s = Constant <value_float = 0.0001> ()
  c = Cast <to = 1> (sr)
  r = Mul(c, s)
  a = MatMul(x, w0)
  b = Mul(a, r)
  h = Relu(b)
  m = ReduceMean <axes = [1], keepdims = 0> (h)
  n = ReduceMean <axes = [0], keepdims = 0> (state)
  t = Tanh(n)
  j = Concat <axis = 1> (m, t)
  k = MatMul(j, w1)
  g = Relu(k)
  y = MatMul(g, w2)
}"""
TOKENS = """tokens (int64[batch,seq] ids) => (float[batch,4] y) {
  e = Gather(w0, ids)
  a = MatMul(e, w1)
  h = Relu(a)
  m = ReduceMean <axes = [1], keepdims = 0> (h)
  y = MatMul(m, w2)
}"""
AUDIO = """import torch
from torch import nn

class Audio(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 8, 16, 8), nn.ReLU(), nn.Conv1d(8, 8, 4, 2), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, wave):
        return self.head(self.body(wave.unsqueeze(1)).mean(2))

def make():
    torch.manual_seed(0)
    return Audio()
"""


def command(folder: Path, model: str, data: str, *flags: str, out: str = "plan") -> list[str]:
    """The command line of a plan on a device that is slow, so that splits compete."""
    sides = ["--device", str(folder / "slow.yaml"), "--server", "cloud-8core", "--link", "ethernet-1g"]
    stored = ["--profile", str(folder / "profile.yaml"), "--threads", "1", "--evaluations", "8"]
    return [
        "plan",
        str(folder / model),
        "--data",
        str(folder / data),
        *sides,
        *stored,
        "--out",
        str(folder / out),
        *flags,
    ]


def configuration(folder: Path, model: str, **fields: Any) -> str:
    """As `command`, but with few codecs, which no flag names; gives the name of the file."""
    given = {
        "model": model,
        "data": {"source": "data.npz"},
        "search": {"codecs": ["raw", "fast", "brito-sq", "integers"]},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(given | fields))
    return "config.yaml"


def fill(folder: Path, make_profile: MakeProfile, graph: ModelGraph) -> None:
    """A device that is slower than the link, and a stored profile of the network."""
    device = load_device("raspberry-pi-4")
    slow = msgspec.structs.replace(device.compute, dense_macs_s=1e5, matmul_macs_s=1e5)
    write_yaml(folder / "slow.yaml", msgspec.structs.replace(device, name="slow", compute=slow))
    write_yaml(folder / "profile.yaml", make_profile(graph))


def model(text: str, weights: Mapping[str, tuple[int, ...]]) -> bytes:
    proto, rng = onnx.parser.parse_model(HEADER + text), np.random.default_rng(0)
    for name, shape in weights.items():
        values = rng.normal(size=shape) * np.sqrt(2 / shape[0] if name != "w0" or len(shape) > 2 else 1)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("codec", ["png", "jpeg", "webp"])
def test_gray_pictures_are_sent_as_pictures(tmp_path: Path, make_profile: MakeProfile, run: Run, codec: str) -> None:
    """One plane of bytes, not four bytes a pixel: that is what a split has to beat."""
    text = """gray (float[1,1,16,16] x) => (float[1,4] y) {
      a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w0)
      h = Relu(a)
      m = GlobalAveragePool(h)
      f = Flatten(m)
      y = MatMul(f, w1)
    }"""
    (tmp_path / "gray.onnx").write_bytes(model(text, {"w0": (8, 1, 3, 3), "w1": (8, 4)}))
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (COUNT, 4, 4))
    pictures = np.kron(coarse, np.ones((4, 4))).astype(np.uint8)[..., None]
    np.savez(tmp_path / "data.npz", x=pictures)
    fill(tmp_path, make_profile, load_source(str(tmp_path / "gray.onnx"), None))
    spec = {"kind": "image", "size": 16, "color": "gray", "scale": 255}
    file = tmp_path / configuration(tmp_path, "gray.onnx", device="slow.yaml", threads=1, input=spec, task="classify")
    outcome = plan(load_problem(read_config(file)), stored_profile=tmp_path / "profile.yaml")
    assert [label for label, _ in outcome.baselines][1] == "send PNG"
    sent = [point for point in outcome.points if point.candidate.codec == codec]
    write_plan(outcome, sent[0], tmp_path / "plan")
    code, told, _ = run("verify", tmp_path / "plan")
    assert code == 0, told
    made = Plan.load(tmp_path / "plan")
    payload = made.head(pictures[0])
    assert len(payload) < 4 * pictures[0].size / 3  # of float32
    x = pictures[0].reshape(1, 1, 16, 16) / np.float32(255)
    whole = open_session(tmp_path / "plan" / "whole.onnx").run({"x": x})
    answer = made.tail(payload)
    assert isinstance(answer, np.ndarray)
    assert np.allclose(answer, whole["y"], atol=0 if codec == "png" else 0.1)


@pytest.fixture
def two(tmp_path: Path, make_profile: MakeProfile) -> Path:
    """A folder with a network of a sequence, a state and a rate, and data for the first two."""
    rng = np.random.default_rng(0)
    (tmp_path / "two.onnx").write_bytes(model(TWO, {"w0": (20, 16), "w1": (32, 16), "w2": (16, 5)}))
    x = rng.normal(size=(COUNT, FRAMES, 20)).astype(np.float32)
    state = rng.normal(size=(COUNT, 2, 1, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, state=state)
    shapes = {"x": (1, FRAMES, 20), "state": (2, 1, 16)}
    fill(tmp_path, make_profile, load_source(str(tmp_path / "two.onnx"), shapes, constants={"sr": 16000}))
    return tmp_path


def test_a_network_of_two_inputs_and_a_constant(two: Path, run: Run) -> None:
    config = configuration(two, "two.onnx")
    code, out, err = run(*command(two, config, "data.npz", "--constant", "sr=16000", "--json"))
    assert code == 0, err
    document = json.loads(out)
    assert f"x 1x{FRAMES}x20, state 2x1x16" in document["header"]
    notes = "\n".join(document["notes"])
    assert "constant: sr = 16000" in notes
    assert f"x [batch, frames, 20] as 1x{FRAMES}x20, state [2, batch, 16] as 2x1x16" in notes
    assert "send input" in [row["label"] for row in document["baselines"]]
    crossing = {row["cut"] for row in document["front"]}
    assert any("+" in cut for cut in crossing), crossing
    assert run("verify", two / "plan")[0] == 0
    made = Plan.load(two / "plan")
    assert [tensor.name for tensor in made.file.model.inputs] == ["x", "state"]
    with np.load(two / "data.npz") as data:
        feeds = {"x": data["x"][:1], "state": data["state"][0]}
    whole = open_session(two / "plan" / "whole.onnx").run(feeds)["y"]
    answer = made.tail(made.head(feeds))
    assert isinstance(answer, np.ndarray)
    assert answer.argmax() == whole.argmax()
    with pytest.raises(CodecError, match=r"expected arrays by name \(x, state\), got one array"):
        made.head(feeds["x"])
    with pytest.raises(CodecError, match=r"expected the inputs \['state', 'x'\], got \['x'\]"):
        made.head({"x": feeds["x"]})
    with pytest.raises(CodecError, match=r"'state' as float32\[2, 1, 16\], got float32\[1, 16\]"):
        made.head({**feeds, "state": feeds["state"][0]})


@pytest.mark.parametrize("codec", ["fast", "brito-sq", "raw"])
def test_a_state_without_a_batch_axis_is_coded_beside_the_sequence(two: Path, run: Run, codec: str) -> None:
    file = two / configuration(two, "two.onnx", inputs={"sr": 16000}, device="slow.yaml", threads=1)
    outcome = plan(load_problem(read_config(file)), stored_profile=two / "profile.yaml")
    splits = [p for p in outcome.points if p.candidate.placement == "split" and "state" in p.candidate.cut.split("+")]
    points = [point for point in splits if point.candidate.codec == codec]
    made = write_plan(outcome, points[-1], two / "plan")
    assert made.file.report is not None
    assert abs(made.file.report.payload_bytes / points[-1].cost.payload_bytes - 1) < 0.05  # another set of inputs
    code, text, _ = run("verify", two / "plan")
    assert code == 0, text


def test_flags_and_scalars_cross_beside_activations(tmp_path: Path, make_profile: MakeProfile, run: Run) -> None:
    text = """gated (float[batch,20] x, bool[batch,20] mask, float gain) => (float[batch,5] y) {
      h = MatMul(x, w0)
      a = Relu(h)
      z = Sub(a, a)
      g = Where(mask, a, z)
      s = Mul(g, gain)
      y = MatMul(s, w1)
    }"""
    (tmp_path / "gated.onnx").write_bytes(model(text, {"w0": (20, 20), "w1": (20, 5)}))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(COUNT, 20)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, mask=rng.random((COUNT, 20)) < 0.5, gain=rng.uniform(1, 2, COUNT))
    fill(tmp_path, make_profile, load_source(str(tmp_path / "gated.onnx"), None))
    file = tmp_path / configuration(tmp_path, "gated.onnx", device="slow.yaml", threads=1)
    outcome = plan(load_problem(read_config(file)), stored_profile=tmp_path / "profile.yaml")
    several = {p.candidate.codec: p for p in outcome.points if {"mask", "gain"} <= set(p.candidate.cut.split("+"))}
    assert {"integers", "brito-sq"} <= set(several), several
    for codec, point in several.items():
        write_plan(outcome, point, tmp_path / codec)
        code, text, _ = run("verify", tmp_path / codec)
        assert code == 0, text
    assert run("profile", tmp_path / "gated.onnx", "--data", tmp_path / "data.npz")[0] == 0


def test_a_second_input_that_is_missing_is_asked_for(two: Path, run: Run) -> None:
    code, _, err = run(*command(two, "two.onnx", "data.npz"))
    assert code == 3
    assert "expected arrays one for each input: x, state, sr" in err
    (two / "pictures").mkdir()
    code, _, err = run(*command(two, "two.onnx", "pictures"))
    assert code == 3
    assert "the model has 3 inputs: x, state, sr; pictures are for one" in err
    assert "--constant NAME=VALUE" in err
    code, _, err = run(*command(two, "two.onnx", "data.npz", "--constant", "sr=16000", "--size", "x=1x9x20"))
    assert code == 3
    assert f"the data have x 1x{FRAMES}x20, --size says 1x9x20" in err
    code, _, err = run(*command(two, "two.onnx", "data.npz", "--constant", "sr=16000", "--mean", "0.5"))
    assert code == 3
    assert "are for pictures" in err


def test_a_network_of_token_ids_sends_them_at_the_bits_of_its_vocabulary(
    tmp_path: Path, make_profile: MakeProfile, run: Run
) -> None:
    (tmp_path / "tokens.onnx").write_bytes(model(TOKENS, {"w0": (WORDS, 16), "w1": (16, 8), "w2": (8, 4)}))
    np.savez(tmp_path / "data.npz", ids=np.random.default_rng(0).integers(0, WORDS, (COUNT, IDS)))
    fill(tmp_path, make_profile, load_source(str(tmp_path / "tokens.onnx"), (1, IDS)))
    code, out, err = run(*command(tmp_path, "tokens.onnx", "data.npz", "--size", f"1x{IDS}", "--json"))
    assert code == 0, err
    document = json.loads(out)
    (sent,) = [row for row in document["baselines"] if row["label"] == "send input"]
    assert sent["codec"].startswith("integers")
    assert sent["payload_bytes"] <= IDS * 9 / 8 + 1 + 18  # 9 bits an id, the kind of payload, the frame
    assert run("verify", tmp_path / "plan")[0] == 0


def test_a_torch_network_of_a_waveform(tmp_path: Path, make_profile: MakeProfile, run: Run) -> None:
    (tmp_path / "audio.py").write_text(AUDIO)
    wave = np.cumsum(np.random.default_rng(0).normal(size=(COUNT, SAMPLES)), axis=1)
    np.savez(tmp_path / "data.npz", wave=wave)  # float64, as numpy makes it
    source = f"{tmp_path / 'audio.py'}:make"
    loaded = load_inputs(source, str(tmp_path / "data.npz"), spec=None)
    assert loaded.graph.inputs[0].shape == (1, SAMPLES)
    fill(tmp_path, make_profile, loaded.graph)
    config = configuration(tmp_path, "audio.py:make")
    code, out, err = run(*command(tmp_path, config, "data.npz", "--json"))
    assert code == 0, err
    assert json.loads(out)["front"]
    assert run("verify", tmp_path / "plan")[0] == 0
