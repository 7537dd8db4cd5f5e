"""Sensitivity of the logits to a cut's channels: linear oracles, and the estimate against the exact Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from splitpoint.planner.coding.gradients import gradients_torch
from splitpoint.planner.coding.sensitivity import sensitivity_diagonal
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.network.torch_model import export_module

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


class Residual(nn.Module):
    """Functional, in-place and residual: what hooks on submodules would miss."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 6)

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.relu(self.stem(x))
        return y

    def tail(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.relu(x + self.body(x))
        y: torch.Tensor = self.head(x.mean(dim=(2, 3)))
        return y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.cut(x))


def seeded(make: type[nn.Module]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def images(n: int, channels: int = 3, side: int = 6) -> list[Array]:
    return [RNG.normal(size=(1, channels, side, side)).astype(np.float32) for _ in range(n)]


def at_cut(module: Any, inputs: list[Array]) -> Array:
    with torch.inference_mode():
        return np.concatenate([module.cut(torch.from_numpy(x)).numpy() for x in inputs])


class Tail(nn.Module):
    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.whole.tail(x)
        return y


def channel_matrix(module: Any, inputs: list[Array], activations: Array, **options: Any) -> Array:
    """M (C, C), the mean over inputs of the gradients' products."""
    rows = gradients_torch(module, inputs, {"cut": activations}, count=len(inputs), **options).found["cut"]
    flat = rows.astype(np.float64).transpose(1, 0, 2, 3).reshape(rows.shape[1], -1)
    return np.asarray(flat @ flat.T / len(inputs))


class Linear(nn.Module):
    """Every logit is a sum of channels over all positions, so the Jacobian is the weight, whatever the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(np.linspace(-1, 1, 12).reshape(3, 4).astype(np.float32)))

    def cut(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    def tail(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x.sum(dim=(2, 3)), self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.cut(x))


def test_linear_tail_has_its_weights_as_jacobian() -> None:
    module, inputs = Linear().eval(), images(3, channels=4)
    got = channel_matrix(module, inputs, at_cut(module, inputs), top=3)
    weight = module.weight.detach().numpy().astype(np.float64)
    centered = weight - weight.mean(axis=0)
    assert np.allclose(got, 36 * centered.T @ centered, rtol=1e-5)


def test_parts_of_the_module_train_or_not_as_before() -> None:
    module, inputs = nn.Sequential(Linear().eval()), images(1, channels=4)
    assert gradients_torch(module, inputs, {"cut": at_cut(module[0], inputs)}).found
    assert (module.training, module[0].training) == (True, False)


def test_the_input_itself_is_a_cut() -> None:
    module, inputs = Linear().eval(), images(2, channels=4)
    at_input = channel_matrix(module, inputs, np.concatenate(inputs), top=3)
    assert np.allclose(at_input, 4 * channel_matrix(module, inputs, at_cut(module, inputs), top=3), rtol=1e-5)


def test_one_position_makes_the_estimate_exact_for_a_linear_tail() -> None:
    module, inputs = Linear().eval(), images(4, channels=4, side=1)
    weight = module.weight.detach().numpy().astype(np.float64)
    expected = np.square(weight - weight.mean(axis=0)).sum(axis=0)
    got = sensitivity_diagonal(export_module(Tail(module), (1, 4, 1, 1)), at_cut(module, inputs), top=3)
    assert np.allclose(got, expected, rtol=1e-3)


def test_jacobian_is_that_of_finite_differences_through_in_place_and_residual_operators() -> None:
    module, inputs = seeded(Residual), images(1)
    a = at_cut(module, inputs)
    got = channel_matrix(module, inputs, a, top=6)
    tail = Tail(module).double()
    base = torch.from_numpy(a).double()
    jacobian = np.empty((6, *a.shape[1:]))
    with torch.inference_mode():
        for place in np.ndindex(*a.shape[1:]):
            step = torch.zeros_like(base)
            step[(0, *place)] = 1e-6
            jacobian[(slice(None), *place)] = ((tail(base + step) - tail(base - step)) / 2e-6)[0].numpy()
    jacobian -= jacobian.mean(axis=0)
    flat = jacobian.transpose(1, 0, 2, 3).reshape(8, -1)
    # Where an activation is exactly 0 behind the ReLU the second ReLU may sit at its kink: leave 1 % for those.
    assert np.linalg.norm(got - flat @ flat.T) <= 0.01 * np.linalg.norm(got)


def test_estimated_diagonal_agrees_with_the_exact_one() -> None:
    module, inputs = seeded(Residual), images(200)
    a = at_cut(module, inputs)
    exact = np.diag(channel_matrix(module, inputs, a))
    tail = export_module(Tail(module), (1, 8, 6, 6))
    got = sensitivity_diagonal(tail, a, count=200, threads=1)
    assert np.corrcoef(got, exact)[0, 1] > 0.95
    assert (np.abs(got / exact - 1) < 0.4).all()  # a standard error of at most 10 % an entry
    few = [sensitivity_diagonal(tail, a, seed=seed, threads=1).tolist() for seed in (1, 1, 2)]
    assert few[0] == few[1] != few[2]


def test_gradients_at_several_cuts_come_from_one_run() -> None:
    module, inputs = seeded(Residual), images(3)
    a = at_cut(module, inputs)
    both = gradients_torch(module, inputs, {"input": np.concatenate(inputs), "cut": a}, top=4).found
    assert both["input"].shape == (12, 3, 6, 6)
    for name, activations in (("input", np.concatenate(inputs)), ("cut", a)):
        alone = gradients_torch(module, inputs, {name: activations}, top=4).found[name]
        assert np.array_equal(both[name], alone)


def test_a_tensor_that_the_module_does_not_make_has_no_gradients() -> None:
    module, inputs = seeded(Residual), images(2)
    a = at_cut(module, inputs)
    got = gradients_torch(module, inputs, {"cut": a, "moved": a + 1, "narrow": a[:, :5]})
    assert set(got.found) == {"cut"}
    assert "the nearest differs" in got.missing["moved"]
    assert "none has its shape" in got.missing["narrow"]


def test_a_module_that_answers_otherwise_is_refused() -> None:
    module, inputs = seeded(Residual), images(2)
    with torch.inference_mode():
        answers = np.concatenate([module(torch.from_numpy(x)).numpy() for x in inputs])
    targets = {"cut": at_cut(module, inputs)}
    assert gradients_torch(module, inputs, targets, answers=answers).found
    with pytest.raises(ProfileError, match="differs from the network's"):
        gradients_torch(module, inputs, targets, answers=answers + 1)
    with pytest.raises(ProfileError, match="6 numbers, the network 5"):
        gradients_torch(module, inputs, targets, answers=answers[:, :5])


def test_a_constant_channel_gets_a_sensitivity_too() -> None:
    module, inputs = Linear().eval(), images(4, channels=4, side=1)
    a = at_cut(module, inputs)
    a[:, 1] = 3.0
    got = sensitivity_diagonal(export_module(Tail(module), (1, 4, 1, 1)), a, top=3)
    weight = module.weight.detach().numpy().astype(np.float64)
    assert np.allclose(got, np.square(weight - weight.mean(axis=0)).sum(axis=0), rtol=1e-2)
