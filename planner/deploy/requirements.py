"""What a plan had to meet, as plan.yaml stores it: bounds on named quantities, in SI units."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Bound", "Requirements"]


def __dir__() -> list[str]:
    return __all__


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most or the least that is allowed of one quantity."""

    limit: (
        str  # its name in `planner.limits.limits.LIMITS`, which says the unit and whether it is the most or the least
    )
    value: Annotated[float, msgspec.Meta(ge=0)]
    device: str = ""  # the device whose own limit it is; empty: it was asked for


class Requirements(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that was asked, and what the device allows; a quantity without a bound is not limited."""

    bounds: tuple[Bound, ...] = ()  # at most one for each limit
    confident: bool = False  # bind the 95 % bound of the quality instead of its estimate
    deadline_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None  # of cases; None: on average

    def __post_init__(self) -> None:
        """A limit has one bound."""
        names = [bound.limit for bound in self.bounds]
        if len(set(names)) < len(names):
            raise ValueError("a limit has two bounds")

    def value(self, limit: str) -> float | None:
        """The bound on the quantity of that name, or None."""
        return next((bound.value for bound in self.bounds if bound.limit == limit), None)
