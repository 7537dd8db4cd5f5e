"""Which processes are dead, for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import msgspec
import pytest

from splitpoint.planner.study import owners
from splitpoint.planner.study.owners import Owner, is_dead, this_process

CODE = "from splitpoint.planner.study.owners import this_process; import msgspec, sys, time\n"
CODE += "print(msgspec.json.encode(this_process()).decode(), flush=True); time.sleep(600)\n"


def other_process() -> tuple[subprocess.Popen[str], Owner]:
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, msgspec.json.decode(process.stdout.readline(), type=Owner)


def test_a_process_lives_until_it_is_killed() -> None:
    process, owner = other_process()
    assert not is_dead(owner)
    process.send_signal(signal.SIGSTOP)
    assert not is_dead(owner)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(owner)  # although nobody waited for its end: it is in the list of processes
    process.communicate()
    assert is_dead(owner)


def test_this_process_lives() -> None:
    assert not is_dead(this_process())


@pytest.mark.parametrize(
    ("changes", "dead"),
    [
        ({"started": "1"}, True),  # its number was given to another
        ({"boot": "another"}, True),
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),  # nobody here can know
        ({"host": "elsewhere", "boot": "another"}, False),
        ({"namespace": "of a container", "pid": 2**22 + 1}, False),
        ({"pid": 2**22 + 1}, True),  # above the most that Linux gives
    ],
)
def test_what_is_known_of_others(changes: dict[str, object], dead: bool) -> None:
    assert is_dead(msgspec.structs.replace(this_process(), **changes)) == dead


class Nowhere:
    """A path of a system without /proc."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read_bytes(self) -> bytes:
        raise FileNotFoundError(self.path)

    read_text = readlink = read_bytes

    def exists(self) -> bool:
        return False


def test_without_proc_a_process_is_dead_when_no_signal_can_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "Path", Nowhere)
    for cached in (owners._boot, owners._namespace):
        monkeypatch.setattr(owners, cached.__name__, cached.__wrapped__)
    here = this_process()
    assert (here.boot, here.namespace, here.started) == ("", "", "")
    assert not is_dead(here)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_dead(msgspec.structs.replace(here, pid=ended.pid))
