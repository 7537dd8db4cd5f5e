"""The document of ``splitpoint calibrate``: measured rates of this machine, or a fit to latencies that a user has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.profiling.calibration import Calibration
from splitpoint.planner.profiling.fitted_device import WORST_ERROR, LeftOut
from splitpoint.planner.profiling.noise import advise, largest_spread
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.steady import UNUSABLE, worst_spread
from splitpoint.profiles.units import format_bytes, format_macs_s, format_seconds

__all__ = ["CalibrateDocument", "LeftOutNetwork", "MeasuredRate", "calibrate_document", "fitted_document"]


def __dir__() -> list[str]:
    return __all__


class MeasuredRate(Value, frozen=True, kw_only=True):
    """One measured quantity in words, and by which fraction the two best runs differ (None: measured once)."""

    name: str
    value: str
    spread: float | None


class LeftOutNetwork(Value, frozen=True, kw_only=True):
    """A network that no figure was fitted to: its seconds, measured or of the user's table, and what is predicted."""

    network: str
    seconds: float
    predicted_s: float


class CalibrateDocument(Document, frozen=True, kw_only=True, tag="calibrate"):
    """The answer of ``splitpoint calibrate``."""

    rows: tuple[MeasuredRate, ...]
    fingerprint: str | None
    warning: str | None
    usable: bool  # False: the measurements differ so much that nothing should be planned with them
    written: str  # the file
    next: str  # commands that use it
    left_out: tuple[LeftOutNetwork, ...] = ()
    prediction_error: float | None = None  # mean factor of the left-out networks
    interval_factor: float | None = None  # that 90 % of other networks are expected within


def calibrate_document(measured: Calibration, out: Path) -> CalibrateDocument:
    """What was measured, and how far it is off for each network that it was not fitted to."""
    device, spread = measured.device, measured.spread
    rates = _rates(device)
    rows = [MeasuredRate(name=name, value=text, spread=spread[field]) for name, (field, text) in rates.items()]
    rows.append(
        MeasuredRate(name="loading and the first inference", value=format_seconds(measured.cold_s), spread=None)
    )
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
        left_out=_left_out(measured.probed),
        prediction_error=device.prediction_error,
        interval_factor=device.interval_factor,
    )


def fitted_document(device: Device, left_out: Sequence[LeftOut], out: Path) -> CalibrateDocument:
    """What was fitted, and how far it is off for each network that it did not see."""
    assert device.prediction_error is not None  # `fit_device` says it
    usable = device.prediction_error <= WORST_ERROR
    advice = (
        f"DO NOT USE THIS FILE: networks that were left out miss by x{device.prediction_error:.2f} on average, above"
        f" x{WORST_ERROR:g}. Were all measured on one machine, with the same threads and precision?"
    )
    return CalibrateDocument(
        rows=tuple(MeasuredRate(name=name, value=text, spread=None) for name, (_, text) in _rates(device).items()),
        fingerprint=None,
        warning=None if usable else advice,
        usable=usable,
        written=str(out),
        next=f"splitpoint plan ... --device {out} (or --server {out}) · splitpoint profiles {out}",
        left_out=_left_out(left_out),
        prediction_error=device.prediction_error,
        interval_factor=device.interval_factor,
    )


def _left_out(networks: Sequence[LeftOut]) -> tuple[LeftOutNetwork, ...]:
    return tuple(
        LeftOutNetwork(network=one.network, seconds=one.seconds, predicted_s=one.predicted_s) for one in networks
    )


def _rates(device: Device) -> dict[str, tuple[str, str]]:
    """What people call a rate: its field of `Compute`, and its value in words."""
    compute = device.compute
    return {
        "dense convolutions": ("dense_macs_s", format_macs_s(compute.dense_macs_s)),
        "1x1 convolutions": ("pointwise_macs_s", format_macs_s(compute.pointwise_macs_s)),
        "depthwise convolutions": ("depthwise_macs_s", format_macs_s(compute.depthwise_macs_s)),
        "matrix products": ("matmul_macs_s", format_macs_s(compute.matmul_macs_s)),
        "memory": ("bytes_s", f"{format_bytes(compute.bytes_s)}/s"),
        "each operator": ("node_overhead_s", format_seconds(compute.node_overhead_s)),
        "each inference, warm": ("run_overhead_s", format_seconds(compute.run_overhead_s)),
    }


def _nanoseconds(seconds: float) -> str:
    return f"{seconds * 1e9:.3g} ns"
