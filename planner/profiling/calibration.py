"""`splitpoint calibrate`: this machine as a device profile in a file, measured twice so that its spread is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from splitpoint.planner.profiling.host import measure_host
from splitpoint.profiles.files.elsewhere import write_yaml_somewhere
from splitpoint.profiles.machine.device import Device, Memory
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.micro import cold_s, micro_benchmarks
from splitpoint.profiles.measurement.steady import repeat_rates, worst_spread

__all__ = ["calibrate"]


def __dir__() -> list[str]:
    return __all__


def calibrate(
    machine: Machine, out: Path, *, name: str, step: Callable[[str], None] = lambda text: None
) -> tuple[Device, dict[str, float], float]:
    """Measure, write `out`, and give the device, how far the best two runs of each rate differ, and the cold seconds.

    A rate is the best of two runs, or of more where those do not agree: other work on the machine only ever slows it.
    """
    step("compute, first run")
    first = micro_benchmarks(threads=machine.threads)
    step("coders and pictures")
    device = measure_host(
        machine,
        name=name,
        description=f"{machine.cpu}, {machine.threads} threads, measured by splitpoint calibrate",
        rates=first,
        memory=Memory(ram_bytes=_ram_bytes()),
    )
    step("compute, again until two runs agree")
    rates, spread = repeat_rates(lambda: micro_benchmarks(threads=machine.threads), [first])
    compute = msgspec.structs.replace(device.compute, **rates)
    device = msgspec.structs.replace(device, compute=compute, spread=worst_spread(spread))
    cold = cold_s(threads=machine.threads)
    write_yaml_somewhere(out, device)
    return device, spread, cold


def _ram_bytes() -> int | None:
    """The machine's memory, or None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
