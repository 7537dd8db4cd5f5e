"""Cost of the candidates of one network: all but the payload is looked up once a cut, codec and rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.cost.price import CodingWork, Party, cost_of_picture, cost_of_split, cost_on_device
from splitpoint.planner.cost.timing import HostTimes
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.link.symbols import channel_uses
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["UNCOMPRESSED", "OverChannel", "Priced", "Pricer", "host_times"]


def __dir__() -> list[str]:
    return __all__


UNCOMPRESSED = "raw"  # what Neurosurgeon (Kang 2017) chooses among


def host_times(network: Network, *, threads: int) -> HostTimes | None:
    """Times of exported halves on this host, where the host is one of the two sides; None elsewhere."""
    here = next((side for side in (network.edge, network.server) if side.how == "profiled"), None)
    if here is None or network.profile is None:
        return None
    return HostTimes(network.graph, network.cuts.cuts, here, threads=threads, known=network.profile.halves)


class Priced(Protocol):
    """What prices depend on: a network, its cuts, and the two sides that run it."""

    @property
    def graph(self) -> ModelGraph:
        """The network."""
        ...

    @property
    def edge(self) -> Party:
        """The device with its seconds."""
        ...

    @property
    def server(self) -> Party:
        """The server with its seconds."""
        ...

    @property
    def pixels(self) -> int:
        """Of a picture at the input, which is preprocessed; 0: tensors."""
        ...

    def cut(self, name: str) -> Cut:
        """The cut of that name."""
        ...


class OverChannel(Protocol):
    """Whatever says over which channel messages go."""

    @property
    def channel(self) -> Channel:
        """The link, the share of cases in which the deadline must hold, and the server's load."""
        ...


class Pricer:
    """Prices candidates of one network; halves as they were timed, where any were."""

    def __init__(
        self,
        problem: OverChannel,
        network: Priced,
        *,
        host: Device,
        work_of: Callable[[Candidate], CodingWork],
        times: HostTimes | None = None,
    ) -> None:
        """`work_of` says what a split candidate's codec asks of both sides; `times` is None where neither is here."""
        self._network, self._channel, self._host = network, problem.channel, host
        self._work_of = work_of
        self._work: dict[Candidate, CodingWork] = {}
        self._peaks: dict[tuple[str, ...], int] = {}
        self.times = times
        self._pixels = network.pixels

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """The cost with this mean payload."""
        network = self._network
        if candidate.placement == "device":
            cost = cost_on_device(
                graph=network.graph,
                peak_bytes=peak_bytes(network.graph, None),
                prepare_symbols=self._pixels,
                edge=network.edge,
                host=self._host,
            )
            return msgspec.structs.replace(cost, channel_uses=channel_uses(self._channel.link, 0.0))
        if candidate.placement == "server":
            return cost_of_picture(
                graph=network.graph,
                coder=candidate.codec,
                pixels=self._pixels,
                payload_bytes=payload_bytes,
                prepare_symbols=self._pixels,
                edge=network.edge,
                server=network.server,
                host=self._host,
                channel=self._channel,
            )
        if candidate not in self._work:
            self._work[candidate] = self._work_of(candidate)
        return self.split(network.cut(candidate.cut), self._work[candidate], payload_bytes)

    @property
    def known_work(self) -> Mapping[Candidate, CodingWork]:
        """The work of every split candidate that was priced."""
        return self._work

    def uncompressed(self, cut: Cut) -> Cost:
        """The cost of sending the cut's tensors as they are: nothing to fit."""
        symbols = tuple((UNCOMPRESSED, self._network.graph.tensors[name].elements) for name in cut.tensors)
        work = CodingWork(symbols=symbols, encoder=(), decoder=(), table_bytes=0, weight_bytes=0)
        return self.split(cut, work, cut.bytes)

    def split(self, cut: Cut, work: CodingWork, payload_bytes: float) -> Cost:
        """The cost of a split with this coding work and mean payload, whatever the codec."""
        network = self._network
        if cut.tensors not in self._peaks:
            self._peaks[cut.tensors] = peak_bytes(network.graph, cut)
        head, tail = (self.times and self.times.halves(cut)) or (None, None)
        return cost_of_split(
            graph=network.graph,
            cut=cut,
            work=work,
            payload_bytes=payload_bytes,
            peak_bytes=self._peaks[cut.tensors],
            prepare_symbols=self._pixels,
            edge=network.edge,
            server=network.server,
            host=self._host,
            channel=self._channel,
            head=head if network.edge.how == "profiled" else None,
            tail=tail if network.server.how == "profiled" else None,
        )
