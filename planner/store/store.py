"""A folder of results by content key: whole or absent, checked when read, within a limit of bytes.

An entry is a file ``KIND/ab/abcdef...``: the SHA-256 of its content, then the content. It is written under another
name and renamed, so that a reader finds all of it or nothing; one that is damaged is removed and made again. Any number
of processes may use the folder at once. Keys say what a result depends on (`planner.values.keys`): nothing is ever
changed, so the only thing that can go wrong is that an entry is not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.held import remove_if_dead
from splitpoint.profiles.files.structs import write_bytes

__all__ = ["Entry", "Store", "default_folder"]


def __dir__() -> list[str]:
    return __all__


LIMIT_BYTES = 5 << 30  # of all entries, unless the user says otherwise
HASH_BYTES = 32
EVICTED_SHARE = 0.1  # of the limit is freed at once, so that not every new entry looks for an old one
CHECKED_EVERY = 64  # entries written between two looks at the sum
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
        """The content under `key`, or None; a damaged entry is removed."""
        path = self._path(kind, key)
        try:
            data = path.read_bytes()
        except OSError:
            self.misses += 1
            return None
        content = data[HASH_BYTES:]
        if hashlib.sha256(content).digest() != data[:HASH_BYTES]:
            self.misses += 1
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
            write_bytes(path, hashlib.sha256(content).digest() + content)
        except (OSError, ProfileError):
            return False
        self._written += 1
        if self._written % CHECKED_EVERY == 1:
            self.evict()
        return True

    def entries(self) -> Iterator[Entry]:
        """Every entry; files under other names are none."""
        for kind in self._folders(self.folder, _KIND):
            for shelf in self._folders(kind, re.compile("[0-9a-f]{2}")):
                with contextlib.suppress(OSError):
                    for path in sorted(shelf.iterdir()):
                        if _KEY.fullmatch(path.name) and not path.is_symlink():
                            about = path.stat()
                            yield Entry(kind=kind.name, key=path.name, size_bytes=about.st_size, used_s=about.st_mtime)

    def evict(self) -> int:
        """Remove what was not used for longest until the sum is well within the limit; gives the bytes removed.

        What a process that died left half-written goes, too.
        """
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

    def clear(self, kind: str | None = None) -> int:
        """Remove every entry, or those of a kind; gives how many. Other files in the folder stay."""
        entries = [entry for entry in self.entries() if kind is None or entry.kind == kind]
        for entry in entries:
            self._remove(entry)
        self.evict()
        return len(entries)

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


def default_folder() -> Path:
    """SPLITPOINT_CACHE, or splitpoint/results in the user's cache folder."""
    named = os.environ.get("SPLITPOINT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitpoint" / "results"
