"""Latencies of whole networks that were published without their operators: nothing can be said of a cut from them.

whole.csv: one row a device's network and precision; names, units and milliseconds are the source's (`SOURCE`).
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources

__all__ = ["SOURCE", "WholeNetwork", "whole_networks"]


def __dir__() -> list[str]:
    return __all__


SOURCE = "github.com/qualcomm/ai-hub-models at b61a009 (2026-02-24), perf.yaml of each network, read on 2026-11-27"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WholeNetwork:
    """One published latency."""

    name: str  # of the device and its unit, "galaxy-s24-npu"
    device: str
    runtime: str
    precision: str  # float (fp16 on an NPU), w8a8, w8a16
    network: str
    milliseconds: float


@functools.cache
def whole_networks() -> tuple[WholeNetwork, ...]:
    """Every row in the order of the file."""
    text = (importlib.resources.files("splitpoint.profiles.library") / "whole.csv").read_text(encoding="utf-8")
    return tuple(
        WholeNetwork(
            name=row["name"],
            device=row["device"],
            runtime=row["runtime"],
            precision=row["precision"],
            network=row["network"],
            milliseconds=float(row["ms"]),
        )
        for row in csv.DictReader(text.splitlines())
    )
