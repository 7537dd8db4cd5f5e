"""Which point answers at which link: stretches of rates or of SNRs without a gap, and where one takes over.

A border lies between two values that were decided, at most `RATE_STEP` (of the rate) or `SNR_STEP_DB` apart; the value
at a border belongs to the stretch above it. Borders are looked for between neighbours of a grid that have different
answers: one that comes and goes between two neighbours (15 % of the rate or 1 dB apart) with equal ones is not seen.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from splitpoint.planner.answers.question import Question
from splitpoint.planner.choice.answer import point_text
from splitpoint.planner.deploy.schema import PolicyRow
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import LEAST_BIT_S, Link, mean_rate_bit_s

__all__ = ["Stretch", "plan_policy", "policy_rows", "rate_range", "stretches_of_rate", "stretches_of_snr"]


def __dir__() -> list[str]:
    return __all__


LEAST_RATE_BIT_S, MOST_RATE_BIT_S = 5e4, 5e7  # of a plan's table, at least
AROUND = 10.0  # and the link's own rate divided and multiplied by this
GRID_A_DECADE = 16  # rates that are decided before borders are looked for
GRID_A_DECIBEL = 1
RATE_STEP = 1e-4  # relative
SNR_STEP_DB = 1e-3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """One answer from `low` to `high` (bit/s or dB); `point` is None where nothing meets every limit."""

    low: float
    high: float
    point: Evaluated | None  # with its cost at `low`


def rate_range(link: Link) -> tuple[float, float] | None:
    """The uplink rates of a plan's policy, in bit/s; None for a link that carries nothing."""
    own = mean_rate_bit_s(link)
    if own <= LEAST_BIT_S:
        return None
    return min(LEAST_RATE_BIT_S, own / AROUND), max(MOST_RATE_BIT_S, own * AROUND)


def plan_policy(question: Question, front: dict[Candidate, int]) -> tuple[PolicyRow, ...]:
    """The policy over the uplink rates of `rate_range`; `front` are numbers of points, from 1."""
    span = rate_range(question.channel.link)
    return () if span is None else policy_rows(stretches_of_rate(question, *span), front)


def policy_rows(stretches: list[Stretch], front: dict[Candidate, int]) -> tuple[PolicyRow, ...]:
    """Stretches of rates as plan.yaml holds them."""
    return tuple(
        PolicyRow(
            from_bit_s=stretch.low,
            to_bit_s=stretch.high,
            number=None if stretch.point is None else front.get(stretch.point.candidate),
            what=None if stretch.point is None else point_text(stretch.point),
        )
        for stretch in stretches
    )


def stretches_of_rate(question: Question, low: float, high: float) -> list[Stretch]:
    """The answers from the mean uplink rate `low` to `high`, in bit/s."""
    link = question.channel.link
    found = _stretches(
        question,
        lambda x: at_rate(link, math.exp(x)),
        (math.log(low), math.log(high)),
        step=RATE_STEP,
        grid=GRID_A_DECADE / math.log(10),
    )
    ends = [low, *(math.exp(stretch.low) for stretch in found[1:]), high]
    return [
        dataclasses.replace(stretch, low=start, high=end)
        for stretch, start, end in zip(found, ends[:-1], ends[1:], strict=True)
    ]


def stretches_of_snr(question: Question, low: float, high: float) -> list[Stretch]:
    """The answers from the SNR `low` to `high`, in dB; raises `ProfileError` for a link without one."""
    link = question.channel.link
    return _stretches(question, lambda db: at_snr(link, db), (low, high), step=SNR_STEP_DB, grid=GRID_A_DECIBEL)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """What is decided at one place."""

    x: float
    point: Evaluated | None

    @property
    def candidate(self) -> Candidate | None:
        return None if self.point is None else self.point.candidate


def _stretches(
    question: Question, link_at: Callable[[float], Link], span: tuple[float, float], *, step: float, grid: float
) -> list[Stretch]:
    """Stretches over the coordinate of `link_at`; `grid` are looks a unit of it."""
    if not span[0] < span[1]:
        raise ProfileError(f"expected a range from a lower to a higher value, got {span[0]:g} to {span[1]:g}")
    kept = question.without_hopeless()
    look = functools.partial(_look, kept, link_at)
    places = np.linspace(*span, 2 + math.ceil(grid * (span[1] - span[0])))
    looks = [look(float(x)) for x in places]
    starts = [looks[0]]
    for before, after in itertools.pairwise(looks):
        starts += _changes(look, before, after, step)
    ends = [*(start.x for start in starts[1:]), span[1]]
    return [Stretch(low=start.x, high=end, point=start.point) for start, end in zip(starts, ends, strict=True)]


def _changes(look: Callable[[float], _Look], before: _Look, after: _Look, step: float) -> Iterator[_Look]:
    """The looks between two neighbours at which another answer begins."""
    width = after.x - before.x
    if before.candidate == after.candidate:
        return
    if width <= step:
        yield after
        return
    middle = look((before.x + after.x) / 2)
    yield from _changes(look, before, middle, step)
    yield from _changes(look, middle, after, step)


def _look(question: Question, link_at: Callable[[float], Link], x: float) -> _Look:
    return _Look(x=x, point=question.over(link_at(x)).answer())
