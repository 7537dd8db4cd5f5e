"""`splitpoint calibrate`: this machine as a device profile in a file, measured twice so that its spread is known."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from splitpoint.planner.profiling.fitted_device import LeftOut
from splitpoint.planner.profiling.host import measure_host
from splitpoint.planner.profiling.probing import time_probes, with_errors
from splitpoint.profiles.files.elsewhere import write_yaml_somewhere
from splitpoint.profiles.machine.device import Device, Memory
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.micro import cold_s, micro_benchmarks
from splitpoint.profiles.measurement.steady import repeat_rates, worst_spread
from splitpoint.profiles.network.runtime import CPU, Provider

__all__ = ["Calibration", "calibrate"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A measured device, how far the best two runs of each rate differ, cold seconds, and networks that check it."""

    device: Device
    spread: Mapping[str, float]  # by field of Compute
    cold_s: float  # of loading and a first inference
    probed: tuple[LeftOut, ...]


def calibrate(
    machine: Machine, out: Path, *, name: str, provider: Provider = CPU, step: Callable[[str], None] = lambda text: None
) -> Calibration:
    """Measure, check on networks that no rate was measured on, and write `out`.

    `provider` is the one that `machine` names; serial code and coders run on the CPU all the same.

    A rate is the best of two runs, or of more where those do not agree: other work on the machine only ever slows it.
    """
    step("compute, first run")
    first = micro_benchmarks(threads=machine.threads, provider=provider)
    step("coders and pictures")
    device = measure_host(
        machine,
        name=name,
        description=f"{machine.cpu}, {machine.threads} threads{_with(provider)}, measured by splitpoint calibrate",
        rates=first,
        memory=Memory(ram_bytes=_ram_bytes()),
    )
    step("compute, again until two runs agree")
    rates, spread = repeat_rates(lambda: micro_benchmarks(threads=machine.threads, provider=provider), [first])
    compute = msgspec.structs.replace(device.compute, **rates)
    device = msgspec.structs.replace(device, compute=compute, spread=worst_spread(spread))
    cold = cold_s(threads=machine.threads, provider=provider)
    step("networks that it was not fitted to")
    probed = time_probes(device, threads=machine.threads, provider=provider)
    device = with_errors(device, probed)
    write_yaml_somewhere(out, device)
    return Calibration(device=device, spread=spread, cold_s=cold, probed=probed)


def _with(provider: Provider) -> str:
    """How the provider is named in a description; the CPU is not."""
    if provider == CPU:
        return ""
    options = "".join(f" {name}={value}" for name, value in provider.options)
    return f", {provider.name}{options}{', the rest on the CPU' if provider.cpu_fallback else ''}"


def _ram_bytes() -> int | None:
    """The machine's memory, or None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
