"""The answer in words: why it is recommended, and what the best answer of every other kind would cost instead."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from splitpoint.planner.choice.choose import Read, best_of_kinds, difference
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.intervals import chance_faster
from splitpoint.planner.deploy.schema import Kind
from splitpoint.planner.limits.preferences import PREFERENCES
from splitpoint.planner.values.candidate import Evaluated
from splitpoint.planner.values.place import KINDS, codec_text, kind_of, place_text
from splitpoint.profiles.units import format_bytes, format_uses

__all__ = ["RunnerUp", "find_runner_ups", "point_text", "price_text", "reason_text"]


def __dir__() -> list[str]:
    return __all__


SAME = 0.05  # of a latency: less is "about as fast", and would print as 1x
LEAST_QUALITY = 0.005  # of a share: less is not mentioned
NEVER = "infeasible"  # begins the text of a point whose message cannot be sent


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The best point of another kind than the answer's, or the one that misses its limits least."""

    kind: Kind
    point: Evaluated
    gain: float | None  # of the answer over it, in the preferred quantity; None: it misses a limit, or is not known
    uncertainty: float | None
    faster_share: float | None = None  # of the draws in which the answer is faster; None: it misses a limit
    misses: tuple[str, ...] = ()  # "latency by 4 ms"; empty: it meets every limit


def find_runner_ups(
    answer: Evaluated,
    feasible: Sequence[Evaluated],
    ranked: Sequence[tuple[Evaluated, tuple[str, ...]]],
    read: Read,
    errors: SpeedErrors,
) -> tuple[RunnerUp, ...]:
    """The runner-up of every other kind, the simplest first; `ranked` are the points that miss limits, least first."""
    best = best_of_kinds(feasible, read)
    found = []
    for kind in KINDS:
        if kind == kind_of(answer):
            continue
        if kind in best:
            gap = difference(answer, best[kind], read, errors)
            known = math.isfinite(gap.gain)
            found.append(
                RunnerUp(
                    kind=kind,
                    point=best[kind],
                    gain=gap.gain if known else None,
                    uncertainty=gap.uncertainty if known else None,
                    faster_share=chance_faster(answer.cost, best[kind].cost, errors),
                )
            )
            continue
        nearest = next(((point, misses) for point, misses in ranked if kind_of(point) == kind), None)
        if nearest is not None:
            found.append(RunnerUp(kind=kind, point=nearest[0], gain=None, uncertainty=None, misses=nearest[1]))
    return tuple(found)


def reason_text(answer: Evaluated, others: Sequence[RunnerUp], prefer: str) -> str:
    """Why `answer` is recommended: what it is best in, or "do not split" and why, and how the other kinds compare."""
    row, kind = PREFERENCES[prefer], kind_of(answer)
    parts = [_comparison(other, prefer) for other in others]
    if kind == "split":
        return "; ".join([f"it is {row.best_text(answer)}", *parts])
    if not any(other.kind == "split" for other in others):
        parts.append("no split was measured")
    return f"do not split: {'; '.join(parts)}"


def price_text(answer: Evaluated, other: Evaluated, prefer: str, misses: Sequence[str] = ()) -> str:
    """What `other` costs in place of `answer`: "2.4x faster, 6 kB more", "3x slower, nothing sent"."""
    parts = [_ratio_text(other.cost.latency_s, answer.cost.latency_s, "faster", "slower", "about as fast")]
    more = other.cost.size - answer.cost.size
    if other.cost.payload_bytes == 0:
        parts.append("nothing sent")
    elif round(more):
        size = (format_bytes if other.cost.channel_uses is None else format_uses)(abs(more))
        parts.append(f"{size} {'more' if more > 0 else 'less'}")
    for name, noun in (("energy", "energy"), ("cost", "money")):
        read = PREFERENCES[name].read
        here, there = (None if read is None else read(point) for point in (answer, other))
        if name == prefer and here and there is not None:
            parts.append(f"{_times(there / here)} the {noun}")
    better = other.accuracy.value - answer.accuracy.value
    if abs(better) >= LEAST_QUALITY:
        parts.append(f"{other.accuracy.metric} {abs(better):.2f} {'higher' if better > 0 else 'lower'}")
    return ", ".join([*filter(None, parts), *map(_missed, misses)])


def point_text(point: Evaluated) -> str:
    """A point by its place, codec and rate: "after blocks.3, kltq-rans q5"."""
    place = place_text(point, with_variant=True)
    return (
        place if point.candidate.placement == "device" else f"{place}, {codec_text(point.candidate.codec, point.label)}"
    )


def _missed(text: str) -> str:
    """ "misses latency by 29.1 ms", "is infeasible: a message of 999 B is over the 222 B that the link carries"."""
    return f"is {text}" if text.startswith(NEVER) else f"misses {text}"


def _comparison(other: RunnerUp, prefer: str) -> str:
    """How a runner-up compares with the answer: "all on device is 57 ms slower (± 43 ms)"."""
    row = PREFERENCES[prefer]
    name = point_text(other.point)
    if other.kind == "split":
        name = f"the {'nearest' if other.misses else 'best'} split ({point_text(other.point)})"
    if other.misses:
        never = [_missed(text) for text in other.misses if text.startswith(NEVER)]
        missed = [text for text in other.misses if not text.startswith(NEVER)]
        return f"{name} {' and '.join([*never, *([_missed(' and '.join(missed))] if missed else [])])}"
    if other.gain is None or other.uncertainty is None:
        return f"the {prefer} of {name} is not known"
    sure = row.text(other.uncertainty, other.point)
    if other.gain >= 0:
        much = f"{row.text(other.gain, other.point)} {row.more}" if other.gain else f"as good in {prefer}"
        share = f", in {_draws(other.faster_share)}" if prefer == "latency" and other.faster_share is not None else ""
        return f"{name} is {much}{f' (± {sure}{share})' if other.uncertainty else ''}"
    within = f"within the ± {sure} to which the difference is known"
    return f"{name} is {row.text(-other.gain, other.point)} {row.less}, {within}"


def _draws(share: float) -> str:
    """ "93 of 100 draws", never all or none where a draw differs."""
    return f"{min(99, max(1, round(100 * share))) if 0 < share < 1 else round(100 * share)} of 100 draws"


def _ratio_text(there: float, here: float, less: str, more: str, same: str) -> str:
    """The ratio in words: "2.4x faster", "1.1x slower", "about as fast"; empty where either is nothing or never."""
    if not (math.isfinite(there) and math.isfinite(here) and there > 0 and here > 0):
        return ""
    ratio = there / here
    if abs(ratio - 1) < SAME:
        return same
    return f"{_times(ratio)} {more}" if ratio > 1 else f"{_times(1 / ratio)} {less}"


def _times(ratio: float) -> str:
    """Two digits, and whole numbers from 10 on: "2.4x", "387x"."""
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.2g}x"
