"""Commands that are stored, and a switch inside a network."""

from __future__ import annotations

import torch
from torch import nn

from splitpoint.benchmarks.joint_switch import Joint
from splitpoint.benchmarks.learned import arguments_without


def test_a_stored_command_names_no_path_of_the_machine() -> None:
    given = ["--data", "/x", "--minutes", "6", "--kept", "/y", "--cuts", "2", "3", "--out", "/z"]
    assert arguments_without(given, "--data", "--kept", "--out") == ["--minutes", "6", "--cuts", "2", "3"]
    assert given[:2] == ["--data", "/x"]


class _Blocks(nn.Module):
    """Nine blocks as a ResNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Identity() for _ in range(9)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Its answer is the map behind the blocks."""
        answer: torch.Tensor = self.blocks(x)
        return answer


class _Marked(nn.Module):
    def forward(self, x: torch.Tensor, rate: int) -> torch.Tensor:
        """The map and a mark of the rate."""
        return x + 100 * rate


def test_each_rate_of_a_joint_training_gets_its_part_of_a_batch() -> None:
    joint = Joint(_Blocks(), _Marked(), 3)
    x = torch.arange(6.0).reshape(6, 1, 1, 1)
    assert joint(x).flatten().tolist() == [0, 1, 102, 103, 204, 205]
