"""Weights of lower precision: their bytes, and how near the outputs stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.networks.precision import lower_precision
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session

# Relative error of the outputs: fp16 keeps 11 bits over 20 layers, int8 about 7; a wrong scale gives 1 and more.
NEAR = {"fp16": 0.01, "int8": 0.25}


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.5), ("int8", 0.25)])
def test_weights_shrink_and_outputs_stay_near(
    torch_graph: Callable[..., ModelGraph], precision: str, share: float
) -> None:
    graph = torch_graph("resnet20", 32, classes=10)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (8, 32, 32, 3), np.uint8)
    spec = InputSpec(size=32, mean=127.0, std=64.0)
    data = Dataset(
        spec=spec, samples=tuple(Sample(name=str(i), group=str(i), picture=p) for i, p in enumerate(pictures))
    )
    lower = lower_precision(graph, precision, data)  # type: ignore[arg-type]  # one of the literals
    weights, small = (sum(node.weight_bytes for node in g.nodes) for g in (graph, lower))
    assert small < 1.15 * share * weights
    assert len(whole_bytes(lower)) < len(whole_bytes(graph))
    assert lower.inputs == graph.inputs
    reloaded = load_graph(whole_bytes(lower))  # verify and export read whole.onnx again
    assert reloaded.sha256 == lower.sha256
    assert [(t.shape, t.dtype) for t in lower.outputs] == [(t.shape, t.dtype) for t in graph.outputs]
    exact, rough = (open_session(whole_bytes(g), level="all", threads=1) for g in (graph, lower))
    for x in NetworkInputs(data):
        y, z = (session.run({graph.inputs[0].name: x}) for session in (exact, rough))
        want, got = y[graph.outputs[0].name], z[lower.outputs[0].name]
        assert np.linalg.norm(got - want) < NEAR[precision] * np.linalg.norm(want)
        assert not np.array_equal(got, want)
