"""Single faults of deciding code and the tests that must catch each.

    python -m splitpoint.benchmarks.faults [--workers 2] [NAME ...]

Every row of faults.yaml changes one place of one file. Each is put alone into a copy of the tree, and the tests that
the row names must fail there; they must pass without it. Prints a table, stores benchmarks/results/faults.json, and
exits 1 when a fault survives. tests/test_faults.py checks that every row still finds its place.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.profiles.files.structs import read_yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "benchmarks" / "faults.yaml"
LEFT_OUT = shutil.ignore_patterns(".git", ".typing", "__pycache__", ".*_cache", "*.egg-info", "build", "plan")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change and what must notice it."""

    name: str  # what is wrong, in words
    file: str
    find: str  # occurs once in the file
    replace: str
    tests: tuple[str, ...]  # pytest arguments: files or node ids


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of faults.yaml."""

    faults: tuple[Fault, ...]


def read_faults(path: Path = LIST) -> tuple[Fault, ...]:
    return read_yaml(path, Faults).faults


def apply(fault: Fault, text: str) -> str:
    """The file's text with the fault in it; raises `ValueError` when its place is not there exactly once."""
    count = text.count(fault.find)
    if count != 1:
        raise ValueError(f"{fault.name}: {fault.file} has its place {count} times, expected once")
    return text.replace(fault.find, fault.replace)


def copy_tree(folder: Path) -> Path:
    """A copy of the project in `folder`, importable as `splitpoint` from the path that is given back."""
    shutil.copytree(ROOT, folder / "tree", ignore=LEFT_OUT)
    (folder / "path").mkdir()
    (folder / "path" / "splitpoint").symlink_to(folder / "tree", target_is_directory=True)
    return folder / "path"


def run_tests(path: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether the tests pass in the copy, and the first test that does not."""
    tree = path / "splitpoint"
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *tests]
    done = subprocess.run(command, cwd=tree.resolve(), env=environment, capture_output=True, text=True, check=False)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0, failed[0].split(" ")[1] if failed else ""


def judge(fault: Fault, path: Path) -> dict[str, object]:
    """Put the fault into the copy, run its tests there, and take it out again."""
    file = path / "splitpoint" / fault.file
    text = file.read_text()
    file.write_text(apply(fault, text))
    survived, caught_by = run_tests(path, fault.tests)
    file.write_text(text)
    print(f"{'SURVIVED' if survived else 'caught  '}  {fault.file}: {fault.name}  {caught_by}", flush=True)
    return {"fault": fault.name, "file": fault.file, "survived": survived, "caught_by": caught_by}


def main(arguments: list[str]) -> int:
    """Put every fault in, alone; exit code 1 when one survives."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; none: all, and the result is stored")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    names = options.names
    faults = [fault for fault in read_faults() if not names or any(name in fault.name for name in names)]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for worker in range(options.workers):
            (Path(folder) / str(worker)).mkdir()
            copies.put(copy_tree(Path(folder) / str(worker)))
        first = copies.get()
        sound, failed = run_tests(first, tuple(dict.fromkeys(test for fault in faults for test in fault.tests)))
        copies.put(first)
        if not sound:
            print(f"{failed} fails without any fault")
            return 1

        def judge_in_a_copy(fault: Fault) -> dict[str, object]:
            path = copies.get()
            try:
                return judge(fault, path)
            finally:
                copies.put(path)

        rows = list(pool.map(judge_in_a_copy, faults))
    if not names:
        store(RESULTS / "faults.json", {"faults": rows}, command="faults")
    survived_count = sum(bool(row["survived"]) for row in rows)
    print(f"{len(rows) - survived_count} of {len(rows)} faults caught")
    return 1 if survived_count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
