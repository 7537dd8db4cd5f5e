"""Landscapes: what becomes of every input under every candidate of a network, measured once and looked up for ever.

    python -m splitpoint.benchmarks.landscape {efficientnet-lite0,vgg16h} --data DIR --work DIR [--part I/N]

Each (cut, codec) is a file of DIR with all rates of the codec; what is there is not measured again, so the command goes
on where it stopped, and several processes share the work with --part. A candidate is measured as `splitpoint plan` does
it (`planner.quality.evaluate`): payload bytes of the entropy coder, through the tail, one input at a time. Calibration
inputs are fixed and never measured: EfficientNet-Lite0 has every tenth picture of imagenet500, the VGG16 a hundred
pictures of cifar100/train.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import cifar100, efficientnet_lite0, imagenet500, vgg16_half
from splitpoint.codecs.contract.protocol import Codec
from splitpoint.codecs.npz import npz_bytes
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.evaluate import Evaluator
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.search.table import promising
from splitpoint.planner.values.candidate import GIVEN, Candidate
from splitpoint.planner.values.cut import Cut
from splitpoint.profiles.files.structs import write_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["LANDSCAPES", "Landscape", "record", "units"]

CUTS = 14  # at most: 207 rates of all codecs at each make more than 2,000 candidates
CACHE_BYTES = 3 << 30  # of a process: activations of 5,000 inputs at one cut
CALIBRATION = 100  # pictures of cifar100/train
EVERY = 10  # picture of imagenet500 is for calibration

Arrays = dict[str, NDArray[np.generic]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Landscape:
    """A network with its fixed calibration inputs and the inputs that every candidate is measured on."""

    graph: ModelGraph
    calibration: Dataset
    measured: Dataset


def efficientnet(data: Path) -> Landscape:
    """EfficientNet-Lite0 on imagenet500: 50 pictures to calibrate, 450 to measure."""
    pictures, labels = imagenet500(data)
    spec = InputSpec(size=224, mean=127.0, std=128.0)
    everything = Dataset(
        spec=spec,
        samples=tuple(
            Sample(name=f"imagenet500[{i}]", group=str(i), picture=picture, label=int(label))
            for i, (picture, label) in enumerate(zip(pictures, labels, strict=True))
        ),
    )
    calibrates = range(0, len(pictures), EVERY)
    rest = [i for i in range(len(pictures)) if i not in calibrates]
    stages = efficientnet_lite0().stages
    return Landscape(
        graph=_graph(stages, (1, 3, 224, 224), "efficientnet-lite0"),
        calibration=everything.select(calibrates),
        measured=everything.select(rest),
    )


def vgg16h(data: Path) -> Landscape:
    """The VGG16 of half width on all 5,000 pictures of cifar100/val, calibrated on a hundred of cifar100/train."""
    train, train_labels = cifar100(data, "train")
    pick = np.sort(np.random.default_rng(0).choice(len(train), CALIBRATION, replace=False))
    stages = vgg16_half(data / "models" / "vgg16h_cifar100.pt").stages
    return Landscape(
        graph=_graph(stages, (1, 3, 32, 32), "vgg16h"),
        calibration=_tensors("cifar100/train", train[pick], train_labels[pick]),
        measured=_tensors("cifar100/val", *cifar100(data, "val")),
    )


LANDSCAPES: Mapping[str, Callable[[Path], Landscape]] = {"efficientnet-lite0": efficientnet, "vgg16h": vgg16h}


def units(landscape: Landscape, runs: NetworkRuns) -> Iterator[tuple[Cut, Codec]]:
    """Every (cut, codec) of the landscape, cuts in the order of the network: the product's own choice of cuts."""
    cuts = promising(runs, enumerate_cuts(landscape.graph).cuts, limit=CUTS)
    for cut in cuts:
        for codec in REGISTRY.values():
            yield cut, codec


def record(
    landscape: Landscape,
    work: Path,
    *,
    part: tuple[int, int] = (0, 1),
    until: float = float("inf"),
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Measure what is missing in `work`; gives how many units of this part are still missing at the time `until`.

    `part` (i, n) takes every n-th unit from the i-th on. A file holds arrays (rates, inputs): `right` and
    `right_unsplit`, `divergence` (nat), `margin_change`, `relative_error`, `payload_bytes`; and `rates`, those that
    could be fitted. unsplit.npz has the unsplit network's `outputs` (inputs, classes) and the `labels`.
    """
    work.mkdir(parents=True, exist_ok=True)
    inputs = {"calibration": NetworkInputs(landscape.calibration), "search": NetworkInputs(landscape.measured)}
    labels = landscape.calibration.labels
    missing = 0
    with NetworkRuns(landscape.graph, inputs, threads=1, labels=labels, cache=ByteCache(CACHE_BYTES)) as runs:
        outputs = [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in landscape.graph.outputs]
        metric = make_metric(Task(name="classify"), outputs, "labels")
        everything = list(units(landscape, runs))
        by_name = {cut.name: cut for cut, _ in everything}
        names = [tensor.name for tensor in landscape.graph.outputs]
        evaluator = Evaluator(runs, landscape.measured, metric, by_name.__getitem__, names)
        places = list(by_name)
        if not (work / "unsplit.npz").is_file():
            rows = [evaluator.whole(index)[0].ravel() for index in range(len(landscape.measured))]
            _write(work / "unsplit.npz", {"outputs": np.stack(rows), "labels": np.asarray(landscape.measured.labels)})
        for number, (cut, codec) in enumerate(everything):
            path = work / f"{places.index(cut.name):02}-{codec.name}.npz"
            if number % part[1] != part[0] or path.is_file():
                continue
            if time.monotonic() > until:
                missing += 1
                continue
            begin = time.monotonic()
            arrays = _measure(evaluator, cut, codec)
            _write(path, arrays)
            count = len(arrays["rates"])
            say(f"{number + 1}/{len(everything)} {cut.layer or cut.after} {codec.name}: {count} rates,"
                f" {time.monotonic() - begin:.0f} s")  # fmt: skip
    return missing


def _measure(evaluator: Evaluator, cut: Cut, codec: Codec) -> Arrays:
    rows, rates = [], []
    for rate in range(len(codec.rates)):
        candidate = Candidate(variant=GIVEN, placement="split", cut=cut.name, codec=codec.name, rate=rate)
        measured = evaluator.measure(candidate)
        if measured is not None:
            rates.append(rate)
            rows.append(measured.outcomes)
    inputs = [row.inputs for row in rows]
    return {
        "cut": np.array(cut.name),
        "codec": np.array(codec.name),
        "rates": np.array(rates, np.uint8),
        "right": np.array([[one.counts[0] for one in row] for row in inputs], bool),
        "right_unsplit": np.array([[one.unsplit_counts[0] for one in row] for row in inputs], bool),
        "divergence": np.array([[one.divergence for one in row] for row in inputs], np.float32),
        "margin_change": np.array([[one.margin_change for one in row] for row in inputs], np.float32),
        "relative_error": np.array([[one.relative_error for one in row] for row in inputs], np.float32),
        "payload_bytes": np.array([row.payload_bytes for row in rows], np.uint32),
    }


def _write(path: Path, arrays: Arrays) -> None:
    write_bytes(path, npz_bytes(arrays))


def _graph(stages: tuple[torch.nn.Module, ...], shape: tuple[int, ...], name: str) -> ModelGraph:
    module = torch.nn.Sequential(*stages).eval()
    return load_graph(export_module(module, shape), name=name)


def _tensors(name: str, x: NDArray[np.float32], labels: NDArray[np.generic]) -> Dataset:
    """Inputs as the network takes them."""
    rows = enumerate(zip(x, labels, strict=True))
    samples = tuple(Sample(name=f"{name}[{i}]", group=str(i), tensor=row[None], label=int(y)) for i, (row, y) in rows)
    return Dataset(spec=InputSpec(kind="tensor"), samples=samples, source=name)


def main() -> int:
    """Record until everything is there or the time is over; 1 when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("landscape", choices=sorted(LANDSCAPES))
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar100, imagenet500 and models")
    parser.add_argument("--work", type=Path, required=True, help="folder of the recorded units")
    parser.add_argument("--part", default="0/1", help="I/N: every N-th unit from the I-th on [default: 0/1, all]")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no unit after this time")
    options = parser.parse_args()
    index, count = (int(text) for text in options.part.split("/"))
    until = time.monotonic() + 60 * options.minutes
    landscape = LANDSCAPES[options.landscape](options.data)
    say = lambda text: print(text, flush=True)  # noqa: E731
    missing = record(landscape, options.work, part=(index, count), until=until, say=say)
    print(f"{missing} units are missing")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
