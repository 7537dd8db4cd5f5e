"""The answer of a decision as plan.yaml and the documents of --json hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from splitpoint.planner.answers.question import Question
from splitpoint.planner.choice.answer import RunnerUp, price_text
from splitpoint.planner.choice.certainty import doubt_text
from splitpoint.planner.deploy.schema import Alternative, Answer
from splitpoint.planner.search.decide import Decision
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.place import kind_of, place_text

__all__ = ["make_alternatives", "make_answer"]


def __dir__() -> list[str]:
    return __all__


def make_answer(decision: Decision, question: Question, front: Sequence[Evaluated]) -> Answer | None:
    """The recommended point, why, and what the best of every other kind costs instead; None when nothing fits.

    `question` is what was asked, `front` are the points in the order of their numbers.
    """
    chosen = decision.recommended
    if chosen is None:
        return None
    prefer = question.aim.prefer
    numbers = {point.candidate: number for number, point in enumerate(front, start=1)}
    return Answer(
        number=numbers[chosen.candidate],
        kind=kind_of(chosen),
        prefer=prefer,
        reason=decision.reason,
        instead=make_alternatives(decision, prefer, numbers),
        not_certain=None if decision.doubt is None else doubt_text(decision.doubt, question.device, question.server),
    )


def make_alternatives(decision: Decision, prefer: str, numbers: Mapping[Candidate, int]) -> tuple[Alternative, ...]:
    """The best point of every other kind than the answer's, with its price; `numbers` are those on the front."""
    chosen = decision.recommended
    if chosen is None:
        return ()
    return tuple(_alternative(other, chosen, numbers.get(other.point.candidate), prefer) for other in decision.instead)


def _alternative(other: RunnerUp, chosen: Evaluated, number: int | None, prefer: str) -> Alternative:
    point = other.point
    return Alternative(
        kind=other.kind,
        place=place_text(point, with_variant=True),
        codec="-" if point.candidate.placement == "device" else point.candidate.codec,
        rate=point.label,
        number=number,
        price=price_text(chosen, point, prefer, other.misses),
        gain=other.gain,
        uncertainty=other.uncertainty,
        faster_share=other.faster_share,
        payload_bytes=point.cost.payload_bytes,
        latency_s=point.cost.latency_s if math.isfinite(point.cost.latency_s) else None,
        value=point.accuracy.value,
        misses=other.misses,
    )
