"""The whole of ``splitpoint plan`` in order: variants, profiles, trainings, tables, search, timing, decision.

Stages hand on values; what runs (sessions, threads, caches) lives as long as this function. `planner.plandir.writing`
makes the plan directory of the result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.choice.errors import speed_errors
from splitpoint.planner.coding.cache import ByteCache, default_budget
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.network import Network, anchor_notes, describe_network, network_notes
from splitpoint.planner.measuring.saving import save_trained
from splitpoint.planner.measuring.trained import make_trainer
from splitpoint.planner.measuring.unsplit import check_unsplit
from splitpoint.planner.networks.variants import Variant, given_variant, make_variants
from splitpoint.planner.profiling.model_profile import check_profile, obtain_profiles
from splitpoint.planner.search.baselines import measure_baselines, measure_others
from splitpoint.planner.search.decide import Decision, decide
from splitpoint.planner.search.result import SearchResult
from splitpoint.planner.search.several_tensors import missed
from splitpoint.planner.search.tables import fit_tables
from splitpoint.planner.search.timed_cuts import time_leading_cuts
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.store.results import Results, results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.study.sampler import require_optuna
from splitpoint.planner.study.stage import measure_table
from splitpoint.planner.study.storage import Place
from splitpoint.planner.study.trainings import Trainings, train_all, train_behind, train_end_to_end
from splitpoint.planner.training.trained_files import check_new_folder
from splitpoint.planner.values.candidate import GIVEN, Candidate
from splitpoint.planner.values.progress import Progress, Silent
from splitpoint.profiles.measurement.model_profile import ModelProfile

__all__ = ["plan", "train"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ready:
    """Networks that are ready to be measured; what runs them lives as long as the stack that it was opened on."""

    networks: list[Network]
    measurers: dict[str, Measurer]  # by network
    trained: Trainings
    profile: ModelProfile  # of the given network
    notes: tuple[str, ...]


def plan(
    problem: Problem,
    *,
    stored_profile: Path | None = None,
    progress: Progress | None = None,
    store: Store | None = None,
    fresh: bool = False,
    studies: Place | None = None,
    save: Path | None = None,
) -> SearchResult:
    """Find the front and the recommended point.

    The same problem, stored profiles (a file, or a folder of one for each variant) and seed give the same result. What
    was measured is kept in `store`, and used when another run asks for the same; with `fresh` it is measured again.
    A study in `studies` goes on where an earlier run was interrupted, and others may join it; without it, it ends here.
    Trained codecs are written to the new folder `save`.
    """
    require_optuna()
    if save is not None:
        check_new_folder(save)
    progress = progress or Silent()
    config, needs = problem.config, problem.needs
    results = None if store is None else results_here(store, threads=problem.threads, fresh=fresh)
    with contextlib.ExitStack() as stack:
        ready = _make_ready(problem, stored_profile, results, progress, stack, ahead=False)
        networks, measurers, profile = ready.networks, ready.measurers, ready.profile
        if save is not None:
            save_trained(problem, measurers.values(), save)
        aim = Aim(prefer=config.prefer, errors=speed_errors(networks[0].edge, networks[0].server, profile.host))
        tables = fit_tables(problem, list(measurers.values()), progress)
        with progress.stage("baselines", None) as step:
            given_measurer, *others = measurers.values()
            baselines, points = measure_baselines(
                given_measurer, needs, step, unusable=tables.unusable[0], prefer=config.prefer
            )
            points += measure_others(others, needs, step)
            step(f"{len(points)} measured")
        points = measure_table(
            problem,
            networks,
            measurers,
            tables,
            points,
            host=profile.host,
            place=studies,
            stored=stored_profile is not None,
            results=results,
            progress=progress,
        )
        if stored_profile is None and any(measurer.pricer.times is not None for measurer in measurers.values()):
            with progress.stage("latency", None) as step:
                points, timed = time_leading_cuts(problem, measurers, points, aim)
                step(f"halves of {timed} cuts exported and timed on this host")
        front = decide(points, needs, config.objectives, aim).front
        shown = {p.candidate: measurers[p.candidate.variant].evaluator.show(p) for p in front}
        points = [shown.get(point.candidate, point) for point in points]
        final = {point.candidate: point for point in points}
        decision = decide(points, needs, config.objectives, aim)
        codecs = {
            point.candidate: measurers[point.candidate.variant].fitted(point.candidate)
            for point in points
            if point.candidate.placement == "split"
        }
        quant_tables = {
            point.candidate: found
            for point in points
            if (found := measurers[point.candidate.variant].quant_tables(point.candidate)) is not None
        }
        evaluators = [measurer.evaluator for measurer in measurers.values()]
    gain = missed(problem, networks[0], decision.recommended or decision.nearest[0])
    return SearchResult(
        problem=problem,
        profile=profile,
        networks=tuple(networks),
        aim=aim,
        notes=(*ready.notes, *([] if gain is None else [gain]), *_codec_notes(decision, codecs)),
        table_size=tables.size,
        left_out=tables.left_out,
        baselines=tuple((label, final[point.candidate]) for label, point in baselines),
        points=tuple(points),
        decision=decision,
        codecs=codecs,
        quant_tables=quant_tables,
        tail_runs=sum(evaluator.tail_runs for evaluator in evaluators),
        tail_reused=sum(evaluator.tail_reused for evaluator in evaluators),
        recalled=sum(len(evaluator.recalled) for evaluator in evaluators),
        table=tuple(entry for entries in tables.entries for entry in entries),
        works={candidate: work for m in measurers.values() for candidate, work in m.pricer.known_work.items()},
        halves={name: m.pricer.times.timed for name, m in measurers.items() if m.pricer.times is not None},
    )


def train(
    problem: Problem,
    *,
    stored_profile: Path | None = None,
    progress: Progress | None = None,
    store: Store,
    fresh: bool = False,
    save: Path | None = None,
) -> Trainings:
    """Train what `plan` would train for the same problem, and keep it in `store`, where `plan` finds it.

    Codecs are written to the new folder `save`, for other machines.
    """
    if save is not None:
        check_new_folder(save)
    results = results_here(store, threads=problem.threads, fresh=fresh)
    with contextlib.ExitStack() as stack:
        ready = _make_ready(problem, stored_profile, results, progress or Silent(), stack, ahead=True)
        if save is not None:
            save_trained(problem, ready.measurers.values(), save)
        return ready.trained


def _make_ready(
    problem: Problem,
    stored_profile: Path | None,
    results: Results | None,
    progress: Progress,
    stack: contextlib.ExitStack,
    *,
    ahead: bool,
) -> _Ready:
    """Check the unsplit network, profile the variants, and train what is trained; `ahead`: no other variants."""
    if stored_profile is not None:
        check_profile(stored_profile, problem.graph, threads=problem.threads)
    trainer = make_trainer(problem, results)
    count = sum(len(data) for data in (problem.split.calibration, problem.split.search, problem.split.report))
    with progress.stage("unsplit", count) as step:
        begin = time.monotonic()
        remarks = check_unsplit(problem, lambda: step(""), results=results)
        input_s = (time.monotonic() - begin) / count
        known = ", known from an earlier run" if results is not None and results.recalled["unsplit"] else ""
        step(f"{count} inputs, all outputs finite{known}")
    if not (known or ahead):  # a candidate takes no more than the whole network does, and often less
        progress.expect("accuracy", problem.config.search.evaluations * len(problem.split.search) * input_s)
    with progress.stage("variants", None) as step:
        variants, notes = ([given_variant(problem)], []) if ahead else make_variants(problem)
        step(f"{len(variants)}: {', '.join(variant.name for variant in variants)}")
    networks: list[Network] = []
    measurers: dict[str, Measurer] = {}
    cache = ByteCache(default_budget() if problem.config.cache is None else problem.config.cache)

    def profiled(added: Sequence[Variant], known: ModelProfile | None) -> ModelProfile:
        """Profile `added`, behind the given network where its profile is known, and make them ready."""
        behind = added if known is None else [given_variant(problem), *added]
        with progress.stage("profile", None) as step:
            first, profiles = obtain_profiles(
                behind, stored=stored_profile, threads=problem.threads, results=results, known=known
            )
            for variant, measured in zip(added, profiles[len(behind) - len(added) :], strict=True):
                given = networks[0] if networks else None
                networks.append(describe_network(problem, variant, measured, host=first.host, given=given))
            when = f"; seconds measured on {first.measured}" if results and results.recalled["model-profile"] else ""
            step(f"{len(problem.graph.nodes)} nodes, {sum(len(each.cuttable) for each in networks)} cuts{when}")
        for network in networks[len(measurers) :]:
            measurer = Measurer(
                problem,
                network,
                host=first.host,
                cache=cache,
                given=next(iter(measurers.values()), None),
                results=results,
                trainer=trainer,
            )
            measurers[network.name] = stack.enter_context(measurer)
        return first

    profile = profiled(variants, None)
    trained = Trainings()
    if trainer is not None and problem.config.train is not None:
        given, asked = measurers[GIVEN], problem.config.train
        trained = train_all(problem, given, trainer, progress)
        if trained.variants and (asked.pruned or not ahead):
            profiled(trained.variants, profile)
        pruned = [measurer for measurer in measurers.values() if measurer.network.variant.kind == "pruned"]
        behind = pruned if asked.pruned else []
        if behind:
            trained = trained.then(train_behind(problem, given, behind, trainer, progress, trained.left))
        if asked.end_to_end:
            whole = train_end_to_end(problem, given, [given, *behind], trainer, progress, trained.left)
            if whole.variants:
                profiled(whole.variants, profile)
            behind = [measurers[variant.name] for variant in whole.variants]
            trained = trained.then(whole)
            trained = trained.then(train_behind(problem, given, behind, trainer, progress, trained.left))
    return _Ready(
        networks=networks,
        measurers=measurers,
        trained=trained,
        profile=profile,
        notes=(*remarks, *notes, *trained.notes, *anchor_notes(problem.config, networks[0]), *network_notes(networks)),
    )


def _codec_notes(decision: Decision, codecs: Mapping[Candidate, Sequence[FittedCodec]]) -> list[str]:
    """What a user should know of how the recommended codec was fitted."""
    chosen = None if decision.recommended is None else decision.recommended.candidate
    fitted = codecs.get(chosen, ()) if chosen is not None else ()
    return [f"{codec.codec} {codec.rate_label}: {note}" for codec in fitted for note in codec.notes]
