"""How many steps the minutes that a user allows are: measured once, and from then on a number of steps."""

from __future__ import annotations

__all__ = ["steps_within"]


def __dir__() -> list[str]:
    return __all__


def steps_within(minutes: float, *, step_s: float, evaluation_s: float = 0.0, evaluations: int = 0) -> int:
    """Steps of `step_s` seconds that fit into `minutes` beside `evaluations`; at least 1."""
    return max(1, int((60 * minutes - evaluations * evaluation_s) / step_s))
