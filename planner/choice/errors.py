"""How far the seconds of device and server may be off: factors that all answers of one plan share.

docs/notes/choice.md derives how they become the uncertainty of a difference.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from splitpoint.planner.cost.anchored import NINETY
from splitpoint.planner.cost.price import Party
from splitpoint.planner.deploy.cost import Cost
from splitpoint.profiles.machine.device import Device, serial_error

__all__ = ["DIVISION_ERROR", "STANDARD", "SpeedErrors", "division_error", "speed_errors"]


def __dir__() -> list[str]:
    return __all__


STANDARD = math.sqrt(math.pi / 2)  # standard deviation of a normal error over its mean magnitude
# Mean error of the seconds of a half over nine networks (docs/measurements.md): 2.4 % from a profile, and 7.0 % when
# seconds follow multiply-adds, the most that is known of a device that is not here.
DIVISION_ERROR = {"profiled": STANDARD * 0.024, "modelled": STANDARD * 0.070}
UNSTATED = 1.5  # mean factor where a profile states none: what docs/profiles.md tells to expect


class SpeedErrors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Standard errors as factors (1: none): all seconds of a side, and those of its coders beyond that."""

    device: float = 1.0
    server: float = 1.0
    device_coder: float = 1.0
    server_coder: float = 1.0


def speed_errors(edge: Party, server: Party, host: Device) -> SpeedErrors:
    """The errors of both sides; `host` is the machine whose coders were timed."""
    return SpeedErrors(
        device=_speed_error(edge),
        server=_speed_error(server),
        device_coder=serial_error(edge.device, host),
        server_coder=serial_error(server.device, host),
    )


def division_error(cost: Cost, half: Literal["head", "tail"]) -> float:
    """Standard error of the seconds of a split's own `half`, as a share of them.

    It is 0 where one side runs the whole network: that is the side's common factor.
    """
    if not (cost.head_s and cost.tail_s):
        return 0.0
    seconds, how, spread_s = (
        (cost.head_s, cost.head_how, cost.head_spread_s)
        if half == "head"
        else (cost.tail_s, cost.tail_how, cost.tail_spread_s)
    )
    if how == "measured":
        return STANDARD * (spread_s or 0.0) / seconds
    return DIVISION_ERROR[how or "modelled"]


def _speed_error(party: Party) -> float:
    """A profiled side: the retest error of its profile. A modelled one: what its profile states of other networks.

    That is the factor within which 90 % of them are, or else their mean error; of an accelerator and the CPU that it
    falls back to, the larger one.
    """
    if party.retest_error is not None:
        return math.exp(party.retest_error)
    machines = [party.device]
    accelerator = party.device.accelerator
    if party.units is not None and party.units.on_cpu and accelerator is not None and accelerator.fallback is not None:
        machines += [accelerator.fallback.device] if accelerator.fallback.device is not None else []
    return max(map(_stated_error, machines))


def _stated_error(device: Device) -> float:
    if device.interval_factor is not None:
        return math.exp(math.log(device.interval_factor) / NINETY)
    return math.exp(STANDARD * math.log(device.prediction_error or UNSTATED))
