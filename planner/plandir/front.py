"""front.csv: every point that was measured, one row each, those of the Pareto front with their number."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.intervals import latency_interval
from splitpoint.planner.deploy.cost import How
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import place_text
from splitpoint.profiles.errors import ProfileError

__all__ = ["FrontRow", "front_row", "front_text", "parse_front"]


def __dir__() -> list[str]:
    return __all__


class FrontRow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of a measured point; the fields are the columns of front.csv, in their order.

    Seconds, bytes, joules and US dollars of one inference. None (an empty cell): not known, or it never arrives.
    """

    number: int | None = None  # on the Pareto front, from 1
    variant: str
    placement: Placement
    cut: str  # where, in words: "after blocks.3"
    tensor: str | None = None  # the tensors that cross, joined by "+"
    head_share: float | None = None  # of the network's MACs that run on the device
    codec: str
    rate: str  # label of the codec's rate
    payload_bytes: float
    payload_how: How
    channel_uses: float | None = None  # real symbols on air; None: the link has none
    symbols: int | None = None  # that are sent in place of bits; the payload has them as fp16 for the modem
    latency_s: float | None = None
    latency_low_s: float | None = None  # 90 % interval of a modelled latency
    latency_high_s: float | None = None
    deadline_latency_s: float | None = None  # the latency that is compared with the deadline
    latency_how: How
    head_how: How | None = None
    head_spread_s: float | None = None
    tail_how: How | None = None
    tail_spread_s: float | None = None
    infeasible: str | None = None  # why the message can never arrive
    frame_rate: float | None = None
    energy_j: float | None = None
    usd: float | None = None
    side_bytes: int
    head_bytes: int
    head_peak_bytes: int
    head_file_bytes: int
    metric: str
    value: float
    low: float
    high: float
    drop: float
    drop_low: float
    drop_high: float
    lost: float  # the drop as it is estimated from all measured points
    lost_low: float
    lost_high: float
    relative_error: float
    n: int
    groups: int
    subset: str = msgspec.field(name="set")
    prepare_s: float | None = None  # the parts of latency_s, in their order
    head_s: float | None = None
    encode_s: float | None = None
    link_s: float | None = None
    wait_s: float | None = None
    decode_s: float | None = None
    tail_s: float | None = None


def front_row(point: Evaluated, errors: SpeedErrors, *, number: int | None) -> FrontRow:
    """The figures of `point`; `number` is its place on the front, from 1, or None; `errors` are those of seconds."""
    candidate, cost, accuracy = point.candidate, point.cost, point.accuracy
    interval = latency_interval(cost, errors)
    return FrontRow(
        number=number,
        variant=candidate.variant,
        placement=candidate.placement,
        cut=place_text(point),
        tensor=candidate.cut or None,
        head_share=point.head_share,
        codec="-" if candidate.placement == "device" else candidate.codec,
        rate=point.label,
        payload_bytes=cost.payload_bytes,
        payload_how="measured",
        channel_uses=cost.channel_uses,
        symbols=None if cost.symbols is None else cost.symbols.count,
        latency_s=_finite(cost.latency_s),
        latency_low_s=None if interval is None else interval.low_s,
        latency_high_s=None if interval is None else interval.high_s,
        deadline_latency_s=_finite(cost.deadline_latency_s),
        latency_how=cost.how,
        head_how=cost.head_how,
        head_spread_s=cost.head_spread_s,
        tail_how=cost.tail_how,
        tail_spread_s=cost.tail_spread_s,
        infeasible=cost.infeasible,
        frame_rate=_finite(cost.frame_rate),
        energy_j=cost.energy_j,
        usd=cost.usd,
        side_bytes=cost.side_bytes,
        head_bytes=cost.head_bytes,
        head_peak_bytes=cost.head_peak_bytes,
        head_file_bytes=cost.head_file_bytes,
        metric=accuracy.metric,
        value=accuracy.value,
        low=accuracy.low,
        high=accuracy.high,
        drop=accuracy.drop,
        drop_low=accuracy.drop_low,
        drop_high=accuracy.drop_high,
        lost=accuracy.lost,
        lost_low=accuracy.lost_low,
        lost_high=accuracy.lost_high,
        relative_error=accuracy.relative_error,
        n=accuracy.n,
        groups=accuracy.groups,
        subset=accuracy.subset,
        prepare_s=_finite(cost.prepare_s),
        head_s=_finite(cost.head_s),
        encode_s=_finite(cost.encode_s),
        link_s=_finite(cost.link_s),
        wait_s=_finite(cost.wait_s),
        decode_s=_finite(cost.decode_s),
        tail_s=_finite(cost.tail_s),
    )


def front_text(points: Sequence[Evaluated], front: Sequence[Evaluated], errors: SpeedErrors) -> str:
    """The text of front.csv: `points` with the number of those in `front`, numbered ones first, then by bytes."""
    numbers = {point.candidate: number for number, point in enumerate(front, start=1)}
    rows = [front_row(point, errors, number=numbers.get(point.candidate)) for point in points]
    rows.sort(key=lambda row: (row.number is None, row.number or 0, row.payload_bytes, row.latency_s or 0))
    text = io.StringIO()
    names = [field.encode_name for field in msgspec.structs.fields(FrontRow)]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(msgspec.to_builtins(row) for row in rows)
    return text.getvalue()


def parse_front(data: bytes, *, at: str) -> list[FrontRow]:
    """The points of the Pareto front in a front.csv, in the order of their numbers.

    Raises `ProfileError` naming the line of a row that is not such a point.
    """
    rows = []
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""))
        for cells in reader:
            if cells.get("number"):
                rows.append(_parse_row(cells, at=f"{at}: line {reader.line_num}"))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProfileError(f"cannot be read: {error}", at=at) from error
    return rows


def _parse_row(cells: dict[str, Any], *, at: str) -> FrontRow:
    filled = {name: None if value == "" else value for name, value in cells.items() if isinstance(name, str)}
    try:
        return msgspec.convert(filled, FrontRow, strict=False)
    except msgspec.ValidationError as error:
        raise ProfileError(str(error), at=at, fix="plan again") from error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
