"""What one inference costs, part by part; the parts add up, and sums are never stored."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.profiles.link.queue import throughput_s

__all__ = ["Cost", "How", "LatencyInterval", "Symbols"]


def __dir__() -> list[str]:
    return __all__


How = Literal["measured", "profiled", "modelled"]
NonNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class LatencyInterval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What contains a modelled latency in 90 of 100 cases, if profiles are as far off as they state."""

    low_s: NonNegative
    high_s: NonNegative


class Symbols(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What crosses as channel symbols, no bits, and the channel over which its quality was measured."""

    count: Annotated[int, msgspec.Meta(ge=1)]  # real numbers a message
    channel: SymbolChannel


class Cost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds, bytes, joules and money of one inference; the parts add up.

    A request that can never be answered has `infeasible` and infinite `link_s`.
    """

    prepare_s: NonNegative  # preprocessing of the input, on whichever side does it
    head_s: NonNegative
    encode_s: NonNegative
    link_s: NonNegative
    decode_s: NonNegative
    tail_s: NonNegative
    how: How  # the least certain of the two halves
    # Mean length of real bitstreams, container included; of channel symbols: of what the modem is given.
    payload_bytes: NonNegative
    symbols: Symbols | None = None  # sent in place of bits
    channel_uses: NonNegative | None = None  # real symbols on air, without headers of packets; None: not of this link
    side_bytes: Count  # one-time: codec.npz and added weights
    head_bytes: Count  # weights the device stores
    head_peak_bytes: Count  # weights and live activations, over the execution order
    head_file_bytes: Count = 0  # weights and coder tables of head.onnx and codec.npz, as the device stores them
    head_how: How | None = None  # None where there is no head
    tail_how: How | None = None
    head_spread_s: NonNegative | None = None  # of head_s, as `Timed` has it
    tail_spread_s: NonNegative | None = None
    # Standard errors of the logarithms of head_s and tail_s that operators unlike those of a profile's fit add to it.
    head_extra_error: NonNegative = 0.0
    tail_extra_error: NonNegative = 0.0
    prepared_by: Literal["device", "server"] = "device"
    wait_s: NonNegative = 0.0  # mean, in the queue of a shared server
    air_s: NonNegative = 0.0  # that the message keeps the link busy; part of link_s but for a duty cycle's silence
    deadline_link_s: NonNegative | None = (
        None  # link and queue in the share of cases that a deadline asks for; None: the means
    )
    infeasible: str | None = None  # why the request can never be answered: `refused`, or a message that cannot arrive
    refused: str | None = None  # which operators of its half a side's accelerator does not run
    compute_j: NonNegative | None = None  # what computing adds on the device; None where a profile has no figures
    radio_j: NonNegative | None = None
    idle_j: NonNegative | None = None  # of being on from the first to the last second
    server_usd: NonNegative | None = None
    link_usd: NonNegative | None = None

    @property
    def latency_s(self) -> float:
        """End to end, on average."""
        return self._computing_s + self.link_s + self.wait_s

    @property
    def deadline_latency_s(self) -> float:
        """End to end in the share of cases that a deadline asks for; the mean where it asks for none."""
        return self.latency_s if self.deadline_link_s is None else self._computing_s + self.deadline_link_s

    @property
    def size(self) -> float:
        """What a request takes of the link: channel uses, or the payload's bytes where the link has none."""
        return self.payload_bytes if self.channel_uses is None else self.channel_uses

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
