"""Journals of studies: torn records are cut off, a dead process's lock costs nothing, a living one's is respected."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from splitpoint.planner.study.journal import JournalLock, cut_torn_record, locked, open_journal
from splitpoint.planner.study.trials import quiet
from splitpoint.profiles.errors import ProfileError

FAR = 3600.0  # seconds: long before any test began


def write_trials(path: Path, count: int) -> None:
    import optuna

    storage = open_journal(path)
    with quiet():
        study = optuna.create_study(study_name="one", storage=storage, load_if_exists=True)
    for number in range(count):
        trial = study.ask()
        trial.suggest_float("x", 0.0, 1.0)
        study.tell(trial, float(number))


def finished(path: Path) -> int:
    import optuna

    return len(optuna.load_study(study_name="one", storage=open_journal(path)).get_trials(states=None))


def test_a_journal_torn_at_every_byte_of_its_last_record_goes_on(tmp_path: Path) -> None:
    write_trials(tmp_path / "whole", 3)
    content = (tmp_path / "whole").read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    assert len(content) - last > 50
    for end in range(last, len(content)):
        path = tmp_path / "torn"
        path.write_bytes(content[:end])
        write_trials(path, 1)
        assert finished(path) == 4
        assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("content", "cut"),
    [(b"", 0), (b"{}\n", 0), (b"{}\n{", 1), (b"{", 1), (b"{}\n" + b"x" * 200_000, 200_000), (b"{}\n\0\0", 2)],
    ids=["empty", "whole", "torn", "first record", "long", "zeros"],
)
def test_what_is_cut_off(tmp_path: Path, content: bytes, cut: int) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    assert cut_torn_record(path) == cut
    assert path.read_bytes() == content[: len(content) - cut]


def test_a_record_torn_while_others_have_the_journal_open_does_not_spoil_the_next(tmp_path: Path) -> None:
    import optuna

    path = tmp_path / "journal"
    write_trials(path, 1)
    study = optuna.load_study(study_name="one", storage=open_journal(path))
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"work')  # a process was killed here
    study.tell(study.ask(), 1.0)
    assert finished(path) == 2


HOLD = (
    "import sys, time; from pathlib import Path\n"
    "from splitpoint.planner.study.journal import JournalLock\n"
    "JournalLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(600)\n"
)


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def close(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_lock_of_a_dead_process_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    write_trials(path, 1)
    close(hold(path))
    assert (tmp_path / "journal.lock").is_symlink()
    monkeypatch.setattr(time, "sleep", lambda s: pytest.fail("waits for a dead process"))
    write_trials(path, 1)
    assert not (tmp_path / "journal.lock").is_symlink()


def test_the_lock_of_a_living_process_is_respected(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write_trials(path, 1)
    process = hold(path)
    os.utime(tmp_path / "journal.lock", (0, 0), follow_symlinks=False)  # however long it has been held
    process.send_signal(signal.SIGSTOP)
    writer = threading.Thread(target=write_trials, args=(path, 1))
    writer.start()
    writer.join(1.0)
    assert writer.is_alive()
    assert len(path.read_text().splitlines()) == len({*path.read_text().splitlines()})
    close(process)
    writer.join(60)
    assert finished(path) == 2


@pytest.mark.parametrize(("age_s", "removed"), [(FAR, True), (0.0, False)])
def test_a_lock_of_optunas_own_tools_is_waited_for_unless_it_is_old(
    tmp_path: Path, age_s: float, removed: bool
) -> None:
    path = tmp_path / "journal"
    path.touch()
    link = tmp_path / "journal.lock"
    link.symlink_to(path)
    os.utime(link, (time.time() - age_s,) * 2, follow_symlinks=False)
    ended = threading.Event()

    def use() -> None:
        with locked(JournalLock(path)):
            ended.set()

    thread = threading.Thread(target=use)
    thread.start()
    assert ended.wait(30 if removed else 0.5) == removed
    link.unlink(missing_ok=True)
    thread.join(30)
    assert ended.is_set()


def test_optunas_own_backend_reads_and_writes_the_same_journal(tmp_path: Path) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    path = tmp_path / "journal"
    write_trials(path, 2)
    study = optuna.load_study(study_name="one", storage=JournalStorage(JournalFileBackend(str(path))))
    study.tell(study.ask(), 1.0)
    assert finished(path) == 3


def test_processes_that_open_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import optuna; optuna.logging.set_verbosity(optuna.logging.ERROR)\n"
        "from splitpoint.planner.study.journal import open_journal\n"
        "study = optuna.create_study(study_name='one', storage=open_journal(Path(sys.argv[1])), load_if_exists=True)\n"
        "for number in range(20): study.tell(study.ask(), 1.0)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "journal")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert finished(tmp_path / "journal") == 60


@pytest.mark.parametrize("content", [b"no journal\n", b'{"op_code": 99}\n{}\n', b"[1]\n[2]\n"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content * 2 + b"the end")
    with pytest.raises(ProfileError, match="no journal"):
        open_journal(path)
    assert content.startswith(b"{") or path.read_bytes().endswith(b"the end")


def test_places_that_cannot_hold_a_journal(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="folder"):
        open_journal(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ProfileError, match="cannot be written"):
        open_journal(tmp_path / "file" / "journal")


def test_a_lock_that_is_not_held_cannot_be_given_back(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        JournalLock(tmp_path / "journal").release()
