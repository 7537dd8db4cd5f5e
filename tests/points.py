"""Hand-made points and requirements for tests of decisions; what a test does not name does not matter to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from splitpoint.planner.deploy.accuracy import Accuracy, Estimate, Figure
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.outcomes import Outcomes

__all__ = ["make_needs", "make_point"]


def make_point(
    *,
    variant: str = "given",
    placement: str = "split",
    cut: str = "c",
    codec: str = "k",
    rate: int = 0,
    label: str = "q1",
    payload: float = 1000.0,
    latency: float = 0.010,
    drop: float = 0.0,
    drop_low: float | None = None,
    drop_high: float | None = None,
    estimate: Estimate | None = None,
    value: float = 0.9,
    low: float | None = None,
    high: float = 1.0,
    metric: str = "top1",
    n: int = 100,
    layer: str | None = None,
    head_share: float | None = None,
    outcomes: Outcomes | None = None,
    also: Sequence[Figure] = (),
    **cost: Any,
) -> Evaluated:
    """A measured point whose latency is all in its head; `cost` are other fields of `Cost`."""
    parts = dict.fromkeys(("prepare_s", "encode_s", "link_s", "decode_s", "tail_s"), 0.0)
    sizes = dict.fromkeys(("side_bytes", "head_bytes", "head_peak_bytes"), 0)
    fields: dict[str, Any] = {**parts, **sizes, "head_s": latency, "how": "modelled", "payload_bytes": payload, **cost}
    return Evaluated(
        candidate=Candidate(variant=variant, placement=placement, cut=cut, codec=codec, rate=rate),  # type: ignore[arg-type]  # a literal
        cost=Cost(**fields),
        accuracy=Accuracy(
            metric=metric,
            value=value,
            drop=drop,
            low=value if low is None else low,
            high=high,
            drop_low=drop if drop_low is None else drop_low,
            estimate=estimate,
            drop_high=drop if drop_high is None else drop_high,
            n=n,
            groups=n,
            relative_error=0.0,
            payload_bytes=payload,
            subset="search",
            also=tuple(also),
        ),
        label=label,
        outcomes=outcomes,
        layer=layer,
        head_share=head_share,
    )


def make_needs(*, device: Mapping[str, float] | None = None, **asked: Any) -> Requirements:
    """Requirements with bounds by limit ("frame rate" is `frame_rate`); `device` has the limits of the device "mcu"."""
    options = {name: asked.pop(name) for name in ("confident", "deadline_share") if name in asked}
    bounds = [Bound(limit=name.replace("_", " "), value=value) for name, value in asked.items() if value is not None]
    bounds += [Bound(limit=name, value=value, device="mcu") for name, value in (device or {}).items()]
    order = list(LIMITS)
    return Requirements(bounds=tuple(sorted(bounds, key=lambda bound: order.index(bound.limit))), **options)
