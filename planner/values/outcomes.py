"""The outcome of every input: all that a statistic of quality needs, without the output tensors."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["InputOutcome", "Outcomes"]


def __dir__() -> list[str]:
    return __all__


class InputOutcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input through a candidate, compared with the unsplit network."""

    right: bool | None  # the answer is the label; None without one
    reference_right: bool | None  # the unsplit network's answer is the label
    same: bool  # the answer is the unsplit network's
    margin_change: float | None  # score of the reference's answer minus the best other; None where there are no scores
    divergence: float | None  # KL(unsplit network's softmax || candidate's), nat; None likewise
    relative_error: float  # ||y - y0|| / ||y0|| over all outputs
    group: str


class Outcomes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One set of inputs through a candidate, in the order of the set."""

    subset: Literal["search", "report"]
    inputs: tuple[InputOutcome, ...]
    payload_bytes: tuple[int, ...]  # of each input's container; 0 where nothing is sent
