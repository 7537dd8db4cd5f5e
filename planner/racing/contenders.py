"""What look-ups decide: candidates that cannot win whatever they lose, which are never measured."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.search.decide import QUALITY, violations
from splitpoint.planner.search.table import Entry
from splitpoint.planner.values.candidate import Candidate, Evaluated

__all__ = ["QUALITY_OBJECTIVES", "contenders", "loses_nothing"]


def __dir__() -> list[str]:
    return __all__


QUALITY_OBJECTIVES = ("drop",)  # all others are looked up
EXACT = 1e-4  # relative error of the outputs that rounding alone makes


def contenders(
    entries: Sequence[Entry], points: Sequence[Evaluated], needs: Requirements, objectives: Sequence[str]
) -> list[Candidate]:
    """The candidates of a table that could be on the front if they lost nothing, with the least payload they may have.

    `points` are the baselines. One that meets every limit and loses nothing rules out what costs no less in any
    objective. Where no point is feasible all candidates are kept, for the nearest misses; where none is left the one
    that would be the fastest is kept, so that the answer says by how much splits miss.
    """
    feasible = [point for point in points if not violations(point, needs)]
    if not feasible:
        return [entry.candidate for entry in entries]
    looked_up = [name for name in objectives if name not in QUALITY_OBJECTIVES]
    exact = [[OBJECTIVES[name].read(point) for name in looked_up] for point in feasible if loses_nothing(point)]
    kept = []
    for entry in entries:
        point = msgspec.structs.replace(feasible[0], candidate=entry.candidate, cost=entry.least_cost)
        row = [OBJECTIVES[name].read(point) for name in looked_up]
        beaten = any(all(a <= b for a, b in zip(rival, row, strict=True)) for rival in exact)
        if not beaten and all(violation.name in QUALITY for violation in violations(point, needs)):
            kept.append(entry.candidate)
    if not kept and entries:
        kept.append(min(entries, key=lambda e: (e.cost.deadline_latency_s, e.candidate)).candidate)
    return kept


def loses_nothing(point: Evaluated) -> bool:
    """Whether every measured output was the unsplit network's own: not by luck, as a drop of 0 may be."""
    return point.outcomes is not None and all(row.relative_error <= EXACT for row in point.outcomes.inputs)
