"""Measuring: shares add up to the whole, every node that ORT runs has a source, statistics are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import onnx
import pytest

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.profiles.machine.device import Compute, Device
from splitpoint.profiles.measurement.measure import (
    attribution,
    measure_pair,
    measure_profile,
    micro_benchmarks,
    retest_error,
    samples,
)
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

NETWORKS = [
    ("resnet18", 64, {"width": 8, "classes": 10}),
    ("densenet121", 64, {"growth": 4, "stem": 8, "stages": (3, 4, 3, 3), "classes": 10}),
    ("mobilenet_v2", 64, {"width": 0.25, "classes": 10}),
]


@pytest.mark.parametrize(("name", "input_side", "options"), NETWORKS, ids=[row[0] for row in NETWORKS])
def test_every_multiply_add_has_a_runner_and_every_runner_a_source(
    torch_graph: Callable[..., ModelGraph],
    tmp_path: Path,
    name: str,
    input_side: int,
    options: dict[str, object],
) -> None:
    graph = torch_graph(name, input_side=input_side, **options)
    open_session(whole_bytes(graph), level="all", threads=1, optimized_to=tmp_path / "runs.onnx")
    running = onnx.load(tmp_path / "runs.onnx")
    sources = attribution(graph, running)
    assert sources.keys() == {node.name for node in running.graph.node}
    products = {node.name for node in graph.nodes if node.macs}
    assert products <= set(sources.values())
    # A convolution that runs does the work of exactly one convolution that is in the source.
    runners = [node.name for node in running.graph.node if node.op_type in ("Conv", "FusedConv", "Gemm", "FusedGemm")]
    owners = [sources[runner] for runner in runners if sources[runner] in products]
    assert len(owners) == len(set(owners)) == len(products)


def test_shares_add_up_and_are_of_this_model(nets: ModuleType, host: Device) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,16,32,32] x) => (float[1,16,32,32] y)
      <float[16,16,3,3] w, float[16,16,1,1] v>
      { a = Conv <pads = [1, 1, 1, 1]> (x, w)  b = Relu(a)  c = Conv(b, v)  y = Sigmoid(c) }"""
    graph = load_graph(nets.with_weights(text), name="tiny")
    profile = measure_profile(graph, host=host, threads=1, rounds=4)
    assert [timing.name for timing in profile.nodes] == [node.name for node in graph.nodes]
    seconds = {node.op_type: timing.seconds for node, timing in zip(graph.nodes, profile.nodes, strict=True)}
    assert sum(timing.seconds for timing in profile.nodes) == pytest.approx(profile.whole.min_s)
    assert seconds["Conv"] > 0
    assert seconds["Relu"] == 0  # ORT runs it inside the convolution; of 8 channels not where its blocks have 16
    assert profile.whole.n in (4, 8, 12)  # again on a busy machine
    assert (profile.model, profile.model_sha256, profile.host) == ("tiny", graph.sha256, host)
    assert profile.machine.threads == 1
    assert msgspec.yaml.decode(msgspec.yaml.encode(profile), type=ModelProfile) == profile


def test_a_pair_is_timed_with_the_head_s_output_as_the_tail_s_input(nets: ModuleType) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4] x) => (float[1,4] y)
      { a = Sigmoid(x)  b = Tanh(a)  y = Sin(b) }"""
    graph = load_graph(nets.from_text(text))
    head, tail = split(graph, enumerate_cuts(graph).cuts[1])
    timing = measure_pair(head, tail, whole_bytes(graph), threads=1, rounds=4)
    assert timing.head is not None
    assert timing.tail is not None
    rounds = {part.n for part in (timing.head, timing.tail, timing.whole)}
    assert len(rounds) == 1
    assert rounds <= {4, 8, 12}  # again on a busy machine
    alone = measure_pair(None, whole_bytes(graph), whole_bytes(graph), threads=1, rounds=2)
    assert alone.head is None


def test_statistics() -> None:
    timing = samples([3.0, 1.0, 2.0, 10.0])
    assert (timing.n, timing.min_s, timing.median_s, timing.mad_s) == (4, 1.0, 2.5, 1.0)
    assert retest_error([2.0, 3.0, 4.0, 2.5]) == 0.25  # minima 2 and 2.5
    assert retest_error([1.0]) == 0.0


def test_micro_benchmarks_fill_a_device_profile() -> None:
    measured: Any = micro_benchmarks(threads=1)
    compute = Compute(**measured)
    rates = (compute.dense_macs_s, compute.pointwise_macs_s, compute.depthwise_macs_s, compute.matmul_macs_s)
    assert min(rates) > 1e7  # any machine that runs ONNX Runtime
    assert max(rates) < 1e14
    assert compute.bytes_s > 1e7
