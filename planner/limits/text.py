"""Limits in words."""

from __future__ import annotations

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.units import format_fraction

__all__ = ["bound_text", "needs_text"]


def __dir__() -> list[str]:
    return __all__


def bound_text(limit: str, value: float, metric: str) -> str:
    """A bound with its sign and unit: "latency <= 55 ms"; raises `ProfileError` for a limit that is none."""
    row = LIMITS.get(limit)
    if row is None:
        raise ProfileError(f"unknown limit {limit!r}", fix=f"one of {', '.join(LIMITS)}")
    return f"{row.title(metric)} {'<=' if row.best == 'least' else '>='} {row.show(value)}"


def needs_text(needs: Requirements, metric: str) -> str:
    """What was asked for, on one line with units; what the device allows is not repeated."""
    parts = []
    for bound in needs.bounds:
        text = bound_text(bound.limit, bound.value, metric)
        if bound.limit == "latency" and needs.deadline_share is not None:
            text += f" in {format_fraction(needs.deadline_share)} of cases"
        if bound.limit == "drop":
            text = f"{metric} {text}"
        parts += [] if bound.device else [text]
    return " · ".join([*parts, *(["95 % bound"] if needs.confident else [])])
