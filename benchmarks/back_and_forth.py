"""Back-and-Forth prediction (Choi et al.): quality lost and bytes of payloads, beside other codecs at the same cut.

    python -m splitpoint.benchmarks.back_and_forth --data DIR --network yolox-nano|strided [--weights FILE.pt]
        [--minutes 20] [--cuts 1 2] [--judged N] [--threads 1] [--kept FOLDER] [--out FILE]

A cut is the output of a convolution of stride 2 before its activation, counted from the input.

yolox-nano is DIR/models/yolox_nano.onnx: cuts 1 and 2 open its stages dark2 and dark3. Its convolutions of stride 2 are
depthwise, so a layer is the depthwise one, its activation and the 1x1 convolution behind them. Training, without
labels: 300 pictures of imagenet500 and the 64 of coco/train2017. Judged on the other 200 pictures of imagenet500 and
the 64 of coco/val2017: F1 against the unsplit network's boxes (1 without a loss), and mAP on coco/val2017 against the
labels. JPEG of the letterboxed picture, through the whole network, is a baseline.

strided is a plain network on CIFAR-100 with full 3x3 convolutions (benchmarks/strided.py trains it): in a ResNet the
branch around a stage's first convolution reads that convolution's input, which would cross as well, so that there is
nothing to predict. Trained on cifar100/train, judged by top-1 on all 5,000 pictures of cifar100/val.

Codecs are fitted, trained and run as in a plan: payload bytes through the ONNX tail. What is lost is in points with a
paired 95 % interval over pictures. The goal is an upper end of at most 2 points at 1/4 of the channels and 8 bits.
Weights and rows are kept in FOLDER, and the same command goes on where it was stopped. Each training takes the minutes,
judging a cut about 12 more (one busy core), the pictures 5. HEVC needs PyAV.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.cifar import SPEC
from splitpoint.benchmarks.judges import Classification, Detection, Figure
from splitpoint.benchmarks.learned import NOT_TRAINED, Counted, arguments_without
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.benchmarks.strided import strided_network
from splitpoint.codecs.contract.preset import Preset
from splitpoint.codecs.contract.protocol import Array, Codec, TrainingCost
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.tiles import Tiles
from splitpoint.codecs.quantizers.range import Range
from splitpoint.codecs.registry import REGISTRY
from splitpoint.codecs.transforms.identity import Identity
from splitpoint.codecs.transforms.subset import ChannelSubset
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.frozen_layer import Found, convolution_of
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.samples.box_labels import with_boxes
from splitpoint.planner.samples.readers import load_folder
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet, as_training_set
from splitpoint.planner.training.precision import trained_in
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import code_sha256
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.network.graph import load_graph, load_model
from splitpoint.profiles.network.inputs import InputSpec, preprocess, preprocess_batch
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_module

BAF, JPEG = "choi-baf", "jpeg"
GOAL_RATE, GOAL_POINTS = "1/4 at 8", 2.0
SEED = 0
YOLOX: Final = msgspec.convert(
    {"kind": "image", "size": 416, "letterbox": 114, "letterbox_at": "corner", "color": "bgr"}, InputSpec
)
CUTS: Mapping[str, list[int]] = {"yolox-nano": [1, 2], "strided": [2]}
OF_FIVE = 3  # of five pictures of imagenet500 are trained on
CALIBRATION: Mapping[str, int] = {"yolox-nano": 64, "strided": 1000}  # of the pictures that are trained on
SAID_EVERY_S = 60.0


def _subset(share: float) -> Codec:
    """A share of the channels in WebP tiles; the others are predicted linearly."""
    codec = REGISTRY["choi-tiles-webp"]
    assert isinstance(codec, Preset)
    return dataclasses.replace(codec, transform=ChannelSubset(share=share))


# Codec and rates by label, from none to all of the rates. The container has the number of tiles-webp for PNG, too.
BASELINES: Mapping[str, tuple[Codec, tuple[str, ...]]] = {
    "choi-tiles-webp, 1/8": (_subset(1 / 8), ("6 bit", "8 bit")),
    "choi-tiles-webp, 1/4": (_subset(1 / 4), ("6 bit", "8 bit")),
    "tiles-png": (
        Preset(name="tiles-webp", transform=Identity(), quantizer=Range(), coder=Tiles(kind="png")),
        ("8 bit",),
    ),
    "tiles-webp": (REGISTRY["tiles-webp"], ("4 bit", "6 bit", "8 bit")),
    "kltq-ctx": (REGISTRY["kltq-ctx"], ("q2", "q4", "q6", "q8", "q10", "q12")),
    "lossy-tiles-hevc": (REGISTRY["lossy-tiles-hevc"], ()),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One codec at one rate."""

    cut: str
    codec: str
    rate: str
    payload_bytes: float  # mean
    figures: dict[str, Figure]  # the first is what is lost, points
    steps: int = 0
    images: int = 0  # that were trained on, repetitions counted
    losses: dict[str, float] = dataclasses.field(default_factory=dict)  # at the end of the training


class Bench:
    """One network, its pictures, and what it answers unsplit."""

    def __init__(
        self,
        graph: ModelGraph,
        training: TrainingSet,
        calibration: int,
        pictures: NDArray[np.uint8],
        judge: Classification | Detection,
        *,
        threads: int,
    ) -> None:
        self.graph, self.training, self.pictures, self.judge, self.threads = graph, training, pictures, judge, threads
        self.inputs = [preprocess(picture, training.spec) for picture in pictures]
        chosen = np.linspace(0, len(training) - 1, min(calibration, len(training))).round().astype(np.intp)
        self.calibration = preprocess_batch(training.content[chosen], training.spec)
        with self.runs() as runs:
            self.unsplit = runs.map(lambda x: self.read(runs.whole(x)), self.inputs)

    def runs(self) -> NetworkRuns:
        """The network with its calibration inputs and those that judge."""
        inputs = {"calibration": [x[None] for x in self.calibration], "search": self.inputs}
        return NetworkRuns(self.graph, inputs, threads=self.threads, seed=SEED)

    def measure(self, cut: Cut, label: str, codec: Codec, rates: Sequence[str], training: CodecTraining) -> list[Row]:
        """A codec at `rates`, or at all of them; only a codec that is trained takes the training."""
        counted = Counted(training)
        numbers = [n for n, rate in enumerate(codec.rates) if not rates or rate.label in rates]
        rows = []
        with self.runs() as runs:
            runs.prepare([cut], [codec])
            for fitted in runs.fit_trained(cut, codec, numbers, counted):

                def one(index: int, fitted: Any = fitted) -> tuple[int, Any]:
                    payload = runs.encode(cut, (fitted,), runs.activation(cut, "search", index))
                    copies = runs.decode(cut, (fitted,), payload, draw=0).tensors
                    return len(payload), self.read(runs.tail(cut, copies))

                coded = runs.map(one, range(len(self.inputs)))
                rows.append(self.row(cut.after, label, fitted.rate_label, coded, counted.cost))
        return rows

    def measure_pictures(self) -> list[Row]:
        """JPEG of the picture at its qualities, and the unsplit network on what is left of it."""
        codec, rows = PICTURES[JPEG], []
        with self.runs() as runs:
            for number, rate in enumerate(codec.rates):

                def one(picture: NDArray[np.uint8], number: int = number) -> tuple[int, Any]:
                    payload = codec.encode(picture, number)
                    copy = codec.decode(payload, (picture.shape[0], picture.shape[1]))
                    return len(payload), self.read(runs.whole(preprocess(copy, self.training.spec)))

                rows.append(self.row("input", JPEG, rate.label, runs.map(one, self.pictures)))
        return rows

    def unsplit_row(self) -> Row:
        """The unsplit network, without a codec."""
        return self.row("-", "unsplit", "", [(0, answer) for answer in self.unsplit])

    def read(self, outputs: Sequence[Array]) -> Any:
        """The judge's answer to the network's outputs."""
        return self.judge.read({t.name: values for t, values in zip(self.graph.outputs, outputs, strict=True)})

    def row(
        self, cut: str, label: str, rate: str, coded: Sequence[tuple[int, Any]], cost: TrainingCost = NOT_TRAINED
    ) -> Row:
        """Mean bytes and quality of payload bytes and answers, one a picture."""
        sizes, answers = zip(*coded, strict=True)
        return Row(
            cut=cut,
            codec=label,
            rate=rate,
            payload_bytes=float(np.mean(sizes)),
            figures=self.judge.figures(answers, self.unsplit),
            steps=cost.steps,
            images=cost.images,
            losses=dict(cost.losses),
        )


def detector(data: Path, judged: int | None, threads: int) -> Bench:
    """YOLOX-Nano; `judged` pictures of each judging set, None: all."""
    graph = load_model(data / "models" / "yolox_nano.onnx")
    imagenet, coco = (load_folder(data / name, YOLOX) for name in ("imagenet500", "coco/train2017/images"))
    trained = [sample for n, sample in enumerate(imagenet.samples) if n % 5 < OF_FIVE]
    others = [sample for n, sample in enumerate(imagenet.samples) if n % 5 >= OF_FIVE][:judged]
    folder = data / "coco" / "val2017"
    labelled = with_boxes(load_folder(folder / "images", YOLOX), folder / "labels").samples[:judged]
    to_train = dataclasses.replace(coco, samples=(*coco.samples, *trained))
    pictures = np.stack([np.asarray(sample.picture) for sample in (*others, *labelled)])
    labels = [np.asarray(sample.truth) for sample in labelled]
    judge = Detection(graph, labels)
    return Bench(graph, as_training_set(to_train), CALIBRATION["yolox-nano"], pictures, judge, threads=threads)


def classifier(data: Path, weights: Path, judged: int | None, threads: int) -> Bench:
    """The network of benchmarks/strided.py; the first `judged` pictures, None: all."""
    module = strided_network(torch.load(weights, map_location="cpu", weights_only=True))
    read = import_named("load.py:cifar100", base=data)
    images, labels, _ = read("train")
    pictures, truth, _ = read("val")
    training = TrainingSet(content=images, labels=np.asarray(labels), spec=SPEC, augment=False)
    graph = load_graph(export_module(module, SPEC.shape), name="strided")
    judge = Classification(np.asarray(truth)[:judged])
    return Bench(graph, training, CALIBRATION["strided"], pictures[:judged], judge, threads=threads)


def strided_cuts(graph: ModelGraph) -> list[Cut]:
    """Cuts at the output of a convolution of stride 2 or more that mixes channels, in order."""
    found = []
    for cut in enumerate_cuts(graph).cuts:
        layer = convolution_of(graph, cut.tensors[0]) if len(cut.tensors) == 1 else ""
        if isinstance(layer, Found) and layer.layer.stride > (1, 1) and layer.layer.steps[-1].groups == 1:  # type: ignore[union-attr]  # a layer ends with a convolution
            found.append(cut)
    return found


class Keeper:
    """Trainings and rows, each computed once by this code."""

    def __init__(self, bench: Bench, folder: Path, minutes: float) -> None:
        self._bench = bench
        self.trainer = Trainer(
            data=bench.training,
            data_sha256=bench.training.sha256(),
            minutes=minutes,
            folder=folder / "checkpoints",
            results=results_here(Store(folder / "results"), threads=bench.threads),
        )

    def rows(self, label: str, cut: Cut | None, rates: Sequence[str], measure: Callable[[], list[Row]]) -> list[Row]:
        """What `measure` gives, now or earlier, printed."""
        assert self.trainer.results is not None
        key = self.trainer.key(
            what="rows",
            codec=label,
            model=self._bench.graph.sha256,
            cut=() if cut is None else cut.tensors,
            rates=tuple(rates),
            judged=len(self._bench.inputs),
            program=code_sha256(),
        )
        rows: list[Row]
        rows, _ = self.trainer.results.get(
            "back-and-forth-rows",
            key,
            measure,
            encode=msgspec.json.encode,
            decode=lambda data: msgspec.json.decode(data, type=list[Row]),
        )
        for row in rows:
            print(line(row), flush=True)
        return rows

    def training(self, cut: Cut) -> CodecTraining:
        """Of codecs at `cut`; its loss is printed once a minute."""
        training, said = CodecTraining(self._bench.graph, cut, self.trainer, seed=SEED), [time.monotonic()]

        def report(text: str) -> None:
            if time.monotonic() >= said[-1] + SAID_EVERY_S:
                said.append(time.monotonic())
                print(f"# {text}", flush=True)

        training.report = report
        return training


def measure_all(bench: Bench, keeper: Keeper, cuts: Sequence[Cut], save: Callable[[Sequence[Row]], None]) -> list[Row]:
    """Every codec at every cut, and the picture; `save` gets what is measured so far."""
    rows = keeper.rows("unsplit", None, (), lambda: [bench.unsplit_row()])
    for cut in cuts:
        shape = bench.graph.tensors[cut.tensors[0]].shape
        for label, (codec, rates) in {BAF: (REGISTRY[BAF], ()), **BASELINES}.items():
            refusal = codec.refuses(shape, "float32")
            if refusal is not None:
                print(f"{cut.after}: {refusal}", flush=True)
                continue
            rows += keeper.rows(
                label,
                cut,
                rates,
                lambda cut=cut, label=label, codec=codec, rates=rates: bench.measure(  # type: ignore[misc]  # defaults
                    cut, label, codec, rates, keeper.training(cut)
                ),
            )
            save(rows)
    rows += keeper.rows(JPEG, None, (), bench.measure_pictures)
    save(rows)
    return rows


def goal_lines(rows: Sequence[Row]) -> list[str]:
    """Whether the goal is met, at each cut."""
    found = []
    for row in rows:
        if row.codec == BAF and row.rate == GOAL_RATE:
            name, (_, _, high) = next(iter(row.figures.items()))
            assert high is not None
            verdict = "met" if high <= GOAL_POINTS else "missed"
            found.append(
                f"goal at {row.cut}, {GOAL_RATE}: upper end of {name} at most {GOAL_POINTS:g}, is {high:.2f}: {verdict}"
            )
    return found


def line(row: Row) -> str:
    """A row as text."""
    parts = [f"{name} {_text(figure)}" for name, figure in row.figures.items()]
    trained = f", {row.steps:,} steps of {row.images:,} images, losses {row.losses}" if row.steps else ""
    return f"{row.cut:<10} {row.codec:<22} {row.rate:>8} {row.payload_bytes:>9,.0f} B  {', '.join(parts)}{trained}"


def _text(figure: Figure) -> str:
    value, low, high = figure
    return f"{value:.2f}" if low is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def reader(doc: str | None, *, minutes: float) -> argparse.ArgumentParser:
    """The options of a benchmark on one of the networks."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=tuple(CUTS), default="yolox-nano")
    parser.add_argument("--weights", type=Path, help="of strided: what benchmarks/strided.py writes")
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of each training ({minutes:g})")
    parser.add_argument("--judged", type=int, help="pictures of each judging set (all)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    return parser


def bench_of(options: argparse.Namespace) -> Bench:
    """The network that was asked for, with its pictures; exits with a sentence where its weights are missing."""
    torch.set_num_threads(options.threads)
    if options.network == "yolox-nano":
        return detector(options.data, options.judged, options.threads)
    if options.weights is None:
        raise SystemExit("--network strided needs --weights, the file that benchmarks/strided.py writes")
    return classifier(options.data, options.weights, options.judged, options.threads)


def main(arguments: Sequence[str]) -> None:
    """Run, and store after every codec."""
    parser = reader(__doc__, minutes=20.0)
    parser.add_argument("--cuts", type=int, nargs="*", help="numbers of convolutions of stride 2")
    parser.add_argument("--kept", type=Path, default=Path("back-and-forth-kept"))
    options = parser.parse_args(arguments)
    bench = bench_of(options)
    known = strided_cuts(bench.graph)
    cuts = [known[number - 1] for number in options.cuts or CUTS[options.network]]
    out = options.out or RESULTS / f"back-and-forth-{options.network}.json"
    command = " ".join(
        ["back_and_forth --data DIR", *arguments_without(arguments, "--data", "--kept", "--out", "--weights")]
    )

    def save(rows: Sequence[Row]) -> None:
        found = {
            "minutes": options.minutes,
            "seed": SEED,
            "training_images": len(bench.training),
            "images": len(bench.inputs),
            "trained_in": trained_in(),
            "goals": goal_lines(rows),
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        store(out, found, command=command, threads=options.threads)

    rows = measure_all(bench, Keeper(bench, options.kept, options.minutes), cuts, save)
    print("\n".join(goal_lines(rows)))


if __name__ == "__main__":
    main(sys.argv[1:])
