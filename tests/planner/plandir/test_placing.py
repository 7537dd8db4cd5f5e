"""A plan takes the place of another: whole, one writer at a time, the old one kept, nothing of a user's touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitpoint import Plan
from splitpoint.planner.plandir import placing
from splitpoint.planner.plandir.exchange import exchange
from splitpoint.planner.plandir.placing import NotWrittenError, claimed, kept_path, placed
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.structs import dump_yaml

FIRST, SECOND, THIRD = "2026-01-01", "2026-01-02", "2026-01-03"


@pytest.fixture(params=["exchange", "rename"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A system that can exchange two folders in one step, and one that cannot."""
    if request.param == "rename":
        monkeypatch.setattr(placing, "exchange", lambda first, second: False)
    return str(request.param)


def fill(folder: Path, source: Path, created: str) -> None:
    """Make `folder` a plan like `source` that was made at `created`."""
    shutil.copytree(source, folder, dirs_exist_ok=True)
    file = msgspec.structs.replace(Plan.load(folder).file, created=created)
    (folder / "plan.yaml").write_text(dump_yaml(file))


def write(directory: Path, source: Path, created: str, *, keep: int = 1) -> None:
    with claimed(directory, keep=keep) as place, placed(place) as folder:
        fill(folder, source, created)


def created(folder: Path) -> str:
    return Plan.load(folder).file.created


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def is_whole(folder: Path) -> bool:
    plan = Plan.load(folder)
    for name in (*plan.file.files, *plan.file.contents):
        plan.stored.read(name)
    return set(plan.stored.folder.names()) == placing.listed_files(plan.file)


def test_exchange_swaps_two_folders_or_does_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    swapped = exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "name").read_text() == ("b" if swapped else "a")
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "absent")


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_as_many_old_plans_are_kept_as_asked(system: str, fixed_plan: Path, tmp_path: Path, keep: int) -> None:
    days = [f"2026-01-0{day}" for day in range(1, 7)]
    for day in days:
        write(tmp_path / "plan", fixed_plan, day, keep=keep)
    assert names(tmp_path) == ["plan", *(f"plan.{number}" for number in range(1, keep + 1))]
    kept = [tmp_path / "plan", *(kept_path(tmp_path / "plan", number) for number in range(1, keep + 1))]
    assert [created(folder) for folder in kept] == days[::-1][: keep + 1]
    assert all(map(is_whole, kept))


@pytest.mark.parametrize("what", ["user's", "changed", "file"])
def test_what_is_kept_is_replaced_only_when_it_is_a_plan_of_ours(fixed_plan: Path, tmp_path: Path, what: str) -> None:
    write(tmp_path / "plan", fixed_plan, FIRST)
    if what == "changed":
        shutil.copytree(fixed_plan, tmp_path / "plan.1")
        (tmp_path / "plan.1" / "config.yaml").write_text("mine")
    elif what == "file":
        (tmp_path / "plan.1").write_text("mine")
    else:
        (tmp_path / "plan.1").mkdir()
        (tmp_path / "plan.1" / "config.yaml").write_text("mine")
    with pytest.raises(NotWrittenError, match="not replaced") as caught:
        write(tmp_path / "plan", fixed_plan, SECOND)
    assert "plan.1" in str(caught.value)
    path = tmp_path / "plan.1" if what == "file" else tmp_path / "plan.1" / "config.yaml"
    assert path.read_text() == "mine"
    assert created(tmp_path / "plan") == FIRST
    assert names(tmp_path) == ["plan", "plan.1"]


@pytest.mark.parametrize("what", ["user's", "changed"])
def test_what_comes_to_the_kept_place_meanwhile_stays(system: str, fixed_plan: Path, tmp_path: Path, what: str) -> None:
    write(tmp_path / "plan", fixed_plan, FIRST)
    with claimed(tmp_path / "plan") as place, placed(place) as folder:
        fill(folder, fixed_plan, SECOND)
        if what == "changed":
            shutil.copytree(fixed_plan, tmp_path / "plan.1")
        (tmp_path / "plan.1").mkdir(exist_ok=True)
        (tmp_path / "plan.1" / "notes.txt").write_text("mine")
    assert (tmp_path / "plan.1" / "notes.txt").read_text() == "mine"
    assert [created(tmp_path / name) for name in ("plan", "plan.2")] == [SECOND, FIRST]
    assert names(tmp_path) == ["plan", "plan.1", "plan.2"]


def test_a_file_that_comes_to_the_old_plan_at_the_last_moment_is_kept(
    fixed_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "plan", fixed_plan, FIRST)

    def late(first: Path, second: Path) -> bool:
        (second / "notes.txt").write_text("mine")
        return exchange(first, second)

    monkeypatch.setattr(placing, "exchange", late)
    write(tmp_path / "plan", fixed_plan, SECOND)
    assert created(tmp_path / "plan") == SECOND
    assert (tmp_path / "plan.1" / "notes.txt").read_text() == "mine"


def test_two_planners_for_one_place(fixed_plan: Path, tmp_path: Path) -> None:
    with claimed(tmp_path / "plan"):
        with pytest.raises(NotWrittenError, match=f"another splitpoint .process {os.getpid()}. writes a plan there"):
            write(tmp_path / "plan", fixed_plan, FIRST)
        write(tmp_path / "other", fixed_plan, FIRST)
    write(tmp_path / "plan", fixed_plan, SECOND)
    assert names(tmp_path) == ["other", "plan"]


def test_two_paths_to_one_place(fixed_plan: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with (
        claimed(tmp_path / "real" / "plan"),
        pytest.raises(NotWrittenError, match="another splitpoint"),
        claimed(tmp_path / "link" / "plan"),
    ):
        pass


def test_the_lock_of_a_dead_process_does_not_hold(fixed_plan: Path, tmp_path: Path) -> None:
    (tmp_path / ".plan.lock").write_text("999999")
    write(tmp_path / "plan", fixed_plan, FIRST)
    assert names(tmp_path) == ["plan"]


def test_folders_that_were_made_for_nothing_are_removed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "a" / "b" / "plan"):
        raise RuntimeError
    assert names(tmp_path) == []


NEW, OLD = ".new", ".old"


@pytest.mark.parametrize(
    ("left", "there", "expected"),
    [
        ([], None, {}),
        ([("half", NEW)], None, {}),
        ([("half", NEW)], SECOND, {"plan": SECOND}),
        ([("half", OLD)], SECOND, {"plan": SECOND}),  # it was being removed
        ([(FIRST, OLD)], SECOND, {"plan": SECOND, "plan.1": FIRST}),  # replaced, not yet kept
        ([(THIRD, OLD)], SECOND, {"plan": SECOND, "plan.1": THIRD}),  # the same, by a clock that went back
        ([(THIRD, NEW)], SECOND, {"plan": SECOND}),  # never placed
        ([(THIRD, NEW)], None, {}),
        ([(FIRST, OLD)], None, {"plan": FIRST}),  # moved away for one that did not come
        ([(FIRST, OLD), (THIRD, OLD)], None, {"plan": THIRD, "plan.1": FIRST}),  # between the two renames
        ([(FIRST, OLD), ("half", NEW)], SECOND, {"plan": SECOND, "plan.1": FIRST}),
    ],
)
def test_what_a_dead_process_left_is_put_right(
    fixed_plan: Path, tmp_path: Path, left: list[tuple[str, str]], there: str | None, expected: dict[str, str]
) -> None:
    if there is not None:
        fill(tmp_path / "plan", fixed_plan, there)
    for number, (what, kind) in enumerate(left):
        folder = tmp_path / f".plan.0000000{number}{kind}"
        fill(folder, fixed_plan, FIRST if what == "half" else what)
        if what == "half":
            (folder / "plan.yaml").unlink()
    (tmp_path / ".plan.notes.new").mkdir()  # not a name of ours
    (tmp_path / ".plan.abcdef01.new").mkdir()  # not a content of ours
    (tmp_path / ".plan.abcdef01.new" / "thesis.tex").write_text("years of work")
    (tmp_path / ".plan.abcdef02.new").write_text("a file")
    (tmp_path / ".planner.00000000.new").mkdir()  # of another place
    with claimed(tmp_path / "plan"):
        pass
    others = [".plan.notes.new", ".planner.00000000.new", ".plan.abcdef01.new", ".plan.abcdef02.new"]
    assert names(tmp_path) == sorted([*others, *expected])
    assert {name: created(tmp_path / name) for name in expected} == expected


# A child process for each step of the system at which a write can die: it counts them and kills itself at one.
KILLS = """
import json, os, shutil, signal, sys
from pathlib import Path
from splitpoint.planner.plandir import placing
from splitpoint.planner.plandir.placing import claimed, placed

source, target, system = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if system == "rename":
    placing.exchange = lambda first, second: False

def replace(kill_at):
    left = [kill_at]
    def counted(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)
        return call
    for owner, name in ((os, "fsync"), (os, "mkdir"), (os, "rename"), (os, "unlink"), (os, "rmdir"), (os, "open"),
                        (os, "pwrite"), (os, "close"), (shutil, "copy2"), (placing, "exchange")):
        setattr(owner, name, counted(getattr(owner, name)))
    with claimed(target) as place, placed(place) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)

step, died = int(sys.argv[4]), True
for _ in range(int(sys.argv[5])):
    child = os.fork()
    if child == 0:
        try:
            replace(step)
        finally:
            os._exit(0)
    died = os.waitpid(child, 0)[1] == signal.SIGKILL
    print(json.dumps([step, died]), flush=True)
    sys.stdin.readline()  # the parent has looked
    step += int(sys.argv[6])
    if not died:
        break
"""


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_step_the_old_or_the_new_plan_is_there(
    fixed_plan: Path, tmp_path: Path, system: str, stride: int
) -> None:
    """After each kill a whole plan is at the place (with two renames: after the next run), and nothing is left over."""
    target, source = tmp_path / "place" / "plan", tmp_path / "source"
    fill(source, fixed_plan, SECOND)
    target.parent.mkdir()
    fill(target, fixed_plan, FIRST)
    arguments = [str(source), str(target), system, "1", "10000", str(stride)]
    kills, seen = 0, set[str]()
    with subprocess.Popen(
        [sys.executable, "-c", KILLS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        for line in child.stdout:
            step, died = json.loads(line)
            kills += died
            if system == "exchange":
                assert is_whole(target), step
            with claimed(target):
                pass
            assert is_whole(target), step
            seen.add(created(target))
            assert set(names(target.parent)) <= {"plan", "plan.1"}, step
            kept = target.with_name("plan.1")
            assert not kept.exists() or is_whole(kept), step
            if kept.exists():
                shutil.rmtree(kept)
            shutil.rmtree(target)
            fill(target, fixed_plan, FIRST)
            child.stdin.write("\n")
            child.stdin.flush()
    assert seen == {FIRST, SECOND}
    assert kills > 100 / stride


def test_readers_always_find_a_whole_plan(fixed_plan: Path, tmp_path: Path) -> None:
    """Loads beside replacements: never a missing file, never two plans mixed."""
    if not exchange_works(tmp_path):
        pytest.skip("this file system cannot exchange two folders in one step")
    target = tmp_path / "plan"
    write(target, fixed_plan, FIRST)
    done, problems = threading.Event(), list[str]()

    def replace() -> None:
        for number in range(12):
            write(target, fixed_plan, f"2026-02-01T{number:02}")
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    loads = 0
    while not done.is_set() or loads < 30:
        try:
            plan = Plan.load(target)
            for name in ("head.onnx", "tail.onnx", "codec.npz"):
                plan.stored.read(name)
        except ProfileError as error:
            problems.append(str(error))
        loads += 1
    writer.join()
    assert problems == []


def exchange_works(folder: Path) -> bool:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    works = exchange(folder / "a", folder / "b")
    (folder / "a").rmdir()
    (folder / "b").rmdir()
    return works


@pytest.mark.parametrize("step", ["mkdir", "fsync", "exchange"])
def test_a_step_that_fails_leaves_what_was_there(
    fixed_plan: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "plan", fixed_plan, FIRST)

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    owner: Any = placing if step == "exchange" else Path if step == "mkdir" else os
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, full)
        with pytest.raises(NotWrittenError, match="cannot be written: No space left on device"):
            write(tmp_path / "plan", fixed_plan, SECOND)
    assert created(tmp_path / "plan") == FIRST
    assert is_whole(tmp_path / "plan")
    assert names(tmp_path) == ["plan"]


def test_everything_is_on_disk_before_it_takes_the_place(
    fixed_plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, honest = set[tuple[int, int]](), os.fsync

    def sync(descriptor: int) -> None:
        about = os.fstat(descriptor)
        synced.add((about.st_dev, about.st_ino))
        honest(descriptor)

    write(tmp_path / "plan", fixed_plan, FIRST)
    monkeypatch.setattr(os, "fsync", sync)
    seen: list[set[tuple[int, int]]] = []

    def swap(first: Path, second: Path) -> bool:
        seen.append(set(synced))
        return exchange(first, second)

    monkeypatch.setattr(placing, "exchange", swap)
    write(tmp_path / "plan", fixed_plan, SECOND)
    inside = [tmp_path / "plan", *(tmp_path / "plan").rglob("*")]
    assert {(path.stat().st_dev, path.stat().st_ino) for path in inside} <= seen[0]
    about = tmp_path.stat()
    assert (about.st_dev, about.st_ino) in synced
