"""A point of the search space, alone, with its measured quality, and with its cost too."""

from __future__ import annotations

import msgspec

from splitpoint.planner.deploy.accuracy import Accuracy
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.values.outcomes import Outcomes

__all__ = ["GIVEN", "Candidate", "Evaluated", "Measured"]


def __dir__() -> list[str]:
    return __all__


GIVEN = "given"  # the variant that the user gave


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """A point of the search space: variant, cut, codec, rate.

    `cut` is the crossing tensors joined by "+"; with placement "device" (no tail) or "server" (the picture or
    the input tensor is sent, no head) it is empty.
    """

    variant: str
    placement: Placement
    cut: str
    codec: str
    rate: int


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A candidate with the outcome of every input, and the quality computed from them."""

    candidate: Candidate
    label: str  # what tables print of the codec's rate
    outcomes: Outcomes
    accuracy: Accuracy


class Evaluated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A candidate with its cost and its measured accuracy."""

    candidate: Candidate
    cost: Cost
    accuracy: Accuracy
    label: str  # what tables print of the codec's rate
    outcomes: Outcomes | None = None  # None: read back from a file that holds the accuracy alone
    layer: str | None = None  # after which it splits; "" where a split codes the input itself; None: named by tensor
    head_share: float | None = None  # of the network's MACs that run on the device; None: not known
