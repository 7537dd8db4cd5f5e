"""Learning rates against torch's own schedules, and recipes that cannot be."""

from __future__ import annotations

import math

import pytest
import torch

from splitpoint.planner.training.recipe import Recipe, learning_rate
from splitpoint.planner.training.trainer import steps_within

STEPS = 200


def rates_of_torch(scheduler: type, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4, momentum=0.9)
    schedule = scheduler(optimizer, **options)
    rates = []
    for _ in range(STEPS):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return rates


def test_one_cycle_is_that_of_torch() -> None:
    """Torch puts the peak one step earlier."""
    recipe = Recipe(steps=STEPS, peak=0.4, schedule="one-cycle", warmup=0.3)
    expected = rates_of_torch(
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=0.4,
        total_steps=STEPS + 1,
        pct_start=0.3,
        div_factor=25,
        final_div_factor=400,
    )
    rates = [learning_rate(recipe, step) for step in range(STEPS)]
    assert rates[0] == pytest.approx(0.4 / 25)
    assert max(rates) == rates[60] == pytest.approx(0.4)
    assert rates == pytest.approx(expected, abs=0.02 * 0.4)
    assert rates[-1] == pytest.approx(0.4e-4)


def test_a_cosine_only_falls_and_a_constant_stays() -> None:
    falling = [learning_rate(Recipe(steps=STEPS, peak=0.4, schedule="cosine"), step) for step in range(STEPS)]
    expected = rates_of_torch(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=STEPS - 1, eta_min=0.4e-4)
    assert falling == pytest.approx(expected)
    assert {learning_rate(Recipe(steps=9, peak=0.1, schedule="constant"), step) for step in range(9)} == {0.1}
    assert learning_rate(Recipe(steps=1, schedule="cosine"), 0) > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": -1},
        {"batch": 0},
        {"peak": 0.0},
        {"peak": math.nan},
        {"warmup": 1.0},
        {"decay": -0.1},
        {"clip": 0.0},
        {"patience": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**{"steps": 10} | wrong)  # type: ignore[arg-type]  # of several types


def test_seconds_become_steps() -> None:
    assert steps_within(120.0, step_s=0.5) == 240
    assert steps_within(0.06, step_s=0.5) == 1
    assert steps_within(0.6, step_s=0.01) == 60  # 59.99... as floating point has it
