"""Loss terms against their formulas, and that their size does not depend on the units of a layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from splitpoint.planner.training.losses import charbonnier, cross_entropy, distillation, l1, mse


def two() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 5, generator=generator), 2 * torch.randn(6, 5, generator=generator) + 1


def test_cross_entropy_with_smoothing() -> None:
    logits, _ = two()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    log_p = log_softmax(logits.numpy().astype(np.float64), axis=1)
    right, uniform = -log_p[np.arange(6), labels].mean(), -log_p.mean()
    assert float(cross_entropy(logits, labels)) == pytest.approx(right, rel=1e-5)
    assert float(cross_entropy(logits, labels, smoothing=0.1)) == pytest.approx(0.9 * right + 0.1 * uniform, rel=1e-5)


def test_distillation_is_a_divergence_with_gradients_of_one_size() -> None:
    ours, theirs = two()
    p, q = (log_softmax(each.numpy().astype(np.float64) / 4, axis=1) for each in (theirs, ours))
    assert float(distillation(ours, theirs)) == pytest.approx(16 * (np.exp(p) * (p - q)).sum(axis=1).mean(), rel=1e-5)
    assert float(distillation(theirs, theirs)) == pytest.approx(0, abs=1e-6)
    sizes = []
    for temperature in (20.0, 40.0):
        x = ours.clone().requires_grad_()
        distillation(x, theirs, temperature=temperature).backward()
        assert x.grad is not None
        sizes.append(float(x.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_errors_count_in_deviations_of_the_target() -> None:
    y, target = two()
    spread = target.std(unbiased=False)
    error = ((y - target) / spread).numpy()
    assert float(mse(y, target)) == pytest.approx(float((error**2).mean()), rel=1e-5)
    assert float(l1(y, target)) == pytest.approx(float(np.abs(error).mean()), rel=1e-5)
    assert float(charbonnier(y, target)) == pytest.approx(float(l1(y, target)), rel=2e-3)
    assert float(charbonnier(target, target)) == 0
    for loss in (mse, l1, charbonnier):
        assert float(loss(1000 * y, 1000 * target)) == pytest.approx(float(loss(y, target)), rel=1e-5)
        assert float(loss(torch.ones(3), torch.zeros(3))) > 0  # a constant target has no deviation


def test_a_charbonnier_loss_has_a_gradient_of_zero_at_zero() -> None:
    y = torch.zeros(4).requires_grad_()
    charbonnier(y, torch.zeros(4)).backward()
    assert y.grad is not None
    assert y.grad.abs().max() == 0
