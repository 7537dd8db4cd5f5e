"""Kill the real commands at random moments: ``python -m splitpoint.tests.fuzz.kills --kills 100``.

Every second command is ``plan``, the others are ``export``, each over a plan that is there. After each kill the old or
the new plan must be whole, the next command must succeed, and nothing may be left beside the plan and the one that is
kept. Prints how many died in which stage; exit 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from splitpoint import Plan
from splitpoint.planner.deploy.file_names import PLAN
from splitpoint.planner.plandir.placing import claimed, listed_files
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.files.held import YOUNG_S
from splitpoint.tests import small_plan

OF_LIBRARIES = (".ses",)  # written once by ONNX Runtime 1.32 when it is imported
STAGES = ("unsplit", "variants", "profile", "codecs", "baselines", "accuracy", "latency", "report")


def main() -> int:
    """Run the campaign; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator, stages, problems = random.Random(options.seed), collections.Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        small_plan.make(folder)
        place = folder / "place" / "plan"
        temporary = folder / "tmp"
        temporary.mkdir()
        commands = {"plan": _plan(folder, place), "export": _export(folder / "plan", place)}
        seconds = {name: _time(command, temporary) for name, command in commands.items()}
        kills = 0
        while kills < options.kills:
            name = ("plan", "export")[kills % 2]
            stage = _kill(commands[name], generator.uniform(0, 1.05 * seconds[name]), temporary)
            if stage is None:  # it was done before
                continue
            kills += 1
            stages[f"{name}: {stage}"] += 1
            problems += [
                f"kill {kills} ({name}, {stage}): {text}" for text in _wrong(place, commands["export"], temporary)
            ]
        problems += _left_in(temporary, commands["plan"])
    width = max(map(len, stages))
    print("\n".join(f"{stage:<{width}}  {count:3}" for stage, count in sorted(stages.items())))
    print(f"{kills} kills, {len(problems)} problems", *problems, sep="\n  ")
    return 1 if problems else 0


def _plan(folder: Path, place: Path) -> list[str]:
    source = ["plan", str(folder / "model.onnx"), "--data", str(folder / "photos"), "--out", str(place)]
    return [*source, "--device", "raspberry-pi-4", "--evaluations", "6", "--max-drop", "50%", "--threads", "1"]


def _export(source: Path, place: Path) -> list[str]:
    return ["export", str(source), "--point", "1", "--out", str(place)]


def _start(command: list[str], temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "splitpoint.cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def _time(command: list[str], temporary: Path) -> float:
    begin = time.perf_counter()
    process = _start(command, temporary)
    _, err = process.communicate()
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{command}: {err}")
    return time.perf_counter() - begin


def _kill(command: list[str], after_s: float, temporary: Path) -> str | None:
    """Start and kill; the stage after the last one that was reported as done, or None when the command was done."""
    process = _start(command, temporary)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    _, err = process.communicate()
    if process.returncode != -signal.SIGKILL:
        return None
    if command[0] != "plan":
        return "reading and writing"
    done = [line.split()[1] for line in err.splitlines() if line.startswith("✓ ")]
    following = [stage for stage in STAGES if stage not in done]
    return "start" if not done else following[0] if following else "writing"


def _wrong(place: Path, export: list[str], temporary: Path) -> list[str]:
    """What is not as it must be after a kill."""
    problems = []
    try:
        _check_whole(place)
    except ProfileError as error:
        problems.append(f"no whole plan after the kill: {error}")
    process = _start(export, temporary)
    _, err = process.communicate()
    if process.returncode != 0:
        problems.append(f"the next command failed: {err}")
    left = sorted(path.name for path in place.parent.iterdir())
    if not {"plan"} <= set(left) <= {"plan", "plan.1"}:
        problems.append(f"left over: {left}")
    verified = subprocess.run(
        [sys.executable, "-m", "splitpoint.cli", "verify", str(place)], capture_output=True, text=True, check=False
    )
    if verified.returncode != 0:
        problems.append(f"verify: {verified.stdout}{verified.stderr}")
    return problems


def _left_in(temporary: Path, plan: list[str]) -> list[str]:
    """What is in TMPDIR after a run that may remove what the dead left, which is no longer new."""
    time.sleep(YOUNG_S + 1)
    _time(plan, temporary)
    left = [path.name for path in temporary.iterdir() if path.name not in OF_LIBRARIES]
    return [f"left over in TMPDIR: {left}"] if left else []


def _check_whole(place: Path) -> None:
    """Read every file of the plan by its hash."""
    plan = Plan.load(place)
    for name in listed_files(plan.file) - {PLAN}:
        plan.stored.read(name)
    with claimed(place):
        pass


if __name__ == "__main__":
    sys.exit(main())
