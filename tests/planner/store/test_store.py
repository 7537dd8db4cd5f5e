"""Results on disk: whole or absent, damaged ones made again, within the limit, from any number of processes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitpoint.planner.store import store as module
from splitpoint.planner.store.store import LIMIT_BYTES, Store, default_folder, default_store
from splitpoint.profiles.errors import ProfileError


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def file_of(store: Store, kind: str, number: int) -> Path:
    return store.folder / kind / key(number)[:2] / key(number)


def test_what_was_put_comes_back_in_another_process(store: Store) -> None:
    assert store.get("outcomes", key(1)) is None
    assert store.put("outcomes", key(1), b"content")
    assert store.put("outcomes", key(2), b"")
    again = Store(store.folder)
    assert (again.get("outcomes", key(1)), again.get("outcomes", key(2))) == (b"content", b"")
    assert again.get("fitted-codec", key(1)) is None
    assert (again.hits, again.misses, again.damaged) == (2, 1, 0)


@given(at=st.integers(0, 38), value=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_damaged_entry_is_none_and_made_again(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, cut: bool
) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    store.put("outcomes", key(1), b"content")
    path = file_of(store, "outcomes", 1)
    data = bytearray(path.read_bytes())
    data[at] ^= value
    path.write_bytes(data[:at] if cut else data)
    assert store.get("outcomes", key(1)) is None
    assert (store.damaged, path.exists()) == (1, False)
    assert store.put("outcomes", key(1), b"content")
    assert store.get("outcomes", key(1)) == b"content"


def _move_from_another_key(path: Path) -> None:
    other = Store(path.parents[2])
    other.put("outcomes", key(2), b"of another candidate")
    file_of(other, "outcomes", 2).replace(path)


def _move_from_another_kind(path: Path) -> None:
    other = Store(path.parents[2])
    other.put("probe", key(1), b"of another kind")
    file_of(other, "probe", 1).replace(path)


def _make(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


def _fill_folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "shorter than a checksum": lambda path: path.write_bytes(path.read_bytes()[:31]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "without rights": lambda path: path.chmod(0),
    "of another key": _move_from_another_key,
    "of another kind": _move_from_another_kind,
    "an empty folder": lambda path: _make(path, Path.mkdir),
    "a folder with files": lambda path: _make(path, _fill_folder),
    "a pipe": lambda path: _make(path, os.mkfifo),
    "a link to nothing": lambda path: _make(path, lambda path: path.symlink_to("nothing")),
    "a link to itself": lambda path: _make(path, lambda path: path.symlink_to(path)),
    "gone": Path.unlink,
    "its folder is gone": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_whatever_is_in_the_place_of_an_entry_is_replaced(store: Store, damage: Callable[[Path], object]) -> None:
    """None or, where this user may read everything, the content; then it is made again, and nobody's files are lost."""
    store.put("outcomes", key(1), b"content")
    path = file_of(store, "outcomes", 1)
    damage(path)
    assert store.get("outcomes", key(1)) in ((None, b"content") if path.is_file() and os.geteuid() == 0 else (None,))
    assert store.put("outcomes", key(1), b"content")
    assert store.get("outcomes", key(1)) == b"content"
    assert [entry.key for entry in store.entries()] == [key(1)]
    mine = list(path.parent.rglob("notes.txt"))
    assert [file.read_text() for file in mine] == (["mine"] if damage is DAMAGE["a folder with files"] else [])


def test_an_entry_that_cannot_be_read_is_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user without rights sees it; whoever runs the tests may have all."""
    store.put("outcomes", key(1), b"content")

    def refuse(path: Path) -> BinaryIO:
        raise ProfileError(f"{path}: cannot be read: Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(module, "open_regular", refuse)
        assert [entry.key for entry in store.verify()] == [key(1)]
    assert list(store.entries()) == []


def test_entries_that_others_remove_meanwhile_are_none(store: Store) -> None:
    for number in range(3):
        store.put("outcomes", key(number), b"content")
    first = min(map(key, range(3)))
    for entry in store.entries():
        if entry.key == first:
            assert Store(store.folder).clear() == 3
        else:
            pytest.fail(f"{entry.key} is no longer there")
    assert store.verify() == []
    assert store.evict() == 0


def test_verify_finds_and_removes_what_is_damaged(store: Store) -> None:
    for number in range(5):
        store.put("outcomes", key(number), bytes(100))
    path = file_of(store, "outcomes", 3)
    path.write_bytes(path.read_bytes()[:-1])
    assert [entry.key for entry in store.verify()] == [key(3)]
    assert len(list(store.entries())) == 4
    assert store.verify() == []


def test_what_was_used_last_stays_within_the_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.limit_bytes = 10 * (100 + 32)
    for number in range(10):
        store.put("outcomes", key(number), bytes(100))
        os.utime(file_of(store, "outcomes", number), (number, number))
    assert store.evict() == 0
    store.get("outcomes", key(0))  # now the one that was used last
    monkeypatch.setattr(module, "CHECKED_EVERY", 1)
    store.put("outcomes", key(10), bytes(100))  # one too many: looked at every time now
    store.evict()
    left = {entry.key for entry in store.entries()}
    assert sum(entry.size_bytes for entry in store.entries()) <= 0.9 * store.limit_bytes
    assert {key(0), key(10), key(9)} <= left
    assert not {key(1), key(2)} & left


def test_what_is_larger_than_the_limit_is_not_kept(store: Store) -> None:
    store.limit_bytes = 100
    assert not store.put("outcomes", key(1), bytes(100))
    assert list(store.entries()) == []


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    store = Store(tmp_path / "file")
    assert not store.put("outcomes", key(1), b"content")
    assert store.get("outcomes", key(1)) is None
    assert list(store.entries()) == []


def test_other_files_in_the_folder_stay(store: Store) -> None:
    store.put("outcomes", key(1), b"content")
    mine = [
        store.folder / "notes.txt",
        store.folder / "outcomes" / "notes.txt",
        file_of(store, "outcomes", 1).with_name("x"),
    ]
    for path in mine:
        path.write_text("mine")
    linked = file_of(store, "outcomes", 1).with_name(key(1)[:2] + "0" * 62)
    linked.symlink_to(mine[0])
    assert store.clear("fitted-codec") == 0
    assert store.clear() == 1
    assert all(path.read_text() == "mine" for path in mine)
    assert linked.is_symlink()


@pytest.mark.parametrize(
    ("kind", "name"), [("../x", key(1)), ("outcomes", "../../x"), ("Outcomes", key(1)), ("a", "0" * 63)]
)
def test_names_are_plain(store: Store, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match="no kind and key"):
        store.get(kind, name)


def test_what_a_dead_writer_left_is_removed(store: Store) -> None:
    store.put("outcomes", key(1), b"content")
    left = file_of(store, "outcomes", 1).with_name(f".{key(2)}.0123abcd.tmp")
    young = left.with_name(f".{key(3)}.0123abcd.tmp")
    mine = left.with_name(".notes.tmp")
    for path in (left, young, mine):
        path.write_bytes(b"half")
    for path in (left, mine):
        os.utime(path, (1, 1))
    store.evict()
    assert [path.exists() for path in (left, young, mine)] == [False, True, True]
    assert store.get("outcomes", key(1)) == b"content"


def test_threads_and_processes_share_it(store: Store) -> None:
    code = (
        "import sys; from pathlib import Path; from splitpoint.planner.store.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for key in sys.stdin.read().split():\n"
        "    assert store.get('outcomes', key) in (None, key.encode() * 50)\n"
        "    assert store.put('outcomes', key, key.encode() * 50)\n"
    )
    keys = " ".join(key(number) for number in range(40))
    others = [
        subprocess.Popen([sys.executable, "-c", code, str(store.folder)], stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]

    def use(number: int) -> bool:
        content = key(number).encode() * 50
        return store.get("outcomes", key(number)) in (None, content) and store.put("outcomes", key(number), content)

    with ThreadPoolExecutor(4) as pool:
        for other in others:
            assert other.stdin is not None
            other.stdin.write(keys)
            other.stdin.close()
        assert all(pool.map(use, [*range(40), *range(40)]))
    assert [other.wait(60) for other in others] == [0, 0]
    assert len(list(store.entries())) == 40
    assert store.verify() == []


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPLITPOINT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "splitpoint" / "results"
    monkeypatch.setenv("SPLITPOINT_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"


def test_how_large_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPLITPOINT_CACHE_LIMIT", raising=False)
    assert default_store().limit_bytes == LIMIT_BYTES
    monkeypatch.setenv("SPLITPOINT_CACHE_LIMIT", "2GB")
    assert default_store().limit_bytes == 2_000_000_000


@pytest.mark.parametrize("text", ["many", "0 B", "-1 GB", "2", "2 GHz"])
def test_a_limit_that_is_no_size_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SPLITPOINT_CACHE_LIMIT", text)
    with pytest.raises(ProfileError, match="expected a size") as error:
        default_store()
    assert error.value.at == "SPLITPOINT_CACHE_LIMIT"
    assert "SPLITPOINT_CACHE_LIMIT=2GB" in str(error.value)
