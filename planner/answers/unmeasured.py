"""Candidates of the table that were not measured and could answer a question better than what was.

Nothing is known of their quality but the table's estimate of how far they move the outputs, so none of them is an
answer: they are worth measuring.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from splitpoint.planner.answers.prices import Prices
from splitpoint.planner.answers.question import Question, over_channel
from splitpoint.planner.answers.record import Estimate
from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.search.decide import misses_quality, violations
from splitpoint.planner.values.candidate import Evaluated

__all__ = ["Unmeasured", "could_win", "unmeasured"]


def __dir__() -> list[str]:
    return __all__


_QUALITY = frozenset(name for name, limit in LIMITS.items() if limit.of_quality)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Unmeasured:
    """An estimate that may meet the quality limits; `point` has its cost, and a quality that says nothing."""

    estimate: Estimate
    point: Evaluated


def unmeasured(prices: Prices, question: Question) -> tuple[Unmeasured, ...]:
    """The estimates that were not measured and that no measurement rules out, with their cost on the two sides.

    What was measured rules out a candidate whose codec at its cut misses the quality at a finer or the same rate, and
    one whose estimated error is above those of all candidates of its network that meet it.
    """
    if PREFERENCES[question.aim.prefer].name in ("quality", "knee"):
        return ()  # of which the table has no estimate
    record = prices.record
    errors = {estimate.candidate: estimate.error for estimate in record.table}
    measured = {point.candidate for point in question.points}
    finest_bad: dict[tuple[str, str, str], int] = {}
    largest: dict[str, float] = {}
    for point in question.points:
        candidate = point.candidate
        if candidate.placement != "split":
            continue
        place = (candidate.variant, candidate.cut, candidate.codec)
        if misses_quality(point, question.needs):
            finest_bad[place] = max(candidate.rate, finest_bad.get(place, -1))
        elif candidate in errors:
            largest[candidate.variant] = max(errors[candidate], largest.get(candidate.variant, 0.0))
    found = []
    for estimate in record.table:
        candidate = estimate.candidate
        place = (candidate.variant, candidate.cut, candidate.codec)
        ruled_out = candidate.rate <= finest_bad.get(place, -1) or estimate.error > largest.get(
            candidate.variant, math.inf
        )
        if candidate not in measured and not ruled_out:
            found.append(Unmeasured(estimate=estimate, point=_point(prices, estimate)))
    return tuple(found)


def could_win(candidates: Sequence[Unmeasured], question: Question, answer: Evaluated | None) -> Iterator[Unmeasured]:
    """Those that meet every limit but quality by their estimate, and are better than `answer` in what is preferred."""
    read = PREFERENCES[question.aim.prefer].read
    if read is None:
        return
    best = None if answer is None else read(answer)
    for candidate in candidates:
        if best is not None and question.aim.prefer == "latency" and candidate.point.cost.device_s >= best:
            continue  # its head alone takes longer
        point = over_channel(candidate.point, question.channel, question.device, question.server)
        value = read(point)
        missed = {violation.name for violation in violations(point, question.needs)} - _QUALITY
        if not missed and value is not None and (best is None or value < best):
            yield candidate


def _point(prices: Prices, estimate: Estimate) -> Evaluated:
    candidate = estimate.candidate
    cut = prices.cut(candidate)
    unknown = Accuracy(
        metric="",
        value=0.0,
        drop=1.0,
        low=0.0,
        high=1.0,
        drop_low=0.0,
        drop_high=1.0,
        n=1,
        groups=1,
        relative_error=0.0,
        payload_bytes=estimate.payload_bytes,
        subset="search",
    )
    return Evaluated(
        candidate=candidate,
        cost=prices.cost(candidate, estimate.payload_bytes),
        accuracy=unknown,
        label=estimate.label,
        layer=cut.layer if cut.head else "",
        head_share=cut.head_share,
    )
