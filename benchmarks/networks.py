"""Published networks as lists of operators, counted from their definitions: no weights, no framework, no download.

Batch normalization and ReLU are fused into their convolution, as every runtime in the tables does it; SiLU is not.
Bytes are fp32. tests/benchmarks/test_networks.py holds the counts against figures that the papers print.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

from splitpoint.benchmarks.counting import Net, divisible
from splitpoint.benchmarks.yolo import YOLO
from splitpoint.profiles.library.networks import published_networks
from splitpoint.profiles.machine.device import OpWork

__all__ = ["NETWORKS", "macs", "network"]


def network(name: str) -> tuple[OpWork, ...]:
    """The operators of a network by name, "resnet18-224"."""
    return tuple(NETWORKS[name]().ops)


def macs(name: str) -> int:
    """Multiply-adds of a network by name."""
    return sum(op.macs or 0 for op in network(name))


def _mobilenet_v1(size: int, alpha: float = 1.0, classes: int = 1001, in_channels: int = 3) -> Net:
    """Howard et al. 2017, table 1."""
    net = Net(c=in_channels, h=size, w=size).conv(int(32 * alpha), 3, 2)
    plan = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    for out, s in plan:
        net.depthwise(3, s).conv(int(out * alpha))
    return net.mean().linear(classes)


def _mobilenet_v2(size: int, width: float = 1.0, classes: int = 1000) -> Net:
    """Sandler et al. 2018, table 2."""
    net = Net(c=3, h=size, w=size).conv(divisible(32 * width), 3, 2)
    for t, c, n, s in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
    ]:  # fmt: skip
        out = divisible(c * width)
        for i in range(n):
            same = i > 0
            if t > 1:
                net.conv(net.c * t)
            net.depthwise(3, s if i == 0 else 1).conv(out)
            if same:
                net.add()
    return net.conv(divisible(1280 * max(1.0, width))).mean().linear(classes)


def _resnet(size: int, blocks: tuple[int, ...], bottleneck: bool, stride_in_3x3: bool = True) -> Net:
    """He et al. 2016, table 1; `stride_in_3x3` is v1.5, the stride in the first 1x1 is the paper's (Caffe's)."""
    net = Net(c=3, h=size, w=size).conv(64, 7, 2).pool(3, 2)
    for stage, n in enumerate(blocks):
        width = 64 * 2**stage
        out = width * (4 if bottleneck else 1)
        for i in range(n):
            s = 2 if i == 0 and stage > 0 else 1
            if s > 1 or net.c != out:
                net.copy().conv(out, 1, s)
            if bottleneck:
                first, second = (1, s) if stride_in_3x3 else (s, 1)
                net.conv(width, 1, first).conv(width, 3, second).conv(out)
            else:
                net.conv(width, 3, s).conv(width, 3)
            net.add()
    return net.mean().linear(1000)


def _vgg(size: int, convs: tuple[int, ...]) -> Net:
    """Simonyan and Zisserman 2015, table 1, columns D and E."""
    net = Net(c=3, h=size, w=size)
    for out, n in zip((64, 128, 256, 512, 512), convs, strict=True):
        for _ in range(n):
            net.conv(out, 3)
        net.pool(2, 2)
    return net.linear(4096).linear(4096).linear(1000)


_EFFICIENTNET = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip  # expansion, channels, repeats, stride, kernel: Tan and Le 2019, table 1


def _efficientnet(size: int, width: float, depth: float, lite: bool) -> Net:
    """EfficientNet; `lite` drops squeeze-and-excitation and keeps the first and last stage as they are."""
    net = Net(c=3, h=size, w=size).conv(32 if lite else divisible(32 * width), 3, 2)
    net = net if lite else net.swish()
    for stage, (t, c, n, s, k) in enumerate(_EFFICIENTNET):
        fixed = lite and stage in (0, len(_EFFICIENTNET) - 1)
        out, repeats = divisible(c * width), n if fixed else math.ceil(n * depth)
        for i in range(repeats):
            entering = net.c
            if t > 1:
                net.conv(net.c * t)
                net = net if lite else net.swish()
            net.depthwise(k, s if i == 0 else 1)
            if not lite:
                net.swish()
                net.copy().mean().conv(max(1, entering // 4)).conv(net.c)
                net.other(net.bytes, net.bytes)  # scaling by the attention
            net.conv(out)
            if i > 0:
                net.add()
    net.conv(1280 if lite else divisible(1280 * width))
    net = net if lite else net.swish()
    return net.mean().linear(1000)


def _inception_v1(size: int) -> Net:
    """Szegedy et al. 2015, table 1; 3x3 in place of 5x5 as in the slim checkpoint that TFLite models come from."""
    net = Net(c=3, h=size, w=size).conv(64, 7, 2).pool(3, 2).conv(64).conv(192, 3).pool(3, 2)
    plan: list[tuple[int, ...] | None] = [
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None, (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128), None, (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    for row in plan:
        if row is None:
            net.pool(3, 2)
            continue
        one, reduce3, three, reduce5, five, project = row
        branches = [
            net.copy().conv(reduce3).conv(three, 3),
            net.copy().conv(reduce5).conv(five, 3),
            net.copy().pool(3, 1).conv(project),
        ]
        net.conv(one).concat(*branches)
    return net.mean().linear(1001)


def _published(operators: Sequence[OpWork]) -> Net:
    return Net(c=0, h=0, w=0, ops=list(operators))


def _densenet121(size: int) -> Net:
    """Huang et al. 2017, table 1."""
    net = Net(c=3, h=size, w=size).conv(64, 7, 2).pool(3, 2)
    for block, n in enumerate((6, 12, 24, 16)):
        for _ in range(n):
            net.concat(net.copy().conv(128).conv(32, 3))
        if block < 3:
            net.conv(net.c // 2).pool(2, 2)
    return net.mean().linear(1000)


NETWORKS: Mapping[str, Callable[[], Net]] = {
    "mobilenet-v1-224": lambda: _mobilenet_v1(224),
    "mobilenet-v1-0.25-96-gray": lambda: _mobilenet_v1(96, 0.25, classes=2, in_channels=1),
    "mobilenet-v2-224": lambda: _mobilenet_v2(224),
    "mobilenet-v2-0.35-128": lambda: _mobilenet_v2(128, 0.35),
    "mobilenet-v2-0.35-224": lambda: _mobilenet_v2(224, 0.35),
    "mobilenet-v2-1.4-224": lambda: _mobilenet_v2(224, 1.4),
    "resnet18-224": lambda: _resnet(224, (2, 2, 2, 2), bottleneck=False),
    "resnet18-256": lambda: _resnet(256, (2, 2, 2, 2), bottleneck=False),
    "resnet34-224": lambda: _resnet(224, (3, 4, 6, 3), bottleneck=False),
    "resnet50-224": lambda: _resnet(224, (3, 4, 6, 3), bottleneck=True, stride_in_3x3=False),
    "resnet50-v1.5-224": lambda: _resnet(224, (3, 4, 6, 3), bottleneck=True),
    "resnet50-256": lambda: _resnet(256, (3, 4, 6, 3), bottleneck=True),
    "resnet50-299": lambda: _resnet(299, (3, 4, 6, 3), bottleneck=True, stride_in_3x3=False),
    "resnet152-299": lambda: _resnet(299, (3, 8, 36, 3), bottleneck=True, stride_in_3x3=False),
    "vgg16-224": lambda: _vgg(224, (2, 2, 3, 3, 3)),
    "vgg19-224": lambda: _vgg(224, (2, 2, 4, 4, 4)),
    "inception-v1-224": lambda: _inception_v1(224),
    "densenet121-224": lambda: _densenet121(224),
    "efficientnet-b0-224": lambda: _efficientnet(224, 1.0, 1.0, lite=False),
    "efficientnet-lite0-224": lambda: _efficientnet(224, 1.0, 1.0, lite=True),
    "efficientnet-lite1-240": lambda: _efficientnet(240, 1.0, 1.1, lite=True),
    "efficientnet-lite2-260": lambda: _efficientnet(260, 1.1, 1.2, lite=True),
    "efficientnet-lite3-280": lambda: _efficientnet(280, 1.2, 1.4, lite=True),
    "efficientnet-lite4-300": lambda: _efficientnet(300, 1.4, 1.8, lite=True),
    **YOLO,
    **{f"ncnn-{name}": functools.partial(_published, ops) for name, ops in published_networks().items()},
}
