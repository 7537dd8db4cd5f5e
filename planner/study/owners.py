"""Which process works on a trial, and whether it is dead: what it began is then begun again by another."""

from __future__ import annotations

import functools
import os
import socket
from pathlib import Path

import msgspec

__all__ = ["Owner", "is_dead", "this_process"]


def __dir__() -> list[str]:
    return __all__


class Owner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process that can be told from every other, also from a later one that the system gives the same number."""

    host: str  # hosts that share a study have names of their own
    boot: str  # another one each time the host starts; "" where the system does not say
    namespace: str  # of process numbers: a container has its own
    pid: int
    started: str  # in the system's ticks since it started; "" where it does not say


def this_process() -> Owner:
    """The process that asks."""
    pid = os.getpid()
    return Owner(host=socket.gethostname(), boot=_boot(), namespace=_namespace(), pid=pid, started=_status(pid)[1])


def is_dead(owner: Owner) -> bool:
    """Whether `owner` is known to have ended; False for a process of another host or container, which nobody can ask.

    A process of this host before it was started anew is dead.
    """
    here = this_process()
    if owner.host != here.host:
        return False
    if owner.boot != here.boot:
        return True
    if owner.namespace != here.namespace:
        return False
    state, started = _status(owner.pid)
    return state in ("", "Z", "X") or started != owner.started


def _status(pid: int) -> tuple[str, str]:
    """The state of a process ("" when there is none, "Z" when nobody waited for its end) and when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), fields[19].decode()  # fields 3 and 22 of proc(5); the second may contain blanks
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return "", ""
    except (OSError, IndexError):
        return "?", ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "", ""
    except OSError:  # of another user
        pass
    return "?", ""


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@functools.cache
def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
