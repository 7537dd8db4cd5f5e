"""A study in one file: records that a killed process tore are cut off, and no lock of a dead process is waited for.

Optuna's journal is a line a record. A process that dies while it writes leaves part of a line; the next record is then
appended to it, and from there on nobody can read the file. Whoever takes the lock therefore first cuts the file back to
the end of its last whole line. Optuna's lock is a link beside the file, which a dead process leaves there; here the
process that has the link also holds an flock, which the system releases when the process ends, so that whoever gets the
flock knows that the link is of nobody any more. The link is the one that Optuna's own tools wait for.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splitpoint.profiles.errors import ProfileError

if TYPE_CHECKING:
    from optuna.storages.journal import JournalStorage

__all__ = ["JournalLock", "cut_torn_record", "locked", "open_journal"]


def __dir__() -> list[str]:
    return __all__


LINK, HELD = ".lock", ".flock"  # beside the journal: Optuna's own lock, and ours
FOREIGN_S = 30.0  # after which a link that is not ours is taken to be of a dead process, as Optuna has it
WAIT_S = 0.002  # between two looks at a link
BEGIN = b'{"op_code"'  # of every journal
LOOK_BACK = 1 << 16  # bytes read at once while the end of the last whole line is looked for


class JournalLock:
    """One process at a time writes; taking it repairs the end of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link, self._held = (path.with_name(path.name + suffix) for suffix in (LINK, HELD))
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Wait for the lock; a living process is waited for as long as it takes."""
        descriptor = os.open(self._held, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with contextlib.suppress(OSError):  # a file system without flock: the link alone
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size:  # the last holder died: the link is its
                with contextlib.suppress(FileNotFoundError):
                    self._link.unlink()
            self._make_link(descriptor)
            self._descriptor = descriptor
            cut_torn_record(self._path)
        except BaseException:
            if self._descriptor is None:
                os.close(descriptor)
            else:
                self.release()
            raise

    def release(self) -> None:
        """Let others write."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            raise RuntimeError("the journal is not locked by this process")
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def _make_link(self, descriptor: int) -> None:
        while True:
            os.pwrite(descriptor, b"held\n", 0)  # before the link, so that there is none of ours without it
            try:
                self._link.symlink_to(self._path)
            except FileExistsError:
                os.ftruncate(descriptor, 0)
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - self._link.lstat().st_mtime > FOREIGN_S:
                        self._link.unlink()
                        continue
                time.sleep(WAIT_S)
            else:
                return


@contextlib.contextmanager
def locked(lock: JournalLock) -> Iterator[None]:
    """The lock is held within the block."""
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def cut_torn_record(path: Path) -> int:
    """Cut the journal back to the end of its last whole line; gives the bytes that were cut off. Call it locked."""
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - LOOK_BACK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())
        return size - end


def open_journal(path: Path) -> JournalStorage:
    """The storage of a journal, which is made where there is none; raises `ProfileError` where it cannot be used."""
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    lock = JournalLock(path)

    class Backend(JournalFileBackend):
        """Without waiting for the disk at each of 20 records a trial: what a killed process wrote is there anyway."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            with locked(lock), path.open("ab") as file:
                file.write(lines.encode())

    if path.is_dir():
        raise ProfileError("it is a folder, expected the file of a journal", at=str(path), fix=f"{path}/NAME.journal")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with path.open("rb") as file:
            begin = file.read(len(BEGIN))
        if not BEGIN.startswith(begin):  # before anything is cut off
            raise ValueError("it does not begin with a record")
        with locked(lock):  # repairs
            pass
        return JournalStorage(Backend(str(path)))
    except OSError as error:
        raise ProfileError(f"the journal cannot be written: {error.strerror}", at=str(path)) from error
    except (ValueError, KeyError, AttributeError, TypeError, AssertionError) as error:  # of a line that is no record
        raise ProfileError(
            f"this is no journal of a study: {error}", at=str(path), fix="name another file, or remove this one"
        ) from error
