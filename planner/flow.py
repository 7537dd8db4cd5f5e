"""The whole of ``splitpoint plan`` in order: model -> variants -> profiles -> cuts -> table -> search -> decision.

Stages are functions that hand values on; `planner.plandir.writing` makes the plan directory of the outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.cost.price import Party
from splitpoint.planner.cuts.enumeration import CutList
from splitpoint.planner.deploy.schema import Placement
from splitpoint.planner.networks.variants import make_variants
from splitpoint.planner.search import table
from splitpoint.planner.search.decide import Decision, decide, misses_quality
from splitpoint.planner.search.lab import UNCOMPRESSED, Lab, obtain_profile, obtain_profiles, open_lab
from splitpoint.planner.search.sampler import require_optuna, search
from splitpoint.planner.search.several_tensors import missed
from splitpoint.planner.setup.loading import Problem, default_threads, load_problem, load_source
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.progress import Progress, Silent
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.measurement.model_profile import ModelProfile

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


STARTING_SHARE = 0.5  # of the evaluations go to the table's own fronts before the sampler proposes
TIMED_AT_ONCE = 3  # cuts of the best points whose halves are exported and timed, a pass
TIMING_PASSES = 3
BASELINE_PICTURES = ("png", "jpeg", "jpeg-420", "webp")  # always measured


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """Everything that a plan directory and the terminal need."""

    problem: Problem
    profile: ModelProfile  # of the given network
    labs: tuple[Lab, ...]  # one a variant, the given network first
    notes: tuple[str, ...]  # variants that could not be made, and why
    table_size: int
    left_out: dict[str, str]  # codec, or "codec at cuts" -> why it was not searched
    baselines: tuple[tuple[str, Evaluated], ...]  # label -> point, in the order of every table
    points: tuple[Evaluated, ...]  # all that were measured
    decision: Decision

    @property
    def edge(self) -> Party:
        """The device running the given network."""
        return self.labs[0].edge

    @property
    def server(self) -> Party:
        """The server running the given network."""
        return self.labs[0].server

    @property
    def cuts(self) -> CutList:
        """Cuts of the given network."""
        return self.labs[0].cuts

    @property
    def tail_runs(self) -> int:
        """Inputs that went through a tail."""
        return sum(lab.evaluator.runs for lab in self.labs)

    @property
    def tail_reused(self) -> int:
        """Inputs whose reconstruction had been seen."""
        return sum(lab.evaluator.reused for lab in self.labs)

    def lab(self, variant: str) -> Lab:
        """The lab of a variant by name."""
        return next(lab for lab in self.labs if lab.variant.name == variant)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Tables:
    """What can be looked up before any accuracy is paid for."""

    entries: list[list[table.Entry]]  # by lab
    searched: list[list[Cut]]  # by lab
    codecs: list[Codec]
    left_out: dict[str, str]

    @property
    def size(self) -> int:
        """Candidates in all tables."""
        return sum(map(len, self.entries))


def plan(problem: Problem, *, stored_profile: Path | None = None, progress: Progress | None = None) -> Outcome:
    """Find the front and the recommended point.

    The same problem, stored profiles (a file, or a folder of one for each variant) and seed give the same outcome.
    """
    require_optuna()
    progress = progress or Silent()
    config = problem.config
    with progress.stage("variants", None) as step:
        variants, notes = make_variants(problem)
        step(f"{len(variants)}: {', '.join(variant.name for variant in variants)}")
    with progress.stage("profile", None) as step:
        profile, profiles = obtain_profiles(variants, stored=stored_profile, threads=problem.threads)
        labs: list[Lab] = []
        for variant, measured in zip(variants, profiles, strict=True):
            labs.append(open_lab(problem, variant, measured, host=profile.host, given=labs[0] if labs else None))
        step(f"{len(problem.graph.nodes)} nodes, {sum(len(lab.cuttable) for lab in labs)} cuts")
    tables = _fit_tables(problem, labs, progress)
    with progress.stage("baselines", None) as step:
        baselines, points = _baselines(problem, labs[0], step)
        points += _others(problem, labs[1:], step)
        step(f"{len(points)} measured")
    with progress.stage("accuracy", config.search.evaluations) as step:
        evaluators = {lab.variant.name: lab.evaluator for lab in labs}

        def evaluate(candidate: Candidate) -> Evaluated | None:
            point = evaluators[candidate.variant].evaluate(candidate)
            step("")
            return point

        found = search(
            _options(tables),
            evaluate,
            problem.needs,
            config.objectives,
            first=_starting_points(problem, tables),
            seed=config.search.seed,
            evaluations=config.search.evaluations,
        )
        points = _distinct([*points, *found])
        step(f"{len(found)} candidates measured")
    if stored_profile is None and any(lab.pricer.times is not None for lab in labs):
        with progress.stage("latency", None) as step:
            points, timed = _time_best(problem, labs, points)
            again = {point.candidate: point for point in points}
            baselines = [(label, again[point.candidate]) for label, point in baselines]
            step(f"halves of {timed} cuts exported and timed on this host")
    decision = decide(points, problem.needs, config.objectives)
    chosen = decision.recommended or decision.nearest[0]
    gain = missed(problem, labs[0], chosen)
    if gain is not None:
        notes.append(gain)
    return Outcome(
        problem=problem,
        profile=profile,
        labs=tuple(labs),
        notes=tuple(notes),
        table_size=tables.size,
        left_out=tables.left_out,
        baselines=tuple(baselines),
        points=tuple(points),
        decision=decision,
    )


def _time_best(problem: Problem, labs: Sequence[Lab], points: list[Evaluated]) -> tuple[list[Evaluated], int]:
    """Time the cuts of the best points on this host until those that lead were timed; gives points as they cost now.

    Every timed cut corrects the prediction of the others, so that after each pass others may lead.
    """
    by_name = {lab.variant.name: lab for lab in labs}
    timed = 0
    for _ in range(TIMING_PASSES):
        decision = decide(points, problem.needs, problem.config.objectives)
        best = [point for point in (decision.recommended, decision.knee, *decision.nearest, *decision.front) if point]
        todo = _untimed(by_name, best)[:TIMED_AT_ONCE]
        for lab, cut in todo:
            assert lab.pricer.times is not None  # _untimed
            lab.pricer.times.time(cut)
        if not todo:
            break
        timed += len(todo)
        points = [by_name[point.candidate.variant].pricer.again(point) for point in points]
    return points, timed


def _untimed(labs: Mapping[str, Lab], points: Sequence[Evaluated]) -> list[tuple[Lab, Cut]]:
    """Cuts of `points` that this host runs at least one half of and that were not timed, in order."""
    found: dict[tuple[str, str], tuple[Lab, Cut]] = {}
    for point in points:
        lab, name = labs[point.candidate.variant], point.candidate.cut
        if point.candidate.placement == "split" and lab.pricer.times is not None:
            cut = lab.pricer.cuts[name]
            if cut not in lab.pricer.times:
                found[lab.variant.name, name] = lab, cut
    return list(found.values())


def _fit_tables(problem: Problem, labs: Sequence[Lab], progress: Progress) -> _Tables:
    """Each variant's table over its promising cuts."""
    settings = problem.config.search
    codecs = [get_codec(name) for name in settings.codecs or tuple(REGISTRY)]
    ceiling_bit = _picture_bit(problem)
    searched = [
        table.promising(lab.bench, lab.cuttable, limit=settings.max_cuts, ceiling_bit=ceiling_bit) for lab in labs
    ]
    tables = _Tables(
        entries=[],
        searched=searched,
        codecs=codecs,
        left_out={},
    )
    with progress.stage("codecs", sum(map(len, searched)) * len(codecs)) as step:
        for lab, cuts in zip(labs, searched, strict=True):
            prefix = "" if lab is labs[0] else f"{lab.variant.name}: "
            tables.left_out.update({prefix + key: why for key, why in lab.bench.prepare(cuts, codecs).items()})
            rows = table.tabulate(
                lab.bench,
                cuts,
                codecs,
                lambda cut, candidate, size, lab=lab: lab.pricer.price(candidate, size),  # type: ignore[misc]  # bound now
                variant=lab.variant.name,
                left_out=tables.left_out,
            )
            tables.entries.append([])
            for row in rows:
                tables.entries[-1] += row
                step("")
        used = len({entry.candidate.codec for entries in tables.entries for entry in entries})
        total = sum(len(lab.cuttable) for lab in labs)
        step(f"{used} presets fitted at {sum(map(len, searched))} of {total} cuts, {tables.size} candidates")
    return tables


def _baselines(
    problem: Problem, lab: Lab, step: Callable[[str], None]
) -> tuple[list[tuple[str, Evaluated]], list[Evaluated]]:
    """The rows that every table shows first, of the given network, and all points that were measured for them."""
    device = _on_device(lab)
    rows, measured = [("all on device", device)], [device]
    pictures = _pictures(problem, lab, step)
    if pictures:
        rows.append(("send PNG", next(p for p in pictures if p.candidate.codec == "png")))
        lossy = [p for p in pictures if p.candidate.codec != "png"]
        best = decide(lossy, problem.needs, ("payload", "drop"))
        rows.append(("send JPEG, WebP", best.recommended or best.nearest[0]))
    fastest = min(lab.cuts.cuts, key=lambda cut: lab.pricer.uncompressed(cut).latency_s)
    uncompressed = _measure(lab, placement="split", cut=fastest.name, codec=UNCOMPRESSED)
    rows.append(("uncompressed split", uncompressed))
    return rows, [*measured, *pictures, uncompressed]


def _others(problem: Problem, labs: Sequence[Lab], step: Callable[[str], None]) -> list[Evaluated]:
    """Every other variant alone on the device; a network of another size or width also behind pictures."""
    points = []
    for lab in labs:
        points.append(_on_device(lab))
        if lab.variant.kind == "listed":
            points += _pictures(problem, lab, step)
    return points


def _on_device(lab: Lab) -> Evaluated:
    return _measure(lab, placement="device", cut="", codec="-")


def _pictures(problem: Problem, lab: Lab, step: Callable[[str], None]) -> list[Evaluated]:
    """Every picture codec from its best quality down to where the quality floor is missed; none for tensors."""
    points: list[Evaluated] = []
    if lab.variant.spec.kind != "image" or lab.variant.spec.channels != 3:
        return points
    for name in BASELINE_PICTURES:
        if PICTURES[name].refuses() is not None:
            continue
        for rate in reversed(range(len(PICTURES[name].rates))):
            points.append(_measure(lab, placement="server", cut="", codec=name, rate=rate))
            step("")
            if misses_quality(points[-1], problem.needs):
                break  # worse pictures would miss it too
    return points


def _measure(lab: Lab, *, placement: Placement, cut: str, codec: str, rate: int = 0) -> Evaluated:
    candidate = Candidate(variant=lab.variant.name, placement=placement, cut=cut, codec=codec, rate=rate)
    point = lab.evaluator.evaluate(candidate)
    if point is None:
        raise ProfileError(f"the baseline {codec} cannot be fitted", at=cut)
    return point


def _picture_bit(problem: Problem) -> float:
    """Bits of a calibration picture as JPEG of the highest quality; infinite for tensors."""
    pictures = [sample.picture for sample in problem.split.calibration.samples[: table.PROBE_INPUTS]]
    if problem.spec.channels != 3 or any(picture is None for picture in pictures):
        return np.inf
    codec = PICTURES["jpeg"]
    sizes = [len(codec.encode(p, len(codec.rates) - 1)) for p in pictures if p is not None]
    return 8 * float(np.mean(sizes))


def _options(tables: _Tables) -> list[list[list[Candidate]]]:
    """options[place][codec] = candidates in ascending rate; places are the cuts of all variants, one after another."""
    place = {codec.name: i for i, codec in enumerate(tables.codecs)}
    options: list[list[list[Candidate]]] = []
    for entries, cuts in zip(tables.entries, tables.searched, strict=True):
        index = {cut.name: len(options) + i for i, cut in enumerate(cuts)}
        options += [[[] for _ in tables.codecs] for _ in cuts]
        for entry in entries:
            options[index[entry.candidate.cut]][place[entry.candidate.codec]].append(entry.candidate)
    return options


def _starting_points(problem: Problem, tables: _Tables) -> list[Candidate]:
    """The front of each variant's table, by equal shares: a table knows what coding loses, not what variants do."""
    count = round(STARTING_SHARE * problem.config.search.evaluations)
    share = -(-count // len(tables.entries))
    fronts = [
        table.starting_points(entries, deadline_s=problem.needs.value("latency"), count=share)
        for entries in tables.entries
    ]
    return [front[i] for i in range(share) for front in fronts if i < len(front)][:count]


def _distinct(points: Sequence[Evaluated]) -> list[Evaluated]:
    return list({point.candidate: point for point in points}.values())
