"""One variant ready to be measured: its profile, cuts, devices, workbench, costs and accuracy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec

from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.bench import Workbench
from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cost.price import (
    CodingWork,
    Party,
    cost_of_picture,
    cost_of_split,
    cost_on_device,
    op_work,
    party,
    work_of,
)
from splitpoint.planner.cost.timing import HostTimes, with_anchors
from splitpoint.planner.cuts.enumeration import CutList, enumerate_cuts
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.profiling.host import measure_host
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.samples.dataset import inputs
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import read_yaml
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.machine.device import Device, predict_s
from splitpoint.profiles.machine.machine import check_settings, this_machine
from splitpoint.profiles.measurement.measure import measure_profile
from splitpoint.profiles.measurement.model_profile import ModelProfile
from splitpoint.profiles.network.model import ModelGraph

__all__ = ["UNCOMPRESSED", "Lab", "Pricer", "obtain_profile", "obtain_profiles", "open_lab"]


def __dir__() -> list[str]:
    return __all__


UNCOMPRESSED = "raw"  # what Neurosurgeon (Kang 2017) chooses among


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lab:
    """A variant and everything that prices and measures its candidates."""

    variant: Variant
    profile: ModelProfile | None  # None: modelled after the given network's profile
    cuts: CutList
    edge: Party
    server: Party
    bench: Workbench
    pricer: Pricer
    evaluator: Evaluator

    @property
    def graph(self) -> ModelGraph:
        """The variant's network."""
        return self.variant.graph

    @property
    def cuttable(self) -> list[Cut]:
        """The cuts that this variant was made for."""
        after = self.variant.after
        return [cut for cut in self.cuts.cuts if after is None or cut.after in after]


def open_lab(
    problem: Problem, variant: Variant, profile: ModelProfile | None, *, host: Device, given: Lab | None
) -> Lab:
    """Nothing is run yet. Agreement and drop are against the `given` network; None: this is the given one."""
    config, graph = problem.config, variant.graph
    device = host if config.device == "host" else load_device(config.device)
    other = host if config.server == "host" else load_server(config.server)
    edge = _party(device, graph, profile, None if given is None else (given.graph, given.edge))
    server = _party(other, graph, profile, None if given is None else (given.graph, given.server))
    cuts = enumerate_cuts(graph, k=config.search.max_tensors)
    sets = {"calibration": variant.split.calibration, "search": variant.split.search}
    bench = Workbench(
        graph,
        {name: lambda data=data: inputs(data) for name, data in sets.items()},  # type: ignore[misc]  # bound early
        threads=problem.threads,
        seed=config.search.seed,
        labels=variant.split.calibration.labels,
    )
    here = next((side for side in (edge, server) if side.how == "profiled"), None)
    times = None
    if here is not None and profile is not None:
        times = HostTimes(graph, cuts.cuts, here, threads=problem.threads, known=profile.halves)
    pricer = Pricer(problem, variant, bench, edge, server, host, cuts.cuts, times)
    evaluator = Evaluator(
        bench,
        variant.split.search,
        problem.metric,
        pricer.cuts,
        pricer.price,
        reference=None if given is None else lambda: given.evaluator.reference,
    )
    return Lab(
        variant=variant,
        profile=profile,
        cuts=cuts,
        edge=edge,
        server=server,
        bench=bench,
        pricer=pricer,
        evaluator=evaluator,
    )


def obtain_profiles(
    variants: Sequence[Variant], *, stored: Path | None, threads: int
) -> tuple[ModelProfile, list[ModelProfile | None]]:
    """The given network's profile and one for each variant, the given first.

    `stored` is the given network's profile, or a folder of profiles that are told apart by their model's hash. With
    it nothing is measured, so that the plan depends on files alone: a variant without a stored profile gets None.
    """
    given = variants[0].graph
    if stored is None or not stored.is_dir():
        first = obtain_profile(given, stored=stored, threads=threads)
        others = [
            None
            if stored is not None
            else with_anchors(variant.graph, measure_profile(variant.graph, host=first.host, threads=threads))
            for variant in variants[1:]
        ]
        return first, [first, *others]
    found = {profile.model_sha256: profile for profile in (read_yaml(p, ModelProfile) for p in sorted(_yaml(stored)))}
    if given.sha256 not in found:
        raise ProfileError(
            f"no profile of {given.name} ({given.sha256[:12]}…) among {len(found)} profiles",
            at=str(stored),
            fix=f"splitpoint profile MODEL --out {stored}/{given.name}.yaml",
        )
    return found[given.sha256], [found.get(variant.graph.sha256) for variant in variants]


def obtain_profile(graph: ModelGraph, *, stored: Path | None, threads: int) -> ModelProfile:
    """The stored profile of this very model, or one measured now on this host."""
    if stored is None:
        machine = this_machine(threads=threads)
        return with_anchors(graph, measure_profile(graph, host=measure_host(machine), threads=threads))
    profile = read_yaml(stored, ModelProfile)
    if profile.model_sha256 != graph.sha256:
        raise ProfileError(
            f"the profile is of another model: {profile.model} {profile.model_sha256[:12]}…,"
            f" this is {graph.name} {graph.sha256[:12]}…",
            at=f"{stored}: $.model_sha256",
            fix="splitpoint profile MODEL --out FILE",
        )
    check_settings(profile.machine, this_machine(threads=threads), what="the model profile", at=f"{stored}: $.machine")
    return profile


def _yaml(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".yaml", ".yml")]


def _party(
    device: Device, graph: ModelGraph, profile: ModelProfile | None, given: tuple[ModelGraph, Party] | None
) -> Party:
    """Seconds of the nodes; without a profile predicted, and scaled by what prediction was off for the given graph."""
    if profile is not None:
        return party(device, graph, profile)
    if given is None:
        raise ValueError(f"{graph.name}: the given network needs a profile")
    known_graph, known = given
    predicted_s, known_s = (predict_s(device, [op_work(g, node) for node in g.nodes]) for g in (graph, known_graph))
    scale = float(known.node_s.sum() / known_s.sum())
    return Party(device=device, node_s=predicted_s * scale, run_s=known.run_s, how="modelled")


class Pricer:
    """Cost of one variant's candidates: all but the payload is looked up once per cut, codec and rate."""

    def __init__(
        self,
        problem: Problem,
        variant: Variant,
        bench: Workbench,
        edge: Party,
        server: Party,
        host: Device,
        cuts: Sequence[Cut],
        times: HostTimes | None,
    ) -> None:
        self._graph, self._channel = variant.graph, problem.channel
        self._bench, self._edge, self._server, self._host = bench, edge, server, host
        self.cuts = {cut.name: cut for cut in cuts}
        self._work: dict[Candidate, CodingWork] = {}
        spec = variant.spec
        self.times = times  # None: neither side is the host that was profiled
        self._pixels = spec.height_width[0] * spec.height_width[1] if spec.kind == "image" else 0
        self._peaks: dict[str, int] = {}

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """The cost with this mean payload; halves as they were timed, where any were."""
        if candidate.placement == "device":
            return cost_on_device(
                graph=self._graph,
                peak_bytes=peak_bytes(self._graph, None),
                prepare_symbols=self._pixels,
                edge=self._edge,
                host=self._host,
            )
        if candidate.placement == "server":
            return cost_of_picture(
                graph=self._graph,
                coder=candidate.codec,
                pixels=self._pixels,
                payload_bytes=payload_bytes,
                prepare_symbols=self._pixels,
                edge=self._edge,
                server=self._server,
                host=self._host,
                channel=self._channel,
            )
        cut = self.cuts[candidate.cut]
        if candidate not in self._work:
            fitted = self._bench.fit(cut, candidate.codec, candidate.rate)
            tables = len(save_coders([codec.coder for codec in fitted]))
            self._work[candidate] = work_of(fitted, table_bytes=tables)
        return self._split(cut, self._work[candidate], payload_bytes)

    def again(self, point: Evaluated) -> Evaluated:
        """`point` with its cost as it is known by now."""
        return msgspec.structs.replace(point, cost=self.price(point.candidate, point.cost.payload_bytes))

    def uncompressed(self, cut: Cut) -> Cost:
        """The cost of sending the cut's tensors as they are: nothing to fit."""
        symbols = tuple((UNCOMPRESSED, self._graph.tensors[name].elements) for name in cut.tensors)
        work = CodingWork(symbols=symbols, encoder=(), decoder=(), table_bytes=0, weight_bytes=0)
        return self._split(cut, work, cut.bytes)

    def _split(self, cut: Cut, work: CodingWork, payload_bytes: float) -> Cost:
        name = cut.name
        if name not in self._peaks:
            self._peaks[name] = peak_bytes(self._graph, cut)
        head, tail = (self.times and self.times.halves(cut)) or (None, None)
        return cost_of_split(
            graph=self._graph,
            cut=cut,
            work=work,
            payload_bytes=payload_bytes,
            peak_bytes=self._peaks[name],
            prepare_symbols=self._pixels,
            edge=self._edge,
            server=self._server,
            host=self._host,
            channel=self._channel,
            head=head if self._edge.how == "profiled" else None,
            tail=tail if self._server.how == "profiled" else None,
        )
