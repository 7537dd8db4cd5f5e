"""The document of ``splitpoint calibrate``: the measured rates of this machine and how far two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.units import format_bytes, format_fraction, format_macs_s, format_seconds

__all__ = ["CalibrateDocument", "MeasuredRate", "calibrate_document"]


def __dir__() -> list[str]:
    return __all__


SPREAD_WARNING = 0.1  # between two measurements of one rate


class MeasuredRate(Value, frozen=True, kw_only=True):
    """One measured quantity in words, and by which fraction two runs differ (None: measured once)."""

    name: str
    value: str
    spread: float | None


class CalibrateDocument(Document, frozen=True, kw_only=True, tag="calibrate"):
    """The answer of ``splitpoint calibrate``."""

    rows: tuple[MeasuredRate, ...]
    fingerprint: str | None
    warning: str | None
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
        rows.append(MeasuredRate(name=f"{name} (encode / decode)", value=seconds, spread=None))
    worst = max(spread["dense_macs_s"], spread["pointwise_macs_s"], spread["depthwise_macs_s"], spread["matmul_macs_s"])
    noisy = f"noisy machine: two runs differ by up to {format_fraction(worst)}"
    return CalibrateDocument(
        rows=tuple(rows),
        fingerprint=device.fingerprint,
        warning=noisy if worst > SPREAD_WARNING else None,
        written=str(out),
        next=f"splitpoint plan ... --device {out} · splitpoint profile MODEL --out FILE",
    )


def _nanoseconds(seconds: float) -> str:
    return f"{seconds * 1e9:.3g} ns"
