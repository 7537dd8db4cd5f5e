"""The outcome of every input: all that a statistic of quality needs, without the output tensors."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["BoxMatches", "InputOutcome", "Outcomes"]


def __dir__() -> list[str]:
    return __all__


class BoxMatches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The boxes of one picture matched with the true ones at each of the IoU thresholds, from which mAP follows."""

    scores: tuple[float, ...]  # of every box found
    classes: tuple[int, ...]
    hits: tuple[int, ...]  # bit t: the box matches a true box at threshold number t
    ignored: tuple[int, ...]  # bit t: it matches a region that is not counted (crowd)
    truths: dict[int, int]  # class -> number of true boxes


class InputOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input through a candidate, compared with the truth: its label, or the unsplit network's answer."""

    counts: tuple[float, ...]  # what the metric adds up over inputs, of the candidate's answer
    unsplit_counts: tuple[float, ...]  # the same of the unsplit network's answer
    margin_change: float | None  # score of the unsplit answer minus the best other; None where there are no scores
    truth_margin: float | None  # score of the true class above the k-th best other (top k); None likewise
    unsplit_truth_margin: float | None  # the same of the unsplit network's scores
    divergence: float | None  # KL(unsplit network's softmax || candidate's), nat; None likewise
    relative_error: float  # ||y - y0|| / ||y0|| over all outputs
    output_errors: tuple[float, ...]  # the same of each output
    group: str
    matches: BoxMatches | None = None  # detection: the candidate's boxes
    unsplit_matches: BoxMatches | None = None


class Outcomes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One set of inputs through a candidate, in the order of the set."""

    subset: Literal["search", "report"]
    inputs: tuple[InputOutcome, ...]
    payload_bytes: tuple[int, ...]  # of each input's container; 0 where nothing is sent
