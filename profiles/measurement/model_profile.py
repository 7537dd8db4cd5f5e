"""What was measured of one network on one machine: the file that ``splitpoint profile --out`` writes."""

from __future__ import annotations

import msgspec

from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.machine.machine import Machine

__all__ = ["HalvesTiming", "ModelProfile", "NodeTiming", "Samples"]


def __dir__() -> list[str]:
    return __all__


class Samples(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Repeated timings of one thing: minimum, median and median absolute deviation, seconds."""

    n: int
    min_s: float
    median_s: float
    mad_s: float


class NodeTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds of one node, fused and layout nodes attributed to it, rescaled to the unprofiled total."""

    name: str
    seconds: float


class HalvesTiming(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cut whose exported halves were timed in turn with the whole, rescaled to the whole's seconds in the profile."""

    tensors: tuple[str, ...]  # that cross
    head: Samples
    tail: Samples


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was measured of one model on one machine; written by ``splitpoint profile --out``."""

    format: int
    model: str
    model_sha256: str  # of the canonical model
    machine: Machine
    measured: str  # date
    whole: Samples
    nodes: tuple[NodeTiming, ...]
    host: Device  # this machine as a device profile, measured in the same run
    retest_error: float  # |first half - second half| / whole of the interleaved rounds
    halves: tuple[HalvesTiming, ...] = ()  # anchors: what the nodes cannot tell of a network in two parts
