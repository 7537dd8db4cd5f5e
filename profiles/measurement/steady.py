"""Measurements that are repeated until two of them agree, and what to think of those that never do.

Other work on a machine only ever slows it: the best of several measurements is the figure, and it is trusted when the
second best is near.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

__all__ = ["STEADY", "UNUSABLE", "best_rates", "repeat_rates", "worst_spread"]


def __dir__() -> list[str]:
    return __all__


STEADY = 0.1  # relative difference of the two best measurements, up to which they agree
UNUSABLE = 0.3  # above it nothing should be planned with them
MOST_RUNS = 5
# What decides most of a prediction; the overheads are differences of microseconds and vary more.
DECIDING = ("dense_macs_s", "pointwise_macs_s", "depthwise_macs_s", "matmul_macs_s")

Rates = Mapping[str, float]


def repeat_rates(measure: Callable[[], Rates], done: Sequence[Rates] = ()) -> tuple[dict[str, float], dict[str, float]]:
    """The best of at least two runs of `measure` by field, and the spread; `done` are runs that were made before.

    While the two best of a deciding field differ by more than `STEADY`, all are measured again, five times at most.
    """
    runs = [*done]
    while len(runs) < 2 or (len(runs) < MOST_RUNS and worst_spread(best_rates(runs)[1]) > STEADY):
        runs.append(measure())
    return best_rates(runs)


def best_rates(runs: Sequence[Rates]) -> tuple[dict[str, float], dict[str, float]]:
    """By field, the best of the runs and the relative difference of the two best: seconds are best small."""
    best, spread = {}, {}
    for field in runs[0]:
        values = sorted((run[field] for run in runs), reverse=not field.endswith("overhead_s"))
        best[field] = values[0]
        spread[field] = abs(values[0] - values[1]) / max(values[:2]) if max(values[:2]) > 0 else 0.0
    return best, spread


def worst_spread(spread: Mapping[str, float]) -> float:
    """The spread of the least steady deciding field."""
    return max(spread[field] for field in DECIDING)
