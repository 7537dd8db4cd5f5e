"""The rate-conditioned bottleneck: one parameter set against one training a rate, and against codecs without training.

    python -m splitpoint.benchmarks.bottleneck --data DIR [--cuts 2 3] [--minutes 2] [--kept FOLDER]
        [--pictures report]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt; a cut is the number of a pool. Each of the six trainings of a cut has
the same minutes: one for five rates together, and five for one rate each. Payload bytes go through the ONNX tail, for
half of the pictures of the validation set: every second of a class. Settings were chosen on the other half (--pictures
search). Quality is the mean divergence of the answers from the unsplit network's, KL(unsplit || split), and points of
top-1 lost. Bytes at equal quality are interpolated on the other codec's curve, with 95 % intervals of 1,000 resamplings
of the pictures. It takes six times the minutes of each cut and about 8 more on one core; trained weights are kept in
FOLDER.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.cifar import vgg16
from splitpoint.benchmarks.learned import BEHIND, NOT_TRAINED, Bench, Counted, place_map, trainer_in
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.contract.protocol import FittedCodec, TrainingCost
from splitpoint.codecs.learned.bottleneck_codec import STEPS, RateBottleneck
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import Coded, NetworkRuns
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut

NAME = "rate-bottleneck"
UNTRAINED = {"kltq-ctx": (0, 2, 4, 6, 8, 10), "kltq-rans": (0, 2, 4, 6, 8, 10)}  # every second rate
RESAMPLINGS = 1000
QUANTILES = (0.025, 0.975)
POINTS = (0.5, 1.0, 2.0)  # of top-1 lost, at which bytes are compared


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """One codec at one rate, picture by picture."""

    rate: str
    payload_bytes: NDArray[np.int64]
    divergence: NDArray[np.float64]
    right: NDArray[np.bool_]
    cost: TrainingCost


class Half:
    """Half of the pictures, and what the unsplit network answers to them."""

    def __init__(self, bench: Bench, pictures: str) -> None:
        """Every second picture of each class: the first, third, ... of it for "search", the others for "report"."""
        chosen = bench.halves[0 if pictures == "search" else 1]
        bench.x, bench.truth, bench.unsplit = bench.x[chosen], bench.truth[chosen], bench.unsplit[chosen]
        self.bench = bench
        with bench.runs(None) as runs:
            self.logs = [
                _log_softmax(each) for each in runs.map(lambda x: runs.whole(x)[0], [x[None] for x in bench.x])
            ]
        self._answers: dict[tuple[str, int, bytes], NDArray[np.float64]] = {}  # of equal copies

    def see(self, cut: Cut, codec: str, rates: Sequence[int]) -> list[Seen]:
        """A codec that is not trained, at each rate."""
        with self.bench.runs(None) as runs:
            runs.prepare([cut], [get_codec(codec)])
            return [self._see(runs, cut, runs.fit(cut, codec, rate), NOT_TRAINED) for rate in rates]

    def see_trained(self, cut: Cut, codec: RateBottleneck, training: Counted) -> list[Seen]:
        """The bottleneck at its rates, trained by `training`."""
        with self.bench.runs(None) as runs:
            runs.prepare([cut], [codec])
            fitted = runs.fit_trained(cut, codec, range(len(codec.rates)), training)
            return [self._see(runs, cut, (each,), training.cost) for each in fitted]

    def _see(self, runs: NetworkRuns, cut: Cut, fitted: tuple[FittedCodec, ...], cost: TrainingCost) -> Seen:
        def one(index: int) -> tuple[int, float, int]:
            payload = runs.encode(cut, fitted, runs.activation(cut, "search", index))
            answer, truth = (
                self._answer(runs, cut, index, runs.decode(cut, fitted, payload, draw=index)),
                self.logs[index],
            )
            return len(payload), float((np.exp(truth) * (truth - answer)).sum()), int(answer.argmax())

        sizes, divergences, classes = map(np.array, zip(*runs.map(one, range(len(self.logs))), strict=True))
        right = classes == self.bench.truth
        return Seen(rate=fitted[0].rate_label, payload_bytes=sizes, divergence=divergences, right=right, cost=cost)

    def _answer(self, runs: NetworkRuns, cut: Cut, index: int, coded: Coded) -> NDArray[np.float64]:
        key = (cut.after, index, coded.key)
        if key not in self._answers:
            self._answers[key] = _log_softmax(runs.tail(cut, coded.tensors)[0])
        return self._answers[key]


def at_cut(half: Half, cut: Cut, trainer: Trainer) -> dict[str, list[Seen]]:
    """Every codec at its rates."""
    training = CodecTraining(half.bench.graph, cut, trainer)
    training.report = _say if sys.stderr.isatty() else training.report
    seen = {name: half.see(cut, name, rates) for name, rates in UNTRAINED.items()}
    seen[NAME] = half.see_trained(cut, RateBottleneck(name=NAME), Counted(training))
    alone = [half.see_trained(cut, RateBottleneck(name=NAME, steps=(step,)), Counted(training))[0] for step in STEPS]
    seen["one training a rate"] = [dataclasses.replace(row, rate=f"q{i + 1}") for i, row in enumerate(alone)]
    return seen


def rows(half: Half, cut: Cut, seen: Mapping[str, Sequence[Seen]]) -> list[dict[str, Any]]:
    """Means, and the paired interval of the points lost."""
    found = []
    for codec, each in seen.items():
        for row in each:
            drop = paired_drop(half.bench.unsplit, row.right, list(map(str, range(len(row.right)))))
            found.append(
                {
                    "cut": cut.after,
                    "codec": codec,
                    "rate": row.rate,
                    "payload_bytes": float(row.payload_bytes.mean()),
                    "divergence": float(row.divergence.mean()),
                    "drop_points": 100 * float(half.bench.unsplit.mean() - row.right.mean()),
                    "drop_low": 100 * drop.low,
                    "drop_high": 100 * drop.high,
                    "head_share": cut.head_share,
                    "steps": row.cost.steps,
                    "images": row.cost.images,
                }
            )
    return found


def comparisons(half: Half, cut: Cut, seen: Mapping[str, Sequence[Seen]]) -> list[dict[str, Any]]:
    """Bytes of the bottleneck over those of every other codec at equal quality, in percent more; with intervals."""
    generator = np.random.default_rng(0)
    picked = [generator.integers(0, len(half.logs), len(half.logs)) for _ in range(RESAMPLINGS)]
    found = []
    for other in sorted(seen.keys() - {NAME}):
        for i, row in enumerate(seen[NAME]):
            ratio = functools.partial(_at_divergence, seen, other, i)
            found.append(_compared(seen, other, f"the divergence at {row.rate}", ratio, picked))
        for points in POINTS:
            ratio = functools.partial(_at_points, half, seen, other, points)
            found.append(_compared(seen, other, f"{points:g} points lost", ratio, picked))
    return [{"cut": cut.after, **each} for each in found]


def _compared(
    seen: Mapping[str, Sequence[Seen]],
    other: str,
    at: str,
    ratio: Callable[[NDArray[np.intp]], float],
    picked: Sequence[NDArray[np.intp]],
) -> dict[str, Any]:
    whole = ratio(np.arange(len(seen[other][0].right)))
    low, high = np.quantile([ratio(rows) for rows in picked], QUANTILES)
    return {
        "against": other,
        "at": at,
        "percent_more": 100 * (whole - 1),
        "low": 100 * (float(low) - 1),
        "high": 100 * (float(high) - 1),
    }


def _at_divergence(seen: Mapping[str, Sequence[Seen]], other: str, i: int, rows: NDArray[np.intp]) -> float:
    """Bytes of the bottleneck's rate i, over the other's at its divergence: both logarithms, linear between rates."""
    own = seen[NAME][i]
    sizes, divergences = _curve(seen[other], rows)
    at = np.interp(-np.log(own.divergence[rows].mean()), -np.log(divergences), np.log(sizes))
    return float(own.payload_bytes[rows].mean() / np.exp(at))


def _at_points(
    half: Half, seen: Mapping[str, Sequence[Seen]], other: str, points: float, rows: NDArray[np.intp]
) -> float:
    """Bytes of both at so many points lost: the loss made to fall with the bytes, linear in their logarithm."""
    sizes = []
    for codec in (NAME, other):
        lost = [100 * float(half.bench.unsplit[rows].mean() - each.right[rows].mean()) for each in seen[codec]]
        falling = np.minimum.accumulate(lost) - 1e-9 * np.arange(len(lost))
        sizes.append(np.interp(-points, -falling, np.log(_curve(seen[codec], rows)[0])))
    return float(np.exp(sizes[0] - sizes[1]))


def _curve(seen: Sequence[Seen], rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean bytes and divergences of the rates."""
    sizes = np.array([each.payload_bytes[rows].mean() for each in seen])
    return sizes, np.array([each.divergence[rows].mean() for each in seen])


def main(arguments: Sequence[str]) -> None:
    """Run and store after every cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--cuts", type=int, nargs="*", default=[2, 3], help="pools")
    parser.add_argument("--pictures", choices=("search", "report"), default="report")
    parser.add_argument("--kept", type=Path, default=Path("bottleneck-kept"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "bottleneck-vgg16.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    path = options.data / "models" / "vgg16h_cifar100.pt"
    module = vgg16(torch.load(path, map_location="cpu", weights_only=True))
    bench = Bench("vgg16", module, options.data, options.threads)
    half = Half(bench, options.pictures)
    trainer = trainer_in(options.kept, bench, options.minutes)
    print(f"VGG16, half width: top-1 {100 * bench.unsplit.mean():.1f} % of {len(bench.unsplit)}\n{HEADER}", flush=True)
    found: dict[str, Any] = {"minutes": options.minutes, "images": len(bench.x), "rows": [], "comparisons": []}
    for number in options.cuts:
        cut = place_map(bench.graph, module, BEHIND["vgg16"][number])
        seen = at_cut(half, cut, trainer)
        found["rows"] += (here := rows(half, cut, seen))
        found["comparisons"] += (compared := comparisons(half, cut, seen))
        print("\n".join([*map(_line, here), *map(_comparison, compared)]), flush=True)
        about = f"--cuts {' '.join(map(str, options.cuts))} --minutes {options.minutes:g} --pictures {options.pictures}"
        store(options.out, found, command=f"bottleneck --data DIR {about}", threads=options.threads)


HEADER = f"{'cut':<22} {'codec':<30} {'rate':>4} {'bytes':>7} {'KL':>7} {'points lost (95 %)':>22} {'images':>9}"


def _line(row: Mapping[str, Any]) -> str:
    drop = f"{row['drop_points']:.2f} [{row['drop_low']:.2f}, {row['drop_high']:.2f}]"
    return (
        f"{row['cut']:<22} {row['codec']:<30} {row['rate']:>4} {row['payload_bytes']:>7.1f} {row['divergence']:>7.4f}"
        f" {drop:>22} {row['images']:>9,}"
    )


def _comparison(row: Mapping[str, Any]) -> str:
    interval = f"{row['percent_more']:+.1f} % [{row['low']:+.1f}, {row['high']:+.1f}]"
    return f"{row['cut']:<22} bytes beside {row['against']:<30} at {row['at']:<24} {interval:>26}"


def _log_softmax(answer: NDArray[Any]) -> NDArray[np.float64]:
    logits = answer.reshape(-1).astype(np.float64)
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _say(text: str) -> None:
    print(f"\r{text:<80}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
