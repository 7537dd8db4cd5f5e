"""What a busy machine did to the figures of a plan, in words."""

from __future__ import annotations

from collections.abc import Sequence

from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.steady import STEADY, UNUSABLE
from splitpoint.profiles.units import format_fraction

__all__ = ["RETEST_WARNING", "advise", "describe_noise", "largest_spread"]


def __dir__() -> list[str]:
    return __all__


RETEST_WARNING = 0.05  # of the latency between two halves of one run (DESIGN: warn above 5 %)
NAMED = 3  # coders that a line names


def describe_noise(devices: Sequence[Device]) -> list[str]:
    """A line for each measured device whose measurements did not agree, although they were repeated."""
    lines = []
    for device in dict.fromkeys(device.name for device in devices):
        measured = next(other for other in devices if other.name == device)
        coders = sorted(name for name, coder in measured.serial.coders.items() if (coder.spread or 0) > STEADY)
        parts = ["its operators"] if (measured.spread or 0) > STEADY else []
        if coders:
            more = f" and {len(coders) - NAMED} more" if len(coders) > NAMED else ""
            parts.append(f"the coders {', '.join(coders[:NAMED])}{more}")
        if parts:
            share = format_fraction(largest_spread(measured))
            lines.append(f"busy machine: {device}: measurements of {' and '.join(parts)} differ by up to {share}")
    return lines


def largest_spread(device: Device) -> float:
    """The spread of the least steady of a device's measurements; 0 where none is known."""
    return max([device.spread or 0.0, *(coder.spread or 0.0 for coder in device.serial.coders.values())])


def advise(spread: float) -> str | None:
    """What to do with a measured device of this spread; None: use it."""
    if spread <= STEADY:
        return None
    differ = f"repeated measurements differ by up to {format_fraction(spread)}"
    if spread <= UNUSABLE:
        return f"busy machine: {differ}; calibrate again when nothing else runs"
    return f"DO NOT USE THIS FILE: {differ}; stop what else runs on this machine, and calibrate again"
