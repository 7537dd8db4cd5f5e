"""Value types that the planner's stages hand to one another; SI units in the names, sums as properties."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = [
    "Accuracy",
    "Candidate",
    "Cost",
    "Cut",
    "Evaluated",
    "How",
    "Placement",
    "PlannerError",
    "Rejected",
]


def __dir__() -> list[str]:
    return __all__


How = Literal["measured", "profiled", "modelled"]
Placement = Literal["split", "device", "server"]


class PlannerError(ValueError):
    """A decision cannot be made: what, where (`at`), and the next step (`fix`)."""

    def __init__(self, message: str, *, at: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.fix = fix

    def __str__(self) -> str:
        lines = [self.message]
        if self.at is not None:
            lines.append(f"  at    {self.at}")
        if self.fix is not None:
            lines.append(f"  fix   {self.fix}")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """A frontier: the tensors that cross from head to tail. The head is the down-set of nodes that make them."""

    index: int  # position in the enumeration, input first
    tensors: tuple[str, ...]  # 1..k names, graph order
    after: str  # name of the last head node, "input" for the empty head
    head: tuple[int, ...]  # indices of head nodes
    elements: int
    bytes: int  # uncompressed
    head_macs: int
    head_parameters: int
    head_weight_bytes: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """A place in the graph that is no cut, and why."""

    tensors: tuple[str, ...]
    after: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Candidate:
    """A point of the search space: variant, cut, codec, rate.

    `cut` is the crossing tensors joined by "+"; with placement "device" (no tail) or "server" (the picture or
    the input tensor is sent, no head) it is empty.
    """

    variant: str
    placement: Placement
    cut: str
    codec: str
    rate: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Seconds, bytes and joules of one inference; the parts add up."""

    prepare_s: float  # preprocessing of the input, on whichever side does it
    head_s: float
    encode_s: float
    link_s: float
    decode_s: float
    tail_s: float
    how: How
    payload_bytes: float  # mean length of real bitstreams, container included
    side_bytes: int  # one-time: codec.npz and added weights
    head_bytes: int  # weights the device stores
    head_peak_bytes: int  # weights and live activations, over the execution order
    energy_j: float | None = None  # of the device; None where the profile has no power numbers

    @property
    def latency_s(self) -> float:
        """End to end."""
        return self.prepare_s + self.head_s + self.encode_s + self.link_s + self.decode_s + self.tail_s


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Quality of a candidate on one set, through real payload bytes and the real tail."""

    metric: Literal["top1", "agreement", "fidelity"]
    value: float  # top-1 or agreement as a fraction; fidelity = 1 - relative error
    drop: float  # metric of the unsplit model minus value (agreement and fidelity: 1 - value)
    low: float  # 95 % interval of `value`
    high: float
    drop_high: float  # upper 95 % bound of `drop`
    n: int  # inputs
    groups: int  # scenes (= n when every input is its own)
    relative_error: float  # ||y - y0|| / ||y0|| of the outputs, mean
    payload_bytes: float  # mean over the same inputs
    subset: Literal["search", "report"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """A candidate with its cost and its measured accuracy."""

    candidate: Candidate
    cost: Cost
    accuracy: Accuracy
    label: str  # what tables print of the codec's rate
