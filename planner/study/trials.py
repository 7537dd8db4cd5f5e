"""The trials of a study as a record that several processes write: who measures what, what is measured, what is lost.

A trial is claimed in two steps, as in Lamport's bakery (1974): its number, which the storage gives to nobody else, is
the ticket, and its candidate is written under it. A process that then sees a living trial of a lower number with the
same candidate leaves it to that one; where a lower number has no candidate yet, it waits until it has.
"""

from __future__ import annotations

import contextlib
import datetime
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from splitpoint.planner.study.owners import Owner, is_dead, this_process
from splitpoint.planner.values.candidate import Candidate
from splitpoint.planner.values.keys import content_key

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["MISSED", "Trials", "begin_again", "candidate_key", "candidate_of", "quiet"]


def __dir__() -> list[str]:
    return __all__


OWNER, CANDIDATE, KEY = "owner", "candidate", "key"  # user attributes of every trial
REFUSED, REPEATS, MISSED = "refused", "repeats", "missed"  # of some: not to be fitted, a repetition, limits it misses
UNCLAIMED_S = 10.0  # between the number of a trial and its candidate: longer takes nobody who lives
LOOK_S = 0.02  # between two looks at a trial without a candidate


def candidate_key(candidate: Candidate) -> str:
    """The content key of a candidate, by which repetitions are found."""
    return content_key("candidate", candidate=candidate)[:16]


def candidate_of(trial: FrozenTrial) -> Candidate:
    """The candidate that the trial measured."""
    return msgspec.convert(trial.user_attrs[CANDIDATE], Candidate)


class Trials:
    """The trials of one Optuna study, as one of its processes sees and writes them."""

    def __init__(self, study: Study, storage: BaseStorage) -> None:
        self.study, self._storage = study, storage
        self._owner = this_process()

    def judged(self) -> dict[str, FrozenTrial]:
        """The first trial of every candidate that was measured or cannot be fitted, by key, in order of number."""
        found: dict[str, FrozenTrial] = {}
        for trial in self._all():
            if KEY in trial.user_attrs and (trial.state.name == "COMPLETE" or trial.user_attrs.get(REFUSED)):
                found.setdefault(trial.user_attrs[KEY], trial)
        return found

    def running(self) -> list[FrozenTrial]:
        """Trials that a process works on."""
        return [trial for trial in self._all() if trial.state.name == "RUNNING"]

    def taken(self) -> set[Candidate]:
        """The candidates that are measured, cannot be fitted or are being measured."""
        trials = (*self.judged().values(), *self.running())
        return {candidate_of(trial) for trial in trials if CANDIDATE in trial.user_attrs}

    def asked(self) -> int:
        """Trials that count for the seed of the next proposal: what was told, and what is being measured."""
        return sum(
            trial.state.name in ("COMPLETE", "RUNNING") or REFUSED in trial.user_attrs or REPEATS in trial.user_attrs
            for trial in self._all()
        )

    def ask(self, params: Mapping[str, Any] | None = None) -> Trial:
        """A new trial of this process: of a candidate that waits, else of `params`, else without a candidate."""
        with quiet():
            if params is not None and not any(trial.state.name == "WAITING" for trial in self._all()):
                self.study.enqueue_trial(dict(params))
            trial = self.study.ask()
        trial.set_user_attr(OWNER, msgspec.to_builtins(self._owner))
        return trial

    def claim(self, trial: Trial, candidate: Candidate) -> int | None:
        """Write what `trial` measures; gives the number of the trial that has the same candidate, None: it is ours."""
        key = candidate_key(candidate)
        trial.set_user_attr(CANDIDATE, msgspec.to_builtins(candidate))
        trial.set_user_attr(KEY, key)
        until = time.monotonic() + UNCLAIMED_S
        while True:
            others = self._all()
            for other in others:
                judged = other.state.name == "COMPLETE" or other.user_attrs.get(REFUSED)
                sooner = other.state.name == "RUNNING" and other.number < trial.number and not self._is_lost(other)
                if other.number != trial.number and (judged or sooner) and other.user_attrs.get(KEY) == key:
                    return other.number
            if time.monotonic() > until or not any(
                other.state.name == "RUNNING"
                and other.number < trial.number
                and KEY not in other.user_attrs
                and not self._is_lost(other)
                for other in others
            ):
                return None
            time.sleep(LOOK_S)

    def tell(self, trial: Trial, values: Sequence[float]) -> bool:
        """Write what was found; False where others had given this process up: the candidate is measured again."""
        return self._finish(trial.number, values=list(values))

    def refuse(self, trial: Trial) -> None:
        """Nobody can measure what the trial proposes."""
        trial.set_user_attr(REFUSED, True)
        self._finish(trial.number)

    def repeat(self, trial: Trial, number: int) -> None:
        """The candidate is that of trial `number`, whose values the sampler is told once more, where it has any."""
        trial.set_user_attr(REPEATS, number)
        other = self._find(number)
        for name, value in other.constraints.items():
            trial.set_constraint(name, value)
        self._finish(trial.number, values=other.values if other.state.name == "COMPLETE" else None)

    def leave(self, trial: Trial) -> None:
        """Give up a trial that is not measured; who asks next begins with its candidate."""
        found = self._find(trial.number)
        if found.state.name == "RUNNING":
            self._begin_again(found)

    def leave_lost(self) -> int:
        """Give up the trials of dead processes in the same way; gives how many."""
        from optuna.storages import fail_stale_trials

        lost = [trial for trial in self.running() if self._is_lost(trial)]
        for trial in lost:
            self._begin_again(trial)
        with quiet():
            fail_stale_trials(self.study)  # by their heartbeat, where the storage has one
        return len(lost)

    @contextlib.contextmanager
    def beating(self, trial: Trial) -> Iterator[None]:
        """Tell a storage with heartbeats, while the block runs, that this process lives."""
        storage: Any = self._storage
        interval_s = getattr(storage, "get_heartbeat_interval", lambda: None)()
        if interval_s is None:
            yield
            return
        ended = threading.Event()

        def beat() -> None:
            while not ended.is_set():
                with contextlib.suppress(Exception):  # a storage that is away for a moment: the next beat tells
                    storage.record_heartbeat(trial._trial_id)
                ended.wait(interval_s)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _all(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _find(self, number: int) -> FrozenTrial:
        return next(trial for trial in self._all() if trial.number == number)

    def _is_lost(self, trial: FrozenTrial) -> bool:
        """Whether nobody works on a running trial: its process is dead, or died before it said who it is."""
        given = trial.user_attrs.get(OWNER)
        if given is not None:
            return is_dead(msgspec.convert(given, Owner))
        begun = trial.datetime_start
        return begun is not None and (datetime.datetime.now() - begun).total_seconds() > UNCLAIMED_S

    def _begin_again(self, trial: FrozenTrial) -> None:
        """Fail the trial and let its candidate wait: in this order nothing is lost when this process dies between."""
        begin_again(self.study, trial)
        self._finish(trial.number)

    def _finish(self, number: int, *, values: Sequence[float] | None = None) -> bool:
        import optuna

        state = optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE
        try:
            self.study.tell(number, values, state=state)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # others have told it
            return False
        return True


def begin_again(study: Study, trial: FrozenTrial) -> None:
    """Let the candidate of a trial that ended without a result wait for the next who asks."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if params:
        study.enqueue_trial(params)


_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Optuna's log at errors only, and without its warnings of experimental features that are used on purpose.

    Both belong to the process: one thread at a time changes and restores them.
    """
    import optuna

    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed", UserWarning)
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)
