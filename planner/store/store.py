"""A folder of results by content key: whole or absent, checked when read, within a limit of bytes.

An entry is a file ``KIND/ab/abcdef...``: the SHA-256 of its kind, key and content, then the content, so that an entry
under another's name is as damaged as one with a wrong bit. It is written under another name and renamed, so that a
reader finds all of it or nothing; one that is damaged is removed and made again. Keys say what a result depends on
(`planner.values.keys`): nothing is ever changed, so the only thing that can go wrong is that an entry is not there.

Any number of processes may use the folder at once, without a lock: whoever dies leaves none behind. Two processes that
need the same result at the same moment both compute it and write the same bytes; that costs what the second would have
waited for, and nobody waits for a process that hangs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from splitpoint.profiles import units
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.held import remove_if_dead
from splitpoint.profiles.files.regular import open_regular
from splitpoint.profiles.files.structs import write_bytes

__all__ = ["WORKING", "Entry", "Store", "default_folder", "default_store"]


def __dir__() -> list[str]:
    return __all__


LIMIT_BYTES = 5_000_000_000  # of all entries, unless the user says otherwise
FOLDER_VARIABLE, LIMIT_VARIABLE = "SPLITPOINT_CACHE", "SPLITPOINT_CACHE_LIMIT"
HASH_BYTES = 32
EVICTED_SHARE = 0.1  # of the limit is freed at once, so that not every new entry looks for an old one
CHECKED_EVERY = 64  # entries written between two looks at the sum
# Folders beside the entries in which trainings keep what they need until they end, and the files there.
WORKING: Mapping[str, str] = {"checkpoints": "*/*.pt", "activations": "*.f16"}
_HALF_WRITTEN = f".{'[0-9a-f]' * 64}.{'[0-9a-f]' * 8}.tmp"  # as `write_bytes` names it
_KIND, _KEY = re.compile(r"[a-z][a-z-]{0,31}"), re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One stored result."""

    kind: str
    key: str
    size_bytes: int  # of the file
    used_s: float  # when it was read or written last, seconds since the epoch


class Store:
    """Results on disk; never raises for what is wrong in its folder: then a result is computed again."""

    def __init__(self, folder: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.hits = self.misses = self.damaged = 0
        self._written = 0

    def get(self, kind: str, key: str) -> bytes | None:
        """The content under `key`, or None; a damaged entry is removed.

        What is no file (a folder, a pipe, a link to itself) is not removed: `put` replaces it. When another process
        makes a damaged entry again in the moment between reading and removing it, it is made once more.
        """
        path = self._path(kind, key)
        try:
            with open_regular(path) as file:
                data = file.read()
        except (OSError, ProfileError):
            data = b""
        content = data[HASH_BYTES:]
        if _checksum(kind, key, content) != data[:HASH_BYTES]:
            self.misses += 1
            if _about_file(path) is not None:
                self.damaged += 1
                with contextlib.suppress(OSError):
                    path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        self.hits += 1
        return content

    def put(self, kind: str, key: str, content: bytes) -> bool:
        """Keep `content` under `key`; False where it cannot be written (a full disk, a folder without rights)."""
        path = self._path(kind, key)
        if len(content) + HASH_BYTES > self.limit_bytes:
            return False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():  # a file cannot be renamed over it
                path.rename(path.with_name(f"{path.name}.{secrets.token_hex(4)}.folder"))
            write_bytes(path, _checksum(kind, key, content) + content)
        except (OSError, ProfileError):
            return False
        self._written += 1
        if self._written % CHECKED_EVERY == 1:
            self.evict()
        return True

    def entries(self) -> Iterator[Entry]:
        """Every entry; files under other names, links and folders are none, nor is what others remove meanwhile."""
        for kind in self._folders(self.folder, _KIND):
            for shelf in self._folders(kind, re.compile("[0-9a-f]{2}")):
                with contextlib.suppress(OSError):
                    for path in sorted(shelf.iterdir()):
                        about = _about_file(path) if _KEY.fullmatch(path.name) else None
                        if about is not None:
                            yield Entry(kind=kind.name, key=path.name, size_bytes=about.st_size, used_s=about.st_mtime)

    def evict(self) -> int:
        """Remove what was not used for longest until the sum is well within the limit; gives the bytes removed.

        What a process that died left half-written goes, too.
        """
        with contextlib.suppress(OSError):  # others may remove folders meanwhile
            for left in self.folder.glob(f"*/??/{_HALF_WRITTEN}"):
                remove_if_dead(left)
        entries = sorted(self.entries(), key=lambda entry: entry.used_s)
        total, removed = sum(entry.size_bytes for entry in entries), 0
        if total <= self.limit_bytes:
            return 0
        for entry in entries:
            if total - removed <= (1 - EVICTED_SHARE) * self.limit_bytes:
                break
            removed += self._remove(entry)
        return removed

    def verify(self) -> list[Entry]:
        """Read every entry; gives those that were damaged, which are removed."""
        found = []
        for entry in list(self.entries()):
            before = self.damaged
            self.get(entry.kind, entry.key)
            if self.damaged > before:
                found.append(entry)
        return found

    def working(self) -> Iterator[tuple[str, Path, int]]:
        """Folder of `WORKING`, path and bytes of every file of trainings; links and folders are none."""
        for folder, pattern in WORKING.items():
            with contextlib.suppress(OSError):  # others may remove folders meanwhile
                for path in sorted((self.folder / folder).glob(pattern)):
                    about = _about_file(path)
                    if about is not None:
                        yield folder, path, about.st_size

    def clear(self, kind: str | None = None) -> int:
        """Remove every entry, or those of a kind; gives how many. Other files in the folder stay."""
        entries = [entry for entry in self.entries() if kind is None or entry.kind == kind]
        for entry in entries:
            self._remove(entry)
        self.evict()
        return len(entries)

    def clear_working(self) -> int:
        """Remove every file of trainings, which then begin again; gives how many."""
        paths = [path for _, path, _ in self.working()]
        for path in paths:
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()  # a training's own folder, once its last checkpoint is gone
        return len(paths)

    def _remove(self, entry: Entry) -> int:
        with contextlib.suppress(OSError):
            self._path(entry.kind, entry.key).unlink()
        return entry.size_bytes

    def _path(self, kind: str, key: str) -> Path:
        if not _KIND.fullmatch(kind) or not _KEY.fullmatch(key):
            raise ValueError(f"no kind and key of a store: {kind!r}, {key!r}")
        return self.folder / kind / key[:2] / key

    @staticmethod
    def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(path for path in folder.iterdir() if name.fullmatch(path.name) and path.is_dir())
        return []


def default_store() -> Store:
    """The user's store: in `default_folder`, of at most SPLITPOINT_CACHE_LIMIT ("2GB"); raises `ProfileError`."""
    text = os.environ.get(LIMIT_VARIABLE)
    if not text:
        return Store(default_folder())
    try:
        limit = units.parse(text, "bytes", ge=1)
    except units.UnitError as error:
        raise ProfileError(
            str(error), at=LIMIT_VARIABLE, fix=f"{LIMIT_VARIABLE}=2GB, or unset {LIMIT_VARIABLE} (5 GB)"
        ) from error
    return Store(default_folder(), limit_bytes=int(limit))


def default_folder() -> Path:
    """SPLITPOINT_CACHE, or splitpoint/results in the user's cache folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitpoint" / "results"


def _checksum(kind: str, key: str, content: bytes) -> bytes:
    """SHA-256 of an entry: neither its bytes nor its place may have changed."""
    return hashlib.sha256(f"{kind}/{key}\n".encode() + content).digest()


def _about_file(path: Path) -> os.stat_result | None:
    """The status of a regular file; None for a link, for anything else, and where it is no longer there."""
    try:
        about = path.lstat()
    except OSError:
        return None
    return about if stat.S_ISREG(about.st_mode) else None
