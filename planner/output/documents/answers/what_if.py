"""The document of ``splitpoint what-if``: what would be recommended under other conditions, from what was measured."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Literal

from splitpoint.planner.answers.policy import Stretch
from splitpoint.planner.answers.question import Question, over_channel
from splitpoint.planner.answers.record import PlanRecord
from splitpoint.planner.answers.relax import Relaxation, relax_limits
from splitpoint.planner.answers.what_if import Range, WhatIf
from splitpoint.planner.choice.answer import point_text
from splitpoint.planner.choice.certainty import doubt_text, is_certain
from splitpoint.planner.deploy.schema import Alternative, Kind
from splitpoint.planner.limits.text import needs_text
from splitpoint.planner.output.documents.document import Document, Value
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.output.escape import printable_line
from splitpoint.planner.plandir.answer import make_alternatives
from splitpoint.planner.plandir.front import front_row
from splitpoint.planner.search.decide import violations
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.place import kind_of
from splitpoint.profiles.link.adjust import at_rate, at_snr
from splitpoint.profiles.link.link import describe

__all__ = ["StretchRow", "UnmeasuredPart", "WhatIfDocument", "what_if_document"]


def __dir__() -> list[str]:
    return __all__


NAMED = 3  # unmeasured candidates that are listed


class StretchRow(Value, frozen=True, kw_only=True):
    """One answer from `low` to `high`; the value `high` belongs to the next row."""

    low: float  # in `WhatIfDocument.unit`
    high: float
    kind: Kind | None  # None: nothing meets every limit
    what: str | None  # "after blocks.10, kltq-rans q6"
    number: int | None  # on the plan's front; None: it wins elsewhere only
    payload_bytes: float | None
    value: float | None  # quality
    latency_low_s: float | None  # at `low`
    latency_high_s: float | None


class UnmeasuredPart(Value, frozen=True, kw_only=True):
    """Candidates of the table that were not measured and could be better than the answer."""

    count: int
    first: tuple[str, ...]
    command: str | None  # that measures them; None: there are none


class WhatIfDocument(Document, frozen=True, kw_only=True, tag="what-if"):
    """The answer of ``splitpoint what-if``: `row` for one link, `rows` for a range of links."""

    header: str
    need: str
    unit: Literal["bit/s", "dB"] | None  # of `rows`; None: one link
    rows: tuple[StretchRow, ...]
    row: PointRow | None  # the answer; None: a range, or nothing meets every limit
    answer_kind: Kind | None  # of `row`
    prefer: str  # what the answer is best in
    not_certain: str | None  # the deadline that the answer's interval contains, and what to measure
    reason: str  # why it is the answer; empty for a range
    instead: tuple[Alternative, ...]  # the best point of every other kind, with its price beside the answer
    nearest: tuple[PointRow, ...]  # when nothing fits: least missed first
    would_fit: tuple[str, ...]
    relax: tuple[Relaxation, ...]
    unmeasured: UnmeasuredPart


def what_if_document(
    found: WhatIf, record: PlanRecord, *, name: str, span: Range | None, link: str, command: Sequence[str]
) -> WhatIfDocument:
    """`name` is the network's, `link` names the link before it was changed to one of `span`.

    `command` are the words that plan under these conditions, with "{link}" in place of the link.
    """
    question, decision = found.question, found.decision
    unit = None if decision is not None or span is None else span.unit
    numbers = {candidate: number for number, candidate in enumerate(record.front, start=1)}
    chosen = None if decision is None else decision.recommended
    return WhatIfDocument(
        header=_header(question, name, unit),
        need=needs_text(question.needs, record.points[0].accuracy.metric),
        unit=unit,
        rows=tuple(_stretch(stretch, question, unit, numbers) for stretch in found.stretches),
        row=None if chosen is None else _row(chosen, question, numbers),
        answer_kind=None if chosen is None else kind_of(chosen),
        prefer=question.aim.prefer,
        reason="" if decision is None else decision.reason,
        not_certain=None
        if decision is None or decision.doubt is None
        else doubt_text(decision.doubt, question.device, question.server),
        instead=() if decision is None else make_alternatives(decision, question.aim.prefer, numbers),
        nearest=()
        if decision is None
        else tuple(
            point_row(
                front_row(point, question.aim.errors, number=numbers.get(point.candidate)),
                notes=[f"misses {violation.text}" for violation in violations(point, question.needs)],
                misses=[violation.name for violation in violations(point, question.needs)],
            )
            for point in decision.nearest
        ),
        would_fit=() if decision is None else decision.would_fit,
        relax=() if decision is None else relax_limits(question, chosen),
        unmeasured=_unmeasured(found, span, link, command),
    )


def _header(question: Question, name: str, unit: str | None) -> str:
    link = describe(question.channel.link) if unit is None else question.channel.link.name
    return printable_line(f"{name} · {question.device.name} ──{link}──> {question.server.name}")


def _row(point: Evaluated, question: Question, numbers: Mapping[Candidate, int]) -> PointRow:
    return point_row(
        front_row(point, question.aim.errors, number=numbers.get(point.candidate)),
        notes=["recommended"],
        not_certain=not is_certain(point.cost, question.needs, question.aim.errors),
    )


def _stretch(stretch: Stretch, question: Question, unit: str | None, numbers: Mapping[Candidate, int]) -> StretchRow:
    point = stretch.point
    ends = [None, None] if point is None else [_latency(point, question, unit, x) for x in (stretch.low, stretch.high)]
    return StretchRow(
        low=stretch.low,
        high=stretch.high,
        kind=None if point is None else kind_of(point),
        what=None if point is None else point_text(point),
        number=None if point is None else numbers.get(point.candidate),
        payload_bytes=None if point is None else point.cost.payload_bytes,
        value=None if point is None else point.accuracy.value,
        latency_low_s=ends[0],
        latency_high_s=ends[1],
    )


def _latency(point: Evaluated, question: Question, unit: str | None, value: float) -> float | None:
    link = question.channel.link
    channel = question.over(at_rate(link, value) if unit == "bit/s" else at_snr(link, value)).channel
    seconds = over_channel(point, channel, question.device, question.server).cost.latency_s
    return seconds if math.isfinite(seconds) else None


def _unmeasured(found: WhatIf, span: Range | None, link: str, command: Sequence[str]) -> UnmeasuredPart:
    first = found.unmeasured[:NAMED]
    if not first:
        return UnmeasuredPart(count=0, first=(), command=None)
    value = first[0][0]
    there = link if value is None or span is None else f"{link.partition('@')[0]}@{_value_text(value, span.unit)}"
    return UnmeasuredPart(
        count=len(found.unmeasured),
        first=tuple(point_text(other.point) for _, other in first),
        command=" ".join(shlex.quote(there) if word == "{link}" else word for word in command),
    )


def _value_text(value: float, unit: str) -> str:
    return f"{value / 1e6:.4g}Mbit/s" if unit == "bit/s" else f"{value:.4g}dB"
