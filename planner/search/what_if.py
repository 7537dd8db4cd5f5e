"""What would be recommended at other link rates, from the points that were measured: nothing is measured again."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np

from splitpoint.planner.choice.answer import point_text
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.cost.price import over
from splitpoint.planner.search.decide import decide
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.profiles.link.link import FixedLink
from splitpoint.profiles.machine.device import Device

__all__ = ["RATES_BIT_S", "RateRange", "at_link", "by_rate"]


def __dir__() -> list[str]:
    return __all__


RATES_BIT_S = tuple(float(rate) for rate in np.logspace(5, 9, 25))  # 100 kbit/s to 1 Gbit/s, six a decade


def at_link(point: Evaluated, channel: Channel, edge: Device, server: Device) -> Evaluated:
    """The same point over another channel."""
    if point.candidate.placement == "device":
        return point
    return msgspec.structs.replace(point, cost=over(point.cost, channel, edge, server))


class RateRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What would be recommended from one uplink rate to another, both among `RATES_BIT_S`."""

    from_bit_s: float
    to_bit_s: float
    what: str | None  # place, codec and rate; None: nothing fits


def by_rate(result: SearchResult) -> list[RateRange]:
    """Recommendations by uplink rate, equal neighbours merged; none for a link without a rate of its own."""
    link = result.problem.link
    if not isinstance(link, FixedLink):
        return []
    ranges: list[RateRange] = []
    for rate in RATES_BIT_S:
        other = dataclasses.replace(result.problem.channel, link=msgspec.structs.replace(link, uplink_bit_s=rate))
        moved = [at_link(point, other, result.device, result.server) for point in result.points]
        best = decide(moved, result.problem.needs, result.problem.config.objectives, result.aim).recommended
        what = None if best is None else point_text(best)
        if ranges and ranges[-1].what == what:
            ranges[-1] = msgspec.structs.replace(ranges[-1], to_bit_s=rate)
        else:
            ranges.append(RateRange(from_bit_s=rate, to_bit_s=rate, what=what))
    return ranges
