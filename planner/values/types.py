"""Value types that the planner's stages hand to one another; SI units in the names, sums as properties."""

from __future__ import annotations

import dataclasses
from typing import Literal

from splitpoint.profiles.link.queue import throughput_s

__all__ = [
    "GIVEN",
    "Accuracy",
    "Candidate",
    "Cost",
    "Cut",
    "Evaluated",
    "How",
    "Placement",
    "PlannerError",
    "Rejected",
    "Timed",
]


def __dir__() -> list[str]:
    return __all__


GIVEN = "given"  # the variant that the user gave

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
class Timed:
    """Seconds of one half of a network, and how they are known."""

    seconds: float
    how: How
    spread_s: float | None  # measured: median absolute deviation; profiled: retest error; modelled: not known


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

    @property
    def name(self) -> str:
        """The crossing tensors, as candidates name a cut."""
        return "+".join(self.tensors)


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
    """Seconds, bytes, joules and money of one inference; the parts add up.

    A request that can never be answered has `infeasible` and infinite `link_s`.
    """

    prepare_s: float  # preprocessing of the input, on whichever side does it
    head_s: float
    encode_s: float
    link_s: float
    decode_s: float
    tail_s: float
    how: How  # the least certain of the two halves
    payload_bytes: float  # mean length of real bitstreams, container included
    side_bytes: int  # one-time: codec.npz and added weights
    head_bytes: int  # weights the device stores
    head_peak_bytes: int  # weights and live activations, over the execution order
    head_file_bytes: int = 0  # weights and coder tables of head.onnx and codec.npz, as the device stores them
    head_how: How | None = None  # None where there is no head
    tail_how: How | None = None
    head_spread_s: float | None = None  # of head_s, as `Timed` has it
    tail_spread_s: float | None = None
    prepared_by: Literal["device", "server"] = "device"
    wait_s: float = 0.0  # mean, in the queue of a shared server
    air_s: float = 0.0  # that the message keeps the link busy; part of link_s but for a duty cycle's silence
    deadline_link_s: float | None = None  # link and queue in the share of draws a deadline asks for; None: the means
    infeasible: str | None = None  # why the message can never arrive
    compute_j: float | None = None  # what computing adds on the device; None where a profile has no figures
    radio_j: float | None = None
    idle_j: float | None = None  # of being on from the first to the last second
    server_usd: float | None = None
    link_usd: float | None = None

    @property
    def latency_s(self) -> float:
        """End to end, on average."""
        return self._computing_s + self.link_s + self.wait_s

    @property
    def deadline_latency_s(self) -> float:
        """End to end in the share of the draws that a deadline asks for; the mean where it asks for none."""
        return self.latency_s if self.deadline_link_s is None else self._computing_s + self.deadline_link_s

    @property
    def device_s(self) -> float:
        """That the device computes."""
        return self.head_s + self.encode_s + (self.prepare_s if self.prepared_by == "device" else 0.0)

    @property
    def server_s(self) -> float:
        """That the server computes."""
        return self.decode_s + self.tail_s + (self.prepare_s if self.prepared_by == "server" else 0.0)

    @property
    def frame_rate(self) -> float:
        """Frames a second of device, link and server working on successive frames at once."""
        return throughput_s({"device": self.device_s, "link": self.air_s, "server": self.server_s})

    @property
    def energy_j(self) -> float | None:
        """Of the device, from the first to the last second; None where a part is not known."""
        return _sum(self.compute_j, self.radio_j, self.idle_j)

    @property
    def usd(self) -> float | None:
        """Of one request; None where a part is not known."""
        return _sum(self.server_usd, self.link_usd)

    @property
    def _computing_s(self) -> float:
        return self.prepare_s + self.head_s + self.encode_s + self.decode_s + self.tail_s


def _sum(*parts: float | None) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


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
