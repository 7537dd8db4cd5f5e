"""A point of the front, a baseline or a near miss, as documents hold it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from splitpoint.planner.deploy.cost import How
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.output.documents.document import Value
from splitpoint.planner.plandir.front import FrontRow
from splitpoint.profiles.units import format_interval

__all__ = ["LatencyParts", "PointRow", "latency_words", "point_row"]


def __dir__() -> list[str]:
    return __all__


class LatencyParts(Value, frozen=True, kw_only=True):
    """Seconds of the parts that add up to a point's latency, in their order; None: it never arrives."""

    prepare: float | None
    head: float | None
    encode: float | None
    link: float | None
    wait: float | None
    decode: float | None
    tail: float | None


class PointRow(Value, frozen=True, kw_only=True):
    """A measured point: SI numbers, each with how it was obtained; None: not known, or it never arrives."""

    number: int | None  # on the front, from 1
    label: str | None  # of a baseline
    variant: str
    placement: Placement
    cut: str  # where, in words: "after blocks.3"
    tensor: str | None  # the tensors that cross, joined by "+"
    head_share: float | None  # of the network's MACs that run on the device
    codec: str
    rate: str
    payload_bytes: float
    payload_how: How
    channel_uses: float | None  # real symbols on air, headers of packets left out; None: the link has none
    symbols: int | None  # that are sent in place of bits; the payload has them as fp16 for the modem
    latency_s: float | None
    latency_low_s: float | None  # 90 % interval of a modelled latency; None: nothing of it is modelled
    latency_high_s: float | None
    deadline_latency_s: float | None  # the latency that is compared with the deadline
    latency_how: How
    head_how: How | None
    head_spread_s: float | None
    tail_how: How | None
    tail_spread_s: float | None
    latency_parts_s: LatencyParts
    infeasible: str | None
    frame_rate: float | None
    energy_j: float | None
    usd: float | None
    side_bytes: int  # tables and weights of the codec on both sides, stored once, not sent with each request
    head_bytes: int
    head_peak_bytes: int
    head_file_bytes: int
    metric: str
    value: float
    low: float
    high: float
    drop: float
    drop_low: float  # 95 % interval of `drop`, of these inputs alone
    drop_high: float
    lost: float  # the drop as it is estimated from all measured points
    lost_low: float  # its 95 % interval
    lost_high: float
    relative_error: float
    n: int
    groups: int
    subset: str = msgspec.field(name="set")
    notes: tuple[str, ...]  # "recommended", "knee", "misses latency by 4 ms"
    not_certain: bool  # it meets its deadline, which is within the 90 % interval of its latency
    misses: tuple[str, ...]  # limits that it misses, by name; "infeasible": its message can never arrive


def point_row(
    row: FrontRow,
    *,
    label: str | None = None,
    notes: Iterable[str] = (),
    misses: Iterable[str] = (),
    not_certain: bool = False,
) -> PointRow:
    """The figures of `row` with the name of a baseline, notes, limits that it misses, and a deadline in doubt."""
    parts = {name: getattr(row, f"{name}_s") for name in LatencyParts.__struct_fields__}
    same = {name: getattr(row, name) for name in FrontRow.__struct_fields__ if name in PointRow.__struct_fields__}
    return PointRow(
        **same,
        label=label,
        latency_parts_s=LatencyParts(**parts),
        notes=tuple(notes),
        not_certain=not_certain,
        misses=tuple(misses),
    )


def latency_words(row: PointRow) -> str:
    """The latency with what it may be: "47 ms, 39 to 57 ms", "never arrives"."""
    if row.latency_s is None:
        return "never arrives"
    return format_interval(row.latency_s, row.latency_low_s, row.latency_high_s)
