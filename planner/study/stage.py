"""The stage of a plan that measures the accuracy of candidates: alone, or in a study that goes on and others join."""

from __future__ import annotations

import concurrent.futures
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from splitpoint.codecs.contract.protocol import FitError
from splitpoint.planner.limits.preferences import with_preferred
from splitpoint.planner.measuring.measurer import Measurer, Measurers
from splitpoint.planner.measuring.network import Network
from splitpoint.planner.quality.estimates import with_estimates
from splitpoint.planner.racing.contenders import contenders
from splitpoint.planner.racing.race import Race
from splitpoint.planner.search.decide import objective_rows, violations
from splitpoint.planner.search.tables import Tables
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.setup.trust import code_of_task
from splitpoint.planner.store.results import Results
from splitpoint.planner.study.artifacts import Artifacts
from splitpoint.planner.study.bundle import PlannerParts, write_bundle
from splitpoint.planner.study.sampler import Space
from splitpoint.planner.study.search import Found, search
from splitpoint.planner.study.sharing import (
    describe_point,
    is_of,
    offered_results,
    share_results,
    worth_measuring,
)
from splitpoint.planner.study.storage import Opened, Place, open_study
from splitpoint.planner.study.trials import MISSED, candidate_of
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.keys import code_sha256, content_key
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.device import Device

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

__all__ = ["Sharing", "measure_table"]


def __dir__() -> list[str]:
    return __all__


HOST = "host"
SHIPPED = ("sensitivities",)  # kinds of results: others are many and small, are shared trial by trial, or not at all


class Sharing:
    """`describe` of a search: attributes of a measured trial, and its results as artifacts where others join."""

    def __init__(self, results: Results | None, artifacts: Artifacts | None) -> None:
        self._results, self._artifacts = results, artifacts
        self._since = 0

    def begin(self) -> None:
        """What is used from now on belongs to the next trial."""
        self._since = len(self._results.used) if self._results is not None else 0

    def __call__(self, trial: Trial, point: Evaluated) -> dict[str, Any]:
        """The attributes."""
        if self._results is None:
            return {}
        shared = {} if self._artifacts is None else share_results(trial, self._results, self._since, self._artifacts)
        return {**describe_point(point, self._results.runtime), **shared}


def measure_table(
    problem: Problem,
    networks: Sequence[Network],
    measurers: Mapping[str, Measurer],
    tables: Tables,
    points: Sequence[Evaluated],
    *,
    host: Device,
    place: Place | None,
    stored: bool,
    results: Results | None,
    progress: Progress,
) -> list[Evaluated]:
    """`points` (baselines) and the points of the tables' candidates that were measured on the whole search set.

    Each candidate is there once, with the estimate of what it loses.

    Without a `place` the study is in memory. So it is without `results`, since nothing is then known of earlier runs,
    and where code of the user's judges and nobody asked for a storage, since what it said may have changed. `stored`:
    the profiles are files, on which costs then depend.
    """
    config, needs = problem.config, problem.needs
    objectives = with_preferred(config.objectives, config.prefer)
    budget = config.search.evaluations
    contending = tables
    if config.search.race:
        everything = [entry for entries in tables.entries for entry in entries]
        contending = tables.only(set(contenders(everything, points, needs, objectives)))
    space = Space(
        options=contending.options(),
        first=contending.starting_points(deadline_s=needs.value("latency"), evaluations=budget),
    )
    if place is None or results is None or (code_of_task(problem.metric.task) and not place.shared):
        shared: contextlib.AbstractContextManager[Opened | None] = contextlib.nullcontext()
    else:
        key = _problem_key(problem, networks, objectives, _trained(tables), stored=stored)
        model = re.sub("[^A-Za-z0-9]+", "-", problem.graph.name)[:40].strip("-") or "model"
        shared = _open(place, f"{model}-{key[:12]}", key, objectives, progress)
    with shared as opened:
        artifacts = None
        if opened is not None and place is not None and results is not None:
            with progress.stage("study", None) as step:
                if place.artifact_place is not None:
                    artifacts = Artifacts(place.artifact_place)
                    parts = _parts(problem, networks, tables, results, host)
                    write_bundle(parts, space, objectives, opened=opened, artifacts=artifacts)
                size = contending.size
                total = size if config.search.sampler == "exhaustive" else min(budget, size)
                step(_study_text(opened, total, joinable=artifacts is not None))
        sharing = Sharing(results, artifacts)
        race = None
        if config.search.race:
            race = Race(Measurers(by_variant=measurers), problem.metric, needs, objectives, complete=points)
        known, here = {point.candidate: point for point in points}, set[Candidate]()
        measured: dict[Candidate, Evaluated] = {}
        with progress.stage("accuracy", budget) as step:
            if opened is None or not opened.measured:
                _fit_ahead(space.first, measurers, workers=problem.threads)

            def evaluate(candidate: Candidate) -> Evaluated | None:
                here.add(candidate)
                sharing.begin()
                if candidate in known:
                    return known[candidate]
                point = measurers[candidate.variant].evaluate(candidate) if race is None else race.enter(candidate)
                if point is not None:
                    measured[candidate] = point
                return point

            found = search(
                space,
                evaluate,
                needs,
                objectives,
                config.search,
                trials=None if opened is None else opened.trials,
                describe=sharing,
                progress=_Count(step, 0 if opened is None else opened.measured),
            )
            others = found.measured - len(here) - (0 if opened is None else opened.measured)
            order = list(found.points)
            if opened is not None and results is not None:
                order = _measure_all(opened, found, evaluate, problem, results, artifacts, objectives)
            counted = f"{len(order)} candidates"
            ruled_out = tables.size - contending.size
            if race is not None:
                race.finish()
                measured, counted = race.points, race.summary()
            of_tables = [measured[candidate] for candidate in order if candidate in measured]
            estimated = with_estimates([*points, *of_tables], problem.metric)
            recalled = sum(len(measurer.evaluator.recalled) for measurer in measurers.values())
            text = _text(
                found.stopped, counted, others=others, recalled=recalled, points=len(estimated), ruled_out=ruled_out
            )
            step(text)
    return [point for point in estimated if race is None or point.candidate not in race.stopped]


def _fit_ahead(candidates: Sequence[Candidate], measurers: Mapping[str, Measurer], *, workers: int) -> None:
    """Fit the codecs that are measured first, several at once; one by one they would leave cores idle."""

    def fit(candidate: Candidate) -> None:
        with contextlib.suppress(FitError):  # as measuring it will find
            measurers[candidate.variant].fitted(candidate)

    with concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="splitpoint-fit") as pool:
        try:
            list(pool.map(fit, candidates))
        finally:  # what was not begun is not waited for
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _open(place: Place, name: str, key: str, objectives: Sequence[str], progress: Progress) -> Iterator[Opened | None]:
    """The study; None where nobody asked for one and the cache folder cannot hold it: then it is in memory."""
    with contextlib.ExitStack() as stack:
        opened = None
        try:
            opened = stack.enter_context(open_study(place, name, key, objectives))
        except ProfileError as error:
            if place.shared or place.study is not None:
                raise
            with progress.stage("study", None) as step:
                step(f"cannot go on later: {error.message}")
        yield opened


class _Count:
    """A step for every candidate that was measured since, by whichever process."""

    def __init__(self, step: Callable[[str], None], measured: int) -> None:
        self._step, self._measured = step, measured

    def __call__(self, measured: int) -> None:
        for _ in range(measured - self._measured):
            self._step("")
        self._measured = max(self._measured, measured)


def _parts(
    problem: Problem, networks: Sequence[Network], tables: Tables, results: Results, host: Device
) -> PlannerParts:
    cuts = {
        network.name: [cut.name for cut in searched]
        for network, searched in zip(networks, tables.searched, strict=True)
    }
    return PlannerParts(
        problem=problem,
        networks=networks,
        host=host,
        cuts=cuts,
        codecs=[codec.name for codec in tables.codecs],
        kept=_kept(results),
    )


def _measure_all(
    opened: Opened,
    found: Found,
    evaluate: Callable[[Candidate], Evaluated | None],
    problem: Problem,
    results: Results,
    artifacts: Artifacts | None,
    objectives: Sequence[str],
) -> list[Candidate]:
    """Measure every candidate of the study that this run has not; gives all of them in the order of the study.

    Those that were measured under another runtime are left out, but where a plan may use them.
    """
    points: dict[Candidate, Evaluated | None] = {}
    foreign: dict[Candidate, FrozenTrial] = {}
    for trial in opened.trials.judged().values():
        candidate = candidate_of(trial)
        if candidate in found.points:
            points[candidate] = found.points[candidate]
        elif trial.state.name != "COMPLETE":
            continue
        elif is_of(trial, results.runtime):
            if artifacts is not None:
                results.offered.update(offered_results(trial, artifacts))
            points[candidate] = evaluate(candidate)
        else:
            foreign[candidate] = trial
    while foreign:
        feasible = [point for point in points.values() if point is not None and not violations(point, problem.needs)]
        own = objective_rows(feasible, objectives).reshape(len(feasible), len(objectives))
        told = [(trial.values, trial.user_attrs[MISSED]) for trial in foreign.values()]
        chosen = [list(foreign)[i] for i in worth_measuring(told, own)]
        if not chosen:
            break
        for candidate in chosen:
            points[candidate] = evaluate(candidate)
            del foreign[candidate]
    return list({**dict.fromkeys(points), **dict.fromkeys(found.points)})


def _trained(tables: Tables) -> list[tuple[str, str]]:
    """Cuts and codecs of the candidates that are trained: a budget of minutes decides which there are."""
    needing = {codec.name for codec in tables.codecs if "training" in codec.needs}
    every = (entry.candidate for entries in tables.entries for entry in entries)
    return sorted({(candidate.cut, candidate.codec) for candidate in every if candidate.codec in needing})


def _problem_key(
    problem: Problem,
    networks: Sequence[Network],
    objectives: Sequence[str],
    trained: Sequence[tuple[str, str]],
    *,
    stored: bool,
) -> str:
    """The content key of everything that decides which candidates a study asks for and what it is told of them.

    Seconds that were measured now are no part of it: the same command continues its study.
    """
    config = problem.config
    return content_key(
        "study",
        networks=[
            (
                network.name,
                network.graph.sha256,
                network.variant.spec,
                network.variant.after,
                network.variant.split.calibration.sha256(),
                network.variant.split.search.sha256(),
                network.profile if stored else None,
            )
            for network in networks
        ],
        task=problem.metric.task,
        against=problem.metric.against,
        needs=problem.needs,
        objectives=tuple(objectives),
        link=problem.link,
        server_load=config.requests_s,
        device=HOST if config.device == HOST else networks[0].edge.device,
        server=HOST if config.server == HOST else networks[0].server.device,
        search=config.search,
        trained=list(trained),
        code=code_sha256(),
    )


def _kept(results: Results) -> dict[tuple[str, str], bytes]:
    """Results of this run's tables that workers would have to compute again."""
    kept = {}
    for kind, key in dict.fromkeys(results.used):
        content = results.store.get(kind, key) if kind in SHIPPED else None
        if content is not None:
            kept[kind, key] = content
    return kept


def _study_text(opened: Opened, total: int, *, joinable: bool) -> str:
    """What a user should know of the study before it goes on."""
    join = f"; others join: splitpoint work {opened.name} --storage URL" if joinable else ""
    if opened.measured:
        return f"continues {opened.name}: {opened.measured} of {total} candidates were measured{join}"
    return f"new: {opened.name}{join}"


def _text(stopped: str, counted: str, *, others: int, recalled: int, points: int, ruled_out: int) -> str:
    parts = [counted]
    if others > 0:
        parts[0] += f", {others} of them by other processes"
    if ruled_out:
        parts.append(f"{ruled_out} of the table cannot win whatever they lose")
    if recalled:
        parts.append(f"{recalled} of {points} points known from earlier runs")
    if stopped:
        parts.append(stopped)
    return "; ".join(parts)
