"""What a limit costs: the answer when it is a tenth looser, for each limit that keeps a better answer out."""

from __future__ import annotations

import msgspec

from splitpoint.planner.answers.question import Question
from splitpoint.planner.choice.answer import point_text, price_text
from splitpoint.planner.deploy.requirements import Bound
from splitpoint.planner.limits.limits import LIMITS
from splitpoint.planner.limits.text import bound_text
from splitpoint.planner.values.candidate import Evaluated

__all__ = ["Relaxation", "relax_limits"]


def __dir__() -> list[str]:
    return __all__


LOOSER = 0.1  # of the limit; of a least quality, of the loss that it allows


class Relaxation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another answer, which one looser limit would allow."""

    limit: str
    asked: float  # SI units
    relaxed: float
    text: str  # "latency <= 330 ms instead of 300 ms"
    what: str  # "after blocks.12, kltq-rans q7"
    price: str  # beside the answer: "1.1x faster, 300 B less"; empty where there is none


def relax_limits(question: Question, answer: Evaluated | None) -> tuple[Relaxation, ...]:
    """For each limit that was asked for and binds: the answer with that limit alone a tenth looser.

    A limit binds where the answer is another then, or where there was none. The device's own limits are not relaxed.
    """
    found = []
    for bound in question.needs.bounds:
        relaxed = _relaxed(bound)
        if bound.device or relaxed == bound.value:
            continue
        bounds = tuple(msgspec.structs.replace(b, value=relaxed) if b is bound else b for b in question.needs.bounds)
        other = question.within(msgspec.structs.replace(question.needs, bounds=bounds)).answer()
        if other is not None and (answer is None or other.candidate != answer.candidate):
            found.append(_relaxation(bound, relaxed, other, answer, question.aim.prefer))
    return tuple(found)


def _relaxed(bound: Bound) -> float:
    limit = LIMITS[bound.limit]
    if limit.best == "least":
        value = (1 + LOOSER) * bound.value
    elif limit.of_quality:
        value = max(0.0, 1 - (1 + LOOSER) * (1 - bound.value))
    else:
        value = (1 - LOOSER) * bound.value
    return float(round(value)) if limit.whole else value


def _relaxation(bound: Bound, relaxed: float, other: Evaluated, answer: Evaluated | None, prefer: str) -> Relaxation:
    metric = other.accuracy.metric
    return Relaxation(
        limit=bound.limit,
        asked=bound.value,
        relaxed=relaxed,
        text=f"{bound_text(bound.limit, relaxed, metric)} instead of {LIMITS[bound.limit].show(bound.value)}",
        what=point_text(other),
        price="" if answer is None else price_text(answer, other, prefer),
    )
