"""How much of the exhaustive front a search finds for its tail inferences, on recorded landscapes.

    python -m splitpoint.benchmarks.search [LANDSCAPE ...] [--seeds 10]

LANDSCAPE is a name for which results/ has outcomes (benchmarks/recorded.py) and costs (benchmarks/latencies.py).
Outcomes are looked up instead of measured; the race is `planner.racing.race` and the search `planner.study.search`, as
a plan runs them. Every method knows the costs, as a plan does from its table.

A method may run a share of all tail inferences (candidates times inputs). It returns at most 200 of the candidates that
it measured on at least 5 % of the inputs: the first fronts by its own estimates. They are scored by what all inputs
say (`planner.quality.drop_curve`): the hypervolume of log latency, log payload and drop below the limits, as a share of
that of all candidates.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.latencies import load
from splitpoint.benchmarks.replay import LIMITS, OBJECTIVES, Priced, Replay, on_device
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.racing.race import Race
from splitpoint.planner.search.pareto import hypervolume, pareto
from splitpoint.planner.search.table import LEAST_ERROR, PROBE_INPUTS, PROBE_RATES
from splitpoint.planner.setup.config import SamplerName, SearchConfig
from splitpoint.planner.study.sampler import Space
from splitpoint.planner.study.search import search

__all__ = ["METHODS", "score", "simulate"]

SHARES = (0.03, 0.1)  # of the exhaustive tail inferences
SCREENED = 0.5  # of the race's inferences are for first blocks
LEAST_MEASURED = 0.05  # of the inputs: less is not returned
MOST_RETURNED = 200

Floats = NDArray[np.float64]
Method = Callable[[Priced, int, int], NDArray[np.bool_]]  # landscape, tail runs, seed -> (C, N) what was measured


def run_race(priced: Priced, tail_runs: int, seed: int) -> NDArray[np.bool_]:
    """First blocks of the table's fronts, then the race among them, as in a plan."""
    replay, needs, metric = Replay(priced, _metric(), seed=seed), _needs(priced), _metric()
    table, probed = tabulate(priced, seed=seed)
    tail_runs -= probed
    late = dataclasses.replace(priced, device_s=np.inf)  # the landscape is of splits alone: the device is no rival
    race = Race(replay, metric, needs, OBJECTIVES, complete=[on_device(late, metric)])
    count = max(1, int(SCREENED * tail_runs) // len(replay.blocks.block(0)))
    for row in _by_fronts(priced.objectives(table), priced, count):
        race.enter(priced.candidates[row])
    race.finish(enough=lambda: replay.tail_runs >= tail_runs)
    return replay.measured


def run_sampler(priced: Priced, tail_runs: int, seed: int, *, sampler: SamplerName) -> NDArray[np.bool_]:
    """What an Optuna sampler proposes, each candidate measured on all inputs."""
    replay = Replay(priced, _metric(), seed=seed)
    looks = len(replay.blocks.ends)
    settings = SearchConfig(
        seed=seed, evaluations=tail_runs // replay.blocks.inputs, patience=0, sampler=sampler
    )  # all of the budget, whatever it gains
    search(_space(priced), lambda c: replay.measure(c, looks), _needs(priced), OBJECTIVES, settings)
    return replay.measured


METHODS: Mapping[str, Method] = {
    "race": run_race,
    "random": functools.partial(run_sampler, sampler="random"),
    "tpe": functools.partial(run_sampler, sampler="tpe"),
    "nsga2": functools.partial(run_sampler, sampler="nsga2"),
}


def tabulate(priced: Priced, *, seed: int) -> tuple[Floats, int]:
    """(C,) the divergence that a few inputs show at two rates of each codec, interpolated; and the tail runs it took.

    As `planner.search.table` does it, which looks at calibration inputs.
    """
    inputs = np.random.default_rng(seed).choice(priced.right.shape[1], PROBE_INPUTS, replace=False)
    look = np.log(np.maximum(priced.divergence[:, inputs].mean(axis=1), LEAST_ERROR))
    table, runs = np.empty(len(look)), 0
    for rows in _units(priced).values():
        at = sorted({round(share * (len(rows) - 1)) for share in PROBE_RATES})
        slope = (look[rows[at[-1]]] - look[rows[at[0]]]) / max(1, at[-1] - at[0])
        table[rows] = look[rows[at[0]]] + slope * (np.arange(len(rows)) - at[0])
        runs += len(at) * PROBE_INPUTS
    return table, runs


def score(priced: Priced, measured: NDArray[np.bool_], truth: Floats) -> float:
    """The hypervolume of what is returned once `measured` (C, N) is; `truth` (C,) are the drops by all inputs."""
    eligible = np.flatnonzero(measured.mean(axis=1) >= LEAST_MEASURED)
    if not len(eligible):
        return 0.0
    rows = priced.objectives(priced.drops(measured))[eligible]
    within = (rows < priced.reference).all(axis=1)
    returned = list[int]()
    for left in (np.flatnonzero(within), np.flatnonzero(~within)):
        while len(left) and len(returned) < MOST_RETURNED:
            front = pareto(rows[left])
            returned += eligible[left[front]].tolist()
            left = left[~front]
    found = priced.objectives(truth)[returned[:MOST_RETURNED]]
    return hypervolume(found[pareto(found)], priced.reference)


def simulate(
    priced: Priced, name: str, *, seeds: int, methods: Sequence[str], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row for each method, share and seed."""
    truth = priced.drops(np.ones(priced.right.shape, bool))
    everything = priced.objectives(truth)
    best = hypervolume(everything[pareto(everything)], priced.reference)
    rows = []
    for method in methods:
        for share in SHARES:
            shares = []
            for seed in range(seeds):
                measured = METHODS[method](priced, int(share * priced.right.size), seed)
                shares.append(score(priced, measured, truth) / best)
                rows.append(
                    {
                        "landscape": name,
                        "method": method,
                        "seed": seed,
                        "inference_share": float(measured.mean()),
                        "hypervolume_share": shares[-1],
                    }
                )
            spread = f"{statistics.mean(shares):.4f}  {min(shares):.4f} .. {max(shares):.4f}"
            say(f"{name:20} {method:8} {100 * share:4.0f} %  {spread}")
    return rows


def _by_fronts(rows: Floats, priced: Priced, count: int) -> list[int]:
    """Numbers of the first `count` candidates, front by front of `rows` (C, 3); none beyond a limit of cost."""
    beyond = (priced.objectives(np.zeros(len(rows))) > priced.reference).any(axis=1)
    chosen, left = list[int](), np.flatnonzero(~beyond)
    while len(left) and len(chosen) < count:
        front = pareto(rows[left])
        chosen += left[front].tolist()
        left = left[~front]
    return chosen[:count]


def _units(priced: Priced) -> dict[tuple[str, str], list[int]]:
    """Numbers of the candidates of each cut and codec, in ascending rate."""
    units: dict[tuple[str, str], list[int]] = {}
    for row, candidate in enumerate(priced.candidates):
        units.setdefault((candidate.cut, candidate.codec), []).append(row)
    return units


def _space(priced: Priced) -> Space:
    """The cuts, codecs and rates of the landscape; the sampler proposes from the first trial on."""
    units = _units(priced)
    cuts, codecs = (list(dict.fromkeys(unit[i] for unit in units)) for i in (0, 1))
    options = [[[priced.candidates[row] for row in units.get((cut, codec), [])] for codec in codecs] for cut in cuts]
    return Space(options=options, first=[])


def _metric() -> Metric:
    return make_metric(Task(name="classify"), [IOTensor(name="scores", shape=(1, 10), dtype="float32")], "labels")


def _needs(priced: Priced) -> Requirements:
    limits = {**LIMITS, "payload": priced.most_bytes}
    return Requirements(bounds=tuple(Bound(limit=name, value=limits[name]) for name in ("latency", "drop", "payload")))


def main() -> int:
    """Run every method on every landscape and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", nargs="*", help="names [default: all whose costs are in results/]")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=RESULTS / "search.json")
    options = parser.parse_args()
    names = options.landscapes or [path.stem.removeprefix("latencies-") for path in RESULTS.glob("latencies-*.json")]
    say = functools.partial(print, flush=True)
    rows = []
    for name in sorted(names):
        rows += simulate(load(name), name, seeds=options.seeds, methods=options.methods, say=say)
    limits = {"latency_s": LIMITS["latency"], "drop": LIMITS["drop"], "payload": "the picture, a byte a number"}
    store(options.out, {"limits": limits, "rows": rows}, command="search", threads=1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
