"""How much of a machine's speed-up two workers of a study reach, beside two inference loops that share nothing.

    python -m splitpoint.benchmarks.workers [--rounds 3] [--candidates 120] [--inputs 500]

In every round four things run in turn, so that what else the machine does meets all of them alike: one inference loop,
two at once, one worker, two at once. A loop runs the network on one thread for a fixed number of times; a worker
measures candidates of a study on one thread, from the moment in which all that it needs is ready, until the study has
its number. The speed-up of two over one is the ratio of runs (of candidates) a second. Prints the medians and stores
benchmarks/results/workers.json. Give it an idle machine with at least two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np

from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.flow import plan
from splitpoint.planner.limits.need import Need
from splitpoint.planner.setup.config import DataConfig, PlanConfig, SearchConfig
from splitpoint.planner.setup.loading import load_problem
from splitpoint.planner.store.store import Store
from splitpoint.planner.study import stage
from splitpoint.planner.study.storage import Place, join_study, open_storage
from splitpoint.profiles.network.torch_model import export_module

SIDE, CLASSES = 64, 10
GOAL = 0.85  # of the loops' speed-up
LOOP = """
import sys, time
import numpy as np
from splitpoint.profiles.network.runtime import open_session
session = open_session(open(sys.argv[1], "rb").read(), level="all", threads=1)
feeds = {{session.inputs[0].name: np.zeros((1, 3, {side}, {side}), np.float32)}}
print("ready", flush=True); sys.stdin.readline()
begin = time.perf_counter()
for _ in range(int(sys.argv[2])): session.run(feeds)
print(time.perf_counter() - begin, flush=True)
"""
WORKER = """
import sys, time
from splitpoint.planner.study import worker
from splitpoint.planner.output.ending import run_to_end
from splitpoint.planner.values.progress import Silent
from splitpoint.planner.store.store import Store
from pathlib import Path
honest = worker.search
def search(*arguments, **options):
    print("ready", flush=True); sys.stdin.readline()
    begin = time.perf_counter()
    found = honest(*arguments, **options)
    print(time.perf_counter() - begin, flush=True)
    return found
worker.search = search
worker.work("bench", storage=sys.argv[1], artifacts=None, threads=1, trust_code=False, store=Store(Path(sys.argv[2])),
    progress=Silent())
"""


def main(arguments: list[str]) -> int:
    """Measure, print and store; exit code 1 below the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=120)
    parser.add_argument("--inputs", type=int, default=500, help="of which two fifths are searched")
    parser.add_argument("--runs", type=int, default=2000, help="of a loop")
    options = parser.parse_args(arguments)
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        _write_inputs(folder, options.inputs)
        for number in range(options.rounds):
            one, two = (_loops(folder, count, options.runs) for count in (1, 2))
            single, double = (_workers(folder, f"{number}-{count}", count, options.candidates) for count in (1, 2))
            share = (double / single) / (two / one)
            rows.append({"loops": two / one, "workers": double / single, "share": share, "candidates_per_s": single})
            print(f"round {number + 1}: {two / one:.2f} loops, {double / single:.2f} workers", flush=True)
    share = statistics.median(row["share"] for row in rows)
    print(f"two workers reach {100 * share:.0f} % of the loops' speed-up (goal: {100 * GOAL:.0f} %)")
    store(RESULTS / "workers.json", {"share": share, "rounds": rows, "cores": os.cpu_count()}, command="workers")
    return 0 if share >= GOAL else 1


def _write_inputs(folder: Path, inputs: int) -> None:
    """A small convolutional network with fixed random weights, and random smooth pictures."""
    import torch

    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 64), (64, 128)):
        layers += [torch.nn.Conv2d(before, after, 3, stride=1 + (after > before), padding=1), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, CLASSES)]
    network = torch.nn.Sequential(*layers, *head).eval()
    (folder / "model.onnx").write_bytes(export_module(network, (1, 3, SIDE, SIDE)))
    generator = np.random.default_rng(0)
    x = generator.normal(size=(inputs, 3, 8, 8)).repeat(SIDE // 8, axis=2).repeat(SIDE // 8, axis=3)
    np.savez(folder / "data.npz", x=x.astype(np.float32))


def _loops(folder: Path, count: int, runs: int) -> float:
    """Runs a second of `count` loops at once."""
    command = [sys.executable, "-c", LOOP.format(side=SIDE), str(folder / "model.onnx"), str(runs)]
    return count * runs / _time([command] * count)


def _workers(folder: Path, name: str, count: int, candidates: int) -> float:
    """Candidates a second of `count` workers at once, in a study of their own whose planner measures nothing."""
    journal = folder / f"{name}.journal"
    config = PlanConfig(
        model=str(folder / "model.onnx"),
        data=DataConfig(source=str(folder / "data.npz")),
        device="raspberry-pi-4",
        server="cloud-8core",
        link="lte-cat1",
        task="tensor",
        need=Need(),
        search=SearchConfig(evaluations=candidates, patience=0, sampler="random", max_cuts=6, race=False),
        threads=1,
    )
    place = Place(storage=str(journal), study="bench")
    _make_study(config, folder, place)
    commands = [[sys.executable, "-c", WORKER, str(journal), str(folder / f"{name}-{i}")] for i in range(count)]
    seconds = _time(commands)
    with open_storage(str(journal)) as storage:
        measured = len(join_study(storage, "bench").trials.judged())
    return measured / seconds


def _make_study(config: PlanConfig, folder: Path, place: Place) -> None:
    """Begin the study as `splitpoint plan` does, up to the first candidate."""

    class BegunError(Exception):
        pass

    def begun(*arguments: object, **options: object) -> None:
        raise BegunError

    with mock.patch.object(stage, "search", begun), contextlib.suppress(BegunError):
        plan(load_problem(config), store=Store(folder / "planner"), studies=place)


def _time(commands: list[list[str]]) -> float:
    """Seconds from the moment in which all processes are ready until the last has ended its work."""
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    seconds = time.perf_counter() - begin
    for process in processes:
        process.communicate()
    return seconds


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
