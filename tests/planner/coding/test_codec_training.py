"""A codec's module trained between the halves of an ONNX network."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from splitpoint.codecs.contract.protocol import FitError, LossTerm
from splitpoint.planner.coding import codec_training
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.torch_graph import torch_halves
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.losses import cross_entropy, mse
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.tests.nets import with_weights
from splitpoint.tests.trainings import noise, steps_in_one_thread, trainer_on, training_set

NET = """
<ir_version: 10, opset_import: ["": 21]>
agraph (float[1, 3, 8, 8] x) => (float[1, 5] y)
<float[8, 3, 3, 3] w, float[16, 8, 3, 3] v, int64[2] shape = {1, 16}, float[16, 5] u>
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
LOSSES = (
    LossTerm(name="cross-entropy", weight=0.1),
    LossTerm(name="distillation"),
    LossTerm(name="mse"),
)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums in one order, and minutes that are 200 steps."""
    with steps_in_one_thread(monkeypatch, 200):
        yield


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    return load_graph(with_weights(NET))


def cut_of(graph: ModelGraph) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == ("b",))


def make_trainer(folder: Path | None, *, labels: bool = True) -> Trainer:
    return trainer_on(training_set(noise(200, 0), labels=labels), folder)


class Bottleneck(nn.Module):
    """Four or two of eight channels, and back."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.into, self.out = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor, rate: int) -> Tensor:
        """A copy through 2 (rate 0) or 4 (rate 1) channels."""
        self.seen.append((rate, len(x)))
        code = self.into(x)
        return torch.relu(self.out(torch.cat([code[:, :2], code[:, 2:] * float(rate)], dim=1)))


def test_a_module_is_trained_at_all_its_rates(graph: ModelGraph) -> None:
    training, module = CodecTraining(graph, cut_of(graph), make_trainer(None)), Bottleneck()
    x = noise(64, 1)
    head = torch_halves(graph, cut_of(graph))[0]
    tensor = head(torch.from_numpy(x))[0]

    def errors() -> list[float]:
        with torch.no_grad():
            return [float((module(tensor, rate) - tensor).square().mean()) for rate in (0, 1)]

    before = errors()
    module.seen.clear()
    cost = training(module, rates=2, losses=LOSSES)
    assert set(module.seen) == {(0, 32), (1, 32)}
    assert (cost.steps, cost.images) == (200, 200 * 64)
    assert set(cost.losses) == {"cross-entropy", "distillation", "mse"}
    after = errors()
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.8 * before[1]


def test_losses_that_are_not_asked_for_are_not_computed(graph: ModelGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any) -> None:
        raise AssertionError("the tail was asked for")

    training = CodecTraining(graph, cut_of(graph), make_trainer(None))
    with monkeypatch.context() as patch:
        patch.setattr(codec_training, "torch_halves", refused)
        terms = [LossTerm(name=name) for name in ("mse", "l1", "charbonnier")]
        losses = training(Bottleneck(), rates=2, losses=terms).losses
        assert set(losses) == {"mse", "l1", "charbonnier"}
        assert losses["mse"] > 0
        assert 0.95 * losses["l1"] < losses["charbonnier"] < losses["l1"]  # nearly the absolute error
    unlabelled = CodecTraining(graph, cut_of(graph), make_trainer(None, labels=False))
    assert set(unlabelled(Bottleneck(), rates=2, losses=LOSSES).losses) == {"distillation", "mse"}


def test_the_tail_stays_as_it_is(graph: ModelGraph) -> None:
    training = CodecTraining(graph, cut_of(graph), make_trainer(None))
    before = {name: value.clone() for name, value in training.tail.state_dict().items()}
    training(Bottleneck(), rates=2, losses=LOSSES)
    assert all((training.tail.state_dict()[name] == value).all() for name, value in before.items())
    assert all(parameter.grad is None for parameter in training.tail.parameters())


def test_an_mse_training_needs_no_gradients_of_the_network() -> None:
    strange = load_graph(with_weights(NET.replace("d = Relu (c)", "d = Hardmax <axis = 1> (c)")))
    training = CodecTraining(strange, cut_of(strange), make_trainer(None))
    assert training(Bottleneck(), rates=2, losses=[LossTerm(name="mse")]).steps == 200


def test_few_large_maps_are_a_batch_where_terms_compare_the_tensor_alone(
    graph: ModelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_training, "POSITIONS", 4 * 8 * 8)
    training = CodecTraining(graph, cut_of(graph), make_trainer(None))
    assert training(Bottleneck(), rates=2, losses=[LossTerm(name="charbonnier")]).images == 200 * 2 * 4
    assert training(Bottleneck(), rates=2, losses=LOSSES).images == 200 * 2 * 32
    monkeypatch.setattr(codec_training, "POSITIONS", 8)  # an input has more
    assert training(Bottleneck(), rates=2, losses=[LossTerm(name="charbonnier")]).images == 200 * 2


def test_what_was_trained_is_kept(graph: ModelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, other = Bottleneck(), Bottleneck(), Bottleneck()
    cost = CodecTraining(graph, cut_of(graph), make_trainer(tmp_path))(first, rates=2, losses=LOSSES)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    with torch.no_grad():
        other.into.weight += 1.0

    def train(*given: Any, **named: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "train", train)
    again = CodecTraining(graph, cut_of(graph), make_trainer(tmp_path))
    assert again(second, rates=2, losses=LOSSES) == cost
    for name, value in first.state_dict().items():
        assert (second.state_dict()[name] == value).all()
    with pytest.raises(AssertionError, match="trained again"):
        again(other, rates=2, losses=LOSSES)
    with pytest.raises(AssertionError, match="trained again"):
        again(Bottleneck(), rates=2, losses=LOSSES[1:])


def test_a_full_disk_is_no_refusal_of_the_network(
    graph: ModelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `FitError` is kept, and the codec would never be tried again."""

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)  # `write_bytes` calls it
    training = CodecTraining(graph, cut_of(graph), make_trainer(tmp_path))
    with pytest.raises(CheckpointError, match="No space left on device"):
        training(Bottleneck(), rates=2, losses=LOSSES)


def test_a_key_names_the_place_and_the_data(graph: ModelGraph) -> None:
    cut, made = cut_of(graph), make_trainer(None)
    other = next(each for each in enumerate_cuts(graph).cuts if each.tensors == ("d",))
    keys = {
        CodecTraining(graph, cut, made).key,
        CodecTraining(graph, other, made).key,
        CodecTraining(graph, cut, made, seed=1).key,
        CodecTraining(graph, cut, dataclasses.replace(made, minutes=1.0)).key,
    }
    assert len(keys) == 4
    assert CodecTraining(graph, cut, make_trainer(None)).key in keys


def test_operators_that_torch_cannot_run_are_one_clear_error() -> None:
    strange = load_graph(with_weights(NET.replace("d = Relu (c)", "d = Hardmax <axis = 1> (c)")))
    training = CodecTraining(strange, cut_of(strange), make_trainer(None))
    with pytest.raises(FitError, match="Hardmax"):
        training(Bottleneck(), rates=2, losses=LOSSES)


def test_the_judging_inputs_choose_between_weights(graph: ModelGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """`planner.training.loop` takes the weights for which what is handed to it was lowest."""
    made, module = make_trainer(None), Bottleneck().eval()
    judging = training_set(noise(30, 3))
    training = CodecTraining(graph, cut_of(graph), made, judging=judging)
    assert training.key != CodecTraining(graph, cut_of(graph), made).key
    found: list[float] = []

    def train(*given: Any, evaluate: Callable[[], float], metric: str, **named: Any) -> Spent:
        assert metric == "search loss"
        with torch.no_grad():
            found.append(evaluate())
        return Spent(steps=0, images=0, minutes=0.0, losses={})

    monkeypatch.setattr(Trainer, "train", train)
    training(module, rates=2, losses=[LossTerm(name="mse", weight=0.5), LossTerm(name="cross-entropy")])
    head, tail = torch_halves(graph, cut_of(graph))
    with torch.no_grad():
        (x,) = head(torch.from_numpy(judging.content))
        expected = []
        for copy in (module(x, 0), module(x, 1)):
            entropy = cross_entropy(tail(copy)[0], torch.from_numpy(judging.labels))
            expected.append(float(0.5 * mse(copy, x) + entropy))
    assert found == [pytest.approx(np.mean(expected), rel=0.02)]  # fp16, and bfloat16 where the CPU has it


class Rectified(Bottleneck):
    """Copies that only an activation behind them is to make right."""

    def activated(self, y: Tensor) -> Tensor:
        """What is above a threshold."""
        return torch.relu(y - 1.0)


def test_terms_of_the_tensor_compare_what_the_module_activates(graph: ModelGraph) -> None:
    losses = [LossTerm(name="l1")]
    objective = CodecTraining(graph, cut_of(graph), make_trainer(None))._objective(losses, losses)
    x = torch.rand(4, 8, 6, 6) - 2  # nothing of it is above the threshold
    for module, zero in ((Bottleneck(), False), (Rectified(), True)):
        with torch.no_grad():
            module.out.weight.zero_()  # a bias of at most 0.5 is left
            terms = objective.terms(module, [(x, 0)], x, None, None)
        assert (float(terms["l1"]) == 0) == zero
