"""Prices of recorded points and estimates on other machines, by the same formulas as those of a plan."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import msgspec

from splitpoint.planner.answers.record import GraphRecord, NetworkRecord, PlanRecord
from splitpoint.planner.choice.errors import SpeedErrors, speed_errors
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.cost.price import Party
from splitpoint.planner.cost.timing import HostTimes
from splitpoint.planner.cost.uncounted import refuse_uncounted
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.measuring.network import find_party
from splitpoint.planner.measuring.pricing import Pricer
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.onnxir import ir

__all__ = ["Prices", "Side", "find_side", "graph_of"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A device or a server, and whether it is the host of the plan, of which no limits, power or price are known."""

    device: Device
    is_host: bool

    @property
    def known(self) -> Device | None:
        """The device where its limits, power and price are known."""
        return None if self.is_host else self.device


def find_side(record: PlanRecord, given: Device | None, *, of: str) -> Side:
    """The side `of` the plan ("device" or "server"), or `given` in its place."""
    own = record.device if of == "device" else record.server
    own_is_host = record.device_is_host if of == "device" else record.server_is_host
    if given is None:
        return Side(device=own, is_host=own_is_host)
    return Side(device=given, is_host=given == record.host)


class Prices:
    """Costs of every candidate of a record on two sides."""

    def __init__(self, record: PlanRecord, device: Side, server: Side, channel: Channel) -> None:
        """Raises `ProfileError` when the seconds of a network on a side cannot be predicted."""
        self.record, self.device, self.server, self.channel = record, device, server, channel
        self._works = {candidate: record.works[place] for candidate, place in record.work_of}
        self._same = (device.device, server.device) == (record.device, record.server)
        graphs = [graph_of(network.graph) for network in record.networks]
        self._networks: dict[str, _Network] = {}
        for network, graph in zip(record.networks, graphs, strict=True):
            first = next(iter(self._networks.values()), None)
            self._networks[network.name] = _describe(network, graph, self, first)

    @property
    def errors(self) -> SpeedErrors:
        """How far the seconds of both sides may be off."""
        if self._same:
            return self.record.aim.errors
        given = next(iter(self._networks.values()))
        return speed_errors(given.edge, given.server, self.record.host)

    @property
    def given_whole_s(self) -> float:
        """Seconds of the whole given network on the device."""
        given = next(iter(self._networks.values()))
        return given.edge.seconds([node.index for node in given.graph.nodes])

    def points(self) -> tuple[Evaluated, ...]:
        """The measured points with what they cost here; on the plan's own sides and link they are as stored."""
        if self._same and self.channel == self._own_channel:
            return self.record.points
        return tuple(
            msgspec.structs.replace(point, cost=self.cost(point.candidate, point.cost.payload_bytes))
            for point in self.record.points
        )

    def cost(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """What a candidate costs with this mean payload."""
        return self._pricers[candidate.variant].price(candidate, payload_bytes)

    def cut(self, candidate: Candidate) -> Cut:
        """The cut of a split candidate."""
        return self._networks[candidate.variant].cut(candidate.cut)

    @property
    def _own_channel(self) -> Channel:
        record = self.record
        share = record.asked.deadline_share
        return Channel(link=record.link, share=share, server_load=record.server_load, seed=record.seed)

    @functools.cached_property
    def _pricers(self) -> Mapping[str, Pricer]:
        return {
            record.name: Pricer(
                self,
                self._networks[record.name],
                host=self.record.host,
                work_of=self._works.__getitem__,
                times=_times(record, self._networks[record.name]),
            )
            for record in self.record.networks
        }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Network:
    """A recorded network with its seconds on two sides, as `Pricer` takes it."""

    graph: ModelGraph
    edge: Party
    server: Party
    pixels: int
    cuts: Mapping[str, Cut]

    def cut(self, name: str) -> Cut:
        """The cut of that name; raises `ProfileError` for a record that contradicts itself."""
        if name not in self.cuts:
            raise ProfileError(f"the record has no cut {name!r}", fix="plan again")
        return self.cuts[name]


def _describe(record: NetworkRecord, graph: ModelGraph, prices: Prices, given: _Network | None) -> _Network:
    base = prices.record.networks[0].profile
    sides = (prices.device.device, prices.server.device)
    known = (None, None) if given is None else ((given.graph, given.edge), (given.graph, given.server))
    edge, server = (
        find_party(side, graph, record.profile, base, other) for side, other in zip(sides, known, strict=True)
    )
    for party in (edge, server):
        if party.how == "modelled" and record.profile is not None:
            refuse_uncounted(graph, record.profile, device=party.device.name)
    cuts = {cut.name: cut for cut in record.cuts}
    return _Network(graph=graph, edge=edge, server=server, pixels=record.pixels, cuts=cuts)


def _times(record: NetworkRecord, network: _Network) -> HostTimes | None:
    """The timed halves where one of the sides is the host on which they were timed; nothing is timed here."""
    here = next((side for side in (network.edge, network.server) if side.how == "profiled"), None)
    if here is None or record.profile is None:
        return None
    return HostTimes(network.graph, record.cuts, here, threads=1, known=record.halves)


def graph_of(record: GraphRecord) -> ModelGraph:
    """The recorded network without its weights: prices do not look at them."""
    empty = ir.Model(ir.Graph([], [], nodes=[], name=record.name), ir_version=10)
    fields = {name: getattr(record, name) for name in GraphRecord.__struct_fields__}
    return ModelGraph(**fields, model=empty, source="", source_sha256="")
