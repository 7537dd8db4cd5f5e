"""Landscapes: what becomes of every input under every candidate of a network, measured once and looked up for ever.

    python -m splitpoint.benchmarks.landscape {efficientnet-lite0,vgg16h} --data DIR --work DIR [--part I/N]

Each (cut, codec) is a file of DIR with all rates of the codec; what is there is not measured again, so the command goes
on where it stopped, and several processes share the work with --part. Every input runs alone, through the codec and the
tail, as `planner.quality.evaluate` does it. Where a network has many inputs, the first of them are coded to real bytes;
the others go through the quantizer's graphs alone. Both give equal tensors, which is checked for every input that is
coded. Calibration inputs are fixed and never measured: EfficientNet-Lite0 has every tenth picture of imagenet500, the
VGG16 a hundred pictures of cifar100/train.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_networks import cifar100, efficientnet_lite0, imagenet500, vgg16_half
from splitpoint.codecs.contract.protocol import Array, Codec, FitError, FittedCodec
from splitpoint.codecs.npz import npz_bytes
from splitpoint.codecs.registry import REGISTRY
from splitpoint.planner.coding.cache import ByteCache
from splitpoint.planner.coding.runs import NetworkRuns
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.deploy.schema import IOTensor
from splitpoint.planner.deploy.task import Task
from splitpoint.planner.quality.metrics.protocol import Metric
from splitpoint.planner.quality.metrics.registry import make_metric
from splitpoint.planner.quality.observe import observe
from splitpoint.planner.samples.dataset import Dataset, NetworkInputs, Sample
from splitpoint.planner.search.table import promising
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.outcomes import InputOutcome
from splitpoint.profiles.files.structs import write_bytes
from splitpoint.profiles.network.graph import load_graph
from splitpoint.profiles.network.inputs import InputSpec
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.runtime import Session, open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["LANDSCAPES", "Landscape", "record", "units"]

MOST_ELEMENTS = 300_000  # of a cut: larger ones take most of the time, and no rate of theirs is on a front
CACHE_BYTES = 3 << 30  # of a process: activations of 5,000 inputs at one cut
CODED = 500  # pictures of cifar100/val whose payloads are made
CALIBRATION = 100  # pictures of cifar100/train
EVERY = 10  # picture of imagenet500 is for calibration

Arrays = dict[str, NDArray[np.generic]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Landscape:
    """A network with its fixed calibration inputs and the inputs that every candidate is measured on."""

    graph: ModelGraph
    calibration: Dataset
    measured: Dataset
    coded: int  # of the measured inputs, the first, are coded to bytes
    cuts: int  # at most: 207 rates of all codecs at each of ten make more than 2,000 candidates


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
        coded=len(rest),
        cuts=14,
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
        coded=CODED,
        cuts=11,
    )


LANDSCAPES: Mapping[str, Callable[[Path], Landscape]] = {"efficientnet-lite0": efficientnet, "vgg16h": vgg16h}


def units(landscape: Landscape, runs: NetworkRuns) -> Iterator[tuple[Cut, Codec]]:
    """Every (cut, codec) of the landscape, cuts in the order of the network: those of the product but the largest."""
    cuts = promising(runs, enumerate_cuts(landscape.graph).cuts, limit=landscape.cuts)
    for cut in (cut for cut in cuts if cut.elements <= MOST_ELEMENTS):
        for codec in REGISTRY.values():
            if "training" not in codec.needs:
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

    `part` (i, n) takes every n-th cut from the i-th on: codecs that quantize alike share their tails. The cheap cuts,
    those at the end of the network, come first. A file holds arrays (rates, inputs): `right`, `divergence` (nat),
    `margin_change`, `truth_margin`, `relative_error`; `payload_bytes` (rates, coded inputs); and `rates`, those that
    could be fitted. unsplit.npz has the unsplit network's `outputs` (inputs, classes), its `truth_margin`, what is
    `right`, and the `labels`.
    """
    work.mkdir(parents=True, exist_ok=True)
    inputs = {"calibration": NetworkInputs(landscape.calibration), "search": NetworkInputs(landscape.measured)}
    labels = landscape.calibration.labels
    missing = 0
    with NetworkRuns(landscape.graph, inputs, threads=1, labels=labels, cache=ByteCache(CACHE_BYTES)) as runs:
        everything = list(units(landscape, runs))
        places = list(dict.fromkeys(cut.name for cut, _ in everything))
        unsplit = [runs.whole(runs.input("search", index)) for index in range(len(landscape.measured))]
        outputs = [IOTensor(name=t.name, shape=t.shape, dtype=t.dtype) for t in landscape.graph.outputs]
        metric = make_metric(Task(name="classify"), outputs, "labels")
        judged = _Judged(landscape, runs, metric, unsplit)
        if not (work / "unsplit.npz").is_file():
            _write(work / "unsplit.npz", judged.unsplit_arrays())
        for number, (cut, codec) in sorted(enumerate(everything), key=lambda each: -places.index(each[1][0].name)):
            path = work / f"{places.index(cut.name):02}-{codec.name}.npz"
            if places.index(cut.name) % part[1] != part[0] or path.is_file():
                continue
            if time.monotonic() > until:
                missing += 1
                continue
            begin = time.monotonic()
            arrays = _measure(judged, cut, codec)
            _write(path, arrays)
            count = len(arrays["rates"])
            say(f"{number + 1}/{len(everything)} {cut.layer or cut.after} {codec.name}: {count} rates,"
                f" {time.monotonic() - begin:.0f} s")  # fmt: skip
    return missing


class _Judged:
    """Tensors at a cut through the tail and compared with the truth; equal tensors of one input run once."""

    def __init__(
        self, landscape: Landscape, runs: NetworkRuns, metric: Metric, unsplit: Sequence[Sequence[Array]]
    ) -> None:
        self.landscape, self.runs, self._metric = landscape, runs, metric
        names = [tensor.name for tensor in landscape.graph.outputs]
        self._exact = [dict(zip(names, row, strict=True)) for row in unsplit]
        self._seen: dict[tuple[int, bytes], InputOutcome] = {}
        self._cut = ""

    def unsplit_arrays(self) -> Arrays:
        """What unsplit.npz holds."""
        samples = self.landscape.measured.samples
        rows = [observe(self._metric, exact, exact, s) for exact, s in zip(self._exact, samples, strict=True)]
        return {
            "outputs": np.stack([np.concatenate([y.ravel() for y in exact.values()]) for exact in self._exact]),
            "labels": np.asarray(self.landscape.measured.labels),
            "right": np.array([row.counts[0] for row in rows], bool),
            "truth_margin": np.array([row.truth_margin for row in rows], np.float32),
        }

    def outcome(self, cut: Cut, index: int, tensors: Mapping[str, Array]) -> InputOutcome:
        """What becomes of input number `index` when `tensors` arrive."""
        if cut.name != self._cut:
            self._cut, self._seen = cut.name, {}
        key = index, hashlib.sha256(b"".join(tensors[name].tobytes() for name in cut.tensors)).digest()
        if key not in self._seen:
            exact = self._exact[index]
            answer = dict(zip(exact, self.runs.tail(cut, tensors), strict=True))
            self._seen[key] = observe(self._metric, answer, exact, self.landscape.measured.samples[index])
        return self._seen[key]


def _measure(judged: _Judged, cut: Cut, codec: Codec) -> Arrays:
    """The unit of one cut and codec: all rates that can be fitted, all inputs."""
    landscape, runs = judged.landscape, judged.runs
    rates, outcomes, sizes = list[int](), list[list[InputOutcome]](), list[list[int]]()
    for rate in range(len(codec.rates)):
        try:
            fitted = runs.fit(cut, codec.name, rate)
        except FitError:
            continue
        quantizers = [_Quantizer(one) for one in fitted]
        outcomes.append([])
        sizes.append([])
        for index in range(len(landscape.measured)):
            tensors = runs.activation(cut, "search", index)
            made = None
            if all(quantizer.has_graphs for quantizer in quantizers):
                pairs = zip(cut.tensors, quantizers, strict=True)
                made = {name: quantizer.run(tensors[name]) for name, quantizer in pairs}
            if made is None or index < landscape.coded:
                coded = runs.decode(cut, fitted, runs.encode(cut, fitted, tensors), draw=index)
                if made is not None and any((made[name] != coded.tensors[name]).any() for name in cut.tensors):
                    raise RuntimeError(f"{cut.name}, {codec.name}, rate {rate}, input {index}: bytes change the tensor")
                made = dict(coded.tensors)
                sizes[-1] += [len(coded.payload)] * (index < landscape.coded)
            outcomes[-1].append(judged.outcome(cut, index, made))
        rates.append(rate)
    return {
        "cut": np.array(cut.name),
        "codec": np.array(codec.name),
        "rates": np.array(rates, np.uint8),
        "right": np.array([[one.counts[0] for one in row] for row in outcomes], bool),
        "divergence": np.array([[one.divergence for one in row] for row in outcomes], np.float32),
        "margin_change": np.array([[one.margin_change for one in row] for row in outcomes], np.float32),
        "truth_margin": np.array([[one.truth_margin for one in row] for row in outcomes], np.float32),
        "relative_error": np.array([[one.relative_error for one in row] for row in outcomes], np.float32),
        "payload_bytes": np.array(sizes, np.uint32),
    }


class _Quantizer:
    """The graphs of a fitted codec, run one after the other without bytes between them."""

    def __init__(self, fitted: FittedCodec) -> None:
        self._shape = fitted.shape
        graphs = (fitted.encoder, fitted.decoder)
        self._sessions: list[Session] = [open_session(g, level="all", threads=1) for g in graphs if g is not None]
        self.has_graphs = len(self._sessions) == len(graphs)

    def run(self, x: Array) -> Array:
        """The tensor as it arrives, of the shape of `x`."""
        encoder, decoder = self._sessions
        (made,) = decoder.run(encoder.run({"x": x.reshape(self._shape)})).values()
        return made.reshape(x.shape)


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
    parser.add_argument("--part", default="0/1", help="I/N: every N-th cut from the I-th on [default: 0/1, all]")
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
