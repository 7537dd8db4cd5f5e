"""For tests of trained codecs: trainings of no step and of a few, activations, a convolution, a channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.frozen import Activation, Convolution, FrozenLayer
from splitpoint.codecs.contract.protocol import Array, LossTerm, TrainingCost

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CHANNEL", "FewSteps", "NoSteps", "frozen_layer", "random_convolution", "smooth_maps"]

CHANNEL = SymbolChannel(kind="awgn", snr_db=10.0)


@dataclasses.dataclass
class NoSteps:
    """Leaves the module as it starts, and counts how often it was asked."""

    calls: int = 0
    key: str = "no steps"

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        self.calls += 1
        return TrainingCost(steps=0, images=0, losses={})


@dataclasses.dataclass
class FewSteps:
    """Adam on the mean squared error of `activations` (N, C, H, W), all rates in each step."""

    activations: Array
    steps: int = 60
    key: str = "few steps"
    calls: int = 0

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        import torch

        self.calls += 1
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # two threads wait for each other on a busy machine
        try:
            return self._train(module, rates)
        finally:
            torch.set_num_threads(threads)

    def _train(self, module: nn.Module, rates: int) -> TrainingCost:
        import torch

        x = torch.from_numpy(self.activations)
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        error = torch.zeros(())
        module.train()
        for _ in range(self.steps):
            optimizer.zero_grad()
            error = sum((torch.nn.functional.mse_loss(module(x, rate), x) for rate in range(rates)), torch.zeros(()))
            error.backward()
            optimizer.step()
        return TrainingCost(steps=self.steps, images=self.steps * len(x), losses={"mse": float(error.detach())})


def smooth_maps(count: int, channels: int = 16, side: int = 6, *, rectified: bool = True, seed: int = 0) -> Array:
    """(count, channels, side, side) float32 of few directions and some noise, as activations behind a ReLU are."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(channels, channels)) * 0.7 ** np.arange(channels)
    values = np.einsum("ck,nkhw->nchw", mixing, generator.normal(size=(count, channels, side, side)))
    return np.asarray(np.maximum(values, 0) if rectified else values, np.float32)


def random_convolution(
    outputs: int, inputs: int, side: int, *, stride: int = 1, groups: int = 1, seed: int = 7
) -> Convolution:
    """Kernels (outputs, inputs / groups, side, side), padded so that the stride alone makes the output smaller."""
    generator = np.random.default_rng([seed, outputs, inputs, side, stride, groups])
    weight = generator.normal(size=(outputs, inputs // groups, side, side)) / np.sqrt(inputs // groups * side * side)
    return Convolution(
        weight=weight.astype(np.float32),
        bias=generator.normal(size=outputs).astype(np.float32),
        strides=(stride, stride),
        pads=(side // 2,) * 4,
        dilations=(1, 1),
        groups=groups,
    )


def frozen_layer(outputs: int, inputs: int, *, stride: int = 1) -> FrozenLayer:
    """A convolution of 3x3 in front of a ReLU."""
    return FrozenLayer(steps=(random_convolution(outputs, inputs, 3, stride=stride),), behind=Activation(kind="relu"))
