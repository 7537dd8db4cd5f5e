"""A network trained with a codec in it answers through that codec as the given network does without."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from splitpoint.codecs.contract.protocol import FitError, LossTerm
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.torch_graph import torch_halves
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.networks.end_to_end import EndToEndNetwork, EndToEndTraining
from splitpoint.planner.training.losses import distillation
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests.nets import with_weights
from splitpoint.tests.trainings import noise, steps_in_one_thread, trainer_on, training_set

LOSSES = (LossTerm(name="cross-entropy", weight=0.1), LossTerm(name="distillation"))
NET = """
<ir_version: 10, opset_import: ["": 21]>
agraph (float[1, 3, 8, 8] x) => (float[1, 5] y)
<float[8, 3, 3, 3] w, float[8, 8, 3, 3] v, int64[2] shape = {1, 8}, float[8, 5] u>
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    c = Conv (b, v)
    d = Relu (c)
    e = GlobalAveragePool (d)
    f = Reshape (e, shape)
    y = MatMul (f, u)
}
"""
PADDED = "a = Conv <pads = [1, 1, 1, 1]> (x, w)"
TWICE = NET.replace(PADDED, "n = Conv (x, w)\n    a = Conv (n, v)")  # v is in both halves
TWO_ANSWERS = NET.replace("=> (float[1, 5] y)", "=> (float[1, 5] y, float[1, 8] f)")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums in one order, and minutes that are 100 steps."""
    with steps_in_one_thread(monkeypatch, 100):
        yield


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    return load_graph(with_weights(NET))


class Few(nn.Module):
    """Two or three of eight channels cross, and nothing of the codec helps: only the network can get better."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor, rate: int) -> Tensor:
        """A copy of the first `rate` + 2 channels, zeros for the others."""
        self.seen.append((rate, len(x)))
        kept = torch.zeros(1, x.shape[1], 1, 1)
        kept[:, : rate + 2] = 1.0
        return x * kept + 0 * self.gain


def cut_of(graph: ModelGraph) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == ("b",))


def make_trainer(folder: Path | None = None) -> Trainer:
    return trainer_on(training_set(noise(200, 0)), folder)


def trained(
    graph: ModelGraph,
    module: nn.Module,
    trainer: Trainer,
    given: ModelGraph | None = None,
) -> EndToEndNetwork:
    cut = cut_of(graph)
    training = EndToEndTraining(graph, cut, trainer, CodecTraining(graph, cut, trainer), given=given)
    training(module, rates=2, losses=LOSSES)
    assert training.made is not None
    return training.made


def loss_through(graph: ModelGraph, given: ModelGraph, rate: int) -> float:
    """The divergence from the given network's answers, of what comes through the codec, on inputs not trained on."""
    x = torch.from_numpy(noise(100, 1))
    with torch.no_grad():
        first, last = torch_halves(given, cut_of(given))
        target = last(*first(x))[0]
        head, tail = torch_halves(graph, cut_of(graph))
        return float(distillation(tail(Few()(head(x)[0], rate))[0], target))


def weights(model: bytes) -> dict[str, NDArray[np.float32]]:
    entries = onnx.load_model_from_string(model).graph.initializer
    return {entry.name: numpy_helper.to_array(entry) for entry in entries if entry.name in ("w", "v", "u")}


def changed(graph: ModelGraph, made: EndToEndNetwork) -> set[str]:
    old, new = weights(whole_bytes(graph)), weights(made.model)
    return {name for name in old if not np.array_equal(old[name], new[name])}


def with_others(model: bytes) -> bytes:
    """The network with other weights before its answers."""
    proto = onnx.load_model_from_string(model)
    entry = next(entry for entry in proto.graph.initializer if entry.name == "u")
    values = numpy_helper.to_array(entry)
    entry.CopyFrom(numpy_helper.from_array(values[::-1].copy(), "u"))
    return bytes(proto.SerializeToString())


def test_the_network_learns_to_answer_through_the_codec(graph: ModelGraph) -> None:
    """Head and tail both change; the codec is asked at each of its rates, before and meanwhile."""
    module = Few()
    made = trained(graph, module, make_trainer())
    assert (made.spent.steps, made.spent.images) == (100, 100 * 128)
    assert set(module.seen) == {(0, 32), (1, 32)}  # alone; the network's training has a copy of it
    network = load_graph(made.model)
    assert [node.op_type for node in network.nodes] == [node.op_type for node in graph.nodes]
    assert changed(graph, made) == {"w", "v", "u"}
    for rate in (0, 1):
        assert loss_through(network, graph, rate) < 0.8 * loss_through(graph, graph, rate)


def test_the_given_network_is_the_teacher_of_a_pruned_one(graph: ModelGraph) -> None:
    """Its own answers would not say what pruning cost."""
    other = load_graph(with_others(with_weights(NET)))
    trainer = make_trainer()
    own, given = trained(other, Few(), trainer), trained(other, Few(), trainer, given=graph)
    after = [loss_through(load_graph(made.model), graph, 1) for made in (own, given)]
    assert after[1] < 0.8 * after[0]


def test_a_weight_of_both_halves_stays_one() -> None:
    graph = load_graph(with_weights(TWICE))
    made = trained(graph, Few(), make_trainer())
    assert changed(graph, made) == {"w", "u"}


def test_it_is_trained_once(graph: ModelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(graph, Few(), make_trainer(tmp_path))

    def fail(*given: object, **named: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train", fail)
    assert trained(graph, Few(), make_trainer(tmp_path)) == first
    with pytest.raises(AssertionError, match="trained again"):
        trained(graph, Few(), make_trainer(tmp_path), given=load_graph(with_others(with_weights(NET))))
    other = copy.deepcopy(Few())
    torch.nn.init.zeros_(other.gain)
    with pytest.raises(AssertionError, match="trained again"):
        trained(graph, other, make_trainer(tmp_path))


def test_networks_of_several_answers_are_refused() -> None:
    graph = load_graph(with_weights(TWO_ANSWERS))
    with pytest.raises(FitError, match="2 outputs"):
        trained(graph, Few(), make_trainer())
