"""Seconds with how they are known."""

from __future__ import annotations

import msgspec

from splitpoint.planner.deploy.cost import How

__all__ = ["Timed"]


def __dir__() -> list[str]:
    return __all__


class Timed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds of one half of a network, and how they are known."""

    seconds: float
    how: How
    spread_s: float | None  # measured: median absolute deviation; profiled: retest error; modelled: not known
