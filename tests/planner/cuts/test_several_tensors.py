"""Cuts of several tensors in a plan: the exact check says when they would win, and with leave they are searched."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest

from splitpoint.cli import main
from splitpoint.planner.flow import plan
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.library.catalog import load_device

SIDE = 32
# Two branches that are small at their ends; what they come from and what they grow into is large.
BRANCHES = f"""<ir_version: 8, opset_import: ["": 17]> g (float[1,4,{SIDE},{SIDE}] x) => (float[1,8,{SIDE},{SIDE}] y)
  <float[4] scales = {{1.0, 1.0, 8.0, 8.0}}> {{
  a = Sigmoid(x)
  p = MaxPool <kernel_shape = [8, 8], strides = [8, 8]> (a)
  q = AveragePool <kernel_shape = [8, 8], strides = [8, 8]> (a)
  s = Tanh(p)
  t = Sin(q)
  r = Resize <mode = "nearest"> (s, , scales)
  v = Resize <mode = "nearest"> (t, , scales)
  u = Concat <axis = 1> (r, v)
  y = Cos(u)
}}"""
CONFIG = """
model: model.onnx
input: {kind: tensor}
data: {source: data.npz}
device: slow.yaml
server: cloud-8core
link: slow-link.yaml
task: tensor
need: {min_agreement: 0.98}
search: {evaluations: 12, codecs: [raw, fast], max_tensors: %d}
threads: 1
"""
LINK = """
kind: fixed
name: slow-link
description: far slower than the network, and near
uplink_bit_s: 100 kbit/s
downlink_bit_s: 10 Mbit/s
rtt_s: 1 ms
"""


@pytest.fixture
def folder(tmp_path: Path, nets: ModuleType) -> Path:
    (tmp_path / "model.onnx").write_bytes(nets.from_text(BRANCHES))
    x = np.random.default_rng(0).normal(size=(24, 4, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    device = load_device("raspberry-pi-4")
    slow = msgspec.structs.replace(device.compute, bytes_s=1e6)  # large tensors take long, small ones do not
    write_yaml(tmp_path / "slow.yaml", msgspec.structs.replace(device, name="slow", compute=slow))
    (tmp_path / "slow-link.yaml").write_text(LINK)
    for k in (1, 2):
        (tmp_path / f"{k}.yaml").write_text(CONFIG % k)
    return tmp_path


def test_the_exact_check_names_the_tensors_that_would_cross_together(folder: Path) -> None:
    outcome = plan(load_problem(read_config(folder / "1.yaml")))
    (note,) = [note for note in outcome.notes if "together" in note]
    assert note.startswith("sending 2 tensors together (")
    assert note.endswith("search.max_tensors: 2 searches such cuts")


def test_with_leave_they_are_searched_written_and_verified(folder: Path, tmp_path: Path) -> None:
    outcome = plan(load_problem(read_config(folder / "2.yaml")))
    assert not [note for note in outcome.notes if "together" in note]
    best = outcome.decision.recommended
    assert best is not None
    assert best.candidate.cut.count("+") == 1, best.candidate
    made = write_plan(outcome, best, tmp_path / "plan")
    assert made.file.cut is not None
    assert len(made.file.cut.tensors) == 2
    x = np.random.default_rng(1).normal(size=(1, 4, SIDE, SIDE)).astype(np.float32)
    payload = made.head(x)
    assert len(payload) < 512 + 32  # two tensors of 4x4x4, at most in fp32, and the container
    assert made.tail(payload).shape == (1, 8, SIDE, SIDE)  # type: ignore[union-attr]  # one output
    assert main(["verify", str(tmp_path / "plan")]) == 0


def test_cuts_lists_them_when_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = []
    for k in ("1", "2"):
        assert main(["cuts", str(folder / "model.onnx"), "--tensors", k, "--json"]) == 0
        counts.append([len(row["tensors"]) for row in json.loads(capsys.readouterr().out)["cuts"]])
    assert set(counts[0]) == {1}
    assert set(counts[1]) == {1, 2}
