"""Whether a deadline that a point meets is certain to hold, and what to measure where it is not.

A point is feasible by its central latency. Where the 90 % interval of that latency contains the deadline, the answer
says so and names the side to measure: the one without whose error the interval is narrower.
"""

from __future__ import annotations

import dataclasses

import msgspec

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.intervals import deadline_interval
from splitpoint.planner.deploy.cost import Cost, LatencyInterval
from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_seconds, format_span

__all__ = ["Doubt", "doubt_text", "find_doubt", "is_certain"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Doubt:
    """A deadline that a point meets by its central latency only."""

    limit: str  # a name of `planner.limits.limits`
    deadline_s: float
    interval: LatencyInterval
    side: str  # "device" or "server": to be measured first


def is_certain(cost: Cost, needs: Requirements, errors: SpeedErrors) -> bool:
    """Whether the deadline is missed, or holds at the end of the interval; without a deadline it is."""
    deadline_s = needs.value("latency")
    if deadline_s is None or cost.deadline_latency_s > deadline_s:
        return True
    interval = deadline_interval(cost, errors)
    return interval is None or interval.high_s <= deadline_s


def find_doubt(cost: Cost, needs: Requirements, errors: SpeedErrors) -> Doubt | None:
    """The doubt about the deadline; None where it is certain."""
    deadline_s, interval = needs.value("latency"), deadline_interval(cost, errors)
    if deadline_s is None or interval is None or is_certain(cost, needs, errors):
        return None
    exact = {
        "device": msgspec.structs.replace(errors, device=1.0, device_coder=1.0),
        "server": msgspec.structs.replace(errors, server=1.0, server_coder=1.0),
    }
    widths = {side: _width(deadline_interval(cost, without)) for side, without in exact.items()}
    side = min(widths, key=lambda name: widths[name])
    return Doubt(limit="latency", deadline_s=deadline_s, interval=interval, side=side)


def doubt_text(doubt: Doubt, device: Device, server: Device) -> str:
    """The doubt in words, and what to type: "latency <= 50 ms is not certain to hold (39 to 57 ms): run ..."."""
    span = format_span(doubt.interval.low_s, doubt.interval.high_s)
    profile = device if doubt.side == "device" else server
    board = "the board" if doubt.side == "device" else "the server"
    step = f"time the whole network on {board} ({profile.name}) and plan again with --measured-{doubt.side} SECONDS"
    if profile.runtime.provider.startswith("CPU"):  # what calibrate measures
        step = f"run splitpoint calibrate on {board}, or {step}"
    return f"latency <= {format_seconds(doubt.deadline_s)} is not certain to hold ({span}): {step}"


def _width(interval: LatencyInterval | None) -> float:
    return 0.0 if interval is None else interval.high_s - interval.low_s
