"""A network of the search: where it can be cut, and what it takes on the two sides."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from splitpoint.planner.cost.anchored import anchor_device, anchor_note
from splitpoint.planner.cost.price import Party, op_work, party, predict_graph_s
from splitpoint.planner.cost.runnable import runnable_cuts, unit_notes
from splitpoint.planner.cost.uncounted import refuse_uncounted, uncounted_seconds
from splitpoint.planner.cuts.enumeration import CutList, enumerate_cuts
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.profiling.coverage import cover
from splitpoint.planner.setup.config import PlanConfig
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.machine.device import Device, predict_s
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["Network", "anchor_notes", "describe_network", "find_party", "network_notes"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """A variant with its cuts, and the seconds of its operators on device and server."""

    variant: Variant
    profile: ModelProfile | None  # None: modelled after the given network's profile
    cuts: CutList
    edge: Party
    server: Party

    @property
    def name(self) -> str:
        """The variant's name, by which candidates name it."""
        return self.variant.name

    @property
    def graph(self) -> ModelGraph:
        """The variant's network."""
        return self.variant.graph

    @property
    def pixels(self) -> int:
        """Of a picture at the input, which is preprocessed; 0: tensors."""
        spec = self.variant.spec
        return spec.height_width[0] * spec.height_width[1] if spec.kind == "image" else 0

    @property
    def cuttable(self) -> list[Cut]:
        """The cuts that this variant is for."""
        after = self.variant.after
        return [cut for cut in self.cuts.cuts if after is None or cut.after in after]

    def cut(self, name: str) -> Cut:
        """The cut of that name; raises `ProfileError` when there is none."""
        for cut in self.cuts.cuts:
            if cut.name == name:
                return cut
        raise ProfileError(f"{self.graph.name} has no cut {name!r}", fix="splitpoint cuts MODEL")


def describe_network(
    problem: Problem, variant: Variant, profile: ModelProfile | None, *, host: Device, given: Network | None
) -> Network:
    """Enumerate the cuts and price the operators; `given` is the given network, None: this is it. Nothing is run.

    Raises `ProfileError` when too much of the network's time cannot be priced on a modelled side.
    """
    config, graph = problem.config, variant.graph
    if given is None:
        device = host if config.device == "host" else load_device(config.device)
        other = host if config.server == "host" else load_server(config.server)
        device = _anchored(device, graph, profile, config.measured_device)
        other = _anchored(other, graph, profile, config.measured_server)
    else:
        device, other = given.edge.device, given.server.device
    base = profile if given is None else given.profile
    edge = find_party(device, graph, profile, base, None if given is None else (given.graph, given.edge))
    server = find_party(other, graph, profile, base, None if given is None else (given.graph, given.server))
    for side in (edge, server):
        if side.how == "modelled" and profile is not None:
            refuse_uncounted(graph, profile, device=side.device.name)
    return Network(
        variant=variant,
        profile=profile,
        cuts=runnable_cuts(graph, enumerate_cuts(graph, k=config.search.max_tensors), edge, server),
        edge=edge,
        server=server,
    )


def network_notes(networks: Sequence[Network]) -> tuple[str, ...]:
    """What their accelerators do not run and what becomes of it, and of which operators a profile knows little."""
    notes: list[str] = []
    for network in networks:
        texts = [*unit_notes(network.graph, network.cuts, network.edge, network.server)]
        texts += _coverage_notes(network)
        notes += texts if network.variant.kind == "given" else [f"{network.name}: {text}" for text in texts]
    return tuple(notes)


def _coverage_notes(network: Network) -> list[str]:
    """Of each side whose profile knows less of this network than of usual ones: that its interval is wider, and why."""
    nodes = range(len(network.graph.nodes))
    sides = [side for side in (network.edge, network.server) if side.coverage is not None]
    notes = [side.coverage.note(nodes, side.device) for side in sides if side.coverage is not None]
    return [note for note in notes if note is not None]


def anchor_notes(config: PlanConfig, given: Network) -> tuple[str, ...]:
    """What the user's timings of the whole network changed, a line for each side that has some."""
    sides = (
        (config.measured_device, load_device, config.device, given.edge.device),
        (config.measured_server, load_server, config.server, given.server.device),
    )
    return tuple(anchor_note(load(name), anchored, timings) for timings, load, name, anchored in sides if timings)


def _anchored(device: Device, graph: ModelGraph, profile: ModelProfile | None, measured_s: Sequence[float]) -> Device:
    """`device` as the seconds of the whole network say that were measured on it; itself where there are none.

    Raises `ProfileError` for a side that splitpoint measured.
    """
    if not measured_s or profile is None:
        return device
    side = party(device, graph, profile)
    if side.how == "profiled":
        raise ProfileError(
            f"the seconds of {device.name} were measured by splitpoint, so that a timing of the network adds nothing",
            at=device.name,
            fix="remove measured_device or measured_server",
        )
    return anchor_device(device, side.seconds(range(len(graph.nodes))), measured_s)


def find_party(
    device: Device,
    graph: ModelGraph,
    profile: ModelProfile | None,
    base: ModelProfile | None,
    given: tuple[ModelGraph, Party] | None,
) -> Party:
    """Seconds of the nodes; without a profile predicted, and scaled by what prediction was off for the given graph.

    `base` is the given network's profile; `given` is that network and its seconds, None: `graph` is that network.
    """
    found = _find_party(device, graph, profile, base, given)
    return found if found.how == "profiled" else dataclasses.replace(found, coverage=cover(device, graph))


def _find_party(
    device: Device,
    graph: ModelGraph,
    profile: ModelProfile | None,
    base: ModelProfile | None,
    given: tuple[ModelGraph, Party] | None,
) -> Party:
    if profile is not None:
        return party(device, graph, profile)
    if given is None or base is None:
        raise ValueError(f"{graph.name}: the given network needs a profile")
    known_graph, known = given
    scale = 1.0
    if known.units is None:
        known_s = predict_s(device, [op_work(known_graph, node) for node in known_graph.nodes])
        scale = float(known.node_s.sum() / known_s.sum())
    units, node_s = predict_graph_s(device, graph, uncounted_seconds(graph, base), host=base.host, scale=scale)
    return Party(device=device, node_s=node_s, run_s=known.run_s, how="modelled", units=units)
