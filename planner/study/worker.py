"""``splitpoint work``: join a study on this machine and measure the candidates that it asks for."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.cache import ByteCache, default_budget
from splitpoint.planner.measuring.measurer import Measurer
from splitpoint.planner.measuring.network import Network, describe_network
from splitpoint.planner.networks.variants import Variant
from splitpoint.planner.setup.loading import Problem
from splitpoint.planner.store.results import Results
from splitpoint.planner.store.store import Store
from splitpoint.planner.study.artifacts import Artifacts
from splitpoint.planner.study.bundle import Bundle, read_bundle, read_problem
from splitpoint.planner.study.search import search
from splitpoint.planner.study.stage import Sharing
from splitpoint.planner.study.storage import Opened, join_study, open_storage
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.planner.values.keys import runtime_on
from splitpoint.planner.values.progress import Progress
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.machine.machine import this_machine
from splitpoint.profiles.measurement.model_profile import ModelProfile

__all__ = ["Work", "work"]


def __dir__() -> list[str]:
    return __all__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What a worker did."""

    study: str
    measured_here: int  # candidates
    measured: int  # of the study, by whichever process
    total: int  # that are to be measured
    stopped: str  # why it ended before; empty: it did not


def work(
    study: str,
    *,
    storage: str,
    artifacts: str | None,
    threads: int | None,
    trust_code: bool,
    store: Store,
    progress: Progress,
) -> Work:
    """Measure candidates of `study` until it has all that it asks for.

    `artifacts` says where they are from here (default: where the planner put them), `threads` (default: the planner's)
    how many to use: another number is another runtime, whose results the planner does not take over. What is begun when
    this process ends is measured by another. Raises `ProfileError` where the study cannot be joined, and for code of
    the user's unless `trust_code`.
    """
    with open_storage(storage) as database:
        opened = join_study(database, study)
        try:
            return _work(opened, artifacts, threads, trust_code, store, progress)
        except KeyError:  # as Optuna says of a study or a trial that is not there
            join_study(database, study)  # raises, when it was begun anew or removed meanwhile
            raise


def _work(
    opened: Opened, artifacts: str | None, threads: int | None, trust_code: bool, store: Store, progress: Progress
) -> Work:
    with progress.stage("study", None) as step:
        bundle, shared = read_bundle(opened, artifacts)
        _check_trusted(bundle, trust_code=trust_code)
        if bundle.config.train is not None:
            raise ProfileError(
                f"the study {opened.name} trains codecs, which other machines cannot",
                at="$.train",
                fix="let the machine that plans measure alone, or plan without train:",
            )
        step(f"{opened.name}: {opened.measured} candidates were measured")
    results = Results(store=store, runtime=runtime_on(this_machine(threads=threads or bundle.threads)))
    with _measurers(bundle, shared, results, threads or bundle.threads, progress) as measurers:
        sharing, settings = Sharing(results, shared), bundle.config.search
        total = len(bundle.space.params)
        total = total if settings.sampler == "exhaustive" else min(settings.evaluations, total)
        with progress.stage("accuracy", total) as step:
            here = 0

            def evaluate(candidate: Candidate) -> Evaluated | None:
                nonlocal here
                sharing.begin()
                point = measurers[candidate.variant].evaluate(candidate)
                here += 1
                step("")
                return point

            found = search(
                bundle.space,
                evaluate,
                bundle.needs,
                bundle.objectives,
                settings,
                trials=opened.trials,
                describe=sharing,
            )
            step(f"{here} candidates here, {found.measured} of {total} in all")
    return Work(study=opened.name, measured_here=here, measured=found.measured, total=total, stopped=found.stopped)


def _check_trusted(bundle: Bundle, *, trust_code: bool) -> None:
    if bundle.code and not trust_code:
        raise ProfileError(
            f"measuring runs code of the study's: {', '.join(bundle.code)}",
            fix="read that code, have it here under the same name, then add --trust-code",
        )


@contextlib.contextmanager
def _measurers(
    bundle: Bundle, artifacts: Artifacts, results: Results, threads: int, progress: Progress
) -> Iterator[dict[str, Measurer]]:
    """The measurers of all networks by name, ready for every candidate of the table."""
    with contextlib.ExitStack() as stack:
        with progress.stage("networks", None) as step:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splitpoint-")))
            problem, variants, profiles = read_problem(bundle, artifacts, folder, threads=threads)
            for kind, key, blob in bundle.kept:
                if results.store.get(kind, key) is None:
                    results.store.put(kind, key, artifacts.get(blob))
            networks = _networks(bundle, problem, variants, profiles)
            step(f"{len(networks)}: {', '.join(network.name for network in networks)}")
        cache = ByteCache(default_budget() if problem.config.cache is None else problem.config.cache)
        measurers: dict[str, Measurer] = {}
        with progress.stage("codecs", None) as step:
            codecs = [get_codec(name) for name in bundle.codecs]
            for network in networks:
                first = next(iter(measurers.values()), None)
                measurer = Measurer(problem, network, host=bundle.host, cache=cache, given=first, results=results)
                measurers[network.name] = stack.enter_context(measurer)
                measurer.runs.prepare([network.cut(name) for name in bundle.cuts[network.name]], codecs)
            step(f"{len(codecs)} presets")
        yield measurers


def _networks(
    bundle: Bundle, problem: Problem, variants: Sequence[Variant], profiles: Sequence[ModelProfile | None]
) -> list[Network]:
    networks: list[Network] = []
    for variant, profile in zip(variants, profiles, strict=True):
        given = networks[0] if networks else None
        networks.append(describe_network(problem, variant, profile, host=bundle.host, given=given))
    return networks
