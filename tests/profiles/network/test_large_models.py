"""Models whose weights exceed protobuf's 2 GB: external data in, external data out, never a message of that size."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes, write_split
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.measure import measure_profile
from splitpoint.profiles.network import canonical, wire
from splitpoint.profiles.network.canonical import open_model, random_feeds
from splitpoint.profiles.network.graph import load_graph, load_model
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

LAYERS = 6
SIDE = 9_500  # 6 matrices of 9,500 x 9,500 floats: 2.17 GB
DISK_BYTES = 7 * 2**30  # the model, its canonical form and one split


def check(graph: ModelGraph, folder: Path) -> None:
    """Every cut, written to files, gives the whole's bits."""
    whole = open_model(graph.model, level="basic", threads=1)
    feeds = random_feeds(whole.inputs)
    expected = whole.run(feeds)
    assert np.abs(next(iter(expected.values()))).max() > 0
    for cut in enumerate_cuts(graph).cuts[1::4]:
        head, tail = write_split(graph, cut, folder)
        crossing = open_session(head, level="basic", threads=1).run(feeds)
        got = open_session(tail, level="basic", threads=1).run(crossing)
        assert all(np.array_equal(got[name], expected[name]) for name in expected)


def test_the_path_for_large_models_on_a_small_one(
    nets: ModuleType, host: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[N,64] x) => (float[N,64] y)
      <float[64,64] a, float[64,64] b, float[64] c>
      { p = MatMul(x, a)  q = Add(p, c)  r = Tanh(q)  y = MatMul(r, b) }"""
    model = nets.with_weights(text)
    small = load_graph(model)
    for module in (canonical, wire):
        monkeypatch.setattr(module, "PROTOBUF_LIMIT", 10_000)
    onnx.save(onnx.load_model_from_string(model), tmp_path / "m.onnx", save_as_external_data=True, location="m.bin")
    graph = load_model(tmp_path / "m.onnx")
    assert [node.op_type for node in graph.nodes] == [node.op_type for node in small.nodes]
    assert (graph.macs, graph.parameters, graph.sha256) == (small.macs, small.parameters, small.sha256)
    check(graph, tmp_path)
    assert len(measure_profile(graph, host=host, threads=1, rounds=2).nodes) == len(graph.nodes)
    onnx.checker.check_model(tmp_path / "tail.onnx")
    written = onnx.load(tmp_path / "tail.onnx", load_external_data=False)
    assert [w.data_location for w in written.graph.initializer] == [TensorProto.EXTERNAL]
    with pytest.raises(ProfileError, match="do not fit one ONNX message"):
        whole_bytes(graph)
    with pytest.raises(ProfileError, match="do not fit one ONNX message"):
        split(graph, enumerate_cuts(graph).cuts[0])


@pytest.mark.slow
def test_a_model_above_two_gigabytes(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert free > DISK_BYTES, f"needs {DISK_BYTES / 2**30:.0f} GiB of disk in {tmp_path}, has {free / 2**30:.1f}"
    graph = load_model(_large(tmp_path))
    assert graph.macs == LAYERS * SIDE * SIDE
    assert graph.parameters == LAYERS * SIDE * SIDE
    assert len(enumerate_cuts(graph).cuts) == 2 * LAYERS
    check(graph, tmp_path)


def _large(folder: Path) -> Path:
    nodes, weights = [], []
    pattern = (np.random.default_rng(0).standard_normal(1_000_003) / 100).astype(np.float32)
    length = 4 * SIDE * SIDE
    with (folder / "large.bin").open("wb") as stream:
        for layer in range(LAYERS):
            weight = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE])
            weight.data_location = TensorProto.EXTERNAL
            entries = {"location": "large.bin", "offset": str(layer * length), "length": str(length)}
            for key, value in entries.items():
                weight.external_data.add(key=key, value=value)
            weights.append(weight)
            stream.write(np.resize(np.roll(pattern, layer), SIDE * SIDE).tobytes())
            source = f"a{layer - 1}" if layer else "x"
            nodes.append(helper.make_node("MatMul", [source, f"w{layer}"], [f"m{layer}"], name=f"product{layer}"))
            nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"a{layer}"], name=f"tanh{layer}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE]) for name in ("x", f"a{LAYERS - 1}")]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "large.onnx"
    path.write_bytes(model.SerializeToString())
    return path
