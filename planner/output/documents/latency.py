"""The parts of one point's latency, and how the seconds of its two halves were obtained."""

from __future__ import annotations

from splitpoint.planner.deploy.cost import Cost, How
from splitpoint.planner.output.documents.document import Value

__all__ = ["Half", "Halves", "LatencySum", "halves", "latency_sum"]


def __dir__() -> list[str]:
    return __all__


class LatencySum(Value, frozen=True, kw_only=True):
    """Seconds of a request and of its parts, in their order."""

    latency_s: float
    prepare_s: float
    head_s: float
    encode_s: float
    link_s: float
    wait_s: float
    decode_s: float
    tail_s: float


class Half(Value, frozen=True, kw_only=True):
    """How the seconds of head or tail were obtained, and their spread."""

    how: How
    spread_s: float | None


class Halves(Value, frozen=True, kw_only=True):
    """Head and tail of a point; None where that side runs nothing of the network."""

    head: Half | None
    tail: Half | None


def latency_sum(cost: Cost) -> LatencySum:
    """The parts of `cost` and their sum."""
    return LatencySum(**{name: getattr(cost, name) for name in LatencySum.__struct_fields__})


def halves(cost: Cost) -> Halves:
    """How the seconds of the halves in `cost` were obtained."""
    return Halves(
        head=_half(cost.head_s, cost.head_how, cost.head_spread_s),
        tail=_half(cost.tail_s, cost.tail_how, cost.tail_spread_s),
    )


def _half(seconds: float, how: How | None, spread_s: float | None) -> Half | None:
    return None if how is None or seconds == 0 else Half(how=how, spread_s=spread_s)
