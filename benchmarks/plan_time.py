"""Seconds of ``splitpoint plan``: with nothing kept, the same again, and with another link.

    python -m splitpoint.benchmarks.plan_time CONFIG --other-link wifi-5 [--old PATH] [--rounds 3]

Each plan is a process of its own, from its start to its end. Every round has a new folder of kept results for each
checkout; with --old the plans of another checkout come between those of this one. The machine should have nothing else
to do: the CPU seconds beside the elapsed ones show whether it had.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.store.store import FOLDER_VARIABLE

PLAN = "import sys; from splitpoint.cli import main; sys.exit(main(sys.argv[1:]))"
RUNS = ("cold", "again", "other link")


def time_plan(tree: Path, config: Path, kept: Path, flags: Sequence[str]) -> tuple[float, float]:
    """Elapsed and CPU seconds of a plan by the checkout at `tree`; raises `RuntimeError` when it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "splitpoint").symlink_to(tree, target_is_directory=True)
        log = Path(scratch) / "log"
        command = [sys.executable, "-W", "ignore", "-c", PLAN, "plan", config.name, "--out", f"{scratch}/plan", *flags]
        environment = os.environ | {"PYTHONPATH": scratch, FOLDER_VARIABLE: str(kept)}
        with log.open("w") as output:
            begin = time.perf_counter()
            running = subprocess.Popen(command, cwd=config.parent, env=environment, stdout=output, stderr=output)
            _, status, usage = os.wait4(running.pid, 0)
            elapsed_s = time.perf_counter() - begin
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode not in (0, 1):
            raise RuntimeError(log.read_text()[-2000:])
    return elapsed_s, usage.ru_utime + usage.ru_stime


def time_round(trees: dict[str, Path], config: Path, other_link: str) -> list[dict[str, Any]]:
    """A row for each run of each checkout, in turn."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in RUNS:
            flags = ("--link", other_link) if run == "other link" else ()
            for name, tree in trees.items():
                elapsed_s, cpu_s = time_plan(tree, config, Path(folder) / name, flags)
                rows.append({"tree": name, "run": run, "elapsed_s": elapsed_s, "cpu_s": cpu_s})
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Median, least and most elapsed seconds, and median CPU seconds, a line for each checkout and run."""
    lines = [f"{'':<6}{'':<12}{'median':>8}{'least':>8}{'most':>8}{'CPU':>8}  s"]
    for tree, run in dict.fromkeys((row["tree"], row["run"]) for row in rows):
        own = [row for row in rows if (row["tree"], row["run"]) == (tree, run)]
        elapsed_s, cpu_s = ([row[name] for row in own] for name in ("elapsed_s", "cpu_s"))
        figures = (statistics.median(elapsed_s), min(elapsed_s), max(elapsed_s), statistics.median(cpu_s))
        lines.append(f"{tree:<6}{run:<12}" + "".join(f"{figure:8.1f}" for figure in figures))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="configuration of a plan")
    parser.add_argument("--other-link", default="wifi-5", help="link of the third run")
    parser.add_argument("--old", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "plan-time.json")
    options = parser.parse_args(arguments)
    trees = {"this": Path(__file__).resolve().parents[1]} | ({"old": options.old.resolve()} if options.old else {})
    rows: list[dict[str, Any]] = []
    for number in range(options.rounds):
        rows += [{"round": number, **row} for row in time_round(trees, options.config.resolve(), options.other_link)]
    print(table(rows))
    old = " --old PATH" if options.old else ""
    command = f"plan_time {options.config.name} --other-link {options.other_link}{old} --rounds {options.rounds}"
    cores = len(os.sched_getaffinity(0))
    store(options.out, {"rows": rows}, command=command, threads=cores)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
