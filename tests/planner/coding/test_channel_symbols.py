"""A codec that sends channel symbols among the runs of a network: noise, what it needs, its two trainings, its keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from splitpoint.codecs.contract.channel import SymbolChannel, simulated
from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.learned.jscc import build_jscc, start_jscc
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.context import Contexts
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.training import trainer as trainer_module
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.loop import train
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import context_key
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.tests.nets import with_weights
from splitpoint.tests.switches import CHANNEL, NoSteps

NET = """
<ir_version: 10, opset_import: ["": 21]>
agraph (float[1, 3, 8, 8] x) => (float[1, 5] y)
<float[8, 3, 3, 3] w, int64[2] shape = {1, 8}, float[8, 5] u>
{
    a = Conv <pads = [1, 1, 1, 1]> (x, w)
    b = Relu (a)
    e = GlobalAveragePool (b)
    f = Reshape (e, shape)
    y = MatMul (f, u)
}
"""
CODEC: Codec = REGISTRY["jankowski-jscc"]


@pytest.fixture(scope="module")
def graph() -> ModelGraph:
    return load_graph(with_weights(NET))


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def inputs(count: int = 12) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(0).normal(size=(count, 1, 3, 8, 8)).astype(np.float32))


def cut_of(graph: ModelGraph) -> Cut:
    return next(cut for cut in enumerate_cuts(graph).cuts if cut.tensors == ("b",))


def make_runs(graph: ModelGraph, **more: Any) -> NetworkRuns:
    given: dict[str, Any] = {"training": lambda tensor: NoSteps(), "channel": CHANNEL, "seed": 5} | more
    return NetworkRuns(graph, {"calibration": inputs(), "search": inputs(3)}, threads=1, **given)


def test_each_message_has_the_noise_of_its_number(graph: ModelGraph) -> None:
    cut = cut_of(graph)
    with make_runs(graph) as runs:
        (fitted,) = runs.fit_trained(cut, CODEC, [3], NoSteps())
        payload = runs.encode(cut, [fitted], runs.activation(cut, "search", 0))
        found = [runs.decode(cut, [fitted], payload, draw=draw) for draw in (0, 0, 1)]
        assert found[0].key == found[1].key != found[2].key
        assert fitted.encoder is not None
        assert fitted.decoder is not None
        symbols = open_session(fitted.encoder, level="all", threads=1).run(
            {"x": runs.activation(cut, "search", 0)["b"]}
        )["symbols"]
        for draw, coded in ((0, found[0]), (1, found[2])):
            arrived = simulated(CHANNEL, symbols, seed=5, draw=draw)
            copy = open_session(fitted.decoder, level="all", threads=1).run({"symbols": arrived})["y"]
            np.testing.assert_allclose(coded.tensors["b"], copy, rtol=1e-5, atol=1e-5)
            assert np.abs(arrived - symbols).max() > 0.1
        louder = dataclasses.replace(fitted, channel=SymbolChannel(kind="awgn", snr_db=200))
        (copy,) = runs.decode(cut, [louder], payload, draw=0).tensors.values()
        clean = open_session(fitted.decoder, level="all", threads=1).run({"symbols": symbols})["y"]
        np.testing.assert_allclose(copy, clean, rtol=1e-4, atol=1e-4)


def test_bits_have_no_noise(graph: ModelGraph) -> None:
    cut = cut_of(graph)
    with make_runs(graph) as runs:
        fitted = runs.fit(cut, "fast", 3)
        payload = runs.encode(cut, fitted, runs.activation(cut, "search", 0))
        assert runs.decode(cut, fitted, payload, draw=0).key == runs.decode(cut, fitted, payload, draw=1).key


def test_without_a_channel_it_is_left_out_once(graph: ModelGraph) -> None:
    cut = cut_of(graph)
    with make_runs(graph, channel=None) as runs:
        reason = "needs a link with an SNR (awgn, rayleigh_block), over which it sends symbols instead of bits"
        assert runs.prepare([cut], [CODEC, REGISTRY["fast"]]) == {"jankowski-jscc": reason}
        assert runs.lacks(CODEC, cut) == reason


def test_what_is_trained_depends_on_the_channel_and_on_the_range_of_training(graph: ModelGraph) -> None:
    keys = set()
    for channel, snr in (
        (CHANNEL, None),
        (SymbolChannel(kind="awgn", snr_db=11), None),
        (SymbolChannel(kind="rayleigh", snr_db=10), None),
        (CHANNEL, (0.0, 20.0)),
    ):
        contexts = Contexts(graph, inputs(), channel=channel, trained_snr_db=snr, training=lambda tensor: NoSteps())
        keys.add(context_key(contexts.known(CODEC, "b", [0, 1])))
        assert contexts.known(REGISTRY["fast"], "b", [0, 1]).channel is None
    assert len(keys) == 4


def test_weights_for_one_noise_are_not_taken_for_another(graph: ModelGraph) -> None:
    """They start alike, and are trained for the same terms on the same data."""
    rng = np.random.default_rng(0)
    content, spec = rng.normal(size=(100, 3, 8, 8)).astype(np.float32), msgspec.convert({"kind": "tensor"}, InputSpec)
    data = TrainingSet(content=content, labels=None, spec=spec)
    trainer = Trainer(data=data, data_sha256=data.sha256(), minutes=0.01, folder=None)
    training, x = CodecTraining(graph, cut_of(graph), trainer), np.abs(content[:, [0, 1, 2, 0]])
    fade = SymbolChannel(kind="rayleigh", snr_db=10, block=100)
    noises: list[tuple[SymbolChannel, tuple[float, float]]] = [
        (CHANNEL, (10, 10)),
        (CHANNEL, (0, 20)),
        (fade, (10, 10)),
        (msgspec.structs.replace(fade, block=4), (10, 10)),
    ]
    modules = [build_jscc(start_jscc([2], x, each, snr_db=snr, rectified=True, seed=0)) for each, snr in noises]
    keys = [training.asset_key(module, rates=1, losses=()) for module in modules]
    assert len(set(keys)) == 4
    again = build_jscc(start_jscc([2], x, CHANNEL, snr_db=(10, 10), rectified=True, seed=0))
    assert training.asset_key(again, rates=1, losses=()) == keys[0]


def test_copies_are_trained_for_a_fifth_of_the_minutes_and_answers_for_the_rest(
    graph: ModelGraph, one_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "measure_step_s", lambda *given: 0.03)
    rng = np.random.default_rng(0)
    data = TrainingSet(
        content=rng.normal(size=(100, 3, 8, 8)).astype(np.float32),
        labels=rng.integers(0, 5, 100),
        spec=msgspec.convert({"kind": "tensor"}, InputSpec),
    )
    trainer = Trainer(data=data, data_sha256=data.sha256(), minutes=0.01, folder=None)  # 20 steps
    asked: list[tuple[str, int, tuple[str, ...]]] = []

    def noted(module: Any, loss: Any, recipe: Any, **more: Any) -> Any:
        made = train(module, loss, recipe, **more)
        asked.append((recipe.schedule, made.steps, tuple(made.losses)))
        return made

    monkeypatch.setattr("splitpoint.planner.training.trainer.train", noted)
    cut = cut_of(graph)
    training = CodecTraining(graph, cut, trainer)
    with make_runs(graph, training=lambda tensor: training) as runs:
        (fitted,) = runs.fit_trained(cut, CODEC, [0], training)
    assert [(steps, set(losses)) for _, steps, losses in asked] == [
        (4, {"l1"}),
        (16, {"cross-entropy", "distillation"}),
    ]
    assert fitted.notes[1].startswith("trained for 20 steps on 2,000 images: ")  # 4 x 32 are more than the 100 inputs
