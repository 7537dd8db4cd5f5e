"""A tensor on its way through a network, and the operators so far: what networks.py and yolo.py are written in."""

from __future__ import annotations

import dataclasses
import math

from splitpoint.profiles.machine.device import OpClass, OpWork

__all__ = ["Net", "divisible"]


@dataclasses.dataclass(kw_only=True, slots=True)
class Net:
    """A tensor of `c` x `h` x `w` on its way, and the operators so far."""

    c: int
    h: int
    w: int
    ops: list[OpWork] = dataclasses.field(default_factory=list)

    @property
    def bytes(self) -> int:
        return 4 * self.c * self.h * self.w

    def copy(self) -> Net:
        """A branch: same operators, own shape."""
        return Net(c=self.c, h=self.h, w=self.w, ops=self.ops)

    def conv(
        self, out: int, k: int = 1, s: int = 1, groups: int = 1, kw: int | None = None, valid: bool = False
    ) -> Net:
        kw = k if kw is None else kw
        read = self.bytes
        weights = out * (self.c // groups) * k * kw
        op_class: OpClass = "depthwise" if groups == self.c > 1 else "pointwise" if k == kw == 1 else "dense"
        self.h = (self.h - k) // s + 1 if valid else math.ceil(self.h / s)
        self.w = (self.w - kw) // s + 1 if valid else math.ceil(self.w / s)
        self.c = out
        macs = weights * self.h * self.w
        self.ops.append(
            OpWork(op_class=op_class, macs=macs, read_bytes=read, write_bytes=self.bytes, weight_bytes=4 * weights)
        )
        return self

    def depthwise(self, k: int, s: int = 1) -> Net:
        return self.conv(self.c, k, s, groups=self.c)

    def linear(self, out: int) -> Net:
        read, weights = self.bytes, self.c * self.h * self.w * out
        self.c, self.h, self.w = out, 1, 1
        self.ops.append(
            OpWork(op_class="matmul", macs=weights, read_bytes=read, write_bytes=self.bytes, weight_bytes=4 * weights)
        )
        return self

    def matmul(self, macs: int, read: int, write: int) -> Net:
        """A product of two activations; `read` and `write` in elements."""
        self.ops.append(
            OpWork(op_class="matmul", macs=macs, read_bytes=4 * read, write_bytes=4 * write, weight_bytes=0)
        )
        return self

    def pool(self, k: int, s: int, valid: bool = False) -> Net:
        read = self.bytes
        self.h = (self.h - k) // s + 1 if valid else math.ceil(self.h / s)
        self.w = (self.w - k) // s + 1 if valid else math.ceil(self.w / s)
        return self.other(read, self.bytes)

    def mean(self) -> Net:
        read, self.h, self.w = self.bytes, 1, 1
        return self.other(read, self.bytes)

    def add(self) -> Net:
        return self.other(2 * self.bytes, self.bytes)

    def concat(self, *others: Net) -> Net:
        self.c += sum(other.c for other in others)
        return self.other(self.bytes, self.bytes)

    def upsample(self) -> Net:
        read = self.bytes
        self.h, self.w = 2 * self.h, 2 * self.w
        return self.other(read, self.bytes)

    def silu(self) -> Net:
        """x sigmoid(x) as ONNX has it: two operators that no runtime in the tables fuses with a convolution."""
        self.other(self.bytes, self.bytes)
        return self.other(2 * self.bytes, self.bytes)

    def swish(self) -> Net:
        """The same as ncnn's one layer in place."""
        return self.other(self.bytes, self.bytes)

    def other(self, read: int, write: int) -> Net:
        self.ops.append(OpWork(op_class="other", macs=None, read_bytes=read, write_bytes=write, weight_bytes=0))
        return self


def divisible(value: float, by: int = 8) -> int:
    """Channel rounding of the MobileNet and EfficientNet papers' code: never below 90 %."""
    rounded = max(by, int(value + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * value else rounded
