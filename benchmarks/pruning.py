"""Pruning the layers before a cut: points lost, multiply-adds and seconds, of five methods at eight ratios.

    python -m splitpoint.benchmarks.pruning --data DIR [--network vgg16|resnet20] [--weights FILE.pt] [--minutes 5]
        [--ratios 1/3 1/2] [--macs 0.34 0.5] [--methods taylor taylor-trained] [--kept FOLDER] [--no-latency]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt; the ResNet-20 comes from benchmarks/train_resnet20.py. Ratios are of
the filters before the cut, with --macs of their multiply-adds (only by gradients). The methods:

    magnitude         filters of least L1 norm, the same share of each layer
    least-squares     the same, with the layers behind the cut fitted to what they gave
    magnitude-global  filters of all layers compete by their L1 norms, as shares of each layer's; fitted, too
    taylor            all layers compete by gradients, in rounds; fitted, too
    taylor-trained    trained after each round to answer as the unpruned network; ratio 0: that network, trained as long

Accuracy is that of the exported graphs in ONNX Runtime. The pictures of the validation set are halved class by class:
settings are chosen on the first half and reported on the second. Seconds of heads and tails are measured at the end,
all in turn, on what should be an idle machine. It takes --minutes for each trained ratio, and about 10 minutes for the
rest of eight ratios. Networks, their answers and the state of a training are kept in FOLDER: the same command goes on
where it was stopped. Rows go to benchmarks/results/pruned-NETWORK-MINUTESmin.json, and a figure beside them.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.cifar import SPEC, resnet20, stratified_halves, vgg16
from splitpoint.benchmarks.figure import curves
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.networks.channel_groups import ChannelGroup
from splitpoint.planner.networks.pruned_network import PrunedNetwork, prune_at, prune_network
from splitpoint.planner.networks.pruning import layers_around
from splitpoint.planner.networks.rounds import RatioOf
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.search.pareto import pareto
from splitpoint.planner.setup.config import PruneConfig
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.distill import distill
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import content_key
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.measurement.measure import measure_interleaved
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import preprocess_batch
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_hash import module_sha256
from splitpoint.profiles.network.torch_model import export_module

Method = Literal["magnitude", "least-squares", "magnitude-global", "taylor", "taylor-trained"]
METHODS: Final[tuple[Method, ...]] = ("magnitude", "least-squares", "magnitude-global", "taylor", "taylor-trained")
RATIOS: Final = (0.1, 0.2, 0.25, 1 / 3, 0.4, 0.5, 0.6, 0.75)
# The layers that read the cut tensor: after pool 4; in the third stage.
BEHIND: Final = {"vgg16": ["features.34"], "resnet20": ["blocks.7.body.0", "blocks.8.body.0", "head"]}
CALIBRATION: Final = 256  # pictures of the training set
ROUNDS: Final = 40  # of latency
TRIES: Final = 4  # everything is timed again while the worst retest error is above
MOST_RETEST: Final = 0.03
SHAPE: Final = (1, 3, 32, 32)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One method at one ratio; the drop is against the given network on the same pictures."""

    method: Method
    ratio: float  # that was asked for
    ratio_of: RatioOf
    filters_share: float  # of the filters before the cut, that are left
    head_macs_share: float  # of the multiply-adds before the cut, that are left
    head_macs: int
    head_weight_bytes: int
    head_peak_bytes: int
    cut_elements: int
    top1: float  # on the half that is reported
    drop: float
    drop_low: float  # 95 % interval, paired
    drop_high: float
    search_drop: float  # on the half on which settings were chosen
    steps: int = 0
    images: int = 0  # that were trained on, each as often as it was
    minutes: float = 0.0  # of training, as measured
    head_s: float | None = None  # minimum over the rounds
    tail_s: float | None = None
    retest_error: float | None = None  # of head and tail together, even rounds against odd


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """Labelled pictures of CIFAR-100."""

    training: TrainingSet
    pictures: NDArray[np.uint8]  # (N, 32, 32, 3), of the validation set
    labels: NDArray[np.int64]  # (N,)


class Bench:
    """One network and one cut of it, what judges it, and where results are kept."""

    def __init__(self, name: str, module: nn.Module, images: Images, behind: list[str], trainer: Trainer) -> None:
        self.module, self.trainer = module, trainer
        self.graph = load_graph(export_module(module, SHAPE), name=name)
        self.cut = place(self.graph, module, behind)
        self.before, self.behind = layers_around(self.graph, module, self.cut)
        chosen = range(0, len(images.training), max(1, len(images.training) // CALIBRATION))[:CALIBRATION]
        self.calibration = labelled(images.training, chosen)
        self.x, self.labels = preprocess_batch(images.pictures, SPEC), images.labels
        self.exact = self.right(self.graph)

    def network(self, method: Method, ratio: float, ratio_of: RatioOf) -> PrunedNetwork:
        """The pruned network, or what was kept of it; raises `ProfileError` where nothing can be removed."""
        about = (method, ratio, ratio_of, tuple(self.before), self.calibration.sha256())
        key = self.trainer.key(what="benchmark", module=module_sha256(self.module), about=about)
        if method == "taylor-trained" and ratio == 0:
            return self._kept(key, lambda: self._control(key))
        if method == "taylor-trained":
            return self._pruned(method, ratio, ratio_of, self.trainer)  # kept as in a plan
        if method == "magnitude-global":
            return self._kept(key, lambda: self._global(ratio))
        return self._kept(key, lambda: self._pruned(method, ratio, ratio_of, None))

    def right(self, graph: ModelGraph) -> NDArray[np.bool_]:
        """(N,): whether the network's answer is right."""
        assert self.trainer.results is not None
        key = content_key("hits", graph=graph.sha256, x=self.x, labels=self.labels)

        def answer() -> bytes:
            session = open_session(whole_bytes(graph), level="all", threads=1)
            name, out = graph.inputs[0].name, graph.outputs[0].name
            found = np.array([int(session.run({name: row[None]})[out].argmax()) for row in self.x])
            return bytes((found == self.labels).tobytes())

        content, _ = self.trainer.results.get("hits", key, answer, encode=bytes, decode=bytes)
        return np.frombuffer(content, np.bool_)

    def row(self, method: Method, ratio: float, ratio_of: RatioOf) -> tuple[Row, ModelGraph]:
        """What became of one method at one ratio, without seconds, and its graph."""
        made = self.network(method, ratio, ratio_of)
        graph = load_graph(made.model)
        cut = enumerate_cuts(graph).cuts[self.cut.index]
        right = self.right(graph)
        search, report = stratified_halves(self.labels)
        drop = paired_drop(self.exact[report], right[report], list(map(str, report)))
        row = Row(
            method=method,
            ratio=ratio,
            ratio_of=ratio_of,
            filters_share=_filters(graph, cut) / _filters(self.graph, self.cut),
            head_macs_share=cut.head_macs / self.cut.head_macs,
            head_macs=cut.head_macs,
            head_weight_bytes=cut.head_weight_bytes,
            head_peak_bytes=peak_bytes(graph, cut),
            cut_elements=cut.elements,
            top1=float(right[report].mean()),
            drop=_loss(self.exact, right, report),
            drop_low=drop.low,
            drop_high=drop.high,
            search_drop=_loss(self.exact, right, search),
            steps=made.steps,
            images=made.images,
            minutes=made.minutes,
        )
        return row, graph

    def _kept(self, key: str, make: Callable[[], PrunedNetwork]) -> PrunedNetwork:
        def decode(content: bytes) -> PrunedNetwork:
            return msgspec.msgpack.decode(content, type=PrunedNetwork)

        made: PrunedNetwork
        made, _ = self.trainer.asset(key, make, encode=msgspec.msgpack.encode, decode=decode)
        return made

    def _pruned(self, method: Method, ratio: float, ratio_of: RatioOf, trainer: Trainer | None) -> PrunedNetwork:
        """As a plan prunes."""
        config = PruneConfig(
            method="taylor" if method.startswith("taylor") else "magnitude",
            ratio_of=ratio_of,
            correct=method != "magnitude",
        )
        return prune_network(
            self.graph, self.module, self.before, self.behind,
            ratio=ratio, config=config, calibration=self.calibration, trainer=trainer, report=_say,
        )  # fmt: skip

    def _global(self, ratio: float) -> PrunedNetwork:
        inputs = torch.from_numpy(np.concatenate(list(NetworkInputs(self.calibration))))
        thin, left = prune_at(
            self.module, self.before, self.behind,
            ratio=ratio, calibration=inputs, correct=True, importance=norm_importance,
        )  # fmt: skip
        return PrunedNetwork(model=export_module(thin, SHAPE), left=tuple(left))

    def _control(self, key: str) -> PrunedNetwork:
        """The given network, trained as long as pruned ones: what training alone gives."""
        same = copy.deepcopy(self.module)
        for parameter in same.parameters():
            parameter.requires_grad_(True)
        spent = distill(same, self.module, self.trainer, key=key, stage="whole", report=_say)
        return PrunedNetwork(
            model=export_module(same, SHAPE), left=(), steps=spent.steps, images=spent.images, minutes=spent.minutes
        )


def norm_importance(module: nn.Module, groups: Sequence[ChannelGroup]) -> dict[str, NDArray[np.float64]]:
    """Name of each group -> (channels,): L1 norms of all filters that a channel takes with it."""
    found = {}
    for group in groups:
        total = np.zeros(group.channels)
        for writer in group.writers:
            weight: Any = module.get_submodule(writer.layer).weight
            norms = weight.detach().abs().flatten(1).sum(1).double().numpy()
            np.add.at(total, writer.shared, norms[writer.own])
        found[group.name] = total
    return found


def on_front(rows: Sequence[Row]) -> list[bool]:
    """Whether no other row has fewer multiply-adds and more right answers, at least one of them truly."""
    return [bool(kept) for kept in pareto(np.array([[row.head_macs, -row.top1] for row in rows], np.float64))]


def place(graph: ModelGraph, module: nn.Module, layers: list[str]) -> Cut:
    """The last cut before `layers`."""
    found = [cut for cut in enumerate_cuts(graph).cuts if layers_around(graph, module, cut)[1] == layers]
    return found[-1]


def labelled(data: TrainingSet, rows: Sequence[int]) -> Dataset:
    """Those rows as a set of a plan."""
    assert data.labels is not None
    samples = tuple(
        Sample(name=str(row), group=str(row), picture=data.content[row], label=int(data.labels[row])) for row in rows
    )
    return Dataset(spec=data.spec, samples=samples)


def timed(bench: Bench, rows: Sequence[Row], graphs: Sequence[ModelGraph]) -> list[Row]:
    """The rows with the seconds of their heads and tails, all measured in turn."""
    sessions = {}
    for number, graph in enumerate(graphs):
        for half, content in enumerate(split(graph, enumerate_cuts(graph).cuts[bench.cut.index])):
            sessions[f"{number} {half}"] = open_session(content, level="all", threads=1)
    turns = {key: (session, random_feeds(session.inputs)) for key, session in sessions.items()}
    tries: list[Mapping[str, list[float]]] = []
    while len(tries) < TRIES and all(max(_retest(seconds, len(rows))) > MOST_RETEST for seconds in tries):
        tries.append(measure_interleaved(turns, rounds=ROUNDS))
    seconds = min(tries, key=lambda seconds: max(_retest(seconds, len(rows))))
    return [
        msgspec.structs.replace(
            row, head_s=min(seconds[f"{number} 0"]), tail_s=min(seconds[f"{number} 1"]), retest_error=error
        )
        for number, (row, error) in enumerate(zip(rows, _retest(seconds, len(rows)), strict=True))
    ]


def _retest(seconds: Mapping[str, list[float]], count: int) -> list[float]:
    """Relative difference of the minima of even and odd rounds, of head and tail together, of each network."""
    halves = [
        [sum(min(seconds[f"{number} {half}"][start::2]) for half in (0, 1)) for start in (0, 1)]
        for number in range(count)
    ]
    return [abs(a - b) / min(a, b) for a, b in halves]


def _filters(graph: ModelGraph, cut: Cut) -> int:
    """Filters of the convolutions before a cut."""
    names = {node.name for node in graph.nodes if node.index in cut.head and node.op_type == "Conv"}
    kernels: list[Any] = [node.inputs[1] for node in graph.model.graph if node.name in names]
    return sum(int(kernel.const_value.shape[0]) for kernel in kernels)


def _loss(exact: NDArray[np.bool_], right: NDArray[np.bool_], rows: NDArray[np.int64]) -> float:
    return float(exact[rows].mean() - right[rows].mean())


def _asked(options: argparse.Namespace) -> list[tuple[Method, float, RatioOf]]:
    """Methods and ratios in turn: those of multiply-adds by gradients only, ratio 0 only where it is trained."""
    asked: list[tuple[Method, float, RatioOf]] = [(m, r, "filters") for m in options.methods for r in options.ratios]
    asked += [(m, r, "macs") for m in options.methods if m.startswith("taylor") for r in options.macs]
    return [(method, ratio, of) for method, ratio, of in asked if ratio > 0 or method == "taylor-trained"]


def _read(data: Path) -> Images:
    """CIFAR-100 in its order."""
    read = import_named("load.py:cifar100", base=data)
    content, labels, _ = read("train")
    pictures, truth, _ = read("val")
    training = TrainingSet(content=content, labels=np.asarray(labels, np.int64), spec=SPEC)
    return Images(training=training, pictures=pictures, labels=np.asarray(truth, np.int64))


def main(arguments: Sequence[str]) -> None:
    """Run and store after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=sorted(BEHIND), default="vgg16")
    parser.add_argument("--weights", type=Path, help="a state dict [default for vgg16: DATA/models/vgg16h_cifar100.pt]")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, each ratio [5]")
    parser.add_argument(
        "--ratios", type=as_share, nargs="*", default=RATIOS, help="of the filters [eight, 1/10 to 3/4]"
    )
    parser.add_argument("--macs", type=as_share, nargs="*", default=(), help="ratios of the multiply-adds [none]")
    parser.add_argument("--methods", choices=METHODS, nargs="*", default=METHODS)
    parser.add_argument("--kept", type=Path, default=Path("pruning-kept"))
    parser.add_argument("--threads", type=int, default=2, help="of training [2]; seconds are of one thread")
    parser.add_argument("--no-latency", action="store_true", help="do not measure seconds")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    path = options.weights
    if path is None:
        if options.network != "vgg16":
            parser.error("--weights is needed: python -m splitpoint.benchmarks.train_resnet20 makes them")
        path = options.data / "models" / "vgg16h_cifar100.pt"
    torch.set_num_threads(options.threads)
    state = torch.load(path, map_location="cpu", weights_only=True)
    images = _read(options.data)
    trainer = Trainer(
        data=images.training,
        data_sha256=images.training.sha256(),
        minutes=options.minutes,
        folder=options.kept / "checkpoints",
        results=results_here(Store(options.kept / "results"), threads=options.threads),
    )
    module = (vgg16 if options.network == "vgg16" else resnet20)(state)
    bench = Bench(options.network, module, images, BEHIND[options.network], trainer)
    rows: list[Row] = []
    graphs: list[ModelGraph] = []
    print(HEADER, flush=True)
    for asked in _asked(options):
        row, graph = bench.row(*asked)
        rows, graphs = [*rows, row], [*graphs, graph]
        print(_line(row), flush=True)
        _store(options, bench, rows)
    if rows and not options.no_latency:
        rows = timed(bench, rows, graphs)
        _store(options, bench, rows)
    print("no other has fewer MACs and more right answers:", flush=True)
    for row, kept in zip(rows, on_front(rows), strict=True):
        if kept:
            print(_line(row), flush=True)


def _store(options: argparse.Namespace, bench: Bench, rows: Sequence[Row]) -> None:
    _, report = stratified_halves(bench.labels)
    found: dict[str, Any] = {
        "network": options.network,
        "before": bench.behind[0],
        "minutes": options.minutes,
        "report_images": len(report),
        "top1": float(bench.exact[report].mean()),
        "head_macs": bench.cut.head_macs,
        "rows": msgspec.to_builtins(rows),
    }
    out: Path = options.out or RESULTS / f"pruned-{options.network}-{options.minutes:g}min.json"
    about = f"--network {options.network} --minutes {options.minutes:g} --threads {options.threads}"
    about += "" if options.ratios is RATIOS else f" --ratios {' '.join(f'{ratio:.4g}' for ratio in options.ratios)}"
    about += f" --macs {' '.join(f'{ratio:.4g}' for ratio in options.macs)}" if options.macs else ""
    about += "" if options.methods is METHODS else f" --methods {' '.join(options.methods)}"
    store(out, found, command=f"pruning --data DIR {about}", threads=options.threads)
    out.with_suffix(".svg").write_text(draw(rows, title=f"{options.network} pruned before {bench.behind[0]}"))


def draw(rows: Sequence[Row], *, title: str) -> str:
    """A figure: points lost over the head's multiply-adds, a curve a method."""
    series = {
        str(method): [(row.head_macs / 1e6, 100 * row.drop) for row in rows if row.method == method]
        for method in dict.fromkeys(row.method for row in rows)
    }
    return curves(
        series,
        title=title,
        x_label="millions of multiply-adds before the cut (logarithmic)",
        y_label="points of top-1 lost",
        y_range=(-5.0, 45.0),
    )


def as_share(text: str) -> float:
    """A share: "0.5", "1/3"."""
    value = float(Fraction(text))
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 0 and less than 1, got {text}")
    return value


HEADER = (
    f"{'method':<17} {'ratio':>6} {'of':<7} {'filters':>8} {'MACs':>7} {'top-1':>7} {'points lost (95 %)':>22}"
    f" {'chosen on':>10} {'images':>9} {'head':>9} {'tail':>9} {'retest':>7}"
)


def _line(row: Row) -> str:
    drop = f"{100 * row.drop:.2f} [{100 * row.drop_low:.2f}, {100 * row.drop_high:.2f}]"
    line = (
        f"{row.method:<17} {row.ratio:>6.3f} {row.ratio_of:<7} {100 * row.filters_share:>6.1f} %"
        f" {100 * row.head_macs_share:>5.1f} % {100 * row.top1:>5.1f} % {drop:>22} {100 * row.search_drop:>10.2f}"
        f" {row.images:>9,}"
    )
    if row.head_s is None or row.tail_s is None or row.retest_error is None:
        return line
    return f"{line} {row.head_s * 1e3:>6.3f} ms {row.tail_s * 1e3:>6.3f} ms {100 * row.retest_error:>5.1f} %"


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<80}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
