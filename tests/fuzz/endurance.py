"""Many calls from many threads, and many loads beside replacements: ``python -m splitpoint.tests.fuzz.endurance``.

10,000 calls of head and tail from 8 threads must give what one thread gives, in memory that does not grow; 2,000 loads,
each with the files that run, beside 100 exports to the same place must all find one whole plan. Exit 1 otherwise.
"""

from __future__ import annotations

import argparse
import collections
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from splitpoint import Plan
from splitpoint.planner.deploy.file_names import RUNNING
from splitpoint.planner.plandir.placing import claimed, placed
from splitpoint.profiles.errors import ProfileError
from splitpoint.tests import small_plan

THREADS = 8
GROWTH_BYTES = 16 << 20  # of memory over all calls but the first tenth: pools of threads and arenas are filled by then
INPUTS = 20

REPLACE = """
import shutil, sys, time
from pathlib import Path
from splitpoint.planner.plandir.placing import claimed, placed
sources, target, count = sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4])
for number in range(count):
    with claimed(target) as place, placed(place) as folder:
        shutil.copytree(sources[number % 2], folder, dirs_exist_ok=True)
    print(number, flush=True)
    time.sleep(0.2)
"""


def main() -> int:
    """Run both; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=2_000)
    parser.add_argument("--replacements", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        small_plan.make(Path(home))
        plan = Path(home) / "plan"
        good = _call(plan, options.calls)
        good &= _load(plan, Path(home), options.loads, options.replacements)
    return 0 if good else 1


def _call(folder: Path, calls: int) -> bool:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (INPUTS, small_plan.SIDE, small_plan.SIDE, 3), np.uint8)
    alone = Plan.load(folder, threads=1)
    expected = [(payload := alone.head(picture), np.asarray(alone.tail(payload))) for picture in pictures]
    shared = Plan.load(folder, threads=1)

    def use(number: int) -> bool:
        payload, answer = expected[number % INPUTS]
        got = shared.head(pictures[number % INPUTS], check=number % 2 == 0)
        return got == payload and np.array_equal(np.asarray(shared.tail(got)), answer)

    with ThreadPoolExecutor(THREADS) as pool:
        wrong = sum(not good for good in pool.map(use, range(calls // 10)))
        before = _resident_bytes()
        wrong += sum(not good for good in pool.map(use, range(calls // 10, calls)))
    growth = _resident_bytes() - before
    print(
        f"{calls} calls of head and of tail from {THREADS} threads: {wrong} differ from serial; memory grew by"
        f" {growth / 1e6:.1f} MB in the last {calls - calls // 10} (peak {_peak_bytes() / 1e6:.0f} MB)"
    )
    return wrong == 0 and growth < GROWTH_BYTES


def _load(plan: Path, home: Path, loads: int, replacements: int) -> bool:
    """Two plans take turns at one place in another process, while this one loads."""
    other = Path(shutil.copytree(plan, home / "other"))
    text = (other / "plan.yaml").read_text()
    (other / "plan.yaml").write_text(text.replace("created: ", "created: other ", 1))
    target = home / "place" / "plan"
    with claimed(target) as place, placed(place) as folder:
        shutil.copytree(plan, folder, dirs_exist_ok=True)
    outcomes, done = collections.Counter[str](), list[str]()
    with subprocess.Popen(
        [sys.executable, "-c", REPLACE, str(plan), str(other), str(target), str(replacements)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        reader = threading.Thread(target=lambda: done.extend(writer.stdout or ()))
        reader.start()
        begin = time.perf_counter()
        count = 0
        while count < loads or writer.poll() is None:
            outcomes[_outcome(target)] += 1
            count += 1
        seconds = time.perf_counter() - begin
        reader.join()
    print(f"{count} loads in {seconds:.0f} s beside {len(done)} replacements: {dict(outcomes)}")
    return set(outcomes) <= {"whole"} and len(done) == replacements


def _outcome(target: Path) -> str:
    try:
        plan = Plan.load(target)
        for name in RUNNING:
            plan.read(name)
    except ProfileError as error:
        return str(error)
    return "whole"


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main())
