"""How surely one point is better than another: the standard uncertainty of the difference of a quantity, paired.

An error that both points share (the speed of the device, of the server, of their coders) changes both at once, so that
only the difference of their seconds counts; the link's rate is given and the same for both. Errors of one point alone
are how the seconds of the network divide into head and tail, and the inputs that were measured, which are paired: the
same inputs went through both. docs/notes/choice.md derives it; "eq. (2)" in a comment is an equation of that note.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from splitpoint.planner.choice.errors import SpeedErrors, division_error
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.values.candidate import Evaluated

__all__ = ["Difference", "compare"]


def __dir__() -> list[str]:
    return __all__


QUANTILE = 1.96  # half a 95 % interval over its standard error
ROUNDING = 1e-12  # of the quantities: not a difference

Read = Callable[[Evaluated], float]  # the quantity, to be small
Change = Callable[[Evaluated], Evaluated]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """By how much one point is better than another, and the standard uncertainty of that."""

    gain: float  # quantity of the other minus that of the point: above 0 the point is better
    uncertainty: float

    @property
    def sure(self) -> bool:
        """Whether the point is better by more than the uncertainty."""
        return self.gain > self.uncertainty


def compare(point: Evaluated, other: Evaluated, read: Read, errors: SpeedErrors) -> Difference:
    """The gain of `point` over `other`; `read` gives the quantity of a point, finite for both."""
    gain = read(other) - read(point)
    losses = []
    for change in _common(errors):  # eq. (3)
        losses.append(gain - (read(change(other)) - read(change(point))))
    for one, sign in ((point, 1.0), (other, -1.0)):
        for change in _division(one):  # eq. (4)
            losses.append(sign * (read(change(one)) - read(one)))
    for change in _inputs(point, other):  # eq. (5) and (6)
        losses.append(read(change(point)) - read(point))
    # Changes come in pairs, up and down; the one that costs gain counts, the other is no error of it. Eq. (2).
    pairs = zip(losses[::2], losses[1::2], strict=True)
    uncertainty = math.sqrt(sum(max(0.0, *pair) ** 2 for pair in pairs))
    rounding = ROUNDING * (abs(read(point)) + abs(read(other)))
    return Difference(gain=gain, uncertainty=uncertainty if uncertainty > rounding else 0.0)


def _common(errors: SpeedErrors) -> Iterator[Change]:
    """Each error that both points share, up and down by its factor."""
    device, server = ("head_s", "encode_s"), ("tail_s", "decode_s")
    sides = (
        (errors.device, device, "device"),
        (errors.server, server, "server"),
        (errors.device_coder, device[1:], "device"),
        (errors.server_coder, server[1:], "server"),
    )
    for factor, parts, side in sides:
        for scale in (factor, 1 / factor):
            yield lambda point, scale=scale, parts=parts, side=side: _scaled(point, scale, parts, side)  # type: ignore[misc]  # mypy does not infer lambdas with defaults


def _division(point: Evaluated) -> Iterator[Change]:
    """Head and tail of a split, each up and down by how far their part of the network's seconds may be off."""
    cost = point.cost
    if not (cost.head_s and cost.tail_s):
        return  # the whole network on one side
    halves: tuple[tuple[Literal["head", "tail"], str, float], ...] = (
        ("head", "head_s", cost.head_s),
        ("tail", "tail_s", cost.tail_s),
    )
    for half, part, seconds in halves:
        error_s = division_error(cost, half) * seconds
        for sign in (1, -1):
            changed = {part: max(0.0, seconds + sign * error_s)}
            yield lambda point, changed=changed: _with_seconds(point, **changed)  # type: ignore[misc]  # as above


def _inputs(point: Evaluated, other: Evaluated) -> Iterator[Change]:
    """The mean payload and the quality of `point`, each up and down by the standard error of the paired difference."""
    extra_bytes, drop = _payload_error(point, other), _drop_error(point, other)
    for sign in (1, -1):
        yield lambda point, extra=sign * extra_bytes: _with_payload(point, extra)  # type: ignore[misc]  # as above
    for sign in (1, -1):
        yield lambda point, extra=sign * drop: msgspec.structs.replace(  # type: ignore[misc]  # as above
            point, accuracy=point.accuracy.with_more_lost(extra)
        )


def _payload_error(point: Evaluated, other: Evaluated) -> float:
    """Standard error of the mean difference of the payloads; 0 where no outcomes are stored."""
    pair = (point.outcomes, other.outcomes)
    if pair[0] is None or pair[1] is None:
        return 0.0
    return _paired_error(pair[0].payload_bytes, pair[1].payload_bytes, [row.group for row in pair[0].inputs])


def _drop_error(point: Evaluated, other: Evaluated) -> float:
    """Standard error of the difference of the drops.

    Paired by input where the metric is the mean of one count of each input; else from the two intervals, as if they
    were independent, which is never too small for two answers to the same inputs.
    """
    pair = (point.outcomes, other.outcomes)
    if pair[0] is not None and pair[1] is not None:
        rows = (*pair[0].inputs, *pair[1].inputs)
        if all(len(row.counts) == 1 for row in rows):
            mine, others = ([row.counts[0] for row in outcomes.inputs] for outcomes in (pair[0], pair[1]))
            return _paired_error(mine, others, [row.group for row in pair[0].inputs])
        halves = [(p.accuracy.high - p.accuracy.low) / 2 for p in (point, other)]
        return math.hypot(*halves) / QUANTILE
    return 0.0


def _paired_error(values: Sequence[float], others: Sequence[float], groups: Sequence[str]) -> float:
    """Standard error of the mean difference of two values of the same inputs; 0 below two inputs.

    The deviation of the inputs over the root of the effective number of groups: a group's mean varies no more than one
    input does, however the inputs of a group depend on each other (docs/notes/accuracy.md, eq. (10)).
    """
    if len(values) != len(others) or len(values) < 2:
        return 0.0
    sizes = np.array(list(Counter(groups).values()), np.float64)
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    difference = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    return float(np.std(difference, ddof=1) / math.sqrt(effective))


def _scaled(point: Evaluated, scale: float, parts: Sequence[str], side: str) -> Evaluated:
    """`point` with the seconds of `parts`, and of preparing the input where `side` does it, times `scale`."""
    cost = point.cost
    if cost.prepared_by == side:
        parts = (*parts, "prepare_s")
    return _with_seconds(point, **{part: scale * getattr(cost, part) for part in parts})


def _with_seconds(point: Evaluated, **parts: float) -> Evaluated:
    return msgspec.structs.replace(point, cost=_powered(point.cost, msgspec.structs.replace(point.cost, **parts)))


def _with_payload(point: Evaluated, extra_bytes: float) -> Evaluated:
    """`point` with a longer payload; the air time, radio and price of a byte stay as they are."""
    cost = point.cost
    if not cost.payload_bytes or cost.symbols is not None:  # how many symbols there are does not vary
        return point
    share = extra_bytes / cost.payload_bytes
    longer = msgspec.structs.replace(
        cost,
        payload_bytes=max(0.0, cost.payload_bytes + extra_bytes),
        channel_uses=None if cost.channel_uses is None else max(0.0, cost.channel_uses * (1 + share)),
        link_s=max(0.0, cost.link_s + share * cost.air_s),
        air_s=max(0.0, cost.air_s * (1 + share)),
        radio_j=None if cost.radio_j is None else max(0.0, cost.radio_j * (1 + share)),
        link_usd=None if cost.link_usd is None else max(0.0, cost.link_usd * (1 + share)),
    )
    return msgspec.structs.replace(point, cost=_powered(cost, longer))


def _powered(before: Cost, after: Cost) -> Cost:
    """`after` with energy and server price in proportion to its seconds, as they were to those of `before`."""

    def scaled(value: float | None, was_s: float, is_s: float) -> float | None:
        return value if value is None or was_s == 0 else value * is_s / was_s

    return msgspec.structs.replace(
        after,
        compute_j=scaled(before.compute_j, before.device_s, after.device_s),
        idle_j=scaled(before.idle_j, before.latency_s, after.latency_s),
        server_usd=scaled(before.server_usd, before.server_s, after.server_s),
    )
