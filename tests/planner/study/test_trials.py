"""Trials of one study in several processes: claims, repetitions, and what becomes of those of dead processes."""

from __future__ import annotations

import datetime
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint.planner.study import trials as module
from splitpoint.planner.study.owners import this_process
from splitpoint.planner.study.search import memory_trials
from splitpoint.planner.study.storage import Place, open_study
from splitpoint.planner.study.trials import Trials, candidate_of
from splitpoint.planner.values.candidate import Candidate

A, B = (Candidate(variant="given", placement="split", cut="c", codec="k", rate=rate) for rate in (0, 1))
DEAD = msgspec.structs.replace(this_process(), started="1")


@pytest.fixture
def trials() -> Trials:
    return memory_trials(1)


def begin(trials: Trials, candidate: Candidate, rate: float = 0.5, owner: Any = None) -> Any:
    """A claimed trial, of another process where one is given."""
    trial = trials.ask()
    if owner is not None:
        trial.set_user_attr("owner", msgspec.to_builtins(owner))
    trial.suggest_float("rate", rate, rate)
    return trial, trials.claim(trial, candidate)


def test_what_is_measured_already_is_a_repetition(trials: Trials) -> None:
    first, number = begin(trials, A)
    assert number is None
    first.set_constraint("latency", 0.25)
    assert trials.tell(first, [2.0])
    second, number = begin(trials, A)
    assert number == first.number
    trials.repeat(second, number)
    _, number = begin(trials, B)
    assert number is None
    assert list(map(candidate_of, trials.judged().values())) == [A]
    told = trials.study.get_trials()[second.number]
    assert (told.values, told.constraints) == ([2.0], {"latency": 0.25})


def test_what_cannot_be_fitted_is_not_tried_again(trials: Trials) -> None:
    first, _ = begin(trials, A)
    trials.refuse(first)
    second, number = begin(trials, A)
    assert number == first.number
    trials.repeat(second, number)
    assert trials.study.get_trials()[second.number].values is None
    assert len(trials.judged()) == 1


def test_of_two_at_once_the_lower_number_has_it(trials: Trials) -> None:
    first, _ = begin(trials, A)
    _, number = begin(trials, A)
    assert number == first.number
    assert trials.claim(first, A) is None


def test_a_higher_number_waits_until_the_lower_says_what_it_measures(trials: Trials) -> None:
    """Without that both would measure A: the second looks before the first has written."""
    first, second = trials.ask(), trials.ask()
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(trials.claim(second, A)))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    assert trials.claim(first, A) is None
    thread.join(60)
    assert found == [first.number]


def test_a_dead_process_is_not_waited_for_and_its_candidate_is_measured_by_another(trials: Trials) -> None:
    begin(trials, A, rate=0.25, owner=DEAD)
    ours, number = begin(trials, A)
    assert number is None
    trials.tell(ours, [1.0])
    assert trials.leave_lost() == 1
    again = trials.ask()
    assert again.params == {}
    assert again.suggest_float("rate", 0.25, 0.25) == 0.25
    states = [trial.state.name for trial in trials.study.get_trials()]
    assert states == ["FAIL", "COMPLETE", "RUNNING"]


def test_a_process_that_died_before_it_said_its_name_is_lost_after_a_while(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials.study.enqueue_trial({"rate": 0.75})
    trials.study.ask()
    assert trials.leave_lost() == 0
    monkeypatch.setattr(module, "UNCLAIMED_S", 0.0)
    assert trials.leave_lost() == 1
    assert trials.ask().suggest_float("rate", 0.0, 1.0) == 0.75


def test_living_processes_keep_their_trials(trials: Trials) -> None:
    begin(trials, A)
    begin(trials, B, owner=msgspec.structs.replace(this_process(), host="elsewhere", pid=1))
    assert trials.leave_lost() == 0
    assert len(trials.running()) == 2


def test_who_was_given_up_does_not_tell(trials: Trials) -> None:
    slow, _ = begin(trials, A, owner=DEAD)
    trials.leave_lost()
    assert not trials.tell(slow, [1.0])
    assert trials.judged() == {}


def test_leaving_a_trial_lets_the_next_begin_with_it(trials: Trials) -> None:
    left, _ = begin(trials, A, rate=0.125)
    trials.leave(left)
    again = trials.ask(params={"rate": 0.5})
    assert again.suggest_float("rate", 0.0, 1.0) == 0.125
    assert trials.claim(again, A) is None
    told, _ = begin(trials, B)
    trials.tell(told, [1.0])
    trials.leave(told)  # has ended: nothing to leave
    assert not any(trial.state.name == "WAITING" for trial in trials.study.get_trials())


def test_the_number_of_asks_counts_what_was_decided(trials: Trials) -> None:
    """The seed of a proposal is that of an uninterrupted search: what a killed process began does not count."""
    first, _ = begin(trials, A)
    trials.tell(first, [1.0])
    refused, _ = begin(trials, B)
    trials.refuse(refused)
    begin(trials, A, owner=DEAD)
    trials.leave_lost()
    assert trials.asked() == 2


def test_a_killed_process_loses_its_trial_only(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from splitpoint.planner.study.storage import Place, open_study\n"
        "trials = open_study(Place(storage=sys.argv[1]), 'one', 'problem', ['x']).__enter__().trials\n"
        "told = trials.ask(); told.suggest_float('rate', 0, 1)\n"
        "from splitpoint.planner.values.candidate import Candidate\n"
        "candidate = Candidate(variant='given', placement='split', cut='c', codec='k', rate=0)\n"
        "assert trials.claim(told, candidate) is None and trials.tell(told, [1.0])\n"
        "lost = trials.ask(); lost.suggest_float('rate', 0.5, 0.5); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    journal = tmp_path / "journal"
    assert subprocess.run([sys.executable, "-c", code, str(journal)], check=False).returncode == -9
    with open_study(Place(storage=str(journal)), "one", "problem", ["x"]) as opened:
        assert opened.measured == 1
        assert opened.trials.running() == []
        assert opened.trials.ask().suggest_float("rate", 0.0, 1.0) == 0.5


def test_clocks_are_not_needed_to_be_equal_for_trials_with_an_owner(trials: Trials) -> None:
    begin(trials, A)
    (trial,) = trials.running()
    trial.datetime_start = datetime.datetime(1990, 1, 1)
    assert trials.leave_lost() == 0
