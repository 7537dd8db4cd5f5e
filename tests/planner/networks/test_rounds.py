"""Removal in rounds: how many filters go and which, what is trained between, and where each weight came from."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.planner.cuts.halves import whole_bytes
from splitpoint.planner.networks.channel_groups import WIDTH_STEP, ChannelGroup, channel_groups
from splitpoint.planner.networks.importance import output_loss, taylor_importance
from splitpoint.planner.networks.rounds import choose_channels, layer_costs, prune_in_rounds, weight_origins
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module
from splitpoint.tests.nets import resnet20

SHAPE = (1, 3, 16, 16)
ONE_EACH = {"0": 1.0, "2": 1.0}  # filters that a channel of two layers in a row saves
X = torch.randn(4, *SHAPE[1:], generator=torch.Generator().manual_seed(0))


def by_gradients(module: nn.Module, groups: Any) -> Any:
    return taylor_importance(module, groups, X, output_loss())


def convolutions(module: nn.Module) -> list[str]:
    return [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)]


def filters(module: Any, layers: list[str]) -> int:
    return sum(module.get_submodule(name).out_channels for name in layers)


def chain(*widths: int) -> Any:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], 5, 3)).eval()


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("ratio", [0.25, 1 / 3, 0.6])
def test_the_ratio_is_reached_within_a_step_of_one_layer(ratio: float, rounds: int) -> None:
    module = chain(32, 48, 64, 10)
    layers = convolutions(module)[:-1]
    before = filters(module, layers)
    prune_in_rounds(module, layers, ratio, X[:1], rounds=rounds, importance=by_gradients)
    assert abs(before - filters(module, layers) - ratio * before) <= WIDTH_STEP / 2
    assert all(module.get_submodule(name).out_channels % WIDTH_STEP == 0 for name in layers[:3])


@pytest.mark.parametrize("make", [lambda: chain(32, 48, 64, 32), lambda: resnet20(classes=5)], ids=["chain", "resnet"])
@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_a_ratio_of_multiply_adds_is_reached_as_the_exported_graphs_count_them(make: Any, ratio: float) -> None:
    """Within 4 %: a block of 8 of 32 channels is 1/48 of the chain's, and outer products of a round count twice."""
    module = make()
    layers = convolutions(module)
    before = load_graph(export_module(module, SHAPE)).macs
    assert sum(layer_costs(module, layers, X[:1], "macs").values()) == pytest.approx(before, rel=1e-3)  # no classifier
    prune_in_rounds(module, layers, ratio, X[:1], rounds=6, importance=by_gradients, ratio_of="macs")
    assert load_graph(export_module(module, SHAPE)).macs == pytest.approx((1 - ratio) * before, abs=0.04 * before)


def test_a_layer_counts_the_inputs_that_it_no_longer_reads() -> None:
    """Of the second layer half of the inputs go with half of the first layer's filters: both halve, one for each."""
    module = chain(16, 16)
    costs = layer_costs(module, ["0", "2"], X[:1], "macs")
    assert costs == {"0": 27 * 16 * 256, "2": 144 * 16 * 256}
    first = {"0": np.arange(16.0), "2": np.full(16, 1e9)}
    prune_in_rounds(
        module, ["0", "2"], 0.5, X[:1], rounds=1, importance=lambda net, groups: first, ratio_of="macs",
    )  # fmt: skip
    assert layer_costs(module, ["0", "2"], X[:1], "macs") == {"0": 27 * 8 * 256, "2": 72 * 16 * 256}


def test_no_layer_loses_all_its_channels() -> None:
    module = chain(32, 20, 6)
    layers = convolutions(module)[:-1]
    prune_in_rounds(module, layers, 0.999, X[:1], rounds=2, importance=by_gradients)
    assert [module.get_submodule(name).out_channels for name in layers] == [8, 8, 1]


def test_layers_compete_and_the_least_of_all_go_first() -> None:
    """Two layers of the same norm: one whose filters matter alike, one in which half matter nothing and lose all."""
    groups = channel_groups(chain(16, 16), ["0", "2"], X[:1])
    alike, uneven = np.ones(16), np.repeat([0.0, 2.0**0.5], 8)
    chosen = choose_channels(groups, {"0": alike, "2": uneven}, 8, {"0": 8, "2": 8}, ONE_EACH)
    assert {name: sorted(channels) for name, channels in chosen.items()} == {"2": list(range(8))}


def test_a_layer_of_small_gradients_is_not_emptied_first() -> None:
    """Importances are compared as shares of each layer's: their scale changes nothing."""
    groups = channel_groups(chain(32, 32), ["0", "2"], X[:1])
    rng = np.random.default_rng(0)
    values = {"0": rng.random(32), "2": rng.random(32)}
    scaled = {"0": values["0"], "2": 1e-6 * values["2"]}
    assert choose_channels(groups, values, 20, {"0": 8, "2": 8}, ONE_EACH) == choose_channels(
        groups, scaled, 20, {"0": 8, "2": 8}, ONE_EACH
    )


def test_layers_whose_outputs_are_added_count_each_filter() -> None:
    module: Any = resnet20(classes=5)
    layers = convolutions(module)
    before = filters(module, layers)
    removed, left = prune_in_rounds(module, layers, 0.25, X[:1], rounds=2, importance=by_gradients)
    assert left == []
    gone = before - filters(module, layers)
    assert gone == sum(map(len, removed.values()))
    assert abs(gone - 0.25 * before) <= 4 * WIDTH_STEP / 2  # a block of the first stage is a step of four layers
    assert module(X).shape == (4, 5)


def test_importance_is_computed_anew_and_the_network_trained_in_each_round() -> None:
    module = chain(32, 32)
    events: list[tuple[str | int, int]] = []

    def importance(net: nn.Module, groups: Sequence[ChannelGroup]) -> Any:
        events.append(("importance", sum(group.channels for group in groups)))
        return by_gradients(net, groups)

    prune_in_rounds(
        module, ["0", "2"], 0.5, X[:1], rounds=2, importance=importance,
        tune=lambda net, number: events.append((number, filters(net, ["0", "2"]))),
    )  # fmt: skip
    assert events == [("importance", 64), (0, 48), ("importance", 48), (1, 32)]


@pytest.mark.parametrize("make", [lambda: chain(24, 32, 12), lambda: resnet20(classes=5)], ids=["chain", "resnet20"])
def test_each_weight_knows_where_it_came_from(make: Any) -> None:
    """Removed channels have the original's numbers after any number of rounds."""
    original = make()
    pruned = copy.deepcopy(original)
    layers = convolutions(pruned)[:-1]
    removed, _ = prune_in_rounds(pruned, layers, 0.4, X[:1], rounds=3, importance=by_gradients)
    origins = weight_origins(original, removed, X[:1])
    given = original.state_dict()
    assert origins.keys() == pruned.state_dict().keys()
    for name, tensor in pruned.state_dict().items():
        torch.testing.assert_close(given[name].flatten()[torch.from_numpy(origins[name])], tensor, rtol=0, atol=0)


def test_the_exported_graph_computes_what_the_pruned_module_does() -> None:
    module: Any = resnet20(classes=5)
    prune_in_rounds(module, convolutions(module), 1 / 3, X[:1], rounds=2, importance=by_gradients)
    graph = load_graph(export_module(module, SHAPE))
    session = open_session(whole_bytes(graph), threads=1)
    feeds = random_feeds(session.inputs)
    with torch.no_grad():
        expected = module(torch.from_numpy(feeds[graph.inputs[0].name]))
    found = session.run(feeds)[graph.outputs[0].name]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_channels_that_are_the_answer_stay() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3)).eval()
    removed, left = prune_in_rounds(module, ["0", "2"], 0.3, X[:1], rounds=1, importance=by_gradients)
    assert set(removed) == {"0"}
    assert left == ["2: no layer reads its channels"]
