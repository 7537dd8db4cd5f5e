"""How far the seconds of device and server may be off: factors that all answers of one plan share.

docs/notes/choice.md derives how they become the uncertainty of a difference.
"""

from __future__ import annotations

import math

import msgspec

from splitpoint.planner.cost.price import Party
from splitpoint.profiles.machine.device import Device, serial_error

__all__ = ["STANDARD", "SpeedErrors", "speed_errors"]


def __dir__() -> list[str]:
    return __all__


STANDARD = math.sqrt(math.pi / 2)  # standard deviation of a normal error over its mean magnitude
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


def _speed_error(party: Party) -> float:
    """A profiled side: the retest error of its profile. A modelled one: the mean error that its profile states."""
    if party.retest_error is not None:
        return math.exp(party.retest_error)
    return math.exp(STANDARD * math.log(party.device.prediction_error or UNSTATED))
