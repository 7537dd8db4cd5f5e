"""Seconds and peak memory of ``splitpoint cuts`` on a ResNet-50 of 102 MB, and seconds to import `Plan`.

    python -m splitpoint.benchmarks.cuts_command [--against FOLDER] [--rounds 10]

FOLDER holds another package `splitpoint` to compare with, for instance an older checkout. Its processes and those of
this tree take turns, so that a change of the machine's speed meets both; the ratio of each pair is stored.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import splitpoint
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.profiles.network.torch_model import export_torch

__all__ = ["main", "measure", "run", "summary"]

NETWORK = f"{Path(__file__).parents[1] / 'tests' / 'nets.py'}:resnet50"
SIDE = 224  # pixels
BASE = "import numpy, onnxruntime"  # what running a plan imports in any case
PARENT = (  # the system keeps the largest memory of all children of a process, so each command gets a parent
    "import resource, subprocess, sys, time\n"
    "start = time.perf_counter()\n"
    "code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n"
    "seconds = time.perf_counter() - start\n"
    "print(code, seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
)
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # unit of ru_maxrss


def run(arguments: Sequence[str], *, package: Path) -> tuple[float, int]:
    """Wall seconds and peak bytes of Python with `arguments`, the package `splitpoint` taken from `package`."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT, sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    code, seconds, peak = done.stdout.split()
    if int(code):
        raise SystemExit(f"exit code {code} of {' '.join(arguments)} with the package in {package}")
    return float(seconds), int(peak) * RSS_BYTES


def summary(ours: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """Minimum and median of ours; with `others`, theirs and the median, least and largest ratio ours / other."""
    found = {"min": min(ours), "median": statistics.median(ours)}
    if others:
        ratios = [mine / other for mine, other in zip(ours, others, strict=True)]
        found |= {"other_min": min(others), "other_median": statistics.median(others)}
        found |= {"ratio_median": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return found


def measure(commands: Mapping[str, Sequence[str]], packages: Sequence[Path], *, rounds: int) -> dict[str, Any]:
    """For each command the summaries of its seconds and peak bytes; the first round warms the disk and is dropped."""
    found: dict[str, Any] = {}
    for name, arguments in commands.items():
        runs = [[run(arguments, package=package) for package in packages] for _ in range(rounds + 1)][1:]
        columns = [list(zip(*side, strict=True)) for side in zip(*runs, strict=True)]  # of each package: seconds, bytes
        ours, others = columns[0], columns[1] if len(columns) > 1 else [(), ()]
        found[name] = {"seconds": summary(ours[0], others[0]), "peak_bytes": summary(ours[1], others[1])}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description="seconds and peak memory of `splitpoint cuts`")
    parser.add_argument("--against", type=Path, help="folder of another package splitpoint [default: none]")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "ours"
        ours.mkdir()
        (ours / "splitpoint").symlink_to(Path(splitpoint.__file__).resolve().parent)
        model = Path(folder) / "resnet50.onnx"
        model.write_bytes(export_torch(NETWORK, (1, 3, SIDE, SIDE)))
        commands = {
            "cuts": ["-m", "splitpoint.cli", "cuts", str(model), "--json"],
            "import_plan": ["-c", "from splitpoint import Plan"],
            "import_base": ["-c", BASE],
        }
        packages = [ours] if options.against is None else [ours, options.against.resolve()]
        found = measure(commands, packages, rounds=options.rounds)
        found["model_bytes"] = model.stat().st_size
    found["rounds"] = options.rounds
    for name in commands:
        print(name, found[name])
    store(RESULTS / "cuts-command.json", found, command="cuts_command --against OLDER", threads=os.cpu_count() or 1)


if __name__ == "__main__":
    main()
