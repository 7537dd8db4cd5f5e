"""Commands that are stored, and a switch inside a network."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.benchmarks import learned
from splitpoint.benchmarks.joint_switch import CHANNELS, Joint, logits, lost, parts_of, started, the_codec
from splitpoint.benchmarks.latency import NETS
from splitpoint.benchmarks.learned import arguments_without
from splitpoint.profiles.network.torch_model import load_module


def test_a_stored_command_names_no_path_of_the_machine() -> None:
    given = ["--data", "/x", "--minutes", "6", "--kept", "/y", "--cuts", "2", "3", "--out", "/z"]
    assert arguments_without(given, "--data", "--kept", "--out") == ["--minutes", "6", "--cuts", "2", "3"]
    assert given[:2] == ["--data", "/x"]


class _Blocks(nn.Module):
    """Nine blocks as a ResNet has them, each of which adds a mark of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Adds(2.0**block) for block in range(9)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Its answer is the map behind the blocks."""
        answer: torch.Tensor = self.blocks(x)
        return answer


class _Adds(nn.Module):
    def __init__(self, mark: float) -> None:
        super().__init__()
        self.mark = mark

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The map and the mark."""
        return x + self.mark


class _Marked(nn.Module):
    """A switch that keeps what it is given, and adds a mark of the rate to it."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
        """The map and the mark."""
        self.given.append(x)
        return x + 0.25 * (rate + 1)


BLOCKS = 511.0  # what nine blocks add


def test_each_rate_of_a_joint_training_gets_its_part_of_a_batch() -> None:
    joint = Joint(_Blocks(), {2: _Marked()}, parts_of([2]))
    x = torch.arange(6.0).reshape(6, 1, 1, 1)
    assert (joint(x).flatten() - BLOCKS).tolist() == [0.25, 1.25, 2.5, 3.5, 4.75, 5.75]


def test_a_batch_has_a_part_for_every_switch_alone_at_every_rate_and_for_all_at_each() -> None:
    assert parts_of([2]) == ({2: 0}, {2: 1}, {2: 2})
    alone = [{stage: rate} for stage in (1, 3) for rate in range(3)]
    assert parts_of([1, 3]) == (*alone, *({1: rate, 3: rate} for rate in range(3)))


def test_each_switch_gets_the_tensor_behind_its_stage_and_changes_its_own_part_alone() -> None:
    switches = {stage: _Marked() for stage in (1, 2, 3)}
    joint = Joint(_Blocks(), switches, [{1: 0}, {2: 1}, {3: 2}, {1: 0, 3: 2}, {}])
    answers = joint(torch.zeros(5, 1, 1, 1)).flatten() - BLOCKS
    assert answers.tolist() == [0.25, 0.5, 0.75, 1.0, 0.0]
    first, second, third = (torch.cat(switches[stage].given).flatten().tolist() for stage in (1, 2, 3))
    assert first == [7, 7]
    assert second == [63]
    assert third == [511, 511.25]
    assert set(joint.errors) == {1, 2, 3}


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_switch_begins_as_the_principal_components_behind_its_stage(stage: int) -> None:
    """With the first K channels of each rate, and the finest nearest to the tensor; the network is as it was."""
    network = load_module(f"{NETS}:resnet20").eval()
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), np.uint8))
    before = logits(network, x)
    switch = started(network, stage, x).eval()
    assert torch.equal(logits(network, x), before)
    tensor = torch.from_numpy(np.random.default_rng(1).random((2, CHANNELS[stage], 8, 8), np.float32))
    widths = the_codec().design(CHANNELS[stage], rectified=True).widths
    assert widths == tuple(max(1, round(share * CHANNELS[stage])) for share in (0.1, 0.25, 0.5))
    copies = [switch(tensor, rate) for rate in range(3)]
    with torch.no_grad():
        switch.get_parameter("encoder")[widths[0] :] = 0.0  # the coarsest rate has no use for them
    assert torch.equal(switch(tensor, 0), copies[0])
    assert not torch.equal(switch(tensor, 1), copies[1])

    joint = Joint(network, {stage: started(network, stage, x)}, [{}])
    assert torch.equal(logits(joint, x), before)  # no switch at work
    errors = []
    for rate in range(3):
        joint.parts = ({stage: rate},)
        logits(joint, x)
        errors.append(float(joint.errors[stage]))
    assert errors == sorted(errors, reverse=True)


def test_trained_networks_lose_what_the_pairs_say() -> None:
    before, after = np.arange(100) < 90, np.arange(100) < 80
    found = lost(before, after)
    assert found["drop_points"] == pytest.approx(10)
    assert found["drop_low"] < 10 < found["drop_high"]


def test_one_a_rate_trains_all_rates_together_and_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[float, ...]]] = []

    class Asked:
        graph = None

        def measure_trained(self, cut: Any, codec: Any, training: Any, label: str) -> list[Any]:
            asked.append((label, codec.compressions))
            return []

    monkeypatch.setattr(learned, "CodecTraining", lambda graph, cut, trainer: SimpleNamespace(key="", report=print))
    at_cut: Any = learned.at_cut
    at_cut(Asked(), None, None, shared_bn=False, one_a_rate=True)
    assert asked == [
        ("dynamic-switch", (0.9, 0.75, 0.5)),
        *(("dynamic-switch, one a rate", (share,)) for share in (0.9, 0.75, 0.5)),
    ]
