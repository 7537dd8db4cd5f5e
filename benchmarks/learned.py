"""Codecs that are trained: top-1 points lost and bytes of payloads, beside untrained codecs at the same cut.

    python -m splitpoint.benchmarks.learned --data DIR [--weights FILE.pt] [--minutes 20]
        [--cuts 2 3 4 1] [--kept FOLDER]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt. A cut is the number of a pool. Codecs are fitted, trained and run as
in a plan: payload bytes through the ONNX tail, on all 5,000 pictures of the validation set. None of them is trained on.
Trained weights are kept in FOLDER, and the same command goes on where it was stopped. It takes the minutes of each cut
and about 5 more.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.pruning import place, vgg16
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.benchmarks.train_resnet20 import MEAN, STD
from splitpoint.codecs.contract.protocol import LossTerm, TrainingCost
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec, preprocess_batch
from splitpoint.profiles.network.torch_model import export_module

SPEC = msgspec.convert(
    {"kind": "image", "size": [32, 32], "scale": 255, "mean": list(MEAN), "std": list(STD)},
    InputSpec,
)
LAYER_BEHIND = {1: "features.7", 2: "features.14", 3: "features.24", 4: "features.34"}  # of each pool
CALIBRATION = 1000  # pictures of the training set
TRAINED = "dynamic-switch"
UNTRAINED = "kltq-ctx"


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
    head_share: float  # of the multiply-adds
    steps: int = 0
    images: int = 0


class _Untrained:
    """The training of no step: what the switch starts from."""

    key = "none"

    def __call__(self, module: torch.nn.Module, *, rates: int, losses: Sequence[LossTerm]) -> TrainingCost:
        """Leave the module as it is."""
        return TrainingCost(steps=0, images=0, losses={})


class _Counted:
    """A training that remembers what it took."""

    def __init__(self, training: CodecTraining) -> None:
        self.key, self._training, self.cost = training.key, training, TrainingCost(steps=0, images=0, losses={})

    def __call__(self, module: torch.nn.Module, *, rates: int, losses: Sequence[LossTerm]) -> TrainingCost:
        """Train."""
        self.cost = self._training(module, rates=rates, losses=losses)
        return self.cost


class Bench:
    """One network, its inputs and what it answers unsplit."""

    def __init__(self, network: str, module: torch.nn.Module, data: Path, threads: int) -> None:
        read = import_named("load.py:cifar100", base=data)
        images, labels, _ = read("train")
        self.training = TrainingSet(content=images, labels=np.asarray(labels), spec=SPEC)
        pictures, truth, _ = read("val")
        self.x, self.truth = preprocess_batch(pictures, SPEC), np.asarray(truth)
        self.calibration = preprocess_batch(images[:: len(images) // CALIBRATION][:CALIBRATION], SPEC)
        self.graph = load_graph(export_module(module, SPEC.shape), name=network)
        self.threads = threads
        with self.runs(None) as runs:
            self.unsplit = self._right(runs.map(lambda x: runs.whole(x)[0], [x[None] for x in self.x]))

    def runs(self, training: Any) -> NetworkRuns:
        """The network with a training for every cut; None: without."""
        inputs = {"calibration": [x[None] for x in self.calibration], "search": [x[None] for x in self.x]}
        return NetworkRuns(self.graph, inputs, threads=self.threads, training=training)

    def measure(self, cut: Cut, codec: str, rates: Sequence[int], training: Any = None, label: str = "") -> list[Row]:
        """The codec at each rate."""
        with self.runs(None if training is None else lambda tensor: training) as runs:
            runs.prepare([cut], [get_codec(codec)])
            return [self._measure(runs, cut, codec, rate, training, label) for rate in rates]

    def _measure(self, runs: NetworkRuns, cut: Cut, codec: str, rate: int, training: Any, label: str) -> Row:
        fitted = runs.fit(cut, codec, rate)

        def one(index: int) -> tuple[int, NDArray[Any]]:
            payload = runs.encode(cut, fitted, runs.activation(cut, "search", index))
            return len(payload), runs.tail(cut, runs.decode(cut, fitted, payload).tensors)[0]

        sizes, answers = zip(*runs.map(one, range(len(self.x))), strict=True)
        right = self._right(answers)
        drop = paired_drop(self.unsplit, right, list(map(str, range(len(right)))))
        cost = training.cost if isinstance(training, _Counted) else TrainingCost(steps=0, images=0, losses={})
        return Row(
            cut=cut.after,
            channels=runs.activation(cut, "search", 0)[cut.tensors[0]].shape[1],
            codec=label or codec,
            rate=fitted[0].rate_label,
            payload_bytes=float(np.mean(sizes)),
            drop_points=100 * float(self.unsplit.mean() - right.mean()),
            drop_low=100 * drop.low,
            drop_high=100 * drop.high,
            head_share=cut.head_share,
            steps=cost.steps,
            images=cost.images,
        )

    def _right(self, answers: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = np.array([answer.argmax() for answer in answers]) == self.truth
        return right


def at_cut(bench: Bench, cut: Cut, trainer: Trainer) -> list[Row]:
    """The switch trained and untrained at its rates, and every rate of the best codec without training."""
    training = CodecTraining(bench.graph, cut, trainer)
    training.report = _say if sys.stderr.isatty() else training.report
    rates = range(len(get_codec(TRAINED).rates))
    rows = bench.measure(cut, TRAINED, rates, _Counted(training))
    rows += bench.measure(cut, TRAINED, rates, _Untrained(), label=f"{TRAINED}, untrained (PCA)")
    rows += bench.measure(cut, UNTRAINED, range(len(get_codec(UNTRAINED).rates)))
    for row in rows:
        print(_line(row), flush=True)
    return rows


def main(arguments: Sequence[str]) -> None:
    """Run and store after every cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--cuts", type=int, nargs="*", default=[2, 3, 4, 1], help="pools")
    parser.add_argument("--kept", type=Path, default=Path("learned-kept"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "learned-vgg16.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    path = options.weights or options.data / "models" / "vgg16h_cifar100.pt"
    module = vgg16(torch.load(path, map_location="cpu", weights_only=True))
    bench = Bench("vgg16", module, options.data, options.threads)
    trainer = Trainer(
        data=bench.training,
        data_sha256=bench.training.sha256(),
        minutes=options.minutes,
        folder=options.kept / "checkpoints",
        results=results_here(Store(options.kept / "results"), threads=options.threads),
    )
    print(f"VGG16, half width: top-1 {100 * bench.unsplit.mean():.1f} % of {len(bench.unsplit)}\n{HEADER}", flush=True)
    rows: list[Row] = []
    for number in options.cuts:
        cut = place(bench.graph, module, [LAYER_BEHIND[number]])
        rows += at_cut(bench, cut, trainer)
        found = {"minutes": options.minutes, "images": len(bench.x), "rows": [dataclasses.asdict(row) for row in rows]}
        about = f"--minutes {options.minutes:g} --cuts {' '.join(map(str, options.cuts))} --threads {options.threads}"
        store(options.out, found, command=f"learned --data DIR {about}", threads=options.threads)


HEADER = (
    f"{'cut':<22} {'channels':>8} {'codec':<32} {'rate':>6} {'bytes':>8} {'drop (95 %)':>22} {'MACs':>6} {'images':>9}"
)


def _line(row: Row) -> str:
    drop = f"{row.drop_points:.2f} [{row.drop_low:.2f}, {row.drop_high:.2f}]"
    return (
        f"{row.cut:<22} {row.channels:>8} {row.codec:<32} {row.rate:>6} {row.payload_bytes:>8.0f} {drop:>22}"
        f" {100 * row.head_share:>4.0f} % {row.images:>9,}"
    )


def _say(text: str) -> None:
    print(f"\r{text:<80}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
