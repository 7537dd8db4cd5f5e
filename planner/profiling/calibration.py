"""`splitpoint calibrate`: this machine as a device profile in a file, measured twice so that its spread is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from splitpoint.planner.profiling.host import measure_host
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.machine.device import Device, Memory
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.micro import cold_s, micro_benchmarks

__all__ = ["calibrate"]


def __dir__() -> list[str]:
    return __all__


Rates = Mapping[str, float]


def calibrate(
    machine: Machine, out: Path, *, name: str, step: Callable[[str], None] = lambda text: None
) -> tuple[Device, dict[str, float], float]:
    """Measure, write `out`, and give the device, how far two runs of each rate lie apart, and the cold seconds.

    A rate is the better of two runs: other work on the machine only ever slows it.
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
    step("compute, second run")
    second = micro_benchmarks(threads=machine.threads)
    device = _with_rates(device, {field: _better(field, first[field], second[field]) for field in first})
    cold = cold_s(threads=machine.threads)
    write_yaml(out, device)
    spread = {field: abs(first[field] - second[field]) / max(first[field], second[field], 1e-12) for field in first}
    return device, spread, cold


def _with_rates(device: Device, rates: Rates) -> Device:
    return msgspec.structs.replace(device, compute=msgspec.structs.replace(device.compute, **rates))


def _better(field: str, a: float, b: float) -> float:
    return min(a, b) if field.endswith("overhead_s") else max(a, b)


def _ram_bytes() -> int | None:
    """The machine's memory, or None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
