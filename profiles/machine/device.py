"""A device (or server) as numbers, and the seconds it predicts for operators it never ran.

Prediction is a roofline: an operator takes the longer of its arithmetic and its memory traffic, plus a constant. Where
a profile has `kernels`, fitted to many published networks, the two add up, and runtimes' own kernels have own numbers.
A device that runs in int8 moves a quarter of the bytes that an fp32 graph counts. Weights beyond `fast_weight_bytes`
are streamed at `weight_stream_bytes_s` (the Edge TPU's 8 MB cliff).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.fields import NOT_IN_FILES
from splitpoint.profiles.machine.machine import Machine, Threads
from splitpoint.profiles.units import (
    ByteCount,
    ByteRate,
    MacCount,
    MacRate,
    NonNegativeSeconds,
    PositiveSeconds,
    UsdPerRequest,
    UsdPerSecond,
    Watts,
)

__all__ = [
    "AMOUNTS",
    "PRECISION_BYTES",
    "Accelerator",
    "Coder",
    "Compute",
    "Device",
    "Fallback",
    "Kernels",
    "Memory",
    "OpWork",
    "Power",
    "Price",
    "Published",
    "Runtime",
    "Serial",
    "costs_of_each",
    "count_amounts",
    "predict_node_s",
    "predict_run_s",
    "predict_s",
    "serial_error",
    "serial_factor",
    "serial_s",
]


def __dir__() -> list[str]:
    return __all__


PRECISION_BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1}

ZSTD_ERROR = 1.5  # of serial code scaled by zstd's speed, see `serial_factor`
THREAD_ERROR = 3.0  # of serial code scaled by one thread's multiply-adds: between the 2 and 5 of `serial_factor`

OpClass = Literal[
    "dense", "pointwise", "depthwise", "matmul", "other"
]  # the same words as profiles.network.model.OpClass
Kernel = Literal["plain", "winograd", "wide", "grouped", "moves", "boxes", "fused"]  # as profiles.network.model.Kernel
Operator = Annotated[str, msgspec.Meta(pattern="^[A-Z][A-Za-z0-9]{0,63}$")]  # an ONNX operator type, "Conv"
Factor = Annotated[float, msgspec.Meta(ge=1, le=1e9)]
Spread = Annotated[float, msgspec.Meta(ge=0, le=1e9)]  # relative difference of the two best of several measurements


class Runtime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The software that the numbers hold for; they are refused for another."""

    name: str  # "onnxruntime", or another
    provider: str  # an ORT execution provider, or the runtime's own name for its back end
    threads: Threads  # of one inference
    precision: Literal["fp32", "fp16", "int8"]  # of weights and activations


class Compute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Effective multiply-adds a second by operator class (peaks do not predict), memory rate, constants."""

    dense_macs_s: MacRate  # convolutions larger than 1x1
    pointwise_macs_s: MacRate  # 1x1 convolutions
    depthwise_macs_s: MacRate  # one filter a channel
    matmul_macs_s: MacRate  # fully connected layers and attention
    bytes_s: ByteRate  # main memory
    node_overhead_s: NonNegativeSeconds  # each operator
    run_overhead_s: NonNegativeSeconds  # each inference
    kernels: Kernels | None = None


class Kernels(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of kernels that runtimes have beside those of the classes.

    With them the seconds of an operator are a sum: overhead + arithmetic + traffic.
    """

    # The kernels are `profiles.network.model.Kernel`, the sum is over `AMOUNTS`.

    winograd_macs_s: MacRate  # dense 3x3 convolutions of stride 1, multiply-adds as if computed directly
    winograd_read_bytes_s: ByteRate  # the transform of what they read, beside bytes_s
    pointwise_read_bytes_s: ByteRate  # packing of what 1x1 convolutions read, beside bytes_s
    wide_depthwise_macs_s: MacRate  # depthwise above 3x3
    grouped_macs_s: MacRate  # groups of several channels each
    chain_macs_s: MacRate  # multiply-adds of one element of a convolution's result, which wait for each other
    suppression_macs_s: MacRate  # pairs of boxes that non-maximum suppression compares, as one multiply-add each
    other_bytes_s: ByteRate  # read and written by operators without weights
    moved_bytes_s: ByteRate  # read and written by those that only move elements
    other_overhead_s: NonNegativeSeconds  # each operator without weights; node_overhead_s is of those with weights


class Fallback(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The CPU beside an accelerator, which runs what the accelerator does not, and what the way between them costs."""

    cpu: str  # its profile, by name or by path relative to the file that names it
    crossing_s: NonNegativeSeconds  # each tensor that goes from one to the other
    crossing_bytes_s: ByteRate  # bytes of such a tensor a second
    device: Annotated[Device | None, NOT_IN_FILES] = None  # the profile `cpu`, once it was read


class Accelerator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the unit whose numbers a profile has runs itself, and what becomes of the rest.

    An ONNX operator is run where `runs` lists it, or, where only `lacks` is known, where that does not.
    """

    runs: tuple[Operator, ...] | None = None  # operators that it runs; None: not known
    lacks: tuple[Operator, ...] | None = None  # operators that it does not run; None: not known
    # Numbers of the operators that it runs; None: both, its compiler converts them.
    takes: tuple[Literal["float", "int8"], ...] | None = None
    first_part_only: bool = False  # what comes behind the first operator that it does not run is not run, either
    fallback: Fallback | None = None  # None: a network with an operator that it does not run is refused

    def __post_init__(self) -> None:
        if self.runs is not None and self.lacks is not None:
            raise ValueError("expected the operators that it `runs` or those that it `lacks`, got both")
        if self.runs == () or self.takes == ():
            raise ValueError("an accelerator that runs nothing: remove the empty list, null is what is not known")

    def has_operator(self, op_type: str) -> bool:
        """Whether it runs operators of that type, as far as it is known."""
        if self.runs is not None:
            return op_type in self.runs
        return self.lacks is None or op_type not in self.lacks


class Memory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits; null means that the value is not known, and then nothing is limited."""

    ram_bytes: ByteCount | None = None  # of the device; bounds a head where model_bytes is not known
    model_bytes: ByteCount | None = None  # for a head's weights and live activations
    flash_bytes: ByteCount | None = None  # for a head's file
    fast_weight_bytes: ByteCount | None = None  # weights beyond this stream at every inference
    weight_stream_bytes_s: ByteRate | None = None  # at which those are read


class Power(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watts when waiting and when computing; the marginal energy of t seconds is (active - idle) t."""

    idle_w: Watts  # while waiting
    active_w: Watts  # while computing
    measured_at: str  # where: "wall", "USB", "SoC rail"


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Money for the use of a server."""

    usd_s: UsdPerSecond = 0.0  # while it computes
    usd_request: UsdPerRequest = 0.0  # each request


class Coder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds of serial code by symbol (a pixel for pictures) and by call."""

    encode_s_per_symbol: NonNegativeSeconds  # a symbol, or a pixel
    decode_s_per_symbol: NonNegativeSeconds  # a symbol, or a pixel
    call_s: NonNegativeSeconds = 0.0  # each call, whatever its length
    spread: Spread | None = None  # relative difference of the two best measurements; None: not known


class Serial(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Serial code: entropy coders, picture codecs, preprocessing."""

    coders: dict[str, Coder] = {}  # by name, measured on this device by `splitpoint calibrate`
    zstd_bytes_s: ByteRate | None = None  # zstd at level 1 on one thread (`splitpoint calibrate`)
    thread_macs_s: MacRate | None = None  # one CPU core, where the compute numbers are another processor's (GPU, TPU)


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A published latency of a known network on this device."""

    net: str  # a name that benchmarks/networks.py can count, "mobilenet-v2-224"
    seconds: PositiveSeconds  # of one inference
    macs: MacCount | None = None  # multiply-adds, where that network is not counted
    note: str = ""  # about the measurement


class Device(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A device or a server with one runtime, provider, thread count and precision."""

    name: str  # by which it is found and printed
    description: str  # one line for lists
    family: str | None = None  # of boards or chips, by which lists are sorted
    runtime: Runtime
    compute: Compute
    accelerator: Accelerator | None = None  # None: the numbers are of a processor that runs every operator
    memory: Memory = Memory()
    power: Power | None = None
    price: Price | None = None
    serial: Serial = Serial()
    fingerprint: str | None = None  # of the machine on which it was measured; None: not measured by us
    machine: Machine | None = None
    prediction_error: Factor | None = None  # mean factor between predicted and measured seconds of other networks
    interval_factor: Factor | None = None  # factor within which 90 % of other networks' seconds are, either way
    # Relative difference of repeated measurements, of the least steady class; None: not measured here.
    spread: Spread | None = None
    fitted_on: tuple[Published, ...] = ()  # published latencies of known networks that the numbers were fitted to
    check_points: tuple[Published, ...] = ()  # published latencies that were not used to fit

    @property
    def head_limit_bytes(self) -> int | None:
        """Memory for a head's weights and live activations, or None where it is not known."""
        return self.memory.ram_bytes if self.memory.model_bytes is None else self.memory.model_bytes

    @property
    def measured(self) -> bool:
        """Whether the compute numbers were measured by us on the machine itself."""
        return self.fingerprint is not None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class OpWork:
    """What one operator does in one inference. Bytes are of the graph's own types (`element_bytes` an element)."""

    op_class: OpClass
    macs: int | None  # None: not counted, so priced by its bytes
    read_bytes: int  # activations
    write_bytes: int
    weight_bytes: int
    element_bytes: int = 4
    weight_element_bytes: int | None = None  # of weights; None: as activations
    operators: int = 1  # that run: a Loop runs those of its body at every trip
    kernel: Kernel = "plain"


def predict_s(device: Device, ops: Sequence[OpWork]) -> NDArray[np.float64]:
    """Seconds of each operator, in order, run overhead left out; shape (len(ops),).

    Weights fill the fast memory in order; what no longer fits streams at every inference.
    """
    seconds = np.zeros(len(ops))
    fast = device.memory.fast_weight_bytes
    stream_bytes_s = device.memory.weight_stream_bytes_s
    filled = 0.0
    for i, op in enumerate(ops):
        scale = _byte_scale(device, op.element_bytes)
        weights = op.weight_bytes * _byte_scale(device, op.weight_element_bytes or op.element_bytes)
        streamed = 0.0
        if fast is not None and stream_bytes_s is not None:
            kept = min(weights, max(0.0, fast - filled))
            filled += kept
            streamed = (weights - kept) / stream_bytes_s
        moved = (op.read_bytes + op.write_bytes) * scale
        if device.compute.kernels is not None:
            seconds[i] = streamed
        else:
            seconds[i] = streamed + predict_node_s(
                device, op.op_class, op.macs, bytes_moved=moved, weight_bytes=0.0 if streamed else weights
            )
            seconds[i] += (op.operators - 1) * device.compute.node_overhead_s
    if device.compute.kernels is not None:
        scales = [_byte_scale(device, op.element_bytes) for op in ops]
        seconds += count_amounts(ops, scales) @ costs_of_each(device.compute, device.compute.kernels)
    return seconds


def predict_run_s(device: Device, ops: Sequence[OpWork]) -> float:
    """Seconds of one inference of `ops`; nothing to run takes no time."""
    return device.compute.run_overhead_s + float(predict_s(device, ops).sum()) if ops else 0.0


def predict_node_s(
    device: Device, op_class: OpClass, macs: int | None, *, bytes_moved: float, weight_bytes: float
) -> float:
    """Seconds of one operator from its multiply-adds, activation bytes and weight bytes, as stored on the device."""
    compute = device.compute
    traffic_s = (bytes_moved + weight_bytes) / compute.bytes_s
    arithmetic_s = 0.0 if not macs else macs / _macs_s(compute, op_class)
    return compute.node_overhead_s + max(arithmetic_s, traffic_s)


# What the seconds of an operator are a sum over with `Kernels`: multiply-adds, bytes as stored, operators.
AMOUNTS = (
    "dense_macs", "winograd_macs", "pointwise_macs", "depthwise_macs", "wide_macs", "grouped_macs", "matmul_macs",
    "chain_macs", "suppression_macs", "weighted_bytes", "winograd_read_bytes", "pointwise_read_bytes", "other_bytes",
    "moved_bytes", "weighted_operators", "other_operators",
)  # fmt: skip


def count_amounts(ops: Sequence[OpWork], scales: Sequence[float]) -> NDArray[np.float64]:
    """`AMOUNTS` of each operator, shape (len(ops), 16); `scales` are stored bytes over the graph's.

    Weights are read with the multiply-adds that they are for. Wide filters and moved bytes count twice: as depthwise
    filters and as bytes of operators without weights, and as what they cost beside those.
    """
    return np.array([_amounts(op, scale) for op, scale in zip(ops, scales, strict=True)]).reshape(-1, len(AMOUNTS))


def _amounts(op: OpWork, scale: float) -> list[float]:
    found = dict.fromkeys(AMOUNTS, 0.0)
    macs, read, moved = op.macs or 0, op.read_bytes * scale, (op.read_bytes + op.write_bytes) * scale
    if op.kernel == "fused":
        pass
    elif op.op_class == "other":
        found["other_operators"], found["other_bytes"] = op.operators, moved
        found["moved_bytes"] = moved if op.kernel == "moves" else 0.0
        found["suppression_macs" if op.kernel == "boxes" else "matmul_macs"] = macs  # else einsums and the like
    elif op.op_class == "matmul":
        found["weighted_operators"], found["matmul_macs"] = op.operators, macs
    else:
        found["weighted_operators"], found["weighted_bytes"] = op.operators, moved
        found["chain_macs"] = macs * op.element_bytes / max(op.write_bytes, op.element_bytes)
        if op.kernel in ("winograd", "grouped"):
            found[f"{op.kernel}_macs"] = macs
        else:
            found[f"{op.op_class}_macs"] = macs
        found["wide_macs"] = macs if op.kernel == "wide" else 0.0
        if op.kernel == "winograd" or (op.op_class == "pointwise" and op.kernel != "grouped"):
            found[f"{'winograd' if op.kernel == 'winograd' else 'pointwise'}_read_bytes"] = read
    return list(found.values())


def costs_of_each(compute: Compute, kernels: Kernels) -> NDArray[np.float64]:
    """Seconds of one of each of `AMOUNTS`, shape (16,)."""
    cost = {
        "dense_macs": 1 / compute.dense_macs_s,
        "winograd_macs": 1 / kernels.winograd_macs_s,
        "pointwise_macs": 1 / compute.pointwise_macs_s,
        "depthwise_macs": 1 / compute.depthwise_macs_s,
        "wide_macs": 1 / kernels.wide_depthwise_macs_s - 1 / compute.depthwise_macs_s,
        "grouped_macs": 1 / kernels.grouped_macs_s,
        "matmul_macs": 1 / compute.matmul_macs_s,
        "chain_macs": 1 / kernels.chain_macs_s,
        "suppression_macs": 1 / kernels.suppression_macs_s,
        "weighted_bytes": 1 / compute.bytes_s,
        "winograd_read_bytes": 1 / kernels.winograd_read_bytes_s,
        "pointwise_read_bytes": 1 / kernels.pointwise_read_bytes_s,
        "other_bytes": 1 / kernels.other_bytes_s,
        "moved_bytes": 1 / kernels.moved_bytes_s - 1 / kernels.other_bytes_s,
        "weighted_operators": compute.node_overhead_s,
        "other_operators": kernels.other_overhead_s,
    }
    return np.array([cost[name] for name in AMOUNTS])


def _macs_s(compute: Compute, op_class: OpClass) -> float:
    if op_class == "dense":
        return compute.dense_macs_s
    if op_class == "pointwise":
        return compute.pointwise_macs_s
    if op_class == "depthwise":
        return compute.depthwise_macs_s
    return compute.matmul_macs_s  # "other" operators with a MAC count are einsums and the like


def _byte_scale(device: Device, element_bytes: int) -> float:
    """A device of lower precision stores smaller numbers; one of higher precision still reads a quantized graph."""
    return min(1.0, PRECISION_BYTES[device.runtime.precision] / element_bytes)


def serial_s(
    device: Device, host: Device, name: str, n_symbols: float, *, direction: Literal["encode", "decode"]
) -> float:
    """Seconds of a coder's serial code on `device`: its own measured speed, else the host's scaled (modelled).

    Raises ProfileError when neither has measured the coder.
    """
    factor = 1.0
    coder = device.serial.coders.get(name)
    if coder is None:
        coder, factor = host.serial.coders.get(name), serial_factor(device, host)
    if coder is None:
        raise ProfileError(
            f"neither {device.name!r} nor the host {host.name!r} has measured the coder {name!r}",
            at="$.serial.coders",
            fix="splitpoint calibrate --out mine.yaml",
        )
    per_symbol_s = coder.encode_s_per_symbol if direction == "encode" else coder.decode_s_per_symbol
    return factor * (coder.call_s + n_symbols * per_symbol_s)


def serial_factor(device: Device, host: Device) -> float:
    """How many times slower serial code is on `device` than on `host`: a model, not a measurement.

    The ratio of zstd's speed on both where it is known (expect a factor of 1.5 either way: compilers and caches).
    Else the ratio of pointwise multiply-adds a second of one thread, which is on the safe side by a factor of 2 to 5:
    branches and table look-ups scale with clock and issue width, not with SIMD width.
    """
    if device.serial.zstd_bytes_s is not None and host.serial.zstd_bytes_s is not None:
        return host.serial.zstd_bytes_s / device.serial.zstd_bytes_s
    return _thread_macs_s(host) / _thread_macs_s(device)


def serial_error(device: Device, host: Device) -> float:
    """The factor by which the seconds of serial code on `device` may be off: 1 where it was measured there."""
    if device.serial.coders:
        return 1.0
    by_zstd = device.serial.zstd_bytes_s is not None and host.serial.zstd_bytes_s is not None
    return ZSTD_ERROR if by_zstd else THREAD_ERROR


def _thread_macs_s(device: Device) -> float:
    if device.serial.thread_macs_s is not None:
        return device.serial.thread_macs_s
    return device.compute.pointwise_macs_s / device.runtime.threads
