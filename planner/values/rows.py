"""What tables and ``--json`` say of a point: one row object for both."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from splitpoint.planner.values.candidate import GIVEN, Candidate, Evaluated
from splitpoint.planner.values.cut import Cut, Rejected
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["PARTS", "bar", "cut_row", "place", "point_row", "rejected_row"]


def __dir__() -> list[str]:
    return __all__


PARTS = ("prepare", "head", "encode", "link", "wait", "decode", "tail")  # of the latency, in their order


def place(point: Evaluated) -> str:
    """Where the point cuts, in words: "blocks.10/add", "int8: blocks.10/add", "send picture", "all on device"."""
    variant = point.candidate.variant
    return _where(point.candidate) if variant == GIVEN else f"{variant}: {_where(point.candidate)}"


def _where(candidate: Candidate) -> str:
    if candidate.placement == "device":
        return "all on device"
    if candidate.placement == "server":
        return "send picture"
    return candidate.cut


def point_row(
    point: Evaluated, *, number: int | None, label: str | None = None, notes: Iterable[str] = ()
) -> dict[str, Any]:
    """A point as plain values: SI numbers, each said to be measured or modelled; `label` names a baseline."""
    candidate, cost, accuracy = point.candidate, point.cost, point.accuracy
    return {
        "number": number,
        "label": label,
        "variant": candidate.variant,
        "placement": candidate.placement,
        "cut": _where(candidate),
        "codec": "-" if candidate.placement == "device" else candidate.codec,
        "rate": point.label,
        "payload_bytes": cost.payload_bytes,
        "payload_how": "measured",
        "latency_s": _finite(cost.latency_s),  # None: infeasible
        "deadline_latency_s": _finite(cost.deadline_latency_s),
        "latency_how": cost.how,
        "head_how": cost.head_how,
        "head_spread_s": cost.head_spread_s,
        "tail_how": cost.tail_how,
        "tail_spread_s": cost.tail_spread_s,
        "latency_parts_s": {part: _finite(getattr(cost, f"{part}_s")) for part in PARTS},
        "infeasible": cost.infeasible,
        "frame_rate": _finite(cost.frame_rate),
        "energy_j": cost.energy_j,
        "usd": cost.usd,
        "side_bytes": cost.side_bytes,
        "head_bytes": cost.head_bytes,
        "head_peak_bytes": cost.head_peak_bytes,
        "head_file_bytes": cost.head_file_bytes,
        "metric": accuracy.metric,
        "value": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "drop": accuracy.drop,
        "drop_high": accuracy.drop_high,
        "relative_error": accuracy.relative_error,
        "n": accuracy.n,
        "groups": accuracy.groups,
        "set": accuracy.subset,
        "notes": list(notes),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def cut_row(graph: ModelGraph, cut: Cut) -> dict[str, Any]:
    """A cut as plain values."""
    tensors = [graph.tensors[name] for name in cut.tensors]
    return {
        "index": cut.index,
        "after": cut.after,
        "tensors": list(cut.tensors),
        "shapes": [list(tensor.shape) for tensor in tensors],
        "dtypes": [tensor.dtype for tensor in tensors],
        "elements": cut.elements,
        "bytes": cut.bytes,
        "head_macs": cut.head_macs,
        "head_flops": 2 * cut.head_macs,
        "head_share": cut.head_macs / graph.macs if graph.macs else 0.0,
        "head_parameters": cut.head_parameters,
        "head_weight_bytes": cut.head_weight_bytes,
    }


def rejected_row(rejected: Rejected) -> dict[str, Any]:
    """A refused place as plain values."""
    return {"tensors": list(rejected.tensors), "after": rejected.after, "reason": rejected.reason}


def bar(share: float, width: int = 10) -> str:
    """A bar of eighth blocks for a share of 0..1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("" if rest == 0 else " ▏▎▍▌▋▊▉"[rest])).ljust(width)
