"""Networks for tests and benchmarks: the usual architectures in torch, seeded, and tiny ONNX models from text.

Weights are random but scaled so that activations neither vanish nor explode: cuts must carry real numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import onnx.parser
import torch
from torch import Tensor, nn


def resnet18(width: int = 64, classes: int = 1000) -> nn.Module:
    """ResNet-18 (He 2015): stem 7x7, four stages of two basic blocks."""
    return _seeded(lambda: _ResNet(_Basic, (2, 2, 2, 2), width, classes, small=False))


def resnet50(width: int = 64, classes: int = 1000) -> nn.Module:
    """ResNet-50: bottleneck blocks of expansion 4."""
    return _seeded(lambda: _ResNet(_Bottleneck, (3, 4, 6, 3), width, classes, small=False))


def resnet20(width: int = 16, classes: int = 100) -> nn.Module:
    """The CIFAR ResNet-20: stem 3x3, three stages of three basic blocks; input 32x32."""
    return _seeded(lambda: _ResNet(_Basic, (3, 3, 3), width, classes, small=True))


def vgg16(width: int = 64, side: int = 224, classes: int = 1000, hidden: int = 4096) -> nn.Module:
    """VGG16 (Simonyan 2014); `side` is the input's, `hidden` the width of the two fully connected layers."""
    return _seeded(lambda: _vgg16(width, side, classes, hidden))


def densenet121(
    growth: int = 32, stages: Sequence[int] = (6, 12, 24, 16), stem: int = 64, classes: int = 1000
) -> nn.Module:
    """DenseNet-121 (Huang 2016): BN-ReLU-Conv layers that see all earlier ones; BatchNorm stays outside Conv."""
    return _seeded(lambda: _DenseNet(growth, stages, stem, classes))


def mobilenet_v2(width: float = 1.0, classes: int = 1000) -> nn.Module:
    """MobileNetV2 (Sandler 2018): inverted residuals, depthwise convolutions, ReLU6."""
    return _seeded(lambda: _MobileNetV2(width, classes))


def shufflenet_v2(width: Sequence[int] = (24, 116, 232, 464, 1024), classes: int = 1000) -> nn.Module:
    """ShuffleNetV2 1.0x (Ma 2018): split, transform one half, concatenate, shuffle channels."""
    return _seeded(lambda: _ShuffleNetV2(width, classes))


def vit(
    dim: int = 384, depth: int = 12, heads: int = 6, patch: int = 16, side: int = 224, classes: int = 1000
) -> nn.Module:
    """A vision transformer (Dosovitskiy 2020), ViT-S/16 by default, with torch's scaled dot-product attention."""
    return _seeded(lambda: _ViT(dim, depth, heads, patch, side, classes))


def from_text(text: str) -> bytes:
    """A serialized model from ONNX's textual form."""
    model: bytes = onnx.parser.parse_model(text).SerializeToString(deterministic=True)
    return model


def with_weights(text: str) -> bytes:
    """As `from_text`, the values declared in <...> without data filled with seeded numbers."""
    proto = onnx.parser.parse_model(text)
    inputs = {value.name for value in proto.graph.input}
    given = {weight.name for weight in proto.graph.initializer}
    computed = {name for node in proto.graph.node for name in node.output}
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        if value.name not in inputs | given | computed:
            kind = value.type.tensor_type
            shape = [dim.dim_value for dim in kind.shape.dim]
            numbers = 4 * rng.standard_normal(shape)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            clean = numbers.astype(dtype) if dtype.kind == "f" else np.abs(numbers).astype(dtype)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(clean, value.name))
    del proto.graph.value_info[:]
    model: bytes = proto.SerializeToString(deterministic=True)
    return model


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if isinstance(layer, nn.BatchNorm2d):  # statistics as after training, not the identity
                nn.init.uniform_(layer.weight, 0.8, 1.2)
                nn.init.normal_(layer.bias, 0.0, 0.1)
                assert layer.running_mean is not None
                assert layer.running_var is not None
                nn.init.normal_(layer.running_mean, 0.0, 0.1)
                nn.init.uniform_(layer.running_var, 0.8, 1.2)
    return module.eval()


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*_conv_bn(inputs, width, 3, stride), nn.ReLU(), *_conv_bn(width, width, 3))
        same = stride == 1 and inputs == width
        self.skip = nn.Identity() if same else nn.Sequential(*_conv_bn(inputs, width, 1, stride))

    def forward(self, x: Tensor) -> Any:
        return torch.relu(self.body(x) + self.skip(x))


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv_bn(inputs, width, 1),
            nn.ReLU(),
            *_conv_bn(width, width, 3, stride),
            nn.ReLU(),
            *_conv_bn(width, 4 * width, 1),
        )
        same = stride == 1 and inputs == 4 * width
        self.skip = nn.Identity() if same else nn.Sequential(*_conv_bn(inputs, 4 * width, 1, stride))

    def forward(self, x: Tensor) -> Any:
        return torch.relu(self.body(x) + self.skip(x))


class _ResNet(nn.Module):
    def __init__(
        self, block: type[_Basic | _Bottleneck], depths: Sequence[int], width: int, classes: int, *, small: bool
    ) -> None:
        super().__init__()
        stem = [*_conv_bn(3, width, 3 if small else 7, 1 if small else 2), nn.ReLU()]
        self.stem = nn.Sequential(*stem, nn.Identity() if small else nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        channels = width
        for stage, depth in enumerate(depths):
            for index in range(depth):
                blocks.append(block(channels, width << stage, 2 if stage and not index else 1))
                channels = (width << stage) * block.expansion
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def _vgg16(width: int, side: int, classes: int, hidden: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for stage, depth in enumerate((2, 2, 3, 3, 3)):
        outputs = width * min(1 << stage, 8)
        for _ in range(depth):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU()]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    features = channels * (side // 32) ** 2
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, features: list[Tensor]) -> Any:
        return self.body(torch.cat(features, 1))


class _DenseStage(nn.Module):
    def __init__(self, inputs: int, growth: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_DenseLayer(inputs + i * growth, growth) for i in range(depth))

    def forward(self, x: Tensor) -> Any:
        features = [x]
        for layer in self.layers:
            features.append(layer(features))
        return torch.cat(features, 1)


class _DenseNet(nn.Module):
    def __init__(self, growth: int, stages: Sequence[int], stem: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv_bn(3, stem, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        channels = stem
        for stage, depth in enumerate(stages):
            layers.append(_DenseStage(channels, growth, depth))
            channels += depth * growth
            if stage < len(stages) - 1:
                layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
                layers.append(nn.AvgPool2d(2))
                channels //= 2
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU())
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        first = [*_conv_bn(inputs, hidden, 1), nn.ReLU6()] if expand != 1 else []
        middle = [*_conv_bn(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6()]
        self.body = nn.Sequential(*first, *middle, *_conv_bn(hidden, outputs, 1))
        self.same = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Any:
        return x + self.body(x) if self.same else self.body(x)


class _MobileNetV2(nn.Module):
    def __init__(self, width: float, classes: int) -> None:
        super().__init__()
        settings = (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        )
        channels = round(32 * width)
        layers: list[nn.Module] = [*_conv_bn(3, channels, 3, 2), nn.ReLU6()]
        for expand, outputs, depth, stride in settings:
            for index in range(depth):
                layers.append(_InvertedResidual(channels, round(outputs * width), 1 if index else stride, expand))
                channels = round(outputs * width)
        last = round(1280 * width)
        self.features = nn.Sequential(*layers, *_conv_bn(channels, last, 1), nn.ReLU6())
        self.head = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class _Shuffle(nn.Module):
    def forward(self, x: Tensor) -> Any:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class _ShuffleUnit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.left = nn.Sequential(
            *_conv_bn(inputs, inputs, 3, stride, groups=inputs), *_conv_bn(inputs, half, 1), nn.ReLU()
        )
        self.right = nn.Sequential(
            *_conv_bn(inputs if stride > 1 else half, half, 1),
            nn.ReLU(),
            *_conv_bn(half, half, 3, stride, groups=half),
            *_conv_bn(half, half, 1),
            nn.ReLU(),
        )
        self.shuffle = _Shuffle()

    def forward(self, x: Tensor) -> Any:
        if self.stride > 1:
            return self.shuffle(torch.cat([self.left(x), self.right(x)], 1))
        kept, changed = x.chunk(2, 1)
        return self.shuffle(torch.cat([kept, self.right(changed)], 1))


class _ShuffleNetV2(nn.Module):
    def __init__(self, width: Sequence[int], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv_bn(3, width[0], 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        for inputs, outputs, depth in zip(width, width[1:4], (4, 8, 4), strict=False):
            layers.append(_ShuffleUnit(inputs, outputs, 2))
            layers += [_ShuffleUnit(outputs, outputs, 1) for _ in range(depth - 1)]
        self.features = nn.Sequential(*layers, *_conv_bn(width[3], width[4], 1), nn.ReLU())
        self.head = nn.Linear(width[4], classes)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).mean((2, 3)))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Any:
        n, tokens, dim = x.shape
        qkv = self.qkv(x).view(n, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, dim))


class _Encoder(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), _Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _ViT(nn.Module):
    def __init__(self, dim: int, depth: int, heads: int, patch: int, side: int, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.places = nn.Parameter(0.02 * torch.randn(1, 1 + (side // patch) ** 2, dim))
        self.encoders = nn.Sequential(*(_Encoder(dim, heads) for _ in range(depth)), nn.LayerNorm(dim))
        self.head = nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Any:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.places
        return self.head(self.encoders(tokens)[:, 0])
