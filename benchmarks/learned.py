"""Codecs that are trained: top-1 points lost and bytes of payloads, beside untrained codecs at the same cut.

    python -m splitpoint.benchmarks.learned --data DIR [--network vgg16|resnet20] [--weights FILE.pt] [--minutes 20]
        [--cuts 2 3 4 1] [--shared-bn | --one-a-rate] [--threads 2] [--kept FOLDER] [--out FILE]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt; the ResNet-20's weights come from benchmarks/train_resnet20.py. A cut
is the number of a pool of the VGG16, or of a stage of the ResNet-20. Codecs are fitted, trained and run as in a plan:
payload bytes through the ONNX tail, on all 5,000 pictures of the validation set, none of which is trained on. Points
lost are given of all, and of two stratified halves: what was chosen on one is judged by the other. With --shared-bn the
switch is also trained with one BN for all rates; with --one-a-rate a switch for each rate alone is trained beside that
for all of them, each for the minutes, and nothing else is measured (section 3.3 of the paper). Trained weights are kept
in FOLDER, and the same command goes on where it was stopped. Each training takes the minutes, each cut about 6 more.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.cifar import SPEC, resnet20, stratified_halves, vgg16
from splitpoint.benchmarks.figure import curves
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.contract.protocol import (
    Codec,
    FittedCodec,
    LossTerm,
    Training,
    TrainingCost,
)
from splitpoint.codecs.learned.switch_codec import DynamicSwitch
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.networks.pruning import layers_around
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.precision import trained_in
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import code_sha256
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import preprocess_batch
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_module

BEHIND: Mapping[str, Mapping[int, list[str]]] = {  # the layers that read a cut tensor: pools, and stages
    "vgg16": {1: ["features.7"], 2: ["features.14"], 3: ["features.24"], 4: ["features.34"]},
    "resnet20": {1: ["blocks.3.body.0", "blocks.3.skip.0"], 2: ["blocks.6.body.0", "blocks.6.skip.0"], 3: ["head"]},
}
MODULES = {"vgg16": vgg16, "resnet20": resnet20}
CALIBRATION = 1000  # pictures of the training set
TRAINED = "dynamic-switch"
UNTRAINED = "kltq-ctx"
ONE_A_RATE = f"{TRAINED}, one a rate"
CURVES = (TRAINED, ONE_A_RATE, f"{TRAINED}, shared BN", f"{TRAINED}, untrained (PCA)", UNTRAINED)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One codec at one rate."""

    cut: str
    channels: int
    codec: str
    rate: str
    payload_bytes: float  # mean
    drop_points: float
    drop_low: float  # 95 % interval, paired
    drop_high: float
    drop_halves: tuple[float, float]  # of each stratified half of the pictures
    head_share: float  # of the multiply-adds
    steps: int = 0
    images: int = 0


NOT_TRAINED = TrainingCost(steps=0, images=0, losses={})


class _Untrained:
    """The training of no step: what the switch starts from."""

    key = "none"

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Leave the module as it is."""
        return NOT_TRAINED


class Counted:
    """A training that remembers what it took."""

    def __init__(self, training: CodecTraining) -> None:
        self.key, self._training, self.cost = training.key, training, NOT_TRAINED

    def __call__(
        self,
        module: nn.Module,
        *,
        rates: int,
        losses: Sequence[LossTerm],
        first: Sequence[LossTerm] = (),
        codec: str = "",
    ) -> TrainingCost:
        """Train."""
        self.cost = self._training(module, rates=rates, losses=losses, first=first)
        return self.cost


class Bench:
    """One network, its inputs and what it answers unsplit."""

    def __init__(self, network: str, module: nn.Module, data: Path, threads: int, *, half: int | None = None) -> None:
        """All pictures of the validation set, or stratified half number 0 or 1."""
        read = import_named("load.py:cifar100", base=data)
        images, labels, _ = read("train")
        self.training = TrainingSet(content=images, labels=np.asarray(labels), spec=SPEC)
        pictures, truth, _ = read("val")
        rows = np.arange(len(truth)) if half is None else stratified_halves(np.asarray(truth))[half]
        self.x, self.truth = preprocess_batch(pictures[rows], SPEC), np.asarray(truth)[rows]
        self.calibration = preprocess_batch(images[:: len(images) // CALIBRATION][:CALIBRATION], SPEC)
        self.graph = load_graph(export_module(module, SPEC.shape), name=network)
        self.threads = threads
        self.halves = stratified_halves(self.truth)  # rows of pictures
        with self.runs(None) as runs:
            self.unsplit = self._right(runs.map(lambda x: runs.whole(x)[0], [x[None] for x in self.x]))

    def runs(self, training: Any) -> NetworkRuns:
        """The network with a training for every cut; None: without."""
        inputs = {"calibration": [x[None] for x in self.calibration], "search": [x[None] for x in self.x]}
        return NetworkRuns(self.graph, inputs, threads=self.threads, training=training)

    def measure(self, cut: Cut, codec: str) -> list[Row]:
        """A codec that is not trained, at every rate."""
        with self.runs(None) as runs:
            runs.prepare([cut], [get_codec(codec)])
            return [
                self._measure(runs, cut, runs.fit(cut, codec, rate), codec)
                for rate in range(len(get_codec(codec).rates))
            ]

    def measure_trained(self, cut: Cut, codec: Codec, training: Training, label: str) -> list[Row]:
        """A codec at every rate, trained by `training`."""
        with self.runs(None) as runs:
            runs.prepare([cut], [codec])
            fitted = runs.fit_trained(cut, codec, range(len(codec.rates)), training)
            cost = training.cost if isinstance(training, Counted) else NOT_TRAINED
            return [self._measure(runs, cut, (each,), label, cost) for each in fitted]

    def _measure(
        self,
        runs: NetworkRuns,
        cut: Cut,
        fitted: tuple[FittedCodec, ...],
        label: str,
        cost: TrainingCost = NOT_TRAINED,
    ) -> Row:
        def one(index: int) -> tuple[int, NDArray[Any]]:
            payload = runs.encode(cut, fitted, runs.activation(cut, "search", index))
            return len(payload), runs.tail(cut, runs.decode(cut, fitted, payload, draw=index).tensors)[0]

        sizes, answers = zip(*runs.map(one, range(len(self.x))), strict=True)
        right = self._right(answers)
        drop = paired_drop(self.unsplit, right, list(map(str, range(len(right)))))
        lost = 100 * (self.unsplit.astype(float) - right)
        return Row(
            cut=cut.after,
            channels=runs.activation(cut, "search", 0)[cut.tensors[0]].shape[1],
            codec=label,
            rate=fitted[0].rate_label,
            payload_bytes=float(np.mean(sizes)),
            drop_points=float(lost.mean()),
            drop_low=100 * drop.low,
            drop_high=100 * drop.high,
            drop_halves=(float(lost[self.halves[0]].mean()), float(lost[self.halves[1]].mean())),
            head_share=cut.head_share,
            steps=cost.steps,
            images=cost.images,
        )

    def _right(self, answers: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = np.array([answer.argmax() for answer in answers]) == self.truth
        return right


def trainer_in(folder: Path, bench: Bench, minutes: float) -> Trainer:
    """Trainings of `minutes`, kept in `folder`."""
    return Trainer(
        data=bench.training,
        data_sha256=bench.training.sha256(),
        minutes=minutes,
        folder=folder / "checkpoints",
        results=results_here(Store(folder / "results"), threads=bench.threads),
    )


def at_cut(bench: Bench, cut: Cut, trainer: Trainer, *, shared_bn: bool, one_a_rate: bool) -> list[Row]:
    """The switch trained and untrained at its rates, and every rate of the best codec without training."""
    codec = get_codec(TRAINED)
    assert isinstance(codec, DynamicSwitch)
    variants = [(TRAINED, codec)]
    if shared_bn:
        variants.append((f"{TRAINED}, shared BN", dataclasses.replace(codec, private_bn=False)))
    if one_a_rate:
        variants += [(ONE_A_RATE, dataclasses.replace(codec, compressions=(share,))) for share in codec.compressions]
    rows = []
    for label, variant in variants:
        training = CodecTraining(bench.graph, cut, trainer)
        training.report = _say if sys.stderr.isatty() else training.report
        rows += bench.measure_trained(cut, variant, Counted(training), label)
    if one_a_rate:
        return rows
    rows += bench.measure_trained(cut, codec, _Untrained(), f"{TRAINED}, untrained (PCA)")
    rows += bench.measure(cut, UNTRAINED)
    return rows


def kept_rows(bench: Bench, cut: Cut, trainer: Trainer, *, shared_bn: bool, one_a_rate: bool) -> list[Row]:
    """The rows of a cut, measured once by this code."""
    key = trainer.key(
        what="rows",
        model=bench.graph.sha256,
        cut=cut.tensors,
        shared=shared_bn,
        alone=one_a_rate,
        program=code_sha256(),
    )
    assert trainer.results is not None
    rows: list[Row]
    rows, _ = trainer.results.get(
        "learned-rows",
        key,
        lambda: at_cut(bench, cut, trainer, shared_bn=shared_bn, one_a_rate=one_a_rate),
        encode=msgspec.json.encode,
        decode=lambda data: msgspec.json.decode(data, type=list[Row]),
    )
    for row in rows:
        print(line(row), flush=True)
    return rows


def place_map(graph: ModelGraph, module: nn.Module, layers: list[str]) -> Cut:
    """The last cut before `layers` whose tensor is a map (1, C, H, W)."""
    found = [cut for cut in enumerate_cuts(graph).cuts if layers_around(graph, module, cut)[1] == layers]
    return next(cut for cut in reversed(found) if len(graph.tensors[cut.tensors[0]].shape) == 4)


def main(arguments: Sequence[str]) -> None:
    """Run and store after every cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=tuple(BEHIND), default="vgg16")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--cuts", type=int, nargs="*", help="pools or stages")
    more = parser.add_mutually_exclusive_group()
    more.add_argument("--shared-bn", action="store_true")
    more.add_argument("--one-a-rate", action="store_true")
    parser.add_argument("--kept", type=Path, default=Path("learned-kept"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    path = options.weights or options.data / "models" / "vgg16h_cifar100.pt"
    module = MODULES[options.network](torch.load(path, map_location="cpu", weights_only=True))
    bench = Bench(options.network, module, options.data, options.threads)
    trainer = trainer_in(options.kept, bench, options.minutes)
    top1 = 100 * bench.unsplit.mean()
    print(f"{options.network}: top-1 {top1:.1f} % of {len(bench.unsplit)}\n{HEADER}", flush=True)
    rows: list[Row] = []
    for number in options.cuts or BEHIND[options.network]:
        cut = place_map(bench.graph, module, BEHIND[options.network][number])
        rows += kept_rows(bench, cut, trainer, shared_bn=options.shared_bn, one_a_rate=options.one_a_rate)
        found = {
            "minutes": options.minutes,
            "images": len(bench.x),
            "top1": top1,
            "trained_in": trained_in(),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        command = " ".join(
            ["learned --data DIR", *arguments_without(arguments, "--data", "--kept", "--out", "--weights")]
        )
        part = "-one-a-rate" if options.one_a_rate else ""
        out = options.out or RESULTS / f"learned-{options.network}{part}.json"
        store(out, found, command=command, threads=options.threads)
        draw(rows, out)


def draw(rows: Sequence[Row], out: Path) -> None:
    """A figure a cut beside `out`: points lost over bytes, a curve a codec."""
    for number, cut in enumerate(dict.fromkeys(row.cut for row in rows)):
        here = [row for row in rows if row.cut == cut]
        series = {name: [(row.payload_bytes, row.drop_points) for row in here if row.codec == name] for name in CURVES}
        about = f"{out.stem} after {cut}: {here[0].channels} channels, {100 * here[0].head_share:.0f} % of the MACs"
        svg = curves(
            {name: points for name, points in series.items() if points},
            title=about,
            y_label="points of top-1 lost",
            y_range=(-1.0, 14.0),
        )
        out.with_name(f"{out.stem}-{number + 1}.svg").write_text(svg)


def arguments_without(arguments: Sequence[str], *names: str) -> list[str]:
    """The arguments without options of this machine's paths, each of one value."""
    left = list(arguments)
    for name in names:
        if name in left:
            del left[left.index(name) : left.index(name) + 2]
    return left


HEADER = (
    f"{'cut':<22} {'channels':>8} {'codec':<32} {'rate':>6} {'bytes':>8} {'drop (95 %)':>22} {'MACs':>6} {'images':>9}"
)


def line(row: Row) -> str:
    """A row as text below `HEADER`."""
    drop = f"{row.drop_points:.2f} [{row.drop_low:.2f}, {row.drop_high:.2f}]"
    return (
        f"{row.cut:<22} {row.channels:>8} {row.codec:<32} {row.rate:>6} {row.payload_bytes:>8.0f} {drop:>22}"
        f" {100 * row.head_share:>4.0f} % {row.images:>9,}"
    )


def _say(text: str) -> None:
    print(f"\r{text:<80}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
