"""The YOLO families as operators: YOLOX (Ge et al. 2021) and YOLO11 (Ultralytics, cfg/models/11/yolo11.yaml)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from splitpoint.benchmarks.counting import Net, divisible

__all__ = ["YOLO"]


def _yolox(size: int, depth: float, width: float, depthwise: bool = False, classes: int = 80) -> Net:
    """Ge et al. 2021: focus, CSPDarknet, PAFPN, decoupled heads (Megvii-BaseDetection/YOLOX, models/)."""

    def conv(net: Net, out: int, k: int = 1, s: int = 1, dense: bool = False) -> Net:
        if depthwise and k > 1 and not dense:
            return net.depthwise(k, s).silu().conv(out).silu()
        return net.conv(out, k, s).silu()

    def csp(net: Net, out: int, n: int, shortcut: bool) -> Net:
        hidden = out // 2
        side = conv(net.copy(), hidden)
        conv(net, hidden)
        for _ in range(n):
            conv(conv(net, hidden), hidden, 3)
            if shortcut:
                net.add()
        return conv(net.concat(side), out)

    base, n = int(64 * width), max(round(depth * 3), 1)
    net = Net(c=12, h=size // 2, w=size // 2)
    conv(net.other(4 * 3 * size * size, net.bytes), base, 3, dense=True)
    csp(conv(net, 2 * base, 3, 2), 2 * base, n, True)
    third = csp(conv(net, 4 * base, 3, 2), 4 * base, 3 * n, True).copy()
    fourth = csp(conv(net, 8 * base, 3, 2), 8 * base, 3 * n, True).copy()
    conv(conv(net, 16 * base, 3, 2), 8 * base)  # spatial pyramid pooling: 5, 9, 13
    pools = [net.copy().pool(k, 1) for k in (5, 9, 13)]
    csp(conv(net.concat(*pools), 16 * base), 16 * base, n, False)
    lateral = conv(net, 8 * base).copy()
    csp(net.upsample().concat(fourth), 8 * base, n, False)
    middle = conv(net, 4 * base).copy()
    small = csp(net.upsample().concat(third), 4 * base, n, False).copy()
    medium = csp(conv(net, 4 * base, 3, 2).concat(middle), 8 * base, n, False).copy()
    large = csp(conv(net, 8 * base, 3, 2).concat(lateral), 16 * base, n, False)
    for feature in (small, medium, large):
        hidden = int(256 * width)
        conv(feature, hidden)
        for outputs in ((classes,), (4, 1)):
            branch = conv(conv(feature.copy(), hidden, 3), hidden, 3)
            for out in outputs:
                branch.copy().conv(out)
    return net


def _yolo11(size: int, depth: float, width: float, most: int, classes: int = 80, blocks: bool = False) -> Net:
    """`blocks`: every C3k2 holds C3k blocks, as in the sizes m, l and x."""

    def conv(net: Net, out: int, k: int = 1, s: int = 1) -> Net:
        return net.conv(out, k, s).silu()

    def ch(channels: int) -> int:
        return divisible(min(channels, most) * width)

    def bottleneck(net: Net, hidden: int) -> Net:
        out = net.c
        return conv(conv(net, hidden, 3), out, 3).add()

    def c3k2(net: Net, channels: int, c3k: bool, e: float = 0.5) -> Net:
        out = ch(channels)
        c = int(out * e)
        conv(net, 2 * c)
        parts, last = [Net(c=c, h=net.h, w=net.w, ops=net.ops)], Net(c=c, h=net.h, w=net.w, ops=net.ops)
        for _ in range(max(round(2 * depth), 1)):
            last = last.copy()
            if c3k or blocks:
                side = conv(last.copy(), c // 2)
                conv(last, c // 2)
                for _ in range(2):
                    bottleneck(last, c // 2)
                conv(last.concat(side), c)
            else:
                bottleneck(last, c // 2)
            parts.append(last)
        return conv(Net(c=c, h=net.h, w=net.w, ops=net.ops).concat(*parts), out)

    def attention(net: Net) -> Net:
        """C2PSA: position-sensitive attention on half of the channels, heads of 64."""
        whole = net.c
        c = whole // 2
        conv(net, 2 * c)
        for _ in range(max(round(2 * depth), 1)):
            part = Net(c=c, h=net.h, w=net.w, ops=net.ops)
            heads, n = c // 64, part.h * part.w
            part.copy().conv(c + 64 * heads)  # query and key of 32 each, value of 64
            part.matmul(heads * n * n * 32, (64 * heads * n), heads * n * n)
            part.other(4 * heads * n * n, 4 * heads * n * n)  # softmax
            part.matmul(heads * n * n * 64, heads * n * n + c * n, c * n)
            part.copy().depthwise(3)
            part.add().conv(c).add()
            conv(part, 2 * c).conv(c).add()
        return conv(Net(c=c, h=net.h, w=net.w, ops=net.ops).concat(part), whole)

    net = conv(conv(Net(c=3, h=size, w=size), ch(64), 3, 2), ch(128), 3, 2)
    c3k2(net, 256, False, 0.25)
    net = c3k2(conv(net, ch(256), 3, 2), 512, False, 0.25)
    third = net.copy()
    net = c3k2(conv(net, ch(512), 3, 2), 512, True)
    fourth = net.copy()
    net = c3k2(conv(net, ch(1024), 3, 2), 1024, True)
    conv(net, net.c // 2)
    pools = [net.copy().pool(5, 1) for _ in range(3)]
    net = attention(conv(net.concat(*pools), ch(1024)))
    fifth = net.copy()
    net = c3k2(net.upsample().concat(fourth), 512, False)
    middle = net.copy()
    net = c3k2(net.upsample().concat(third), 256, False)
    small = net.copy()
    net = c3k2(conv(net, ch(256), 3, 2).concat(middle), 512, False)
    medium = net.copy()
    large = c3k2(conv(net, ch(512), 3, 2).concat(fifth), 1024, True)
    box, label = max(16, small.c // 4, 64), max(small.c, min(classes, 100))
    for feature in (small, medium, large):
        conv(conv(feature.copy(), box, 3), box, 3).conv(64)
        branch = conv(feature.copy().depthwise(3).silu(), label)
        conv(branch.depthwise(3).silu(), label).conv(classes)
    return net


YOLO: Mapping[str, Callable[[], Net]] = {
    "yolox-nano-416": lambda: _yolox(416, 0.33, 0.25, depthwise=True),
    "yolox-tiny-416": lambda: _yolox(416, 0.33, 0.375),
    "yolox-s-640": lambda: _yolox(640, 0.33, 0.5),
    "yolox-m-640": lambda: _yolox(640, 0.67, 0.75),
    "yolox-l-640": lambda: _yolox(640, 1.0, 1.0),
    "yolox-x-640": lambda: _yolox(640, 1.33, 1.25),
    "yolo11n-640": lambda: _yolo11(640, 0.5, 0.25, 1024),
    "yolo11s-640": lambda: _yolo11(640, 0.5, 0.5, 1024),
    "yolo11m-640": lambda: _yolo11(640, 0.5, 1.0, 512, blocks=True),
    "yolo11l-640": lambda: _yolo11(640, 1.0, 1.0, 512, blocks=True),
    "yolo11x-640": lambda: _yolo11(640, 1.0, 1.5, 512, blocks=True),
}
