"""How much of the exhaustive front a search finds for its tail inferences, on recorded landscapes.

    python -m splitpoint.benchmarks.search --data DIR NAME=WORK [NAME=WORK ...] [--seeds 10]

NAME is a landscape of benchmarks/landscape.py and WORK the folder of its units. Outcomes are looked up instead of
measured; the race is `planner.racing.race`, as a plan runs it. Latencies come from the cost model (Raspberry Pi 4, LTE
Cat 1, cloud server), with codecs fitted at one rate and coders timed on this host, and are kept in WORK/computing.npz.

A method may run a share of all tail inferences (candidates times inputs). It returns at most 200 of the candidates that
it measured on at least 5 % of the inputs: the first fronts by its own estimates. They are scored by what all inputs
say (`planner.quality.drop_curve`): the hypervolume of log latency, log payload and drop below the limits, as a share of
that of all candidates.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.landscape import LANDSCAPES, Landscape
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.npz import npz_bytes
from splitpoint.codecs.store import save_coders
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cost.message import Channel, send
from splitpoint.planner.cost.price import Party, cost_of_split, op_work, work_of
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.cost import Cost
from splitpoint.planner.deploy.requirements import Bound, Requirements
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.profiling.host import measure_host
from splitpoint.planner.quality.accuracy import judge
from splitpoint.planner.quality.drop_curve import estimate_drops, smooth_losses
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.racing.race import Race
from splitpoint.planner.samples.blocks import Blocks, make_blocks
from splitpoint.planner.samples.dataset import NetworkInputs
from splitpoint.planner.search.pareto import hypervolume, pareto
from splitpoint.planner.search.table import LEAST_ERROR, PROBE_INPUTS, PROBE_RATES
from splitpoint.planner.setup.config import SearchConfig
from splitpoint.planner.study.sampler import Space
from splitpoint.planner.study.search import search
from splitpoint.planner.values.candidate import GIVEN, Candidate, Evaluated
from splitpoint.planner.values.outcomes import InputOutcome, Outcomes
from splitpoint.profiles.files.structs import write_bytes
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
from splitpoint.profiles.machine.device import predict_s
from splitpoint.profiles.machine.machine import this_machine

__all__ = ["METHODS", "OBJECTIVES", "Recorded", "Replay", "on_device", "score"]

DEVICE, SERVER, LINK = "raspberry-pi-4", "cloud-8core", "lte-cat1"
LIMITS = {"latency": 0.3, "drop": 0.01}  # seconds, share: of the labelled plan
SHARES = (0.01, 0.03, 0.1)  # of the exhaustive tail inferences
SCREENED = 0.7  # of the race's inferences are for first blocks
LEAST_MEASURED = 0.05  # of the inputs: less is not returned
MOST_RETURNED = 200
OBJECTIVES = ("latency", "payload", "drop")

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """C candidates of a network on N inputs, with what each costs."""

    candidates: tuple[Candidate, ...]
    latency_s: Floats  # (C,)
    device_s: float  # latency of the network on the device alone
    payload_bytes: Floats  # (C,) mean
    most_bytes: float  # limit of the payload: the picture as it is
    right: NDArray[np.bool_]  # (C, N)
    right_unsplit: NDArray[np.bool_]  # (N,)
    divergence: Floats  # (C, N) nat
    margin: Floats | None  # (C, N) of the true class; None: not recorded
    margin_unsplit: Floats | None  # (N,)

    @property
    def reference(self) -> Floats:
        """The limits on the scales of the objectives, (3,)."""
        return np.array([np.log10(LIMITS["latency"]), np.log10(self.most_bytes), LIMITS["drop"]])

    def drops(self, measured: NDArray[np.bool_]) -> Floats:
        """(C,) what every candidate loses, estimated from the inputs (C, N) that were measured; inf where none was."""
        rows = np.flatnonzero(measured.any(axis=1))
        lost = np.where(measured, self.right_unsplit.astype(np.float64) - self.right, np.nan)[rows]
        smooth = lost if self.margin is None else smooth_losses(self.margin[rows], self._margin_unsplit)
        drops = np.full(len(self.candidates), np.inf)
        drops[rows] = estimate_drops(lost, smooth, self.divergence[rows]).drop
        return drops

    def objectives(self, drops: Floats) -> Floats:
        """(C, 3): log latency, log payload, drop."""
        return np.stack([np.log10(self.latency_s), np.log10(self.payload_bytes), drops], axis=1)

    @property
    def _margin_unsplit(self) -> Floats:
        assert self.margin_unsplit is not None
        return self.margin_unsplit


class Replay:
    """Recorded outcomes behind the interface of the race; it counts what measuring them would have run."""

    def __init__(self, recorded: Recorded, metric: Metric, *, seed: int) -> None:
        self._recorded, self._metric = recorded, metric
        self._row = {candidate: row for row, candidate in enumerate(recorded.candidates)}
        self.blocks: Blocks = make_blocks(range(recorded.right.shape[1]), seed=seed)
        self.measured = np.zeros(recorded.right.shape, bool)

    @property
    def tail_runs(self) -> int:
        """Inputs that would have gone through a tail."""
        return int(self.measured.sum())

    def measure(self, candidate: Candidate, blocks: int) -> Evaluated:
        """The candidate on the first blocks."""
        everything = self._recorded
        inputs = sorted(i for number in range(blocks) for i in self.blocks.block(number))
        row = self._row[candidate]
        self.measured[row, inputs] = True
        outcomes = Outcomes(
            subset="search",
            indices=None if len(inputs) == self.blocks.inputs else tuple(inputs),
            inputs=tuple(self._outcome(row, i) for i in inputs),
            payload_bytes=(round(everything.payload_bytes[row]),) * len(inputs),
        )
        return Evaluated(
            candidate=candidate,
            cost=self.price(candidate, 0.0),
            accuracy=judge(outcomes, self._metric),
            label="",
            outcomes=outcomes,
        )

    def payload(self, candidate: Candidate) -> float:
        """Mean bytes of the payloads."""
        return float(self._recorded.payload_bytes[self._row[candidate]])

    def price(self, candidate: Candidate, payload_bytes: float) -> Cost:
        """The recorded cost: sizes are known before tails run, so that the payload is always the true one."""
        return _cost(float(self._recorded.latency_s[self._row[candidate]]), self.payload(candidate))

    def _outcome(self, row: int, index: int) -> InputOutcome:
        r = self._recorded
        return InputOutcome(
            counts=(float(r.right[row, index]),),
            unsplit_counts=(float(r.right_unsplit[index]),),
            margin_change=None,
            truth_margin=None if r.margin is None else float(r.margin[row, index]),
            unsplit_truth_margin=None if r.margin_unsplit is None else float(r.margin_unsplit[index]),
            divergence=float(r.divergence[row, index]),
            relative_error=float(r.divergence[row, index]),
            output_errors=(float(r.divergence[row, index]),),
            group=str(index),
        )


Method = Callable[[Recorded, int, int], NDArray[np.bool_]]  # landscape, tail runs, seed -> (C, N) what was measured


def run_race(recorded: Recorded, tail_runs: int, seed: int) -> NDArray[np.bool_]:
    """First blocks of the table's fronts and of what TPE proposes, then the race among them, as in a plan."""
    replay, needs, metric = Replay(recorded, _metric(), seed=seed), _needs(recorded), _metric()
    table, probed = tabulate(recorded, seed=seed)
    tail_runs -= probed
    costs = {candidate: replay.price(candidate, 0.0) for candidate in recorded.candidates}
    late = dataclasses.replace(recorded, device_s=np.inf)  # the landscape is of splits alone: the device is no rival
    race = Race(replay, metric, needs, OBJECTIVES, complete=[on_device(late, metric)], estimates=costs)
    count = max(1, int(SCREENED * tail_runs) // len(replay.blocks.block(0)))
    first = [recorded.candidates[row] for row in _by_fronts(recorded.objectives(table), recorded, count)]
    _search(recorded, race.enter, seed, evaluations=count, first=first)
    race.finish(enough=lambda: replay.tail_runs >= tail_runs)
    return replay.measured


def run_random(recorded: Recorded, tail_runs: int, seed: int) -> NDArray[np.bool_]:
    """Candidates drawn at random, each measured on all inputs."""
    measured = np.zeros(recorded.right.shape, bool)
    count = tail_runs // len(recorded.right_unsplit)
    measured[np.random.default_rng(seed).permutation(len(recorded.candidates))[:count]] = True
    return measured


def run_tpe(recorded: Recorded, tail_runs: int, seed: int) -> NDArray[np.bool_]:
    """What TPE proposes, each candidate measured on all inputs."""
    replay = Replay(recorded, _metric(), seed=seed)
    looks = len(replay.blocks.ends)
    _search(recorded, lambda c: replay.measure(c, looks), seed, evaluations=tail_runs // replay.blocks.inputs, first=[])
    return replay.measured


def tabulate(recorded: Recorded, *, seed: int) -> tuple[Floats, int]:
    """(C,) the divergence that a few inputs show at two rates of each codec, interpolated; and the tail runs it took.

    As `planner.search.table` does it, which looks at calibration inputs.
    """
    inputs = np.random.default_rng(seed).choice(recorded.right.shape[1], PROBE_INPUTS, replace=False)
    look = np.log(np.maximum(recorded.divergence[:, inputs].mean(axis=1), LEAST_ERROR))
    table, runs = np.empty(len(look)), 0
    for rows in _units(recorded).values():
        at = sorted({round(share * (len(rows) - 1)) for share in PROBE_RATES})
        slope = (look[rows[at[-1]]] - look[rows[at[0]]]) / max(1, at[-1] - at[0])
        table[rows] = look[rows[at[0]]] + slope * (np.arange(len(rows)) - at[0])
        runs += len(at) * PROBE_INPUTS
    return table, runs


METHODS: Mapping[str, Method] = {
    "race": run_race,
    "random": run_random,
    "tpe": run_tpe,
}


def score(recorded: Recorded, measured: NDArray[np.bool_], truth: Floats) -> float:
    """The hypervolume of what is returned once `measured` (C, N) is; `truth` (C,) are the drops by all inputs."""
    eligible = np.flatnonzero(measured.mean(axis=1) >= LEAST_MEASURED)
    if not len(eligible):
        return 0.0
    rows = recorded.objectives(recorded.drops(measured))[eligible]
    returned, left = list[int](), np.arange(len(eligible))
    while len(left) and len(returned) < MOST_RETURNED:
        front = pareto(rows[left])
        returned += eligible[left[front]].tolist()
        left = left[~front]
    found = recorded.objectives(truth)[returned[:MOST_RETURNED]]
    return hypervolume(found[pareto(found)], recorded.reference)


def simulate(recorded: Recorded, name: str, *, seeds: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each method, share and seed."""
    truth = recorded.drops(np.ones(recorded.right.shape, bool))
    everything = recorded.objectives(truth)
    best = hypervolume(everything[pareto(everything)], recorded.reference)
    rows = []
    for method, run in METHODS.items():
        for share in SHARES:
            shares = []
            for seed in range(seeds):
                measured = run(recorded, int(share * recorded.right.size), seed)
                shares.append(score(recorded, measured, truth) / best)
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


def load(work: Path, candidates_s: Mapping[str, Floats], device_s: float, most_bytes: float) -> Recorded:
    """The units of `work`; `candidates_s` are latencies by unit without the link."""
    with np.load(work / "unsplit.npz") as stored:
        unsplit = dict(stored)
    units = [(path.stem, dict(np.load(path))) for path in sorted(work.glob("[0-9]*.npz"))]
    units = [(stem, unit) for stem, unit in units if len(unit["rates"]) and stem in candidates_s]

    def join(key: str) -> NDArray[Any]:
        return np.concatenate([unit[key] for _, unit in units])

    margins = "truth_margin" in unsplit and all("truth_margin" in unit for _, unit in units)
    payload = np.concatenate([unit["payload_bytes"].mean(axis=1) for _, unit in units])
    channel = Channel(link=load_link(LINK))
    computing_s = np.concatenate([candidates_s[stem] for stem, _ in units])
    link_s = np.array([send(channel, size, 0.0).link_s for size in payload])
    return Recorded(
        candidates=tuple(
            Candidate(variant=GIVEN, placement="split", cut=unit["cut"].item(), codec=unit["codec"].item(), rate=int(r))
            for _, unit in units
            for r in unit["rates"]
        ),
        latency_s=computing_s + link_s,
        device_s=device_s,
        payload_bytes=payload,
        most_bytes=most_bytes,
        right=join("right"),
        right_unsplit=unsplit["right"],
        divergence=join("divergence").astype(np.float64),
        margin=join("truth_margin").astype(np.float64) if margins else None,
        margin_unsplit=unsplit["truth_margin"].astype(np.float64) if margins else None,
    )


def computing_seconds(landscape: Landscape, work: Path) -> dict[str, Floats]:
    """Seconds of head, codec and tail of every rate of every unit of `work`; "device": of the whole network there.

    Kept in computing.npz. The codec's work is that of its middle rate that can be fitted, as in a plan's table.
    """
    path = work / "computing.npz"
    if not path.is_file():
        write_bytes(path, npz_bytes(_computing_seconds(landscape, work)))
    with np.load(path) as stored:
        return dict(stored)


def _computing_seconds(landscape: Landscape, work: Path) -> dict[str, Floats]:
    graph, host = landscape.graph, measure_host(this_machine(threads=1))
    edge, server = (
        Party(
            device=device,
            node_s=predict_s(device, [op_work(graph, node) for node in graph.nodes]),
            run_s=device.compute.run_overhead_s,
            how="modelled",
        )
        for device in (load_device(DEVICE), load_server(SERVER))
    )
    cuts = {cut.name: cut for cut in enumerate_cuts(graph).cuts}
    seconds = {"device": np.array([edge.seconds([node.index for node in graph.nodes])])}
    inputs = {"calibration": NetworkInputs(landscape.calibration)}
    with NetworkRuns(graph, inputs, threads=2, labels=landscape.calibration.labels) as runs:
        for path in sorted(work.glob("[0-9]*.npz")):
            with np.load(path) as unit:
                cut, codec, rates = cuts[unit["cut"].item()], unit["codec"].item(), unit["rates"]
            if not len(rates):
                continue
            fitted = runs.fit(cut, codec, int(rates[len(rates) // 2]))
            cost = cost_of_split(
                graph=graph,
                cut=cut,
                work=work_of(fitted, table_bytes=len(save_coders([one.coder for one in fitted]))),
                payload_bytes=0.0,
                peak_bytes=0,
                prepare_symbols=0,
                edge=edge,
                server=server,
                host=host,
                channel=Channel(link=load_link(LINK)),
            )
            seconds[path.stem] = np.full(len(rates), cost.latency_s - cost.link_s)
    return seconds


def _by_fronts(rows: Floats, recorded: Recorded, count: int) -> list[int]:
    """Numbers of the first `count` candidates, front by front of `rows` (C, 3); those beyond a limit of cost last."""
    beyond = (recorded.objectives(np.zeros(len(rows))) > recorded.reference).any(axis=1)
    chosen, left = list[int](), np.flatnonzero(~beyond)
    while len(left) and len(chosen) < count:
        front = pareto(rows[left])
        chosen += left[front].tolist()
        left = left[~front]
    return chosen[:count]


def _units(recorded: Recorded) -> dict[tuple[str, str], list[int]]:
    """Numbers of the candidates of each cut and codec, in ascending rate."""
    units: dict[tuple[str, str], list[int]] = {}
    for row, candidate in enumerate(recorded.candidates):
        units.setdefault((candidate.cut, candidate.codec), []).append(row)
    return units


def _search(
    recorded: Recorded,
    measure: Callable[[Candidate], Evaluated | None],
    seed: int,
    *,
    evaluations: int,
    first: Sequence[Candidate],
) -> None:
    """A plan's search over the cuts, codecs and rates of the landscape."""
    units = _units(recorded)
    cuts, codecs = (list(dict.fromkeys(unit[i] for unit in units)) for i in (0, 1))
    options = [[[recorded.candidates[row] for row in units.get((cut, codec), [])] for codec in codecs] for cut in cuts]
    settings = SearchConfig(seed=seed, evaluations=evaluations, patience=0)
    search(Space(options=options, first=first), measure, _needs(recorded), OBJECTIVES, settings)


def _metric() -> Metric:
    return make_metric(Task(name="classify"), [IOTensor(name="scores", shape=(1, 10), dtype="float32")], "labels")


def _needs(recorded: Recorded) -> Requirements:
    limits = {**LIMITS, "payload": recorded.most_bytes}
    return Requirements(bounds=tuple(Bound(limit=name, value=limits[name]) for name in ("latency", "drop", "payload")))


def on_device(recorded: Recorded, metric: Metric) -> Evaluated:
    """The network on the device alone, which loses nothing: a plan knows it before the search."""
    counts = recorded.right_unsplit.astype(float).tolist()
    rows = [
        InputOutcome(
            counts=(count,),
            unsplit_counts=(count,),
            margin_change=0.0,
            truth_margin=None if recorded.margin_unsplit is None else float(recorded.margin_unsplit[i]),
            unsplit_truth_margin=None if recorded.margin_unsplit is None else float(recorded.margin_unsplit[i]),
            divergence=0.0,
            relative_error=0.0,
            output_errors=(0.0,),
            group=str(i),
        )
        for i, count in enumerate(counts)
    ]
    outcomes = Outcomes(subset="search", inputs=tuple(rows), payload_bytes=(0,) * len(rows))
    return Evaluated(
        candidate=Candidate(variant=GIVEN, placement="device", cut="", codec="-", rate=0),
        cost=_cost(recorded.device_s, 0.0),
        accuracy=judge(outcomes, metric),
        label="-",
        outcomes=outcomes,
    )


def _cost(seconds: float, payload_bytes: float) -> Cost:
    """A cost of which only the sum of the seconds and the payload are known."""
    parts = dict.fromkeys(("prepare_s", "encode_s", "link_s", "decode_s", "tail_s"), 0.0)
    sizes = dict.fromkeys(("side_bytes", "head_bytes", "head_peak_bytes"), 0)
    fields: dict[str, Any] = {**parts, **sizes, "head_s": seconds, "how": "modelled"}
    return Cost(payload_bytes=payload_bytes, **fields)


def main() -> int:
    """Run every method on every landscape and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscapes", nargs="+", metavar="NAME=WORK", help="a landscape and the folder of its units")
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar100, imagenet500 and models")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "search.json")
    options = parser.parse_args()
    rows = []
    for text in options.landscapes:
        name, _, work = text.partition("=")
        landscape = LANDSCAPES[name](options.data)
        seconds = computing_seconds(landscape, Path(work))
        picture = float(np.prod(landscape.graph.inputs[0].shape))  # a byte a number
        recorded = load(Path(work), seconds, float(seconds["device"][0]), picture)
        rows += simulate(recorded, name, seeds=options.seeds, say=lambda text: print(text, flush=True))
    limits = {"latency_s": LIMITS["latency"], "drop": LIMITS["drop"], "payload": "the picture, a byte a number"}
    store(options.out, {"limits": limits, "rows": rows}, command="search", threads=1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
