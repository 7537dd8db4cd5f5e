"""The exported network of a torch module is kept from one run to the next, as what the module is now."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from splitpoint.planner.setup.config import DataConfig, PlanConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store


@pytest.fixture
def config(tmp_path: Path) -> PlanConfig:
    (tmp_path / "bias.txt").write_text("1.0")
    (tmp_path / "net.py").write_text(
        "import pathlib, torch\nfrom torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
        "    nn.init.constant_(net[2].bias, float(pathlib.Path(__file__).with_name('bias.txt').read_text()))\n"
        "    return net\n"
    )
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
    return PlanConfig(
        task="tensor",
        model=f"{tmp_path / 'net.py'}:make",
        data=DataConfig(source=str(tmp_path / "data.npz")),
        threads=1,
    )


def test_the_second_run_exports_nothing_and_has_the_same_network(config: PlanConfig, tmp_path: Path) -> None:
    def load(*, fresh: bool = False) -> tuple[str, Counter[str]]:
        results = results_here(Store(tmp_path / "kept"), threads=1, fresh=fresh)
        return load_problem(config, results=results).graph.sha256, results.recalled

    alone = load_problem(config).graph.sha256
    assert load() == (alone, Counter())
    assert load() == (alone, Counter(exported=1))
    assert load(fresh=True) == (alone, Counter())
    (tmp_path / "bias.txt").write_text("2.0")  # the code is the same, the weights are others
    changed, recalled = load()
    assert (changed != alone, recalled) == (True, Counter())
    assert changed == load_problem(config).graph.sha256
