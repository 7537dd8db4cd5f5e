"""What a plan would answer if something were different: one answer, or one for each stretch of a range of links."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.policy import Stretch, stretches_of_rate, stretches_of_snr
from splitpoint.planner.answers.question import Question
from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.answers.unmeasured import Unmeasured, could_win, unmeasured
from splitpoint.planner.search.decide import Decision
from splitpoint.profiles.link.adjust import at_rate, at_snr

__all__ = ["Range", "WhatIf", "what_if"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Mean uplink rates or SNRs; low equals high: one value."""

    unit: Literal["bit/s", "dB"]
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WhatIf:
    """The answer: a decision for one link, or stretches of a range; and what is worth measuring for it."""

    question: Question  # over the one link, or that of the lower end of the range
    decision: Decision | None
    stretches: tuple[Stretch, ...]
    unmeasured: tuple[tuple[float | None, Unmeasured], ...]  # each with the value at which it could win; None: no range


def what_if(record: PlanRecord, changes: Changes, span: Range | None) -> WhatIf:
    """Decide again among the points of `record`; nothing is measured. Raises `ProfileError`."""
    prices, question = ask(record, changes)
    others = unmeasured(prices, question)
    if span is None or span.low == span.high:
        here = question if span is None else _at(question, span.unit, span.low)
        decision = here.decide()
        winners = could_win(others, here, decision.recommended)
        value = None if span is None else span.low
        return WhatIf(
            question=here,
            decision=decision,
            stretches=(),
            unmeasured=tuple((value, other) for other in winners),
        )
    find = stretches_of_rate if span.unit == "bit/s" else stretches_of_snr
    stretches = tuple(find(question, span.low, span.high))
    found: dict[int, tuple[float | None, Unmeasured]] = {}
    for stretch in stretches:
        value = _middle(stretch, span.unit)
        alone = () if stretch.point is None else (stretch.point,)
        there = _at(dataclasses.replace(question, points=alone), span.unit, value)
        for other in could_win(others, there, next(iter(there.points), None)):
            found.setdefault(id(other), (value, other))
    lowest = _at(question, span.unit, span.low)
    return WhatIf(question=lowest, decision=None, stretches=stretches, unmeasured=tuple(found.values()))


def _at(question: Question, unit: str, value: float) -> Question:
    link = question.channel.link
    return question.over(at_rate(link, value) if unit == "bit/s" else at_snr(link, value))


def _middle(stretch: Stretch, unit: str) -> float:
    """The middle of a stretch; of rates, on a log scale."""
    return math.sqrt(stretch.low * stretch.high) if unit == "bit/s" else (stretch.low + stretch.high) / 2
