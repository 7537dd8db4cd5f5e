"""Distillation: what the student learns, in which numbers, and that nothing else of it or the teacher changes."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.distill import RECIPE, distill, distillation_loss
from splitpoint.planner.training.losses import distillation
from splitpoint.planner.training.trainer import Trainer
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.inputs import InputSpec

SPEC = msgspec.convert({"kind": "image", "size": [8, 8], "mean": 127, "std": 60}, InputSpec)


class Watched(nn.Sequential):
    """A classifier that notes how it is run."""

    runs: list[tuple[bool, bool, bool]]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel: Any = self[0].weight
        last = [bool(tensor.is_contiguous(memory_format=torch.channels_last)) for tensor in (x, kernel)]
        self.runs.append((torch.is_autocast_enabled("cpu"), last[0], last[1]))
        answer: torch.Tensor = super().forward(x)
        return answer


def classifier(seed: int) -> Watched:
    torch.manual_seed(seed)
    made = Watched(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    ).eval()
    made.runs = []
    return made


def trainer(monkeypatch: pytest.MonkeyPatch, labels: Any = None) -> Trainer:
    monkeypatch.setattr("splitpoint.planner.training.trainer.measure_step_s", lambda *given: 0.02)
    content = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), np.uint8)
    data = TrainingSet(content=content, labels=labels, spec=SPEC)
    return Trainer(data=data, data_sha256=data.sha256(), minutes=0.02, folder=None)


@pytest.mark.parametrize("fast", [True, False])
def test_layouts_and_numbers_are_those_that_are_fast_here_and_stay_within(
    monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr("splitpoint.planner.training.precision._has_bfloat16", lambda device: fast)
    student, teacher = classifier(0), classifier(1)
    given = copy.deepcopy(teacher.state_dict())
    spent = distill(student, teacher, trainer(monkeypatch), key="a", stage="whole")
    assert student.runs == [(fast, True, True)] * spent.steps
    assert not any(part.training for part in (*student.modules(), *teacher.modules()))
    for tensor in (*student.parameters(), *teacher.parameters()):
        assert tensor.is_contiguous()
        assert tensor.dtype == torch.float32
    for name, tensor in teacher.state_dict().items():
        assert torch.equal(tensor, given[name])
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_student_comes_to_answer_as_the_teacher_and_what_needs_no_gradient_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, teacher = classifier(0), classifier(1)
    last: Any = student[5]
    last.bias.requires_grad_(False)
    bias = last.bias.detach().clone()
    made = trainer(monkeypatch)
    x = made.data.inputs(np.arange(64))
    before = _divergence(student, teacher, x)
    distill(student, teacher, made, key="a", stage="whole")
    assert _divergence(student, teacher, x) < 0.5 * before
    assert torch.equal(last.bias, bias)


def test_what_does_not_learn_keeps_weights_and_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(monkeypatch)
    for learning, changed in (("0", {"0"}), ("1", {"1"}), ("5", {"5"})):
        student, teacher = classifier(0), classifier(1)
        given = copy.deepcopy(student.state_dict())
        distill(student, teacher, made, key="a", stage=learning, learning={learning})
        now = student.state_dict()
        assert {name[0] for name in given if not torch.equal(now[name], given[name])} == changed
        assert ("1.running_mean" in {name for name in given if not torch.equal(now[name], given[name])}) == (
            learning == "1"
        )


def _divergence(student: nn.Module, teacher: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float(distillation(student(x), teacher(x)))


def test_labels_are_a_term_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = classifier(0), classifier(1)
    for labels, names in ((None, {"distillation"}), (np.arange(64) % 4, {"distillation", "cross-entropy"})):
        loss = distillation_loss(student, teacher, trainer(monkeypatch, labels), RECIPE)
        assert loss(0).keys() == names


def test_maps_are_compared_place_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A divergence takes all places of all channels for the probabilities of one answer."""
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    made = trainer(monkeypatch, np.arange(64) % 4)
    loss = distillation_loss(student, teacher, made, RECIPE)(0)
    assert loss.keys() == {"mse"}
    first, second = (nn.Sequential(each, nn.AdaptiveAvgPool2d(1)) for each in (student, teacher))
    assert "distillation" in distillation_loss(first, second, made, RECIPE)(0)


class Two(nn.Conv2d):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return super().forward(x), x


def test_an_answer_of_several_tensors_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = distillation_loss(Two(3, 4, 3), Two(3, 4, 3), trainer(monkeypatch), RECIPE)
    with pytest.raises(ProfileError, match="gives one tensor, this one a tuple") as caught:
        loss(0)
    assert caught.value.fix == "remove train:, or prune by method: magnitude"
