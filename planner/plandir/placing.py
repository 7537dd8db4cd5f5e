"""Put a finished folder in the place of a plan directory: whole or not at all, and what was there is kept.

The folder is made under a hidden name beside its place, written to disk, and exchanged with the old plan in one step
(`planner.plandir.exchange`); the old plan then becomes DIR.1. Where the system cannot exchange two folders the old
plan is renamed first: a reader may find none for a moment, and what a crash leaves is put back by the next run. One
writer at a time: a lock beside the folder, which the system releases when its process ends.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from splitpoint.planner.deploy.file_names import PLAN, is_content, is_page, is_plan_file
from splitpoint.planner.deploy.folder import Folder
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.deploy.stored import StoredPlan, open_plan
from splitpoint.planner.plandir.exchange import exchange
from splitpoint.profiles.errors import ProfileError

__all__ = [
    "NotWrittenError",
    "Place",
    "check_replaceable",
    "claimed",
    "kept_path",
    "listed_files",
    "placed",
    "will_be_kept",
]


def __dir__() -> list[str]:
    return __all__


NEW, OLD = ".new", ".old"  # hidden names: a plan that is being made; one that is about to change places, or has
OTHER_PLACE = "choose another --out, or move what is there"


class NotWrittenError(ProfileError):
    """The plan directory cannot be made at this place; at another it may be."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a plan directory goes, held by this process; `claimed` makes it."""

    directory: Path  # as the user wrote it
    target: Path  # without links
    keep: int = 1  # plans that were there before and are kept, as DIR.1 and so on


@contextlib.contextmanager
def claimed(directory: Path | Place, *, keep: int = 1) -> Iterator[Place]:
    """Hold `directory` for writing a plan: its place is checked and tried, and nobody else writes there meanwhile.

    What processes that died there left is put right first. A `Place` is held already. Raises `NotWrittenError` when
    another process holds it, and when what is there, or is kept beside it, is not replaced (`check_replaceable`).
    """
    if isinstance(directory, Place):
        yield directory
        return
    place = Place(directory=directory, target=_resolved(directory), keep=keep)
    with _written(directory):
        missing = [parent for parent in place.target.parents if not parent.exists()]  # the innermost first
        there = next(parent for parent in place.target.parents if parent.exists())
        if not there.is_dir():
            raise NotWrittenError(f"{there} is a file, expected a folder", at=str(directory), fix=OTHER_PLACE)
        place.target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _lock(place):
            with _written(directory):
                recover(place)
            for path in (place.target, *(kept_path(place.target, number) for number in range(1, keep + 1))):
                check_replaceable(path, shown=directory if path == place.target else path)
            _try_to_write(place)
            yield place
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # it holds the plan now
                parent.rmdir()


@contextlib.contextmanager
def placed(place: Place) -> Iterator[Path]:
    """A hidden folder beside the place that takes it when the block ends well, and vanishes otherwise.

    What is there then becomes DIR.1, an older DIR.1 becomes DIR.2, up to `keep`. Raises `NotWrittenError`.
    """
    folder = _hidden(place.target, NEW)
    placing = False
    try:
        with _written(place.directory):
            folder.mkdir()
            try:
                yield folder
            except ProfileError as error:
                if folder.is_dir() or isinstance(error, NotWrittenError):
                    raise
                text = "its folder was removed while the plan was written"
                raise NotWrittenError(text, at=str(place.directory), fix=OTHER_PLACE) from error
            flush(folder)
            # Planning takes minutes: something may have been put there.
            check_replaceable(place.target, shown=place.directory)
            placing = True
            _take_place(folder, place)
    finally:
        if not placing:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):  # else the next run does it
                recover(place)


def check_replaceable(directory: Path, *, shown: Path | None = None) -> None:
    """Raise `NotWrittenError` unless `directory` is absent, empty, or a plan directory that holds nothing else.

    A plan directory is one whose plan.yaml this version reads; every other file in it must be listed there, unchanged.
    `shown` is what the error calls it.
    """
    target, directory = _resolved(directory), shown or directory
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir() or not (target / PLAN).is_file():
        raise _not_replaced("it exists and is no plan directory, so it is not replaced", directory)
    try:
        stored = open_plan(target)
    except ProfileError as error:
        text = f"its {PLAN} is not a plan that this version wrote, so the folder is not replaced"
        raise _not_replaced(text, directory) from error
    listed = listed_files(stored.file)
    for name in stored.folder.names():
        if is_page(name):
            continue
        if name not in listed:
            raise _not_replaced(f"{name} is not part of the plan there, so the folder is not replaced", target / name)
        if name != PLAN:
            _check_unchanged(stored, name, target)


def listed_files(file: PlanFile) -> frozenset[str]:
    """The files that a plan directory may hold, by their paths with slashes."""
    return frozenset({PLAN, *file.files, *file.contents})


def kept_path(directory: Path, number: int) -> Path:
    """Where the plan is kept that was replaced `number` plans ago."""
    return directory.with_name(f"{directory.name}.{number}")


def will_be_kept(place: Place) -> Path | None:
    """Where the plan in `place` will be kept once another one is there; None: there is none, or it is not kept."""
    there = place.keep and place.target.is_dir() and any(place.target.iterdir())
    return kept_path(place.directory, 1) if there else None


def recover(place: Place) -> None:
    """Put right what a process that died while it wrote there left; only while the place is held.

    A whole plan that was about to change places, or had, is kept, or takes the place where nothing is there (of two the
    newer one). All else under a hidden name was never a plan, and is removed unless it holds a file that no plan has.
    """
    pattern = re.compile(rf"\.{re.escape(place.target.name)}\.[0-9a-f]{{8}}({NEW}|{OLD})")
    beside = [path for path in place.target.parent.iterdir() if pattern.fullmatch(path.name)]
    left = [path for path in beside if path.is_dir() and not path.is_symlink()]
    for folder in sorted(left, key=lambda path: _created(path) or "", reverse=True):
        if folder.name.endswith(OLD) and _created(folder) is not None:
            if place.target.exists():
                _keep(folder, place)
            else:
                folder.rename(place.target)
        elif all(
            name == PLAN or is_plan_file(name) or is_content(name) or is_page(name) for name in Folder(folder).names()
        ):
            shutil.rmtree(folder)


def flush(folder: Path) -> None:
    """Write every file and folder below to disk, so that a power cut after the exchange finds them whole."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)


def _take_place(folder: Path, place: Place) -> None:
    """Exchange and keep; a crash between any two steps leaves a whole plan there, or what `recover` puts there."""
    target = place.target
    if target.exists() and not any(target.iterdir()):
        target.rmdir()
    if not target.exists():
        folder.rename(target)
        _sync(target.parent)
        return
    staged = folder.with_name(folder.name.removesuffix(NEW) + OLD)  # what has this name from now on is never removed
    folder.rename(staged)
    try:
        old = _swap(staged, target)
    except OSError:
        staged.rename(folder)
        raise
    _sync(target.parent)
    try:
        _keep(old, place)
    except OSError:
        _swap(old, target).rename(folder)
        raise
    _sync(target.parent)


def _swap(folder: Path, target: Path) -> Path:
    """Let the two change places; gives where what was at `target` is now."""
    if exchange(folder, target):
        return folder
    away = _hidden(target, OLD)
    target.rename(away)
    folder.rename(target)
    return away


def _keep(old: Path, place: Place) -> None:
    """The old plan as DIR.1, older ones one number up; the last of them, or `old` where none is kept, is removed."""
    if not place.keep:
        _remove_plan(old)
        return
    _remove_plan(kept_path(place.target, place.keep))
    for number in range(place.keep, 1, -1):
        before, after = kept_path(place.target, number - 1), kept_path(place.target, number)
        if before.exists() and not after.exists():
            before.rename(after)
    numbers = itertools.count(1)  # above 1 where something that is no plan came meanwhile
    old.rename(next(path for path in (kept_path(place.target, n) for n in numbers) if not path.exists()))


def _remove_plan(folder: Path) -> None:
    """Remove a plan directory that is replaceable; another stays."""
    if not folder.is_dir() or folder.is_symlink() or not any(folder.iterdir()):
        return
    try:
        check_replaceable(folder)
    except NotWrittenError:
        return
    stored = open_plan(folder)
    names = {*listed_files(stored.file), *filter(is_page, stored.folder.names())}
    for name in sorted(names, key=lambda name: name == PLAN):  # last: it says what the files are
        (folder / name).unlink(missing_ok=True)
    for path in (*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder):
        with contextlib.suppress(OSError):  # something came meanwhile
            path.rmdir()


def _created(folder: Path) -> str | None:
    """When the whole plan in `folder` was made, or None when it holds none."""
    try:
        stored = open_plan(folder)
        missing = listed_files(stored.file) - set(stored.folder.names()) - set(stored.file.external)
    except (ProfileError, OSError):
        return None
    return None if missing or not stored.file.contents else stored.file.created


def _try_to_write(place: Place) -> None:
    """Make and remove what will be made: only trying finds full disks and read-only file systems."""
    trial = _hidden(place.target, NEW)
    try:
        with _written(place.directory):
            trial.mkdir()
            (trial / PLAN).write_bytes(b"\0")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


@contextlib.contextmanager
def _lock(place: Place) -> Iterator[None]:
    """Hold the lock file of the place, which is removed at the end; raises `NotWrittenError` when another holds it."""
    path = place.target.with_name(f".{place.target.name}.lock")
    descriptor = _acquire(path, place)
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # its folder was removed
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, place: Place) -> int:
    """The descriptor of the locked file at `path`; one that its owner removed between two steps is none."""
    while True:
        with _written(place.directory):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode(errors="replace") or "unknown"
            os.close(descriptor)
            text = f"another splitpoint (process {owner}) writes a plan there"
            raise NotWrittenError(text, at=str(place.directory), fix="wait for it, or choose another --out") from None
        if _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _written(directory: Path) -> Iterator[None]:
    """Turn what the system says into `NotWrittenError`."""
    try:
        yield
    except OSError as error:
        raise NotWrittenError(f"it cannot be written: {error.strerror}", at=str(directory), fix=OTHER_PLACE) from error


def _check_unchanged(stored: StoredPlan, name: str, target: Path) -> None:
    try:
        stored.read(name)
    except ProfileError as error:
        text = f"{name} was changed, so the folder is not replaced"
        raise _not_replaced(text, target / name) from error


def _not_replaced(text: str, at: Path) -> NotWrittenError:
    return NotWrittenError(text, at=str(at), fix=OTHER_PLACE)


def _hidden(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{kind}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _resolved(directory: Path) -> Path:
    try:
        return directory.resolve()
    except OSError as error:  # the folder of this process was removed
        raise NotWrittenError(f"it cannot be written: {error.strerror}", at=str(directory), fix=OTHER_PLACE) from error
