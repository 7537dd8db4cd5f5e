"""A small network, its data and configurations: what tests of the whole tool plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper, numpy_helper

from splitpoint.cli import main
from splitpoint.codecs.contract.protocol import Array
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.plandir.writing import write_plan
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig, read_config
from splitpoint.planner.setup.loading import load_problem
from splitpoint.profiles.files.structs import read_yaml, write_yaml
from splitpoint.profiles.library.catalog import load_device
from splitpoint.profiles.machine.device import Coder, Serial
from splitpoint.profiles.measurement.model_profile import ModelProfile, Samples
from splitpoint.profiles.network.inputs import InputSpec, preprocess
from splitpoint.profiles.network.runtime import open_session

SIDE, CLASSES, PICTURES = 16, 6, 60
SPEC = InputSpec(size=SIDE, resize="exact", mean=127.0, std=64.0)
CODECS = ("raw", "fp16", "brito-sq", "fast", "uniform-zstd", "range-rans")


def small_model(bias: Sequence[float]) -> bytes:
    """Three convolutions, two of them strided, pooling and a linear layer, seeded."""
    rng = np.random.default_rng(5)
    nodes, weights, x, channels = [], [], "x", 3
    for i, (out, stride) in enumerate([(8, 2), (12, 2), (16, 1)]):
        kernel = (rng.normal(size=(out, channels, 3, 3)) / np.sqrt(4.5 * channels)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4, strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x, channels = f"r{i}", out
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], "flatten"))
    weights.append(numpy_helper.from_array(rng.normal(size=(channels, CLASSES)).astype(np.float32), "fc"))
    weights.append(numpy_helper.from_array(np.asarray(bias, np.float32), "bias"))
    nodes.append(helper.make_node("Gemm", ["flat", "fc", "bias"], ["scores"], "linear"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, (1, CLASSES))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def pictures() -> Array:
    """Smooth seeded pictures (N, H, W, 3), uint8."""
    rng = np.random.default_rng(7)
    coarse = rng.normal(size=(PICTURES, 4, 4, 3))
    smooth = np.kron(coarse, np.ones((1, 4, 4, 1))) + 0.1 * rng.normal(size=(PICTURES, SIDE, SIDE, 3))
    return np.clip(127 + 64 * smooth, 0, 255).astype(np.uint8)


def fill_home(folder: Path) -> None:
    """Put model.onnx, labelled and unlabelled data, a stored profile and configurations into `folder`."""
    x = pictures()
    session = open_session(small_model([0] * CLASSES), level="all", threads=1)
    scores = np.concatenate([session.run({"x": preprocess(picture, SPEC)})["scores"] for picture in x])
    # Centred scores make every class common, so that an answer that ignores the input is mostly wrong.
    (folder / "model.onnx").write_bytes(small_model(-scores.mean(axis=0)))
    labels = (scores - scores.mean(axis=0)).argmax(axis=1)
    assert np.bincount(labels).max() < len(x) / 2
    np.savez(folder / "labelled.npz", x=x, y=labels)
    np.savez(folder / "plain.npz", x=x, group=np.array([f"scene {i // 5}" for i in range(len(x))]))
    assert main(["profile", str(folder / "model.onnx"), "--out", str(folder / "profile.yaml"), "--threads", "1"]) == 0
    write_fixed_profile(folder)
    slow = msgspec.structs.replace(load_device("raspberry-pi-4").compute, dense_macs_s=1e6)
    write_yaml(folder / "slow.yaml", msgspec.structs.replace(load_device("raspberry-pi-4"), name="slow", compute=slow))
    write_yaml(folder / "fixed-pi.yaml", load_device("raspberry-pi-4"))
    write_config(folder, "labelled.yaml", data="labelled.npz", need=Need(max_drop=0.2))
    write_config(
        folder, "plain.yaml", data="plain.npz", need=Need(min_agreement=0.7), device="slow.yaml", task="classify"
    )


def write_fixed_profile(home: Path) -> Path:
    """A stored profile without anything measured: the same plan comes of it on every machine."""
    measured = read_yaml(home / "profile.yaml", ModelProfile)
    nodes = tuple(msgspec.structs.replace(node, seconds=1e-5) for node in measured.nodes)
    total_s = 1e-5 * len(nodes)
    coders = {name: Coder(encode_s_per_symbol=1e-9, decode_s_per_symbol=1e-9) for name in measured.host.serial.coders}
    host = msgspec.structs.replace(
        load_device("raspberry-pi-4"), name="fixed", serial=Serial(coders=coders, zstd_bytes_s=1e8), fingerprint=None
    )
    fixed = msgspec.structs.replace(
        measured,
        nodes=nodes,
        whole=Samples(n=20, min_s=total_s, median_s=total_s, mad_s=0.0),
        host=host,
        retest_error=0.0,
        halves=(),
    )
    write_yaml(home / "fixed.yaml", fixed)
    return home / "fixed.yaml"


def write_config(folder: Path, name: str, *, data: str, need: Need, **changes: Any) -> Path:
    """A configuration of the small network; `changes` are its other fields."""
    config = PlanConfig(
        model="model.onnx",
        input=SPEC,
        data=DataConfig(source=data),
        device="raspberry-pi-4",
        server="cloud-8core",
        link="lte-cat1",
        need=need,
        search=SearchConfig(evaluations=24, codecs=CODECS, race=False),  # every candidate is a point
        threads=1,
    )
    write_yaml(folder / name, msgspec.structs.replace(config, **changes))
    return folder / name


def write_split(home: Path) -> Path:
    """A plan that cuts the network, whatever would be recommended, in `home`/split."""
    config = msgspec.structs.replace(read_config(home / "labelled.yaml"), need=Need(max_drop=0.3))
    outcome = plan(load_problem(config), stored_profile=home / "profile.yaml")
    point = next(
        p
        for p in outcome.decision.front + outcome.points
        if p.candidate.placement == "split" and p.candidate.codec in ("brito-sq", "fast") and p.candidate.cut != "x"
    )
    write_plan(outcome, point, home / "split")
    return home / "split"
