"""The whole of ``splitpoint plan`` in order: model -> profile -> cuts -> table -> search -> decision.

Stages are functions that hand values on; `planner.write` makes the plan directory of the outcome.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from splitpoint.codecs.picture import PICTURES
from splitpoint.codecs.protocol import Codec
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.codecs.store import save_coders
from splitpoint.planner import table
from splitpoint.planner.accuracy import Metric, choose_metric
from splitpoint.planner.channel import Channel
from splitpoint.planner.config import PlanConfig, requirements
from splitpoint.planner.cost import CodingWork, Party, cost_of_picture, cost_of_split, cost_on_device, party, work_of
from splitpoint.planner.cuts import CutList, enumerate_cuts
from splitpoint.planner.data import Dataset, Split, check_labels, inputs, split_three
from splitpoint.planner.decide import Decision, decide, misses_quality
from splitpoint.planner.evaluate import Evaluator
from splitpoint.planner.host import measure_host
from splitpoint.planner.limits import bind
from splitpoint.planner.loaders import load_data
from splitpoint.planner.memory import peak_bytes
from splitpoint.planner.planfile import Requirements
from splitpoint.planner.search import search
from splitpoint.planner.types import Candidate, Cost, Cut, Evaluated, PlannerError
from splitpoint.planner.workbench import Workbench
from splitpoint.profiles.canonical import read_model
from splitpoint.profiles.catalog import load_device, load_link, load_server
from splitpoint.profiles.device import Device
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files import read_yaml
from splitpoint.profiles.graph import load_graph, load_model
from splitpoint.profiles.inputs import InputSpec, check_against, guess_spec
from splitpoint.profiles.link import Link
from splitpoint.profiles.machine import check_settings, this_machine
from splitpoint.profiles.measure import measure_profile
from splitpoint.profiles.model import ModelGraph, ModelProfile
from splitpoint.profiles.torch_model import export_torch, is_torch_spec

__all__ = [
    "Outcome",
    "Problem",
    "Progress",
    "Silent",
    "default_threads",
    "load_problem",
    "load_source",
    "obtain_profile",
    "plan",
]


def __dir__() -> list[str]:
    return __all__


GIVEN = "given"  # the variant that the user gave
STARTING_SHARE = 0.5  # of the evaluations go to the table's own front before the sampler proposes
BASELINE_PICTURES = ("png", "jpeg", "jpeg-420", "webp")  # always measured
BASELINE_SPLIT = "raw"  # uncompressed: what Neurosurgeon (Kang 2017) chooses among


class Progress(Protocol):
    """Where stages say how far they are."""

    def stage(self, name: str, total: int | None) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """A context whose value, called after each step, takes a short text (empty keeps the last)."""
        ...


class Silent:
    """Progress that says nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[Callable[[str], None]]:
        """Ignore every step."""
        yield lambda text: None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """What is to be planned: everything read and checked, nothing measured yet."""

    config: PlanConfig
    graph: ModelGraph
    split: Split
    metric: Metric
    needs: Requirements
    link: Link
    notes: tuple[str, ...]  # assumptions to print
    threads: int

    @property
    def spec(self) -> InputSpec:
        """The input block in force."""
        return self.split.search.spec

    @property
    def channel(self) -> Channel:
        """The link with what the deadline asks of it, and the server's load."""
        return Channel(
            link=self.link,
            share=self.needs.deadline_share,
            server_load=self.config.server_load,
            seed=self.config.search.seed,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """Everything that a plan directory and the terminal need."""

    problem: Problem
    profile: ModelProfile
    edge: Party
    server: Party
    cuts: CutList
    searched: tuple[Cut, ...]
    table_size: int
    left_out: dict[str, str]  # codec -> why it was not searched
    baselines: tuple[tuple[str, Evaluated], ...]  # label -> point, in the order of every table
    points: tuple[Evaluated, ...]  # all that were measured
    decision: Decision
    bench: Workbench
    evaluator: Evaluator


def load_problem(config: PlanConfig) -> Problem:
    """Read the model, the data and the link, and check that they fit each other; raises `ProfileError`."""
    notes: list[str] = []
    spec = config.input
    if spec is None and not is_torch_spec(config.model) and Path(config.data.source).exists():
        graph = load_source(config.model, None)
        tensor = graph.inputs[0]
        spec, assumed = guess_spec(tensor.shape, tensor.dtype)
        notes.append(assumed)
    dataset = load_data(config.data.source, spec, seed=config.search.seed)
    graph = load_source(config.model, _input_shape(dataset))
    if len(graph.inputs) != 1:
        names = ", ".join(tensor.name for tensor in graph.inputs)
        raise ProfileError(f"expected a model of one input, got {len(graph.inputs)}: {names}", at=config.model)
    _check_inputs(dataset, graph)
    outputs = graph.outputs[0].shape
    labelled = dataset.labels is not None
    metric = choose_metric(outputs, labelled=labelled, agreement=config.need.min_agreement is not None)
    if metric == "top1":
        check_labels(dataset, outputs[1])
    link = load_link(config.link)
    return Problem(
        config=config,
        graph=graph,
        split=_three_sets(dataset, config),
        metric=metric,
        needs=bind(requirements(config.need, labelled=metric == "top1"), config, graph, link),
        link=link,
        notes=tuple(notes),
        threads=config.threads or default_threads(),
    )


def default_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_source(source: str, input_shape: tuple[int, ...] | None) -> ModelGraph:
    """An ONNX file, or a torch module by "file.py:factory" or "package.module:factory", in canonical form."""
    if not is_torch_spec(source):
        path = Path(source)
        names = [value.name for value in read_model(path)[0].graph.inputs if value.name]
        fixed = {} if input_shape is None or len(names) != 1 else {names[0]: input_shape}
        return load_model(path, input_shapes=fixed)
    if input_shape is None:
        raise ProfileError(
            "a torch module has no input shape of its own", at=source, fix="add an input: block with its size"
        )
    return load_graph(export_torch(source, input_shape), name=source.rpartition(":")[2], source=source)


def obtain_profile(graph: ModelGraph, *, stored: Path | None, threads: int) -> ModelProfile:
    """The stored profile of this very model, or one measured now on this host."""
    if stored is None:
        machine = this_machine(threads=threads)
        return measure_profile(graph, host=measure_host(machine), threads=threads)
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


def plan(problem: Problem, *, stored_profile: Path | None = None, progress: Progress | None = None) -> Outcome:
    """Find the front and the recommended point. The same problem, stored profile and seed give the same outcome."""
    progress = progress or Silent()
    graph, config = problem.graph, problem.config
    with progress.stage("profile", None) as step:
        profile = obtain_profile(graph, stored=stored_profile, threads=problem.threads)
        cuts = enumerate_cuts(graph)
        step(f"{len(graph.nodes)} nodes, {len(cuts.cuts)} cuts")
    edge = party(profile.host if config.device == "host" else load_device(config.device), graph, profile)
    server = party(profile.host if config.server == "host" else load_server(config.server), graph, profile)
    bench = Workbench(
        graph,
        {
            "calibration": lambda: inputs(problem.split.calibration),
            "search": lambda: inputs(problem.split.search),
        },
        threads=problem.threads,
    )
    pricer = _Pricer(problem, bench, edge, server, profile.host, cuts.cuts)
    entries, searched, codecs, left_out = _fit_table(problem, bench, cuts.cuts, pricer, progress)
    evaluator = Evaluator(bench, problem.split.search, problem.metric, pricer.cuts, pricer.price)
    with progress.stage("baselines", None) as step:
        baselines, measured = _baselines(problem, evaluator, pricer, cuts.cuts, step)
    with progress.stage("accuracy", config.search.evaluations) as step:

        def evaluate(candidate: Candidate) -> Evaluated | None:
            point = evaluator.evaluate(candidate)
            step("")
            return point

        found = search(
            _options(entries, searched, codecs),
            evaluate,
            problem.needs,
            config.objectives,
            first=table.starting_points(
                entries,
                deadline_s=problem.needs.deadline_s,
                count=round(STARTING_SHARE * config.search.evaluations),
            ),
            seed=config.search.seed,
            evaluations=config.search.evaluations,
        )
        points = _distinct([*measured, *found])
        decision = decide(points, problem.needs, config.objectives)
        step(f"{len(found)} candidates measured, front {len(decision.front)} points")
    return Outcome(
        problem=problem,
        profile=profile,
        edge=edge,
        server=server,
        cuts=cuts,
        searched=tuple(searched),
        table_size=len(entries),
        left_out=left_out,
        baselines=tuple(baselines),
        points=tuple(points),
        decision=decision,
        bench=bench,
        evaluator=evaluator,
    )


class _Pricer:
    """Cost of candidates: everything but the payload is looked up once per cut, codec and rate."""

    def __init__(
        self, problem: Problem, bench: Workbench, edge: Party, server: Party, host: Device, cuts: Sequence[Cut]
    ) -> None:
        self._problem, self._bench, self._edge, self._server, self._host = problem, bench, edge, server, host
        self.cuts = {table.cut_name(cut): cut for cut in cuts}
        self._channel = problem.channel
        self._work: dict[Candidate, CodingWork] = {}
        spec = problem.spec
        self._pixels = spec.height_width[0] * spec.height_width[1] if spec.kind == "image" else 0
        self._peaks: dict[str, int] = {}

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """The cost with this mean payload."""
        graph = self._problem.graph
        if candidate.placement == "device":
            return cost_on_device(
                graph=graph,
                peak_bytes=peak_bytes(graph, None),
                prepare_symbols=self._pixels,
                edge=self._edge,
                host=self._host,
            )
        if candidate.placement == "server":
            return cost_of_picture(
                graph=graph,
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

    def uncompressed(self, cut: Cut) -> Cost:
        """The cost of sending the cut's tensors as they are: nothing to fit."""
        symbols = tuple((BASELINE_SPLIT, self._problem.graph.tensors[name].elements) for name in cut.tensors)
        work = CodingWork(symbols=symbols, encoder=(), decoder=(), table_bytes=0, weight_bytes=0)
        return self._split(cut, work, cut.bytes)

    def _split(self, cut: Cut, work: CodingWork, payload_bytes: float) -> Cost:
        graph, name = self._problem.graph, table.cut_name(cut)
        if name not in self._peaks:
            self._peaks[name] = peak_bytes(graph, cut)
        return cost_of_split(
            graph=graph,
            cut=cut,
            work=work,
            payload_bytes=payload_bytes,
            peak_bytes=self._peaks[name],
            prepare_symbols=self._pixels,
            edge=self._edge,
            server=self._server,
            host=self._host,
            channel=self._channel,
        )


def _fit_table(
    problem: Problem, bench: Workbench, cuts: Sequence[Cut], pricer: _Pricer, progress: Progress
) -> tuple[list[table.Entry], list[Cut], list[Codec], dict[str, str]]:
    search_config = problem.config.search
    names = search_config.codecs or tuple(REGISTRY)
    codecs = [get_codec(name) for name in names]
    searched = table.promising(bench, cuts, limit=search_config.max_cuts, ceiling_bit=_picture_bit(problem))
    entries: list[table.Entry] = []
    left_out = {codec.name: f"needs {', '.join(sorted(codec.needs))}" for codec in codecs if codec.needs}
    with progress.stage("codecs", len(searched) * len(codecs)) as step:
        rows = table.tabulate(
            bench,
            searched,
            codecs,
            lambda cut, candidate, size: pricer.price(candidate, size),
            variant=GIVEN,
            left_out=left_out,
        )
        for row in rows:
            entries += row
            step("")
        used = len({entry.candidate.codec for entry in entries})
        step(f"{used} presets fitted at {len(searched)} of {len(cuts)} cuts, {len(entries)} candidates")
    return entries, searched, codecs, left_out


def _baselines(
    problem: Problem, evaluator: Evaluator, pricer: _Pricer, cuts: Sequence[Cut], step: Callable[[str], None]
) -> tuple[list[tuple[str, Evaluated]], list[Evaluated]]:
    """The rows that every table shows first, and all points that were measured for them."""

    def measure(candidate: Candidate) -> Evaluated:
        point = evaluator.evaluate(candidate)
        if point is None:
            raise PlannerError(f"the baseline {candidate.codec} cannot be fitted", at=candidate.cut)
        step("")
        return point

    device = measure(Candidate(variant=GIVEN, placement="device", cut="", codec="-", rate=0))
    rows, measured = [("all on device", device)], [device]
    if problem.spec.kind == "image" and problem.spec.channels == 3:
        pictures = []
        for name in BASELINE_PICTURES:
            if PICTURES[name].refuses() is not None:
                continue
            # Best quality first, until the quality floor is missed: worse pictures would miss it too.
            for rate in reversed(range(len(PICTURES[name].rates))):
                picture = measure(Candidate(variant=GIVEN, placement="server", cut="", codec=name, rate=rate))
                pictures.append(picture)
                if misses_quality(picture, problem.needs):
                    break
        measured += pictures
        rows.append(("send PNG", next(p for p in pictures if p.candidate.codec == "png")))
        lossy = [p for p in pictures if p.candidate.codec != "png"]
        best = decide(lossy, problem.needs, ("payload", "drop"))
        rows.append(("send JPEG, WebP", best.recommended or best.nearest[0]))
    fastest = min(cuts, key=lambda cut: pricer.uncompressed(cut).latency_s)
    uncompressed = measure(
        Candidate(variant=GIVEN, placement="split", cut=table.cut_name(fastest), codec=BASELINE_SPLIT, rate=0)
    )
    rows.append(("uncompressed split", uncompressed))
    measured.append(uncompressed)
    step(f"{len(measured)} measured")
    return rows, measured


def _picture_bit(problem: Problem) -> float:
    """Bits of a calibration picture as JPEG of the highest quality; infinite for tensors."""
    pictures = [sample.picture for sample in problem.split.calibration.samples[: table.PROBE_INPUTS]]
    if problem.spec.channels != 3 or any(picture is None for picture in pictures):
        return np.inf
    codec = PICTURES["jpeg"]
    sizes = [len(codec.encode(p, len(codec.rates) - 1)) for p in pictures if p is not None]
    return 8 * float(np.mean(sizes))


def _options(
    entries: Sequence[table.Entry], cuts: Sequence[Cut], codecs: Sequence[Codec]
) -> list[list[list[Candidate]]]:
    """options[cut][codec] = candidates in ascending rate."""
    index = {table.cut_name(cut): i for i, cut in enumerate(cuts)}
    place = {codec.name: i for i, codec in enumerate(codecs)}
    options: list[list[list[Candidate]]] = [[[] for _ in codecs] for _ in cuts]
    for entry in entries:
        options[index[entry.candidate.cut]][place[entry.candidate.codec]].append(entry.candidate)
    return options


def _distinct(points: Sequence[Evaluated]) -> list[Evaluated]:
    return list({point.candidate: point for point in points}.values())


def _input_shape(dataset: Dataset) -> tuple[int, ...]:
    if dataset.spec.kind == "image":
        return dataset.spec.shape
    return tuple(np.asarray(dataset.samples[0].tensor).shape)


def _check_inputs(dataset: Dataset, graph: ModelGraph) -> None:
    tensor = graph.inputs[0]
    if dataset.spec.kind == "image":
        check_against(dataset.spec, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)
        return
    sample = np.asarray(dataset.samples[0].tensor)
    if sample.shape != tensor.shape or str(sample.dtype) != tensor.dtype:
        raise ProfileError(
            f"the model's input {tensor.name!r} is {tensor.dtype}{list(tensor.shape)},"
            f" the data are {sample.dtype}{list(sample.shape)}",
            at=dataset.source or None,
        )


def _three_sets(dataset: Dataset, config: PlanConfig) -> Split:
    data = config.data
    assign = {
        group: name
        for name, groups in (("calibration", data.calibration), ("search", data.search), ("report", data.report))
        for group in groups
    }
    return split_three(dataset, seed=config.search.seed, assign=assign or None)  # type: ignore[arg-type]  # literals
