"""What pruning the layers before a cut loses and saves, with and without the least-squares correction behind the cut.

    python -m splitpoint.benchmarks.pruning --data DIR [--network vgg16|resnet20] [--weights FILE.pt] [--images 1000]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt; the ResNet-20 comes from benchmarks/train_resnet20.py. The table goes
to standard output, rows to benchmarks/results/pruning-NETWORK.json. Latency: heads and tails of all ratios of a cut in
turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from splitpoint.benchmarks.codec_networks import cifar100
from splitpoint.benchmarks.latency import NETS
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.planner.cost.memory import peak_bytes
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.cuts.halves import split, whole_bytes
from splitpoint.planner.networks.pruning import layers_around, prune_at
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.measurement.measure import measure_interleaved
from splitpoint.profiles.network.canonical import random_feeds
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import open_session
from splitpoint.profiles.network.torch_model import export_module, load_module

RATIOS = (0.0, 0.1, 0.25, 0.5)
# The layers that read the cut tensor: after pools 2, 3 and 4; after stages 1 and 2, and in the third.
BEHIND = {
    "vgg16": (["features.14"], ["features.24"], ["features.34"]),
    "resnet20": (
        ["blocks.3.body.0", "blocks.3.skip.0"],
        ["blocks.6.body.0", "blocks.6.skip.0"],
        ["blocks.7.body.0", "blocks.8.body.0", "head"],
    ),
}
CALIBRATION = 256  # pictures of the training set
ROUNDS = 40
TRIES = 4  # a cut is timed again while a ratio's retest error is above
MOST_RETEST = 0.03
SHAPE = (1, 3, 32, 32)
PLAN = ((32, 32), (64, 64), (128, 128, 128), (256, 256, 256), (256, 256, 256))  # half as wide as Simonyan's VGG16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One ratio at one cut; seconds are minima over the rounds."""

    cut: str
    behind: str
    ratio: float
    top1: float  # with the correction
    top1_uncorrected: float
    drop: float
    drop_low: float  # 95 % interval of the drop, paired
    drop_high: float
    macs: int
    head_macs: int
    head_weight_bytes: int
    head_peak_bytes: int
    cut_elements: int
    head_s: float
    tail_s: float
    head_mad_s: float
    retest_error: float  # of head and tail together, even rounds against odd


def vgg16(state: dict[str, torch.Tensor]) -> nn.Module:
    """VGG16 with batch normalization, every convolution half as wide, classifier 512-512-100, weights from `state`."""
    layers: list[nn.Module] = []
    channels = 3
    for block in PLAN:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 100))
    model = nn.Sequential()
    model.add_module("features", nn.Sequential(*layers))
    model.add_module("flatten", nn.Flatten())
    model.add_module("classifier", classifier)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def hits(graph: ModelGraph, x: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,): whether the network's answer is right."""
    session = open_session(whole_bytes(graph), level="all", threads=1)
    name, out = graph.inputs[0].name, graph.outputs[0].name
    answers = [int(session.run({name: row[None]})[out].argmax()) for row in x]
    right: NDArray[np.bool_] = np.asarray(answers) == labels
    return right


def resnet20(state: dict[str, torch.Tensor]) -> nn.Module:
    """The ResNet-20 of tests/nets.py with weights from `state`."""
    model = load_module(f"{NETS}:resnet20")
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model.eval()


def place(graph: ModelGraph, module: nn.Module, layers: list[str]) -> Cut:
    """The last cut before `layers`."""
    found = [cut for cut in enumerate_cuts(graph).cuts if layers_around(graph, module, cut)[1] == layers]
    return found[-1]


def at_cut(
    module: nn.Module,
    graph: ModelGraph,
    behind: list[str],
    calibration: torch.Tensor,
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> list[Row]:
    """All ratios at one cut."""
    cut = place(graph, module, behind)
    before, after = layers_around(graph, module, cut)
    exact = hits(graph, x, labels)
    graphs, right = {}, {}
    for ratio in RATIOS:
        for correct in (True, False):
            thin, left = prune_at(module, before, after, ratio=ratio, calibration=calibration, correct=correct)
            assert not left, left
            made = load_graph(export_module(thin, SHAPE)) if ratio else graph
            graphs[ratio] = made
            right[ratio, correct] = hits(made, x, labels) if ratio else exact
    cuts = {ratio: enumerate_cuts(made).cuts[cut.index] for ratio, made in graphs.items()}
    halves = {ratio: split(graphs[ratio], cuts[ratio]) for ratio in RATIOS}
    sessions = {
        f"{ratio} {i}": open_session(halves[ratio][i], level="all", threads=1) for ratio in RATIOS for i in (0, 1)
    }
    timed = {key: (session, random_feeds(session.inputs)) for key, session in sessions.items()}
    tries: list[dict[str, list[float]]] = []
    while len(tries) < TRIES and all(max(_retest(seconds).values()) > MOST_RETEST for seconds in tries):
        tries.append(measure_interleaved(timed, rounds=ROUNDS))
    seconds = min(tries, key=lambda seconds: max(_retest(seconds).values()))
    retest = _retest(seconds)
    rows = []
    for ratio in RATIOS:
        made, narrow = graphs[ratio], cuts[ratio]
        head, tail = (np.asarray(seconds[f"{ratio} {i}"]) for i in (0, 1))
        drop = paired_drop(exact, right[ratio, True], list(map(str, range(len(x)))))
        rows.append(
            Row(
                cut=narrow.after,
                behind=behind[0],
                ratio=ratio,
                top1=float(right[ratio, True].mean()),
                top1_uncorrected=float(right[ratio, False].mean()),
                drop=float(exact.mean() - right[ratio, True].mean()),
                drop_low=drop.low,
                drop_high=drop.high,
                macs=made.macs,
                head_macs=narrow.head_macs,
                head_weight_bytes=narrow.head_weight_bytes,
                head_peak_bytes=peak_bytes(made, narrow),
                cut_elements=narrow.elements,
                head_s=float(head.min()),
                tail_s=float(tail.min()),
                head_mad_s=float(np.median(abs(head - np.median(head)))),
                retest_error=retest[ratio],
            )
        )
        print(_line(rows[-1]), flush=True)
    return rows


def _retest(seconds: Mapping[str, list[float]]) -> dict[float, float]:
    """Ratio -> relative difference of the minima of even and odd rounds, of head and tail together."""

    def least(ratio: float, rounds: slice) -> float:
        return sum(min(seconds[f"{ratio} {i}"][rounds]) for i in (0, 1))

    halves = {ratio: (least(ratio, slice(0, None, 2)), least(ratio, slice(1, None, 2))) for ratio in RATIOS}
    return {ratio: abs(a - b) / min(a, b) for ratio, (a, b) in halves.items()}


def main(arguments: Sequence[str]) -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--network", choices=sorted(BEHIND), default="vgg16")
    parser.add_argument("--weights", type=Path, help="a state dict [default for vgg16: DATA/models/vgg16h_cifar100.pt]")
    parser.add_argument("--images", type=int, default=1000, help="of the validation set, evenly over its classes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = options.weights
    if path is None:
        if options.network != "vgg16":
            parser.error("--weights is needed: python -m splitpoint.benchmarks.train_resnet20 makes them")
        path = options.data / "models" / "vgg16h_cifar100.pt"
    state = torch.load(path, map_location="cpu", weights_only=True)
    module = (vgg16 if options.network == "vgg16" else resnet20)(state)
    graph = load_graph(export_module(module, SHAPE), name=options.network)
    train, _ = cifar100(options.data, "train")
    x, labels = cifar100(options.data, "val")
    step = max(1, len(x) // options.images)
    x, labels = x[::step], labels[::step]
    calibration = torch.from_numpy(train[:: len(train) // CALIBRATION][:CALIBRATION])
    print(HEADER, flush=True)
    rows = [row for behind in BEHIND[options.network] for row in at_cut(module, graph, behind, calibration, x, labels)]
    found: dict[str, Any] = {
        "images": len(x),
        "calibration": len(calibration),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    command = f"pruning --data DIR --network {options.network} --images {options.images}"
    store(RESULTS / f"pruning-{options.network}.json", found, command=command)


HEADER = (
    f"{'before':<15} {'ratio':>5} {'top-1':>6} {'uncorrected':>11} {'drop (95 %)':>20} {'MMACs':>6} {'head':>6}"
    f" {'head ms':>8} {'tail ms':>8} {'retest':>6} {'weights':>9} {'peak':>9} {'elements':>8}"
)


def _line(row: Row) -> str:
    drop = f"{100 * row.drop:.1f} [{100 * row.drop_low:.1f}, {100 * row.drop_high:.1f}]"
    return (
        f"{row.behind:<15} {row.ratio:>5} {row.top1:>6.3f} {row.top1_uncorrected:>11.3f} {drop:>20}"
        f" {row.macs / 1e6:>6.1f} {row.head_macs / 1e6:>6.1f} {row.head_s * 1e3:>8.3f} {row.tail_s * 1e3:>8.3f}"
        f" {100 * row.retest_error:>5.1f}% {row.head_weight_bytes:>9} {row.head_peak_bytes:>9} {row.cut_elements:>8}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
