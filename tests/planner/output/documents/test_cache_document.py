"""What earlier runs kept: counted, verified and cleared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from splitpoint.planner.store.store import Store, default_folder

Run = Callable[..., tuple[int, str, str]]


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def filled() -> Store:
    store = Store(default_folder())
    for number in range(3):
        store.put("outcomes", key(number), bytes(1000))
    store.put("fitted-codec", key(0), bytes(5000))
    return store


def test_it_counts_by_kind(run: Run) -> None:
    filled()
    document = json.loads(run("cache", "--json")[1])
    assert [(row["kind"], row["entries"], row["size_bytes"]) for row in document["kinds"]] == [
        ("fitted-codec", 1, 5032),
        ("outcomes", 3, 3 * 1032),
    ]
    assert document["folder"] == str(default_folder())
    code, out, _ = run("cache")
    assert code == 0
    assert "3 results" in out
    assert "8.13 kB of at most" in " ".join(out.split())


def test_an_empty_folder_is_no_error(run: Run) -> None:
    assert run("cache", "--verify", "--clear")[0] == 0
    assert json.loads(run("cache", "--json")[1])["kinds"] == []


def test_damaged_results_are_removed_and_exit_with_1(run: Run) -> None:
    store = filled()
    path = store.folder / "outcomes" / key(1)[:2] / key(1)
    path.write_bytes(path.read_bytes()[:-1])
    code, out, _ = run("cache", "--verify")
    assert code == 1
    assert "4 results read, 1 damaged and removed" in out
    assert run("cache", "--verify")[:1] == (0,)


def test_clear_removes_everything(run: Run) -> None:
    store = filled()
    code, out, _ = run("cache", "--clear")
    assert code == 0
    assert "4 results removed" in out
    assert list(store.entries()) == []


def test_files_of_trainings_are_counted_and_cleared(run: Run) -> None:
    """Whoever clears the cache wants the room, and a checkpoint is larger than most results."""
    store = filled()
    checkpoint, kept = store.folder / "checkpoints" / key(7)[:32] / "codec.pt", store.folder / "activations" / "a.f16"
    for path in (checkpoint, kept, store.folder / "activations" / "mine.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(2000))
    document = json.loads(run("cache", "--json")[1])
    assert document["working"] == [
        {"kind": "activations", "entries": 1, "size_bytes": 2000},
        {"kind": "checkpoints", "entries": 1, "size_bytes": 2000},
    ]
    out = run("cache")[1]
    assert re.search(r"checkpoints +1 file +2 kB", out)
    assert "4 results and 2 files of trainings removed" in run("cache", "--clear")[1]
    assert json.loads(run("cache", "--json")[1])["working"] == []
    assert not checkpoint.parent.exists()
    assert (store.folder / "activations" / "mine.txt").exists()


def test_a_plan_with_another_link_measures_nothing_again(home: Path, tmp_path: Path, run: Run) -> None:
    arguments = ("plan", home / "labelled.yaml", "--profile", home / "profile.yaml", "--evaluations", 6, "--json")
    first = json.loads(run(*arguments, "--out", tmp_path / "a")[1])
    assert first["recalled"] == 0
    again = json.loads(run(*arguments, "--out", tmp_path / "b", "--link", "lte-cat1")[1])
    assert again["recalled"] > 0
    assert again["tail_runs"] < first["tail_runs"]
    err = run(*arguments, "--out", tmp_path / "c")[2]
    assert "known from earlier runs" in err
    fresh = json.loads(run(*arguments, "--out", tmp_path / "d", "--fresh")[1])
    assert (fresh["recalled"], fresh["tail_runs"]) == (0, first["tail_runs"])
