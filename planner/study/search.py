"""The search: ask a study for a candidate, measure it, tell; until enough is measured or nothing more is gained.

Everything that can be looked up is enumerated before (`planner.search.table`); a trial pays for accuracy only. Any
number of processes may search the same study at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.search.decide import violations
from splitpoint.planner.setup.config import SearchConfig
from splitpoint.planner.study.plateau import LEAST_GROWTH, reference_point, share_gained
from splitpoint.planner.study.sampler import Space, make_sampler
from splitpoint.planner.study.trials import MISSED, Trials, quiet
from splitpoint.planner.values.candidate import Candidate, Evaluated

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

__all__ = ["Found", "memory_trials", "search"]


def __dir__() -> list[str]:
    return __all__


MOST_ASKS = 4  # for each evaluation that may be spent: others may be faster each time
LOOK_S = 0.2  # between two looks at what other processes measure
MOST_WAIT_S = 600.0  # for them; then this process measures something else


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a process found in a search."""

    points: dict[Candidate, Evaluated]  # that it measured itself
    measured: int  # candidates of the study that were measured or cannot be fitted, by whichever process
    stopped: str = ""  # why it ended before the budget was spent; empty: it did not


def memory_trials(objectives: int) -> Trials:
    """The trials of a study that nobody else sees and that ends with the process."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    with quiet():
        return Trials(optuna.create_study(storage=storage, directions=["minimize"] * objectives), storage)


def search(
    space: Space,
    evaluate: Callable[[Candidate], Evaluated | None],
    needs: Requirements,
    objectives: Sequence[str],
    settings: SearchConfig,
    *,
    trials: Trials | None = None,
    describe: Callable[[Trial, Evaluated], Mapping[str, Any]] = lambda trial, point: {},
    progress: Callable[[int], None] = lambda measured: None,
) -> Found:
    """Measure candidates until `settings.evaluations` distinct ones are, `space.first` before any that is proposed.

    `evaluate` gives None for a candidate that cannot be fitted, which counts. `trials` are those of the study (default:
    one of its own), where other processes may be at work on the same. `describe` gives a measured trial's attributes,
    `progress` is told how many candidates are measured. In one process the order, and so the result, is a function of
    the arguments and of what the study holds.
    """
    trials = trials or memory_trials(len(objectives))
    points: dict[Candidate, Evaluated] = {}
    asks, wait = 0, _Wait()
    total = min(settings.evaluations, len(space.params))
    if settings.sampler == "exhaustive":
        space, total = dataclasses.replace(space, first=list(space.params)), len(space.params)
    while True:
        trials.leave_lost()
        judged = trials.judged()
        progress(len(judged))
        stopped = _plateau(list(judged.values()), len(space.first), needs, objectives, settings)
        if len(judged) >= total:
            return Found(points=points, measured=len(judged))
        if not stopped and asks >= MOST_ASKS * total:
            stopped = f"stopped after {len(judged)} of {total}: other processes have the rest"
        if stopped:
            return Found(points=points, measured=len(judged), stopped=stopped)
        running = len(trials.running())
        if running and len(judged) + running >= total and wait.for_others():
            continue
        asks += 1
        found = _one(space, evaluate, needs, objectives, settings, trials, describe)
        if found is not None:
            points[found.candidate] = found
            wait = _Wait()


def _one(
    space: Space,
    evaluate: Callable[[Candidate], Evaluated | None],
    needs: Requirements,
    objectives: Sequence[str],
    settings: SearchConfig,
    trials: Trials,
    describe: Callable[[Trial, Evaluated], Mapping[str, Any]],
) -> Evaluated | None:
    """One candidate: its point; None where nothing was measured. After an error others measure it.

    Where the sampler repeats itself or proposes an empty place, the nearest candidate that nobody has is measured.
    """
    sampler, first = settings.sampler, len(space.first)
    with quiet():
        trials.study.sampler = make_sampler(
            sampler, seed=settings.seed, asked=trials.asked(), first=first, evaluations=settings.evaluations
        )
    taken = trials.taken()
    beginning = next((candidate for candidate in space.first if candidate not in taken), None)
    trial = trials.ask(None if beginning is None else space.params[beginning])
    try:
        candidate = _claim(trial, trials, space)
        if candidate is None:
            near = space.nearest(trial.params, trials.taken())
            trial = trials.ask(None if near is None else space.params[near])
            candidate = _claim(trial, trials, space)
        if candidate is None:
            return None
        with trials.beating(trial):
            point = evaluate(candidate)
            if point is None:
                trials.refuse(trial)
                return None
            for name, value in describe(trial, point).items():
                trial.set_user_attr(name, value)
            _tell(trial, trials, point, needs, objectives)
    except BaseException:
        with contextlib.suppress(Exception):  # the storage may be what is wrong
            trials.leave(trial)
        raise
    return point


def _claim(trial: Trial, trials: Trials, space: Space) -> Candidate | None:
    """The candidate that `trial` is to measure; None where its place is empty, or another trial has the candidate."""
    with quiet():
        candidate = space.suggest(trial)
    if candidate is None:
        trials.refuse(trial)
        return None
    number = trials.claim(trial, candidate)
    if number is not None:
        trials.repeat(trial, number)
        return None
    return candidate


def _tell(trial: Trial, trials: Trials, point: Evaluated, needs: Requirements, objectives: Sequence[str]) -> None:
    missed = {violation.name: violation.excess for violation in violations(point, needs)}
    for name in ("infeasible", *(bound.limit for bound in needs.bounds)):
        trial.set_constraint(name, missed.get(name, 0.0))
    trial.set_user_attr(MISSED, missed)
    # The sampler wants finite values; an infeasible point is told by its constraint.
    trials.tell(trial, [min(OBJECTIVES[name].read(point), sys.float_info.max) for name in objectives])


def _plateau(
    judged: Sequence[FrozenTrial],
    first: int,
    needs: Requirements,
    objectives: Sequence[str],
    settings: SearchConfig,
) -> str:
    """Why to stop because the last evaluations gained too little; empty: go on."""
    patience = settings.patience
    if not patience or settings.sampler == "exhaustive" or len(judged) < first + patience:
        return ""
    feasible = [trial.state.name == "COMPLETE" and not trial.user_attrs[MISSED] for trial in judged]
    rows = np.array([trial.values for trial, counts in zip(judged, feasible, strict=True) if counts], np.float64)
    if not len(rows):
        return ""
    before = rows[: sum(feasible[:-patience])]
    if share_gained(before, rows, reference_point(rows, needs, objectives)) >= LEAST_GROWTH:
        return ""
    grown = f"the hypervolume grew by less than {100 * LEAST_GROWTH:g} % in the last {patience}"
    return f"stopped after {len(judged)} of {settings.evaluations}: {grown}"


class _Wait:
    """Patience with other processes that measure the last candidates of the budget."""

    def __init__(self) -> None:
        self._until = time.monotonic() + MOST_WAIT_S

    def for_others(self) -> bool:
        """Wait a moment; False when that took too long."""
        time.sleep(LOOK_S)
        return time.monotonic() < self._until
