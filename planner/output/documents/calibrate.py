"""The document of ``splitpoint calibrate``: the measured rates of this machine and how far two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.profiling.noise import advise, largest_spread
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.steady import UNUSABLE, worst_spread
from splitpoint.profiles.units import format_bytes, format_macs_s, format_seconds

__all__ = ["CalibrateDocument", "MeasuredRate", "calibrate_document"]


def __dir__() -> list[str]:
    return __all__


class MeasuredRate(Value, frozen=True, kw_only=True):
    """One measured quantity in words, and by which fraction the two best runs differ (None: measured once)."""

    name: str
    value: str
    spread: float | None


class CalibrateDocument(Document, frozen=True, kw_only=True, tag="calibrate"):
    """The answer of ``splitpoint calibrate``."""

    rows: tuple[MeasuredRate, ...]
    fingerprint: str | None
    warning: str | None
    usable: bool  # False: the measurements differ so much that nothing should be planned with them
    written: str  # the file
    next: str  # commands that use it


def calibrate_document(device: Device, spread: Mapping[str, float], cold: float, out: Path) -> CalibrateDocument:
    """What was measured; `spread` is by field of `Compute`, `cold` the seconds of loading and a first inference."""
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
    rows = [MeasuredRate(name=name, value=text, spread=spread[field]) for name, (field, text) in rates.items()]
    rows.append(MeasuredRate(name="loading and the first inference", value=format_seconds(cold), spread=None))
    for name, coder in sorted(device.serial.coders.items()):
        seconds = f"{_nanoseconds(coder.encode_s_per_symbol)} / {_nanoseconds(coder.decode_s_per_symbol)}"
        rows.append(MeasuredRate(name=f"{name} (encode / decode)", value=seconds, spread=coder.spread))
    worst = max(worst_spread(spread), largest_spread(device))
    return CalibrateDocument(
        rows=tuple(rows),
        fingerprint=device.fingerprint,
        warning=advise(worst),
        usable=worst <= UNUSABLE,
        written=str(out),
        next=f"splitpoint plan ... --device {out} · splitpoint profile MODEL --out FILE",
    )


def _nanoseconds(seconds: float) -> str:
    return f"{seconds * 1e9:.3g} ns"
