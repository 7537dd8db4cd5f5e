"""Pruning before a cut: which filters go, what goes with them, and what the least-squares correction restores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import onnx
import pytest
import torch
from scipy.special import softmax
from torch import nn

from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.networks.channel_removal import correct_layers, remove_filters
from splitpoint.planner.networks.importance import output_loss, taylor_importance
from splitpoint.planner.networks.pruned_network import head_modules, prune_at, prune_network
from splitpoint.planner.networks.pruning import layers_around, pruned_graphs
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.setup.config import PruneConfig
from splitpoint.planner.setup.inputs import load_source
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.checkpoint import CheckpointError
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.recipe import Recipe, learning_rate
from splitpoint.planner.training.spent import Spent
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec, preprocess
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module

SHAPE = (1, 3, 12, 12)
NET = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5),
    ).eval()
def classes():
    class Classes(nn.Sequential):
        def forward(self, x):
            return super().forward(x).argmax(1)
    return Classes(make()).eval()
def odd():
    class Shuffle(nn.Module):
        def forward(self, x):
            return x.view(1, 2, 4, 12, 12).transpose(1, 2).reshape(1, 8, 12, 12)
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Shuffle(), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
"""


class Residual(nn.Module):
    """Two convolutions that meet in an addition, and one that reads the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.block = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.reader = nn.Conv2d(8, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        result: torch.Tensor = self.reader((x + self.block(x)).relu())
        return result


def chain() -> Any:
    """The first convolution's last four filters are half of its first four: behind ReLU they say nothing new."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
    with torch.no_grad():
        first.weight[4:] = 0.5 * first.weight[:4]
        assert first.bias is not None
        first.bias[4:] = 0.5 * first.bias[:4]
    return nn.Sequential(first, nn.ReLU(), second).eval()


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:make"


def test_the_filters_of_least_norm_go_and_the_reader_is_sliced() -> None:
    module = chain()
    with torch.no_grad():
        module[0].weight[[1, 6]] *= 0.01
    kept = module[0].weight[[0, 2, 3, 4, 5, 7]].detach().clone()
    removed, left = remove_filters(module, ["0"], 0.25, torch.zeros(SHAPE))
    assert (removed, left) == ({"0": [1, 6]}, [])
    torch.testing.assert_close(module[0].weight.detach(), kept)
    assert module[2].weight.shape == (6, 6, 3, 3)


def test_layers_that_meet_in_an_addition_lose_the_same_channels() -> None:
    torch.manual_seed(0)
    module = Residual()
    stem, block = (layer.weight.detach().abs().flatten(1).sum(1) for layer in (module.stem, module.block))
    removed, _ = remove_filters(module, ["stem"], 0.5, torch.zeros(SHAPE))
    assert set(removed) == {"stem", "block"}
    assert (
        sorted(removed["stem"]) == sorted(removed["block"]) == sorted(np.argsort((stem + block).numpy())[:4].tolist())
    )
    assert module.block.weight.shape == (4, 4, 3, 3)
    assert module(torch.zeros(SHAPE)).shape == (1, 6, 12, 12)


def test_least_squares_restores_what_linear_dependence_allows() -> None:
    """Half the filters repeat the others, so the layer behind can do without them; slicing alone cannot."""
    module, inputs = chain(), torch.randn(40, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    fresh = torch.randn(8, *SHAPE[1:], generator=torch.Generator().manual_seed(2))
    errors = {}
    for correct in (False, True):
        thin, _ = prune_at(module, ["0"], ["2"], ratio=0.5, calibration=inputs, correct=correct)
        with torch.no_grad():
            errors[correct] = float((thin(fresh) - module(fresh)).norm() / module(fresh).norm())
    assert errors[False] > 0.05
    assert errors[True] < 0.01 * errors[False] + 1e-3, errors


def test_a_correction_that_does_not_help_is_not_made() -> None:
    """Nothing was removed, so there is nothing to restore: the weights stay bit for bit."""
    module = chain()
    same = chain()
    before = same[2].weight.detach().clone()
    errors = correct_layers(same, module, ["2"], {}, torch.randn(8, *SHAPE[1:]))
    assert errors["2"] < 1e-6
    assert torch.equal(same[2].weight, before)


def test_layers_around_a_cut_survive_the_folding_of_batch_normalization(net: str) -> None:
    from splitpoint.profiles.network.torch_model import load_module

    module = load_module(net)
    graph = load_graph(export_module(module, SHAPE))
    layers = {cut.after: layers_around(graph, module, cut) for cut in enumerate_cuts(graph).cuts}
    assert layers["input"] == ([], ["0"])
    pool = next(after for after in layers if "MaxPool" in after)
    assert layers[pool] == (["0"], ["4"])
    assert list(layers.values())[-1] == (["0", "4"], ["8"])


def test_each_ratio_gives_a_network_that_is_narrower_up_to_its_cut(net: str) -> None:
    graph = load_graph(export_module(_module(net), SHAPE), source=net)
    pool = next(cut for cut in enumerate_cuts(graph).cuts if "MaxPool" in cut.after)
    relu = next(cut for cut in enumerate_cuts(graph).cuts if "Relu" in cut.after)
    config = PruneConfig(ratios=(0.0, 0.25, 0.5), cuts=(pool.after, relu.tensors[0]))
    graphs, notes = pruned_graphs(graph, config, _calibration())
    assert notes == []
    assert [p.name for p in graphs] == ["pruned .25 before 4", "pruned .5 before 4"]
    for p, width in zip(graphs, (6, 4), strict=True):
        assert set(p.after) == {pool.after, relu.after}
        narrow = next(cut for cut in enumerate_cuts(p.graph).cuts if cut.after == pool.after)
        assert narrow.elements == pool.elements * width // 8
        assert narrow.head_macs == pool.head_macs * width // 8
        assert p.graph.outputs[0].shape == graph.outputs[0].shape


def test_what_cannot_be_pruned_says_why(net: str) -> None:
    graph = load_graph(export_module(_module(net), SHAPE), source=net)
    onnx_only = load_graph(export_module(_module(net), SHAPE), source="model.onnx")
    graphs, notes = pruned_graphs(onnx_only, PruneConfig(cuts=("x",)), _calibration())
    assert graphs == []
    assert "pruning ratios are {0}: model.onnx is an ONNX file" in notes[0]
    graphs, notes = pruned_graphs(graph, PruneConfig(cuts=("input",)), _calibration())
    assert graphs == []
    assert "there is no convolution before it" in notes[0]
    with pytest.raises(ProfileError, match="no cut after 'nowhere'"):
        pruned_graphs(graph, PruneConfig(cuts=("nowhere",)), _calibration())
    odd = net.replace(":make", ":odd")
    shuffled = load_graph(export_module(_module(odd), SHAPE), source=odd)
    last = enumerate_cuts(shuffled).cuts[-1].after
    graphs, notes = pruned_graphs(shuffled, PruneConfig(ratios=(0.5,), cuts=(last,)), _calibration())
    assert graphs == []
    assert notes[0].startswith("left out: pruned .5 before 3: ")


def _module(spec: str) -> nn.Module:
    from splitpoint.profiles.network.torch_model import load_module

    return load_module(spec)


def _calibration() -> Dataset:
    rng = np.random.default_rng(3)
    tensors = rng.normal(size=(12, *SHAPE)).astype(np.float32)
    samples = tuple(Sample(name=str(i), group=str(i), tensor=x) for i, x in enumerate(tensors))
    return Dataset(spec=InputSpec(kind="tensor", size=None, dtype="float32"), samples=samples)


def test_wide_layers_keep_a_multiple_of_eight() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 32, 3)
    module = nn.Sequential(first, nn.ReLU(), nn.Conv2d(32, 6, 3)).eval()
    remove_filters(module, ["0"], 0.2, torch.zeros(SHAPE))
    assert first.out_channels == 24  # of 25.6
    remove_filters(module, ["0"], 0.999, torch.zeros(SHAPE))
    assert first.out_channels == 8


def test_a_ratio_that_removes_nothing_is_no_variant(net: str) -> None:
    graph = load_graph(export_module(_module(net), SHAPE), source=net)
    graphs, notes = pruned_graphs(graph, PruneConfig(ratios=(0.01,)), _calibration())
    assert graphs == []
    assert notes
    assert all("no layer has enough filters" in note for note in notes)


@pytest.mark.parametrize("method", ["magnitude", "taylor"])
def test_a_network_without_gradients_is_left_out_with_what_to_do(
    net: str, method: Literal["magnitude", "taylor"]
) -> None:
    graph = load_source(net.replace(":make", ":classes"), SHAPE)
    pool = next(cut for cut in enumerate_cuts(graph).cuts if "MaxPool" in cut.after)
    graphs, (note,) = pruned_graphs(
        graph, PruneConfig(method=method, ratios=(0.5,), cuts=(pool.after,)), _calibration()
    )
    assert graphs == []
    assert "before 0.4: gradients of the network's answer do not reach a convolution" in note
    assert note.endswith("(let the network answer with scores, not with classes, or remove prune:)")


def test_a_full_disk_is_no_reason_to_leave_a_network_out(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> None:
        raise CheckpointError("No space left on device")

    monkeypatch.setattr("splitpoint.planner.networks.pruning.prune_network", full)
    with pytest.raises(CheckpointError, match="No space"):
        pruned_graphs(load_source(net, SHAPE), PruneConfig(), _calibration())


def test_a_share_of_the_multiply_adds_may_be_asked_for(net: str) -> None:
    graph = load_source(net, SHAPE)
    last = enumerate_cuts(graph).cuts[-1].after
    config = PruneConfig(method="taylor", ratios=(0.5,), ratio_of="macs", cuts=(last,))
    (pruned,), notes = pruned_graphs(graph, config, _calibration())
    assert (pruned.name, notes) == ("pruned .5 of the MACs by Taylor before 8", [])
    assert pruned.graph.macs == pytest.approx(0.5 * graph.macs, rel=0.1)  # a filter is 4 % of the network's


def test_cuts_to_prune_before_are_chosen_where_none_are_given(net: str) -> None:
    graph = load_graph(export_module(_module(net), SHAPE), source=net)
    graphs, _ = pruned_graphs(graph, PruneConfig(ratios=(0.5,)), _calibration())
    assert graphs
    cuts = {cut.after: cut for cut in enumerate_cuts(graph).cuts}
    for pruned in graphs:
        for after in pruned.after:
            assert cuts[after].elements < graph.inputs[0].elements


def test_taylor_has_variants_of_its_own_name_with_and_without_labels(net: str) -> None:
    """A quarter of the filters goes either way."""
    module: Any = _module(net)
    graph = load_graph(export_module(module, SHAPE), source=net)
    pool = next(cut for cut in enumerate_cuts(graph).cuts if "MaxPool" in cut.after)
    plain = _calibration()
    samples = tuple(dataclasses.replace(sample, label=i % 5) for i, sample in enumerate(plain.samples))
    for data in (plain, dataclasses.replace(plain, samples=samples)):
        config = PruneConfig(method="taylor", ratios=(0.25,), cuts=(pool.after,))
        graphs, notes = pruned_graphs(graph, config, data)
        assert notes == []
        assert [p.name for p in graphs] == ["pruned .25 by Taylor before 4"]
        narrow = next(cut for cut in enumerate_cuts(graphs[0].graph).cuts if cut.after == pool.after)
        assert narrow.elements == pool.elements * 6 // 8


def test_gradients_choose_what_norms_do_not() -> None:
    """The filter of largest norm goes where nothing reads it."""
    module, x = chain(), torch.randn(6, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        module[0].weight[3] *= 100
        module[2].weight[:, 3] = 0

    def importance(net: nn.Module, groups: Any) -> Any:
        return taylor_importance(net, groups, x, output_loss())

    thin, _ = prune_at(module, ["0"], ["2"], ratio=1 / 8, calibration=x, correct=False, importance=importance)
    with torch.no_grad():
        torch.testing.assert_close(thin(x), module(x))


def test_three_quarters_of_the_training_follow_the_last_round_and_come_to_rest(
    net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what all rounds took is kept with the network."""
    asked: list[tuple[str, float, float]] = []

    def note(student: nn.Module, *given: Any, stage: str, share: float, recipe: Recipe, **named: Any) -> Spent:
        assert all(parameter.requires_grad for parameter in student.parameters())
        asked.append((stage, share, learning_rate(dataclasses.replace(recipe, steps=100), 99)))
        return Spent(steps=2, images=20, minutes=0.5, losses={})

    monkeypatch.setattr("splitpoint.planner.networks.pruned_network.distill", note)
    graph = load_source(net, SHAPE)
    calibration = _calibration()
    data = TrainingSet(content=np.concatenate(list(NetworkInputs(calibration))), labels=None, spec=calibration.spec)
    made = prune_network(
        graph, _module(net), ["0", "4"], ["8"], ratio=0.5, config=PruneConfig(method="taylor"),
        calibration=calibration, trainer=Trainer(data=data, data_sha256=data.sha256(), minutes=1, folder=None),
    )  # fmt: skip
    assert [(stage, share) for stage, share, _ in asked[:-1]] == [(f"round-{i}", 0.25 / 3) for i in range(3)]
    assert asked[-1][:2] == ("round-3", 0.75)
    assert asked[-1][2] < 1e-3 * asked[0][2]
    assert (made.steps, made.images, made.minutes) == (8, 80, 2)


def test_a_pruned_network_is_trained_between_the_rounds_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(NET)
    spec = msgspec.convert({"kind": "image", "size": [12, 12], "mean": 127, "std": 60}, InputSpec)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 12, 12, 3), np.uint8)
    samples = tuple(Sample(name=f"{i}", group=f"{i}", picture=picture) for i, picture in enumerate(pictures[:40]))
    calibration = Dataset(spec=spec, samples=samples)
    graph = load_source(f"{tmp_path / 'net.py'}:make", SHAPE)
    data = TrainingSet(content=pictures, labels=None, spec=spec)
    monkeypatch.setattr("splitpoint.planner.training.trainer.measure_step_s", lambda *given: 0.01)
    results = results_here(Store(tmp_path / "kept"), threads=1)
    place = tmp_path / "checkpoints"
    trainer = Trainer(data=data, data_sha256=data.sha256(), minutes=0.05, folder=place, results=results)
    config = PruneConfig(ratios=(0.5,), method="taylor")
    session = open_session(whole_bytes(graph), level="all", threads=1)
    x = [preprocess(picture, spec) for picture in pictures[100:]]
    exact = np.concatenate([session.run({graph.inputs[0].name: one})[graph.outputs[0].name] for one in x])
    told: list[str] = []
    errors = {}
    for name, used in (("untrained", None), ("trained", trainer)):
        (pruned, *_), _ = pruned_graphs(graph, config, calibration, used, told.append)
        thin = open_session(whole_bytes(pruned.graph), level="all", threads=1)
        made = np.concatenate([thin.run({graph.inputs[0].name: one})[graph.outputs[0].name] for one in x])
        errors[name] = float(np.linalg.norm(softmax(made, axis=1) - softmax(exact, axis=1)))
    assert errors["trained"] < errors["untrained"]  # which the layer behind the cut was corrected for
    assert told
    assert all("· pruned .5 by Taylor before" in text for text in told)
    monkeypatch.setattr(Trainer, "train", None)  # what is kept is not trained again
    (again, *_), _ = pruned_graphs(graph, config, calibration, trainer)
    assert again.graph.sha256 == pruned.graph.sha256


@pytest.mark.parametrize("trained", ["network", "head"])
def test_a_head_that_is_trained_alone_leaves_the_layers_behind_as_they_are(
    net: str, trained: Literal["network", "head"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitpoint.planner.training.trainer.measure_step_s", lambda *given: 0.1)
    calibration = _calibration()
    data = TrainingSet(content=np.concatenate(list(NetworkInputs(calibration))), labels=None, spec=calibration.spec)
    trainer = Trainer(data=data, data_sha256=data.sha256(), minutes=0.05, folder=None)
    config = PruneConfig(method="taylor", trained=trained)
    module: Any = _module(net)
    made = prune_network(
        load_source(net, SHAPE), module, ["0"], ["4"],
        ratio=0.5, config=config, calibration=calibration, trainer=trainer,
    )  # fmt: skip
    assert made.steps > 0
    left = [onnx.numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(made.model).graph.initializer]
    last = next(array for array in left if sorted(array.shape) == [5, 12])
    reader = next(array for array in left if array.shape == (12, 4, 3, 3))
    given = [part.weight.detach().numpy() for part in (module[8], module[4])]
    columns = [any(np.array_equal(reader[:, i], given[1][:, j]) for j in range(8)) for i in range(4)]
    same = np.array_equal(last if last.shape == (5, 12) else last.T, given[0])
    assert [same, *columns] == [trained == "head"] * 5


def test_a_head_is_what_runs_before_the_layers_behind_the_cut(net: str) -> None:
    module, x = _module(net), torch.zeros(SHAPE)
    assert head_modules(module, ["0"], ["4"], x) == {"0", "1", "2", "3"}
    assert head_modules(module, ["0", "4"], ["8"], x) == {str(i) for i in range(8)}
    assert head_modules(module, ["0", "4"], [], x) == {str(i) for i in range(9)}
    shared = nn.Sequential(nn.Conv2d(3, 3, 1), act := nn.ReLU(), nn.Conv2d(3, 3, 1), act)
    assert head_modules(shared, ["0"], ["2"], x) == {"0"}  # the activation runs on both sides
