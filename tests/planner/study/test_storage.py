"""Where studies are: names, places, two that open at once, another problem's study, heartbeats on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import optuna
import pytest

from splitpoint.planner.store.store import default_folder
from splitpoint.planner.study import storage as module
from splitpoint.planner.study.owners import this_process
from splitpoint.planner.study.storage import Place, check_storage, forget_studies, join_study, open_storage, open_study
from splitpoint.planner.values.candidate import Candidate
from splitpoint.profiles.errors import ProfileError
from splitpoint.tests.postgresql import postgresql

CANDIDATE = Candidate(variant="given", placement="split", cut="c", codec="k", rate=0)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["journal", "postgresql"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "a.journal") if request.param == "journal" else request.getfixturevalue("database")


def measure_one(place: Place, name: str, problem: str = "problem") -> int:
    """Measures a candidate of the study unless it was; gives how many were measured before."""
    with open_study(place, name, problem, ["latency", "drop"]) as opened:
        trial = opened.trials.ask()
        if opened.trials.claim(trial, CANDIDATE) is None:
            opened.trials.tell(trial, [1.0, 2.0])
        else:
            opened.trials.leave(trial)
        return opened.measured


def test_a_study_goes_on_is_told_from_others_and_begins_anew_when_asked(storage: str, tmp_path: Path) -> None:
    place, name = Place(storage=storage), f"s{abs(hash(tmp_path.name))}"
    assert [measure_one(place, name), measure_one(place, name), measure_one(place, f"{name}-other")] == [0, 1, 0]
    fresh = msgspec_replace(place, fresh=True)
    assert [measure_one(fresh, name), measure_one(place, name)] == [0, 1]
    with pytest.raises(ProfileError, match="another problem"):
        measure_one(msgspec_replace(place, study=name), "derived", problem="another")
    assert measure_one(msgspec_replace(place, study=name, fresh=True), "derived", problem="another") == 0
    with open_storage(storage) as opened, pytest.raises(ProfileError, match=f"no study nobody; known: .*{name}"):
        join_study(opened, "nobody")


def msgspec_replace(place: Place, **changes: object) -> Place:
    import dataclasses

    return dataclasses.replace(place, **changes)  # type: ignore[arg-type]


def test_without_a_storage_the_journal_is_in_the_cache_folder() -> None:
    assert measure_one(Place(), "mine-1") == 0
    assert (default_folder() / "studies" / "mine-1.journal").is_file()
    assert Place().artifact_place is None


def test_of_many_studies_the_last_ones_are_kept(tmp_path: Path) -> None:
    for age in range(6):
        path = tmp_path / f"{age}.journal"
        path.touch()
        path.with_name(f"{age}.journal.flock").touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "other").touch()
    forget_studies(tmp_path, most=2)
    left = {"0.journal", "0.journal.flock", "1.journal", "1.journal.flock", "other"}
    assert {path.name for path in tmp_path.iterdir()} == left
    forget_studies(tmp_path / "missing", most=2)


def test_a_database_that_fails_meanwhile_is_said(database: str) -> None:
    def fail() -> None:
        with open_storage(database) as storage:
            assert isinstance(storage, optuna.storages.RDBStorage)
            with storage.engine.connect() as connection:
                connection.exec_driver_sql("no statement")

    with pytest.raises(ProfileError, match="cannot be used any more") as caught:
        fail()
    assert caught.value.fix == "the same command goes on when it can"


def test_where_artifacts_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place(storage="a.journal").artifact_place == str(tmp_path / "a.journal.artifacts")
    assert Place(storage="postgresql://host/db").artifact_place is None
    assert Place(storage="postgresql://host/db", artifacts="s3://b").artifact_place == "s3://b"


@pytest.mark.parametrize("url", ["grpc://host:1", "sqlite:///a.db", "mysql://u@h/d", "redis://h"])
def test_other_storages_are_refused_before_anything_is_opened(url: str) -> None:
    with pytest.raises(ProfileError, match=r"journal's file or postgresql://"):
        check_storage(Place(storage=url))


@pytest.mark.parametrize("name", ["", "../a", "a b", "-a", "a/b", "x" * 101])
def test_names_that_are_no_names_of_files_are_refused(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(ProfileError, match="expected a name"):
            measure_one(Place(storage=str(tmp_path / "j"), study=name), "derived")


def test_a_database_that_is_not_there_is_said_without_its_password() -> None:
    with (
        pytest.raises(ProfileError, match="cannot be used") as caught,
        open_storage("postgresql://me:secret@127.0.0.1:9/x"),
    ):
        pass
    assert "secret" not in str(caught.value)
    assert caught.value.at == "127.0.0.1:9/x"


def test_what_is_no_url_of_a_database_is_said() -> None:
    with pytest.raises(ProfileError, match="database"), open_storage("postgresql://host:notaport/x"):
        pass


def test_processes_that_open_a_storage_at_once_share_one_study(storage: str, tmp_path: Path) -> None:
    code = (
        "import sys; from splitpoint.planner.study.storage import Place, open_study\n"
        "with open_study(Place(storage=sys.argv[1]), sys.argv[2], 'problem', ['x']) as opened:\n"
        "    for number in range(5): opened.trials.ask()\n"
    )
    name = f"at-once-{abs(hash(tmp_path.name))}"
    processes = [subprocess.Popen([sys.executable, "-c", code, storage, name]) for _ in range(3)]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    with open_storage(storage) as opened:
        study = join_study(opened, name).trials.study
        assert sorted(trial.number for trial in study.get_trials() if trial.state.name != "WAITING") == list(range(15))


def test_a_silent_process_of_another_machine_loses_its_trial_and_one_that_beats_does_not(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 1)
    monkeypatch.setattr(module, "GRACE_S", 2)
    elsewhere = msgspec.to_builtins(msgspec.structs.replace(this_process(), host="elsewhere", pid=1))
    with open_study(Place(storage=database), "heartbeats", "problem", ["x"]) as opened:
        trials = opened.trials
        silent, alive = trials.ask(), trials.ask()
        for trial, rate in ((silent, 0.25), (alive, 0.75)):
            trial.set_user_attr("owner", elsewhere)
            trial.suggest_float("rate", rate, rate)
        with trials.beating(silent):
            pass
        with trials.beating(alive):
            until = time.monotonic() + 60
            while len(trials.running()) == 2 and time.monotonic() < until:
                time.sleep(0.2)
                trials.leave_lost()
            assert [trial.number for trial in trials.running()] == [alive.number]
            assert trials.ask().suggest_float("rate", 0.0, 1.0) == 0.25


def test_nobody_beats_after_the_candidate(database: str) -> None:
    import threading

    with open_study(Place(storage=database), "quiet", "problem", ["x"]) as opened:
        trial = opened.trials.ask()
        with opened.trials.beating(trial):
            assert any(thread.name == "heartbeat" for thread in threading.enumerate())
        assert not any(thread.name == "heartbeat" for thread in threading.enumerate())


def test_opening_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    measure_one(Place(storage=str(tmp_path / "j")), "one")
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
