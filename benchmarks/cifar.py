"""CIFAR-100 as the networks trained on it take it, those networks, and halves of its pictures."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.latency import NETS
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.torch_model import load_module

MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
SPEC: Final = msgspec.convert(
    {"kind": "image", "size": [32, 32], "scale": 255, "mean": list(MEAN), "std": list(STD)}, InputSpec
)
PLAN = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (256, 256, 256))  # half as wide as Simonyan's VGG16


def vgg16(state: dict[str, torch.Tensor]) -> nn.Module:
    """VGG16 with batch normalization, every convolution half as wide, classifier 512-512-100, weights from `state`."""
    layers: list[nn.Module] = []
    channels = 3
    for block in PLAN:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 100))
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*layers))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", classifier)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def resnet20(state: dict[str, torch.Tensor]) -> nn.Module:
    """The ResNet-20 of tests/nets.py with weights from `state`."""
    model = load_module(f"{NETS}:resnet20")
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def stratified_halves(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of every class in turn: the first, third, ... of each, and the second, fourth, ..., in order."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rank[rows] = np.arange(len(rows))
    return np.flatnonzero(rank % 2 == 0), np.flatnonzero(rank % 2 == 1)
