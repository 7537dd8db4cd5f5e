"""Kill ``plan`` at random moments and continue: ``python -m splitpoint.tests.fuzz.resumed --kills 20``.

Each time the folder of results is empty and the command is killed once or twice. The same command then has to end with
the plan of a run that was never killed, and has to use every block of outcomes that the folder held. Prints
what each kill left and the seconds to continue; exit 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from splitpoint.planner.deploy.plan import Plan
from splitpoint.planner.deploy.schema import PlanFile
from splitpoint.planner.store.store import FOLDER_VARIABLE, Store
from splitpoint.tests import small_plan

SECOND_KILL = 0.3  # of the runs are killed twice


def main() -> int:
    """Run the campaign; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, problems, kills, seconds = random.Random(options.seed), list[str](), 0, list[float]()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        small_plan.write_inputs(folder)
        _run(["profile", str(folder / "model.onnx"), "--threads", "1", "--out", str(folder / "profile.yaml")], folder)
        whole_s, _ = _finish(folder, "whole")  # writes what libraries keep for their own next start
        whole_s, document = _finish(folder, "whole", "--fresh")
        expected = _plan_file(folder / "whole")
        print(f"never killed: {whole_s:.1f} s, {document['evaluated']} candidates", flush=True)
        while kills < options.kills:
            Store(folder / "results").clear()
            before = kills
            for _ in range(1 + (generator.random() < SECOND_KILL)):
                kills += _kill(folder, generator.uniform(0, whole_s))
            if kills == before:  # it was done before
                continue
            held = Counter(entry.kind for entry in Store(folder / "results").entries())
            before_outcomes = _outcomes(folder / "results")
            elapsed_s, document = _finish(folder, "continued")
            seconds.append(elapsed_s)
            print(f"{kills:3} kills  held {_counts(held)}; {elapsed_s:.1f} s to continue", flush=True)
            after = _outcomes(folder / "results")
            again = [
                key for key, (place, used) in before_outcomes.items() if after[key][0] != place or after[key][1] == used
            ]
            if again:
                problems.append(f"kill {kills}: {len(again)} of {len(before_outcomes)} outcomes were not used")
            if _plan_file(folder / "continued") != expected:
                problems.append(f"kill {kills}: another plan than without a kill")
    print(f"{kills} kills, at most {max(seconds):.1f} s to continue, {len(problems)} problems", *problems, sep="\n  ")
    return 1 if problems else 0


def _command(folder: Path, out: str, *flags: str) -> list[str]:
    source = ["plan", str(folder / "model.onnx"), "--data", str(folder / "photos"), "--out", str(folder / out)]
    limits = ["--device", "raspberry-pi-4", "--server", "cloud-8core", "--link", "lte-cat1", "--max-drop", "50%"]
    fixed = ["--profile", str(folder / "profile.yaml"), "--evaluations", "12", "--threads", "1", "--json"]
    return [*source, *limits, *fixed, *flags]


def _start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "splitpoint.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, FOLDER_VARIABLE: str(folder / "results")},
    )


def _run(command: list[str], folder: Path) -> str:
    process = _start(command, folder)
    out, err = process.communicate()
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{command}: {err}")
    return out


def _finish(folder: Path, out: str, *flags: str) -> tuple[float, dict[str, Any]]:
    """Seconds of the whole command, and its document."""
    begin = time.perf_counter()
    text = _run(_command(folder, out, *flags), folder)
    return time.perf_counter() - begin, json.loads(text)


def _outcomes(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file holds each block of outcomes, and when it was used: one that is made again is another file."""
    found = {path.name: path.stat() for path in (folder / "outcomes").glob("*/*")}
    return {name: (about.st_ino, about.st_mtime_ns) for name, about in found.items()}


def _kill(folder: Path, after_s: float) -> int:
    """Start the command and kill it; 1, or 0 when it was done before."""
    process = _start(_command(folder, "killed"), folder)
    try:
        process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return int(process.returncode == -signal.SIGKILL)


def _plan_file(directory: Path) -> PlanFile:
    """plan.yaml but for the time of day."""
    return msgspec.structs.replace(Plan.load(directory).file, created="")


def _counts(held: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(held.items())) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
