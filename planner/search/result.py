"""What a search found: everything that a plan directory and the terminal need, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.codecs.pictures.quant_tables import QuantTables
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.price import CodingWork
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.search.decide import Decision
from splitpoint.planner.search.table import Entry
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.machine.device import Device
from splitpoint.profiles.measurement.model_profile import HalvesTiming, ModelProfile

__all__ = ["SearchResult"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchResult:
    """Points, the decision among them, and the codecs of those that may be written."""

    problem: Problem
    profile: ModelProfile  # of the given network
    networks: tuple[Network, ...]  # one a variant, the given network first
    aim: Aim  # what the decision's answer is best in
    notes: tuple[str, ...]  # variants that could not be made, and why
    table_size: int
    left_out: Mapping[str, str]  # codec, or "codec at cuts" -> why it was not searched
    baselines: tuple[tuple[str, Evaluated], ...]  # label -> point, in the order of every table
    points: tuple[Evaluated, ...]  # all that were measured
    decision: Decision
    codecs: Mapping[Candidate, tuple[FittedCodec, ...]]  # of every measured split that may be written
    tail_runs: int  # inputs that went through a tail
    tail_reused: int  # inputs whose reconstruction had been seen
    recalled: int = 0  # candidates whose outcomes were kept by an earlier run
    table: tuple[Entry, ...] = ()  # every candidate of the tables with its estimate
    works: Mapping[Candidate, CodingWork] = dataclasses.field(default_factory=dict)  # of splits that were priced
    halves: Mapping[str, tuple[HalvesTiming, ...]] = dataclasses.field(default_factory=dict)  # timed, by variant
    quant_tables: Mapping[Candidate, QuantTables] = dataclasses.field(default_factory=dict)  # of sent pictures

    @property
    def given(self) -> Network:
        """The given network."""
        return self.networks[0]

    @property
    def device(self) -> Device:
        """The device of the plan."""
        return self.given.edge.device

    @property
    def server(self) -> Device:
        """The server of the plan."""
        return self.given.server.device

    def network(self, variant: str) -> Network:
        """The network of a variant by name."""
        return next(network for network in self.networks if network.name == variant)
