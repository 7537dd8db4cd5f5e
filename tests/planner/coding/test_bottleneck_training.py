"""The rate-conditioned bottleneck trained at a cut of an ONNX network with a residual, through payload bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from splitpoint.codecs.contract.protocol import LossTerm
from splitpoint.codecs.learned.bottleneck_codec import RateBottleneck
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding import codec_training
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests.nets import with_weights
from splitpoint.tests.trainings import steps_in_one_thread, trainer_on, training_set

NAME = "rate-bottleneck"
NET = """
<ir_version: 10, opset_import: ["": 21]>
agraph (float[1, 3, 8, 8] x) => (float[1, 5] y)
<float[8, 3, 3, 3] w, float[8, 8, 3, 3] v, float[16, 8, 3, 3] u, int64[2] shape = {1, 16}, float[16, 5] t>
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    c = Conv <pads = [1, 1, 1, 1]> (b, v)
    sum = Add (b, c)
    d = Relu (sum)
    e = Conv (d, u)
    f = Relu (e)
    g = GlobalAveragePool (f)
    h = Reshape (g, shape)
    y = MatMul (h, t)
}
"""


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums in one order, and minutes that are 60 steps."""
    with steps_in_one_thread(monkeypatch, 60):
        yield


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    return load_graph(with_weights(NET))


def inputs(count: int, seed: int) -> Any:
    """Smooth pictures, small enough for the large weights."""
    coarse = np.random.default_rng(seed).normal(size=(count, 3, 4, 4))
    return (0.02 * coarse.repeat(2, axis=2).repeat(2, axis=3)).astype(np.float32)


def cut_of(graph: ModelGraph) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == ("d",))


def training_of(graph: ModelGraph) -> CodecTraining:
    return CodecTraining(graph, cut_of(graph), trainer_on(training_set(inputs(200, 0), labels=False)))


def runs_of(graph: ModelGraph, training: Any) -> NetworkRuns:
    sets = {"calibration": [x[None] for x in inputs(60, 1)], "search": [x[None] for x in inputs(40, 2)]}
    return NetworkRuns(graph, sets, threads=1, training=lambda tensor: training)


def test_behind_a_residual_every_rate_comes_from_one_training_and_its_bytes_rise(graph: ModelGraph) -> None:
    cut = cut_of(graph)
    with runs_of(graph, training_of(graph)) as runs:
        assert runs.prepare([cut], [REGISTRY[NAME]]) == {}
        fitted = [runs.fit(cut, NAME, rate) for rate in range(5)]
        assert {row[0].transform_key for row in fitted} == {fitted[0][0].transform_key}
        note = fitted[0][0].notes[-1]
        assert note.startswith("trained for 60 steps on 9,600 images: rate ")
        assert "distillation" in note
        sizes, errors = [], []
        for row in fitted:
            payloads, far = [], []
            for i in range(40):
                x = runs.activation(cut, "search", i)
                payloads.append(runs.encode(cut, row, x))
                answer = runs.tail(cut, runs.decode(cut, row, payloads[-1], draw=0).tensors)[0]
                far.append(float(np.square(answer - runs.whole(runs.input("search", i))[0]).sum()))
            sizes.append(np.mean([len(payload) for payload in payloads]))
            errors.append(np.mean(far))
        assert sizes == sorted(set(sizes))
        assert errors[0] > errors[2] > errors[4]


def test_with_the_rate_alone_no_gradient_goes_through_the_network(
    graph: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*given: Any) -> None:
        raise AssertionError("the tail was asked for")

    alone: Any = RateBottleneck(name=NAME, losses=(LossTerm(name="rate"),))
    with monkeypatch.context() as patch, mock.patch.dict(REGISTRY, {NAME: alone}):
        patch.setattr(codec_training, "torch_halves", refused)
        with runs_of(graph, training_of(graph)) as runs:
            (fitted,) = runs.fit(cut_of(graph), NAME, 1)
    assert fitted.notes[-1].startswith("trained for 60 steps on 9,600 images: rate 0.")
    assert "distillation" not in fitted.notes[-1]


def test_two_trainings_end_in_equal_bits(graph: ModelGraph) -> None:
    made = []
    for _ in range(2):
        with runs_of(graph, training_of(graph)) as runs:
            made.append(runs.fit(cut_of(graph), NAME, 0)[0])
    assert (made[0].encoder, made[0].decoder) == (made[1].encoder, made[1].decoder)
    assert made[0].notes == made[1].notes


def test_training_counts_the_module_at_every_rate(graph: ModelGraph) -> None:
    """One tensor in five of a batch goes to a rate; what they count is averaged over the rates."""
    seen: list[tuple[int, int]] = []

    class Counting(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def coded(self, x: torch.Tensor, rate: int) -> tuple[torch.Tensor, torch.Tensor]:
            seen.append((rate, len(x)))
            return self.weight * x, self.weight * 0 + float(rate)

    cost = training_of(graph)(Counting(), rates=5, losses=[LossTerm(name="rate", weight=2.0)])
    assert set(seen) == {(rate, 32) for rate in range(5)}
    assert cost.losses == {"rate": pytest.approx(4.0)}
