"""Our count beside fvcore's for each type of module: equal for products, and a true reason where not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from splitpoint.planner.profiling.module_counts import NOT_MAPPED, ModuleCount, compare_counts, count_torch_source
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import ModuleOperators, export_module, fvcore_operators

SHAPE = (1, 3, 8, 8)


class Attention(nn.Module):
    """One head over the 64 places of a map of 4 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x.flatten(2).transpose(1, 2)).view(1, 64, 3, 1, 4).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])[:, 0]


class Net(nn.Module):
    """A convolution with BatchNorm, a depthwise one, attention, normalization, a classifier, and a bare product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.attention, self.norm = Attention(), nn.LayerNorm(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Any:
        mixed = self.norm(self.attention(self.depthwise(torch.relu(self.bn(self.conv(x))))))  # (1, 64, 4)
        return self.head(torch.matmul(mixed.transpose(1, 2), mixed))  # (1, 4, 4): the product is the net's own


@pytest.fixture(scope="module")
def counted() -> tuple[ModelGraph, tuple[ModuleOperators, ...]]:
    torch.manual_seed(0)
    net = Net().eval()
    assert net.bn.running_mean is not None
    nn.init.uniform_(net.bn.running_mean)  # else merging it would change nothing
    return load_graph(export_module(net, SHAPE)), fvcore_operators(net, SHAPE)


@pytest.fixture(scope="module")
def rows(counted: tuple[ModelGraph, tuple[ModuleOperators, ...]]) -> dict[str, ModuleCount]:
    return {row.module_type: row for row in compare_counts(*counted)}


@pytest.mark.parametrize(
    ("module_type", "macs"),
    [
        ("Conv2d", 4 * 64 * 27),
        ("Conv2d (depthwise)", 4 * 64 * 9),
        ("Linear", 64 * 4 * 12 + 4 * 4 * 5),
        ("Net", 4 * 64 * 4),
    ],
)
def test_products_are_equal_and_need_no_reason(rows: dict[str, ModuleCount], module_type: str, macs: int) -> None:
    row = rows[module_type]
    assert (row.macs, row.fvcore_macs, row.difference_macs, row.reason) == (macs, macs, 0, "")


def test_modules_are_counted_by_type(rows: dict[str, ModuleCount]) -> None:
    assert {name: row.modules for name, row in rows.items()} == {
        "Net": 1,
        "Conv2d": 1,
        "BatchNorm2d": 1,
        "Conv2d (depthwise)": 1,
        "Attention": 1,
        "Linear": 2,
        "LayerNorm": 1,
    }


def test_attention_is_counted_here_and_not_by_fvcore(rows: dict[str, ModuleCount]) -> None:
    row = rows["Attention"]
    assert (row.macs, row.fvcore_macs) == (2 * 64 * 64 * 4, 0)
    assert "fvcore does not count scaled_dot_product_attention: 32,768 multiply-adds" in row.reason


def test_normalization_is_counted_by_fvcore_and_not_here(rows: dict[str, ModuleCount]) -> None:
    batch, layer = rows["BatchNorm2d"], rows["LayerNorm"]
    assert (batch.macs, batch.fvcore_macs) == (0, 2 * 4 * 64)
    assert batch.reason.startswith("fvcore counts 512 for batch_norm:")
    assert "merges" in batch.reason
    assert (layer.macs, layer.fvcore_macs) == (0, 5 * 4 * 64)
    assert "layer_norm" in layer.reason
    assert "four or five operations an element" in layer.reason
    assert "unknown" not in batch.reason + layer.reason


def test_the_columns_add_up_to_both_totals(counted: tuple[ModelGraph, tuple[ModuleOperators, ...]]) -> None:
    graph, parts = counted
    counts = compare_counts(graph, parts)
    assert sum(row.macs for row in counts) == graph.macs
    assert sum(row.fvcore_macs for row in counts) == sum(sum(part.counted.values()) for part in parts)


def test_nodes_without_a_module_have_a_row_of_their_own(
    counted: tuple[ModelGraph, tuple[ModuleOperators, ...]],
) -> None:
    graph, parts = counted
    index = next(node.index for node in graph.nodes if node.name == "bn/Conv")  # merged by the exporter
    nodes = list(graph.nodes)
    nodes[index] = dataclasses.replace(nodes[index], name="renamed")
    counts = {row.module_type: row for row in compare_counts(dataclasses.replace(graph, nodes=tuple(nodes)), parts)}
    assert counts[NOT_MAPPED].macs == 4 * 64 * 27
    assert "without a module" in counts[NOT_MAPPED].reason
    assert counts["Conv2d"].macs == 0
    assert "6,912 multiply-adds fewer in the graph" in counts["Conv2d"].reason


def test_a_module_used_twice_is_counted_twice() -> None:
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.ReLU(), shared).eval()
    (row,) = compare_counts(load_graph(export_module(net, (1, 4))), fvcore_operators(net, (1, 4)))
    assert (row.module_type, row.macs, row.fvcore_macs) == ("Linear", 32, 32)


def test_a_factory_is_counted_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(4, 2), nn.ReLU())\n")
    graph = load_graph(export_module(nn.Sequential(nn.Linear(4, 2), nn.ReLU()).eval(), (1, 4)))
    (row,) = count_torch_source(f"{file}:make", graph) or ()
    assert (row.module_type, row.macs, row.fvcore_macs, row.reason) == ("Linear", 8, 8, "")
