"""`splitpoint calibrate`: this machine as a device profile in a file, measured twice so that its spread is known."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.profiling.host import measure_host
from splitpoint.profiles.files.structs import write_yaml
from splitpoint.profiles.machine.device import Device, Memory
from splitpoint.profiles.machine.machine import Machine
from splitpoint.profiles.measurement.micro import cold_s, micro_benchmarks
from splitpoint.profiles.units import format_bytes, format_fraction, format_macs_s, format_seconds

__all__ = ["calibrate", "calibration_answer"]


def __dir__() -> list[str]:
    return __all__


Rates = Mapping[str, float]
SPREAD_WARNING = 0.1  # between two measurements of one rate


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


def calibration_answer(device: Device, spread: Rates, cold: float, out: Path) -> dict[str, Any]:
    """What was measured, as rows of name, value and spread, and what to do with it."""
    compute = device.compute
    rates = {
        "dense convolutions": ("dense_macs_s", format_macs_s(compute.dense_macs_s)),
        "1x1 convolutions": ("pointwise_macs_s", format_macs_s(compute.pointwise_macs_s)),
        "depthwise convolutions": ("depthwise_macs_s", format_macs_s(compute.depthwise_macs_s)),
        "matrix products": ("matmul_macs_s", format_macs_s(compute.matmul_macs_s)),
        "memory": ("bytes_s", f"{format_bytes(compute.bytes_s)}/s"),
        "each operator": ("node_overhead_s", format_seconds(compute.node_overhead_s)),
        "each inference, warm": ("run_overhead_s", format_seconds(compute.run_overhead_s)),
    }
    rows = [{"name": k, "value": text, "spread": spread[field]} for k, (field, text) in rates.items()]
    rows.append({"name": "loading and the first inference", "value": format_seconds(cold), "spread": None})
    for name, coder in sorted(device.serial.coders.items()):
        seconds = f"{_nanoseconds(coder.encode_s_per_symbol)} / {_nanoseconds(coder.decode_s_per_symbol)}"
        rows.append({"name": f"{name} (encode / decode)", "value": seconds, "spread": None})
    worst = max(spread["dense_macs_s"], spread["pointwise_macs_s"], spread["depthwise_macs_s"], spread["matmul_macs_s"])
    return {
        "rows": rows,
        "fingerprint": device.fingerprint,
        "warning": f"noisy machine: two runs differ by up to {format_fraction(worst)}"
        if worst > SPREAD_WARNING
        else None,
        "written": str(out),
        "next": f"splitpoint plan ... --device {out} · splitpoint profile MODEL --out FILE",
    }


def _with_rates(device: Device, rates: Rates) -> Device:
    return msgspec.structs.replace(device, compute=msgspec.structs.replace(device.compute, **rates))


def _better(field: str, a: float, b: float) -> float:
    return min(a, b) if field.endswith("overhead_s") else max(a, b)


def _nanoseconds(seconds: float) -> str:
    return f"{seconds * 1e9:.3g} ns"


def _ram_bytes() -> int | None:
    """The machine's memory, or None where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
