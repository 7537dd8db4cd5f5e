"""Where splitting pays: the kind of answer, and by how much it wins, for devices against link rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import msgspec

from splitpoint.planner.answers.ask import Changes, ask
from splitpoint.planner.answers.prices import Prices
from splitpoint.planner.answers.question import Question
from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.answers.unmeasured import Unmeasured, could_win, unmeasured
from splitpoint.planner.choice.certainty import is_certain
from splitpoint.planner.choice.choose import best_of_kinds, quantity
from splitpoint.planner.choice.intervals import chance_faster
from splitpoint.planner.cost.price import at_speed
from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.limits.preferences import with_preferred
from splitpoint.planner.search.decide import objective_rows
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import kind_of
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.link.adjust import at_rate
from splitpoint.profiles.machine.device import Device

__all__ = ["Cell", "Row", "device_rows", "speed_rows"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """The answer on one device over one link."""

    point: Evaluated | None  # None: nothing meets every limit
    kind: Kind | None
    gain: float | None  # share of the preferred quantity saved against the best other kind; None: no other kind fits
    unmeasured: int  # candidates of the table that could be better, were they measured
    faster_share: float | None = None  # of the draws, least of those against the best of another kind; None: none fits
    certain: bool = True  # that the answer meets its deadline


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One device over all links; without cells where the network cannot be priced on it."""

    name: str
    whole_s: float | None  # of the whole network on it
    cells: tuple[Cell, ...]
    reason: str = ""  # why there are none


def device_rows(
    record: PlanRecord, changes: Changes, devices: Sequence[Device], rates_bit_s: Sequence[float]
) -> list[Row]:
    """A row a device, the slowest first."""
    rows = []
    for device in devices:
        try:
            prices, question = ask(record, dataclasses.replace(changes, device=device))
        except ProfileError as error:
            rows.append(Row(name=device.name, whole_s=None, cells=(), reason=error.message))
            continue
        cells = _cells(question, unmeasured(prices, question), rates_bit_s)
        rows.append(Row(name=device.name, whole_s=prices.given_whole_s, cells=cells))
    return sorted(rows, key=lambda row: -(row.whole_s or 0.0))


def speed_rows(
    record: PlanRecord, changes: Changes, factors: Sequence[float], rates_bit_s: Sequence[float]
) -> list[Row]:
    """A row for each multiple of the device's speed, named by it ("x1/4", "x2"), the slowest first."""
    prices, question = ask(record, changes)
    others = unmeasured(prices, question)
    rows = []
    for factor in sorted(factors):
        points = tuple(_faster(point, factor, prices) for point in question.points)
        there = tuple(dataclasses.replace(other, point=_faster(other.point, factor, prices)) for other in others)
        cells = _cells(dataclasses.replace(question, points=points), there, rates_bit_s)
        name = f"x{factor:g}" if factor >= 1 else f"x1/{1 / factor:g}"
        rows.append(Row(name=name, whole_s=prices.given_whole_s / factor, cells=cells))
    return rows


def _faster(point: Evaluated, factor: float, prices: Prices) -> Evaluated:
    return msgspec.structs.replace(point, cost=at_speed(point.cost, factor, prices.device.device))


def _cells(question: Question, others: Sequence[Unmeasured], rates_bit_s: Sequence[float]) -> tuple[Cell, ...]:
    kept = question.without_hopeless()
    return tuple(_cell(kept.over(at_rate(question.channel.link, rate)), others) for rate in rates_bit_s)


def _cell(question: Question, others: Sequence[Unmeasured]) -> Cell:
    answer = question.answer()
    count = sum(1 for _ in could_win(others, question, answer))
    if answer is None:
        return Cell(point=None, kind=None, gain=None, unmeasured=count)
    return Cell(
        point=answer,
        kind=kind_of(answer),
        gain=_gain(question, answer),
        unmeasured=count,
        faster_share=_faster_share(question, answer),
        certain=is_certain(answer.cost, question.needs, question.aim.errors),
    )


def _faster_share(question: Question, answer: Evaluated) -> float | None:
    """In how many draws the answer is faster than the fastest point of another kind: the least over the kinds."""
    best = best_of_kinds(question.feasible(), lambda point: point.cost.latency_s)
    shares = [
        chance_faster(answer.cost, point.cost, question.aim.errors)
        for kind, point in best.items()
        if kind != kind_of(answer) and math.isfinite(point.cost.latency_s)
    ]
    return min(shares, default=None)


def _gain(question: Question, answer: Evaluated) -> float | None:
    """1 - what is preferred of the answer over that of the best other kind; below 0 where that is not surely better."""
    feasible = question.feasible()
    names = with_preferred(question.objectives, question.aim.prefer)
    front = [p for p, keep in zip(feasible, pareto(objective_rows(feasible, names)), strict=True) if keep]
    read = quantity(question.aim.prefer, front, names)
    others = [read(point) for kind, point in best_of_kinds(feasible, read).items() if kind != kind_of(answer)]
    best = min(others, default=math.inf)
    if not math.isfinite(best):
        return None
    return 1 - read(answer) / best if best > 0 else 0.0
