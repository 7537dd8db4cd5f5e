"""Plan directories with mutated files: every one is refused with an error of ours, or runs; nothing else is opened.

A case changes one file: bits, bytes cut or inserted, a leaf of plan.yaml, a link or a pipe in place of the file; half
of the cases make the hashes in plan.yaml right again. Then it is used as people use it: loaded, run, shown, and
sometimes verified and exported. `FUZZ_EXAMPLES` sets how many cases the test runs.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from splitpoint import Plan
from splitpoint.codecs.contract.protocol import CodecError
from splitpoint.planner.deploy.file_names import PLAN, RUNNING
from splitpoint.planner.output.documents.show import show_document
from splitpoint.planner.plandir.verify import verify
from splitpoint.planner.plandir.writing import export_point
from splitpoint.profiles.errors import ProfileError
from splitpoint.tests import small_plan
from splitpoint.tests.fuzz.target import Target

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "400")) // 10  # a case takes a tenth of a second
VERIFY_EVERY, EXPORT_EVERY = 20, 50  # they take a second
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "",
    "x" * 3000,
    "../../etc/passwd",
    "/proc/kmsg",
    "\x1b[2K",
    "os:system",
    [],
    {},
    [[[]]],
    {"value": 1, "source": "x"},
    float("nan"),
    float("inf"),
)


CODE = (".py", ".pyc", ".so")
HARMLESS = (  # what says which machine this is, and what libraries keep
    Path(sys.prefix),
    Path(sys.base_prefix),
    Path(__file__).parents[2],
    Path.home() / ".cache",
    Path("/proc/cpuinfo"),
    Path("/proc/self"),
    Path("/sys"),
    Path("/etc/os-release"),
)


class OutsideError(Exception):
    """Something outside the plan directory was opened."""


@functools.cache
def base() -> Path:
    """A small plan, made once a process."""
    folder = Path(tempfile.mkdtemp(prefix="splitpoint-fuzz-"))
    small_plan.make(folder)
    return folder / "plan"


def run(index: int) -> str:
    """Case number `index`: "refused" or "accepted"; raises what it should not."""
    generator = random.Random(index)
    with tempfile.TemporaryDirectory(prefix="splitpoint-fuzz-") as home:
        folder = Path(shutil.copytree(base(), Path(home) / "plan"))
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        name = PLAN if generator.random() < 0.5 else generator.choice(files)
        honest = _content(folder / name)
        generator.choice(_PLAN_CHANGES if name == PLAN else _CHANGES)(folder, name, generator)
        right = name != PLAN and generator.random() < 0.5 and _make_hash_right(folder, name)
        with _only_inside(Path(home)):
            outcome = _use(folder, index)
        if outcome == "accepted" and name in RUNNING and not right and _content(folder / name) != honest:
            raise AssertionError(f"{name} was changed, its hash was not, and it was used")
        return outcome


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() and not path.is_symlink() else None


def _use(folder: Path, index: int) -> str:
    refused = False
    picture = np.random.default_rng(0).integers(0, 256, (small_plan.SIDE, small_plan.SIDE, 3), np.uint8)
    try:
        plan = Plan.load(folder, threads=1)
        plan.tail(plan.head(picture, check=True))
    except (ProfileError, CodecError):
        refused = True
    uses: list[Callable[[], object]] = [lambda: show_document(folder, None), lambda: show_document(folder, 1)]
    if index % VERIFY_EVERY == 0:
        uses.append(lambda: verify(folder))
    if index % EXPORT_EVERY == 0:
        uses.append(lambda: export_point(folder, 1, folder.with_name("out")))
    for use in uses:
        try:
            use()
        except (ProfileError, CodecError):
            refused = True
    return "refused" if refused else "accepted"


def _flip(folder: Path, name: str, generator: random.Random) -> None:
    data = bytearray((folder / name).read_bytes())
    for _ in range(generator.randint(1, 8)):
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    (folder / name).write_bytes(data)


def _cut(folder: Path, name: str, generator: random.Random) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: generator.randrange(len(data))])


def _insert(folder: Path, name: str, generator: random.Random) -> None:
    data, at = (folder / name).read_bytes(), generator.randrange(100)
    (folder / name).write_bytes(data[:at] + generator.randbytes(generator.randint(1, 40)) + data[at:])


def _swap(folder: Path, name: str, generator: random.Random) -> None:
    """Another file of the plan in its place."""
    others = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    (folder / name).write_bytes(generator.choice(others).read_bytes())


def _remove(folder: Path, name: str, generator: random.Random) -> None:
    (folder / name).unlink()


def _link(folder: Path, name: str, generator: random.Random) -> None:
    (folder / name).unlink()
    (folder / name).symlink_to(generator.choice(("/etc/passwd", "/dev/zero", "plan.yaml", folder.parent / "absent")))


def _pipe(folder: Path, name: str, generator: random.Random) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def _change_leaf(folder: Path, name: str, generator: random.Random) -> None:
    """A value of plan.yaml that nobody would write, or one that is gone."""
    tree = yaml.safe_load((folder / name).read_text())
    inner, key = generator.choice(list(_places(tree)))
    if generator.random() < 0.2:
        del inner[key]
    elif isinstance(inner[key], int | float) and generator.random() < 0.3:
        inner[key] *= generator.choice((-1, 0, 2, 1000))
    else:
        inner[key] = generator.choice(HOSTILE)
    (folder / name).write_text(yaml.dump(tree, Dumper=_Dumper, sort_keys=False))


def _repeat_lines(folder: Path, name: str, generator: random.Random) -> None:
    lines = (folder / name).read_text().splitlines(keepends=True)
    at = generator.randrange(len(lines))
    lines[at:at] = lines[at : at + generator.randint(1, 5)] * generator.choice((1, 3, 2000))
    (folder / name).write_text("".join(lines))


_CHANGES = (_flip, _flip, _cut, _insert, _swap, _remove, _link, _pipe)
_PLAN_CHANGES = (_flip, _cut, _repeat_lines, _change_leaf, _change_leaf, _change_leaf, _change_leaf, _change_leaf)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in list(keys):
        yield tree, key
        yield from _places(tree[key])


def _make_hash_right(folder: Path, name: str) -> bool:
    """Let plan.yaml list the file as it is now; False where there is no file any more."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return False
    tree = yaml.safe_load((folder / PLAN).read_text())
    tree["files" if name in tree["files"] else "contents"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / PLAN).write_text(yaml.dump(tree, Dumper=_Dumper, sort_keys=False))
    return True


_inside: list[Path] = []  # where files may be opened now; empty: anywhere
_opened: list[str] = []


@contextlib.contextmanager
def _only_inside(home: Path) -> Iterator[None]:
    """Watch what Python opens while the block runs; raises `OutsideError` for what is neither below `home` nor code."""
    _watch()
    _opened.clear()
    _inside[:] = [home]
    try:
        yield
    finally:
        _inside.clear()
    if _opened:
        raise OutsideError(_opened[0])


@functools.cache
def _watch() -> None:
    """Python cannot take an audit hook out again, and one in Python lets two threads meet in CPython 3.11's `settrace`.

    The second of them fails (python/cpython issue 98257), which ended threads of other tests under coverage. The test
    therefore runs its cases in a process of its own.
    """
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _inside or not isinstance(arguments[0], str | bytes):
        return
    path = Path(os.fsdecode(arguments[0]))
    if not path.is_absolute():  # relative to the folder that is open
        return
    if path.suffix not in CODE and not any(path.is_relative_to(place) for place in (*_inside, *HARMLESS)):
        _opened.append(str(path))


TARGET = Target(name="plan directories", run=run)


def test_mutated_plan_directories() -> None:
    here = importlib.import_module(f"splitpoint.tests.fuzz.{Path(__file__).stem}")  # as another process finds it
    own = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, own, warnings.simplefilter, ("error",)) as process:
        outcomes = list(process.map(here.run, range(EXAMPLES)))
    assert set(outcomes) <= {"accepted", "refused"}
    assert "refused" in outcomes
