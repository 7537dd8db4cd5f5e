"""The shipped profiles that are fitted to ncnn's tables, as YAML texts: one row of library.csv makes one file."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from splitpoint.benchmarks.networks import network
from splitpoint.benchmarks.published import Setting
from splitpoint.planner.profiling.published import Kind, Prior, compute_of, features, fit_costs
from splitpoint.profiles.machine.device import Compute, Device, Published

__all__ = ["Entry", "compute_from_points", "file_text", "kind_of", "points_of", "read_entries", "setting_of"]

ENTRIES = Path(__file__).with_name("library.csv")
PREFIX = "ncnn-"  # of the networks' names in benchmarks/networks.py
SOURCE = "https://github.com/Tencent/ncnn/blob/a4d2ea1d/benchmark/README.md"
READ_ON = "2026-11-27"
FITTED_ON = "2026-11-29"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A profile: its name and words, and the setting that it is fitted to."""

    name: str
    kind: str  # device, server
    family: str
    description: str
    board: str  # how the board's name begins
    unit: str
    threads: int
    cores: str
    table: int
    precision: str  # what ncnn stores: fp16 on GPUs and where the CPU has Arm's half-precision arithmetic

    @property
    def provider(self) -> str:
        return "CPU" if self.unit == "CPU" else "Vulkan"


def read_entries() -> list[Entry]:
    """The rows of library.csv."""
    with ENTRIES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Entry(**{**row, "threads": int(row["threads"]), "table": int(row["table"])}) for row in rows]  # type: ignore[arg-type]


def setting_of(entry: Entry, settings: Sequence[Setting]) -> Setting:
    """The one setting that an entry names."""
    wanted = (entry.unit, entry.threads, entry.cores, entry.table)
    found = [s for s in settings if s.board.startswith(entry.board) and s.key[1:] == wanted]
    if len(found) != 1:
        raise ValueError(f"{entry.name}: {len(found)} settings, expected one: {[s.key for s in found]}")
    return found[0]


def points_of(setting: Setting, networks: Sequence[str]) -> tuple[Published, ...]:
    """The published figures of the networks that are counted."""
    return tuple(
        Published(net=PREFIX + name, seconds=setting.seconds[name]) for name in networks if name in setting.seconds
    )


def kind_of(device: Device) -> Kind:
    """Which prior a profile is fitted with."""
    return "gpu" if device.runtime.provider == "Vulkan" else "cpu"


def compute_from_points(points: Sequence[Published], precision: str, prior: Prior) -> Compute:
    """The numbers of a profile from its `fitted_on`: what the file carries is enough to make them again."""
    amounts = np.stack([features(network(point.net)) for point in points])
    return compute_of(fit_costs(amounts, np.array([point.seconds for point in points]), prior), precision)


def file_text(
    entry: Entry, setting: Setting, compute: Compute, points: Sequence[Published], *, error: float, interval: float
) -> str:
    """The YAML file; `error` is the mean factor of its left-out networks, `interval` what 90 % are within."""
    threads = f"{setting.threads} threads, {setting.cores} cores" if entry.unit == "CPU" else entry.unit
    lines = [
        "# Made by `python -m splitpoint.benchmarks.fit_profiles --data DIR --write`; do not edit. An ncnn latency: no",
        "# published ratio of ONNX Runtime to ncnn is applied. `precision` is what ncnn stores by its rules for it.",
        f"name: {entry.name}",
        f'description: "{entry.description}; ncnn latency, {_unit_text(entry)}"',
        f"family: {entry.family}",
        f"runtime: {{name: ncnn, provider: {entry.provider}, threads: {entry.threads}, precision: {entry.precision}}}",
        "compute:",
    ]
    fit = f'"fit: benchmarks/fit_profiles.py over the {len(points)} points in fitted_on"'
    how = '"maximum a posteriori: Student\'s t on log latency, prior of profiles/library/priors.json"'
    rest = f"source: &fit {fit}, quote: &how {how}, date: {FITTED_ON}"
    for name, value in _numbers(compute).items():
        if isinstance(value, Mapping):
            lines.append(f"  {name}:")
            lines += [f"    {key}: {{value: {_si(key, number)}, {rest}}}" for key, number in value.items()]
            continue
        lines.append(f"  {name}: {{value: {_si(name, value)}, {rest}}}")
        rest = f"source: *fit, quote: *how, date: {FITTED_ON}"
    left_out = (
        'source: "benchmarks/results/device-latency.json", '
        f'quote: "of networks that were left out, each with its backbone", date: {FITTED_ON}'
    )
    lines += [
        f"prediction_error: {{value: {error:.2f}, {left_out}}}",
        f"interval_factor: {{value: {interval:.2f}, {left_out}}}",
        "fitted_on:",
    ]
    source = f'source: &ncnn "{SOURCE} ({setting.board}; {threads})"'
    for point in points:
        seconds = f"{point.seconds * 1e3:.10g}"
        quote = f'quote: "{point.net.removeprefix(PREFIX)} min = {seconds} ms"'
        lines.append(f"  - {{net: {point.net}, seconds: {{value: {seconds} ms, {source}, {quote}, date: {READ_ON}}}}}")
        source = "source: *ncnn"
    return "\n".join(lines) + "\n"


def _unit_text(entry: Entry) -> str:
    return f"{entry.threads} thread{'s' * (entry.threads > 1)}" if entry.unit == "CPU" else "Vulkan"


def _numbers(compute: Compute) -> dict[str, float | dict[str, float]]:
    kernels = compute.kernels
    assert kernels is not None
    own = {name: getattr(compute, name) for name in compute.__struct_fields__ if name != "kernels"}
    return {**own, "kernels": {name: getattr(kernels, name) for name in kernels.__struct_fields__}}


def _si(field: str, value: float) -> str:
    """As the other profiles print: a number of three places and its unit, exact to the digits that were kept."""
    if field.endswith("overhead_s"):
        return f"{value * 1e6:.6g} us"
    power = max(0, min(4, math.floor(math.log10(value) / 3)))
    return f"{value / 10 ** (3 * power):.6g} {('', 'k', 'M', 'G', 'T')[power]}{'MAC/s' if 'macs' in field else 'B/s'}"
