"""Optuna over cut, codec and rate: multi-objective TPE on a flat space, the table's own Pareto front enqueued first.

Everything that can be looked up is enumerated before (`planner.search.table`); a trial pays for accuracy only.
This is the only home of optuna.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from splitpoint.planner.deploy.requirements import Requirements
from splitpoint.planner.limits.objectives import OBJECTIVES
from splitpoint.planner.search.decide import CONSTRAINTS, violations
from splitpoint.planner.values.candidate import Candidate, Evaluated
from splitpoint.profiles.errors import ProfileError

__all__ = ["require_optuna", "search"]


def __dir__() -> list[str]:
    return __all__


INSTALL = "python -m pip install 'splitpoint[plan]'"
REPEATS = 4  # asks per new evaluation before the sampler is taken to have converged


def require_optuna() -> None:
    """Raise `ProfileError` with the pip command when optuna is missing: better before the first stage than after."""
    if importlib.util.find_spec("optuna") is None:
        raise ProfileError("planning needs optuna, which is not installed", fix=INSTALL)


def search(
    options: Sequence[Sequence[Sequence[Candidate]]],
    evaluate: Callable[[Candidate], Evaluated | None],
    needs: Requirements,
    objectives: Sequence[str],
    *,
    first: Sequence[Candidate],
    seed: int,
    evaluations: int,
) -> list[Evaluated]:
    """Evaluate up to `evaluations` distinct candidates, `first` before any that the sampler proposes.

    `options[cut][codec]` lists the candidates of that place in ascending rate (empty where the codec cannot code it).
    `evaluate` gives None for a candidate that cannot be fitted. The order, and so the result, is a function of the
    arguments alone.
    """
    import optuna

    with _quiet():
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=max(10, len(first)))
        study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(objectives))
    places = {
        candidate: {"cut": cut, "codec": str(codec), "rate": (index + 0.5) / len(rates)}
        for cut, codecs in enumerate(options)
        for codec, rates in enumerate(codecs)
        for index, candidate in enumerate(rates)
    }
    for candidate in first:
        study.enqueue_trial(places[candidate])
    seen: dict[Candidate, Evaluated | None] = {}
    codecs = [str(index) for index in range(max(len(row) for row in options))] if options else []
    asked = 0
    while len(seen) < min(evaluations, len(places)) and asked < REPEATS * evaluations:
        asked += 1
        trial = study.ask()
        cut = trial.suggest_int("cut", 0, len(options) - 1) if len(options) > 1 else 0
        codec = int(trial.suggest_categorical("codec", codecs))
        rate = trial.suggest_float("rate", 0.0, 1.0)
        rates = options[cut][codec]
        if not rates:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        candidate = rates[min(len(rates) - 1, int(rate * len(rates)))]
        if candidate not in seen:
            seen[candidate] = evaluate(candidate)
        point = seen[candidate]
        if point is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        missed = {violation.name: violation.excess for violation in violations(point, needs)}
        for name in CONSTRAINTS:
            trial.set_constraint(name, missed.get(name, 0.0))
        # The sampler wants finite values; an infeasible point is told by its constraint.
        study.tell(trial, [min(OBJECTIVES[name].read(point), sys.float_info.max) for name in objectives])
    return [point for point in seen.values() if point is not None]


_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's own log at errors only; its level is the process's: one thread at a time changes and restores it."""
    import optuna

    with _ONE_AT_A_TIME:
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)
