"""A profile scaled by measurements of the user's: the whole network timed on the machine, once or twice.

Such a measurement replaces the factor that all cuts share, and its uncertainty. How the seconds divide into head and
tail stays what the profile says, with the error that it had (docs/notes/choice.md, eq. (10) and (11)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from splitpoint.profiles.machine.device import Accelerator, Compute, Device
from splitpoint.profiles.units import format_seconds

__all__ = ["NINETY", "anchor_device", "anchor_note"]


def __dir__() -> list[str]:
    return __all__


NINETY = 1.6449  # half of an interval that contains 90 % of a normal error, over its standard deviation
ONE_TIMING = 0.05  # standard error of the logarithm of one timing: our own are warned of above it (RETEST_WARNING)
OVERHEADS = (
    "node_overhead_s",
    "run_overhead_s",
    "other_overhead_s",
)  # of Compute and Kernels; others are rates


def anchor_device(device: Device, predicted_s: float, measured_s: Sequence[float]) -> Device:
    """`device` with all its seconds scaled so that the network of `predicted_s` takes the mean of `measured_s`.

    Serial code keeps its speed.
    """
    logs = np.log(measured_s)
    factor = math.exp(float(logs.mean())) / predicted_s  # Eq. (10)
    seen = float(logs.std(ddof=1)) if len(logs) > 1 else 0.0
    error = max(ONE_TIMING, seen) / math.sqrt(len(logs))  # Eq. (11)
    stream = device.memory.weight_stream_bytes_s
    memory = msgspec.structs.replace(device.memory, weight_stream_bytes_s=None if stream is None else stream / factor)
    thread = device.serial.thread_macs_s or device.compute.pointwise_macs_s / device.runtime.threads
    return msgspec.structs.replace(
        device,
        compute=_scaled(device.compute, factor),
        accelerator=_slower(device.accelerator, factor),
        memory=memory,
        serial=msgspec.structs.replace(device.serial, thread_macs_s=thread),
        interval_factor=math.exp(NINETY * error),
        fitted_on=(),  # its seconds are those of the timing now
    )


def anchor_note(profile: Device, anchored: Device, measured_s: Sequence[float]) -> str:
    """What was assumed of a side that was timed: "its seconds are those of the profile times 1.18, ..."."""
    factor = profile.compute.bytes_s / anchored.compute.bytes_s
    texts = " and ".join(map(format_seconds, measured_s))
    return (
        f"{profile.name}: its seconds are those of the profile times {factor:.3g}, since the whole network was measured"
        f" to take {texts} there; the factor that all cuts share is then known within"
        f" {anchored.interval_factor or 1:.3g}x in 90 % of cases, and how it divides into head and tail is not measured"
    )


def _slower(accelerator: Accelerator | None, factor: float) -> Accelerator | None:
    """Its CPU and the way there take `factor` times as long, too: one timing has them all in it."""
    if accelerator is None or accelerator.fallback is None or accelerator.fallback.device is None:
        return accelerator
    fallback = accelerator.fallback
    cpu = accelerator.fallback.device
    fallback = msgspec.structs.replace(
        fallback,
        crossing_s=factor * fallback.crossing_s,
        crossing_bytes_s=fallback.crossing_bytes_s / factor,
        device=msgspec.structs.replace(cpu, compute=_scaled(cpu.compute, factor)),
    )
    return msgspec.structs.replace(accelerator, fallback=fallback)


def _scaled(compute: Compute, factor: float) -> Compute:
    """Rates over `factor`, seconds times it: every operator takes `factor` times as long."""

    def times(name: str, value: float) -> float:
        return value * factor if name in OVERHEADS else value / factor

    plain = msgspec.to_builtins(compute)
    kernels = plain.pop("kernels", None)
    changed: dict[str, Any] = {name: times(name, value) for name, value in plain.items()}
    if kernels is not None:
        changed["kernels"] = {name: times(name, value) for name, value in kernels.items()}
    return msgspec.convert(changed, Compute)
