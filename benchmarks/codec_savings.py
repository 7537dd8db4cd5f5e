"""What a codec saves against another at equal quality, paired over pictures.

    python -m splitpoint.benchmarks.codec_savings --data DIR --new kltq-ctx --old kltq-rans [--fifths 1]
        [--network efficientnet-lite0] [--cuts "block 10" "block 14"] [--rates 1 3 5 7 9] [--kept FOLDER] [--out FILE]

Networks: efficientnet-lite0 on the 500 pictures of imagenet500 in DIR, vgg16 (half width) on 1,000 of CIFAR-100's
validation pictures; codecs of tensors by their names in the registry, or in `mixture.py`, at cuts by the names of
stages, codecs of pictures at the cut "input". Five folds: every picture is reported once, by a codec that was fitted to
another fifth (--fifths 4: to the four others). Quality is the divergence of the answers from the unsplit network's,
KL(unsplit || split), and top-1.

Saving: the mean difference of log bytes over the divergences that both codecs reach, bytes of whole containers,
logarithms linear between rates (as Bjontegaard's, VCEG-M33). Points: top-1 lost by the new codec less that of the old
at equal bytes, averaged over the bytes that both reach. Intervals are 95 % of 1,000 resamplings of the pictures, the
same ones for both codecs. Seconds of head and encoder are medians on one thread, measured in turn.

What was measured of a codec at a cut is kept in FOLDER and used again: empty it after a change of the codec. A codec
takes about four minutes for five rates at a cut of efficientnet-lite0 on one core, one at a cut of vgg16.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_folds import FOLDS, folds
from splitpoint.benchmarks.codec_networks import Network, cifar100, efficientnet_lite0, imagenet500, vgg16_half
from splitpoint.benchmarks.mixture import MIXTURES
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.container import pack
from splitpoint.codecs.contract.protocol import Codec, Context, FittedCodec, fit_one
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.pictures.quant_tables import QuantTables, fit_tables
from splitpoint.codecs.registry import CODEC_IDS, REGISTRY
from splitpoint.planner.coding.context import spread
from splitpoint.planner.coding.sensitivity import INPUTS
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.profiles.network.runtime import Session, open_session
from splitpoint.profiles.network.torch_model import export_module

__all__ = ["Scene", "Seen", "compare", "measure", "points_at_equal_bytes", "saving_at_equal_divergence"]

Array = NDArray[Any]
CUTS = {"efficientnet-lite0": ("block 10", "block 14"), "vgg16": ("pool2", "pool3")}
VGG_PICTURES = 1000  # of 5,000, ten a class
RESAMPLINGS = 1000
QUANTILES = (0.025, 0.975)
GRID = 32  # qualities at which two curves are compared
TIMED = 20  # pictures of a rate whose encoder is timed
LEAST_DIVERGENCE = 1e-9
PLAN = bytes(8)  # the hash's place in the container; its value does not change the length
TENSOR_CODECS: Mapping[str, Codec] = {**REGISTRY, **MIXTURES}
EXPERIMENT = 255  # in the container of a codec that has no number; its value does not change the length
COLUMNS = ("payload_bytes", "divergence", "answers")
Coding = Callable[[int], tuple[int, Array, float]]  # a picture's index -> container bytes, tensor at the cut, seconds
Fit = Callable[[Array, int], Coding]  # indices of the pictures for the fit, and the rate


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """One codec at one rate, picture by picture."""

    rate: str
    payload_bytes: NDArray[np.int64]  # (N,) containers
    divergence: NDArray[np.float64]  # (N,) KL(unsplit || split)
    answers: NDArray[np.int64]  # (N,)
    encode_s: float
    head_s: float


class Scene:
    """A network, pictures (N, H, W, 3) uint8 as it takes them, and what the unsplit network answers."""

    def __init__(self, network: Network, pictures: Array, truth: Array, prepare: Callable[[Array], Array]) -> None:
        self.network = network
        self.pictures = pictures
        self.truth = truth
        self.prepare = prepare
        self.x = prepare(pictures)
        self.logs = _log_softmax(network.tail(self.x, 0))
        self.exact = self.logs.argmax(axis=1)


class Place:
    """One cut of a scene: activations, and what codecs are fitted with in each fold."""

    def __init__(self, scene: Scene, cut: int) -> None:
        self.scene = scene
        self.cut = cut
        self.name = scene.network.names[cut]
        self.activations = scene.network.forward(scene.x, 0, cut)
        self._contexts: dict[bytes, Context] = {}
        self._tables: dict[bytes, QuantTables] = {}  # of one fold at a time

    def context(self, fit: Array) -> Context:
        """Gradients, and the memo of a tensor, of the pictures `fit`."""
        key = fit.tobytes()
        if key not in self._contexts:
            gradients = self.scene.network.gradients(self.activations[fit], self.cut)
            self._contexts = {key: Context(gradients=gradients, memo=_memo(), run=_run_graph)}  # of one fold at a time
        return self._contexts[key]

    def tensor_codec(self, name: str) -> Fit:
        """A codec of tensors at this cut."""

        def fit(indices: Array, rate: int) -> Coding:
            fitted = fit_one(TENSOR_CODECS[name], self.activations[indices], rate, self.context(indices))
            return _tensor_coding(fitted, self.activations, CODEC_IDS.get(name, EXPERIMENT))

        return fit

    def tables(self, fit: Array) -> QuantTables:
        """Quantization tables by as many of the pictures `fit` as a plan takes at most."""
        key = fit.tobytes()
        if key not in self._tables:
            rows = fit[spread(len(fit), INPUTS)]
            levels = self.scene.pictures[:1]
            slopes = self.scene.prepare(np.ones_like(levels)) - self.scene.prepare(np.zeros_like(levels))
            gradients = self.scene.network.gradients(self.scene.x[rows], 0) * slopes
            self._tables = {key: fit_tables(gradients.transpose(0, 2, 3, 1))}
        return self._tables[key]

    def picture_codec(self, name: str) -> Fit:
        """A codec of the input's pictures, with its tables where it has ones that are fitted."""

        def fit(indices: Array, rate: int) -> Coding:
            codec = PICTURES[name]
            if codec.weighted:
                codec = codec.with_tables(self.tables(indices))

            def code(index: int) -> tuple[int, Array, float]:
                picture = self.scene.pictures[index]
                begin = time.perf_counter()
                data = codec.encode(picture, rate)
                seconds = time.perf_counter() - begin
                seen = codec.decode(data, (picture.shape[0], picture.shape[1]))
                size = len(pack([data], codec_id=CODEC_IDS[name], rate=rate, plan_hash=PLAN))
                return size, self.scene.prepare(seen[None])[0], seconds

            return code

        return fit

    def codec(self, name: str) -> tuple[Fit, tuple[str, ...]]:
        """A codec by its name, and the labels of its rates."""
        if name in TENSOR_CODECS:
            return self.tensor_codec(name), tuple(rate.label for rate in TENSOR_CODECS[name].rates)
        if name in PICTURES and self.cut == 0:
            return self.picture_codec(name), tuple(rate.label for rate in PICTURES[name].rates)
        where = "the cut 'input' only" if name in PICTURES else "no cut: no codec has that name"
        raise SystemExit(f"{name}: can be measured at {where}")


def measure(place: Place, fit: Fit, labels: Sequence[str], rates: Sequence[int], fifths: int = 1) -> list[Seen]:
    """A codec at each rate, coarsest first, fitted to one or all `fifths` but that whose pictures are reported."""
    scene, count = place.scene, len(place.activations)
    head = _head(place)
    kept: list[dict[str, Any]] = [
        {name: np.zeros(count, np.float64 if name == "divergence" else np.int64) for name in COLUMNS} for _ in rates
    ]
    seconds: list[list[float]] = [[] for _ in rates]
    head_seconds: list[float] = []
    for one, others, held_out in folds(count):
        fitting = one if fifths == 1 else np.sort(np.concatenate([one, others]))
        for row, taken, rate in zip(kept, seconds, rates, strict=True):
            code = fit(fitting, rate)
            outputs = []
            for number, index in enumerate(held_out):
                if number < TIMED // 5 and head is not None:
                    head_seconds.append(_timed(head, scene.x[index][None]))
                row["payload_bytes"][index], output, encode_s = code(int(index))
                taken.append(encode_s)
                outputs.append(output)
            logs = _log_softmax(scene.network.tail(np.stack(outputs), place.cut))
            truth = scene.logs[held_out]
            row["divergence"][held_out] = (np.exp(truth) * (truth - logs)).sum(axis=1)
            row["answers"][held_out] = logs.argmax(axis=1)
    head_s = float(np.median(head_seconds)) if head_seconds else 0.0
    return [
        Seen(rate=labels[rate], encode_s=float(np.median(taken)), head_s=head_s, **row)
        for rate, row, taken in zip(rates, kept, seconds, strict=True)
    ]


def compare(scene: Scene, new: Sequence[Seen], old: Sequence[Seen]) -> dict[str, Any]:
    """Bytes at equal divergence, and points of top-1 at equal bytes, of the new codec beside the old one."""
    generator = np.random.default_rng(0)
    count = len(scene.truth)
    everything = np.arange(count)
    picked = [generator.integers(0, count, count) for _ in range(RESAMPLINGS)]
    found: dict[str, Any] = {}
    figures: dict[str, Callable[[Array], float]] = {
        "percent_more_bytes": lambda rows: saving_at_equal_divergence(new, old, rows),
        "points_more_lost": lambda rows: points_at_equal_bytes(new, old, scene.truth, rows),
        "points_more_changed": lambda rows: points_at_equal_bytes(new, old, scene.exact, rows),
    }
    for name, figure in figures.items():
        low, high = np.quantile([figure(rows) for rows in picked], QUANTILES)
        found[name] = [round(float(value), 2) for value in (figure(everything), low, high)]
    return found


def saving_at_equal_divergence(new: Sequence[Seen], old: Sequence[Seen], rows: Array) -> float:
    """Percent more bytes of the new codec for the pictures `rows`, averaged over the divergences that both reach."""
    sizes, quality = zip(*(_curve(codec, rows) for codec in (new, old)), strict=True)
    grid = _common(*quality)
    new_size, old_size = (np.interp(grid, q, s) for q, s in zip(quality, sizes, strict=True))
    return float(100 * np.expm1((new_size - old_size).mean()))


def points_at_equal_bytes(new: Sequence[Seen], old: Sequence[Seen], answers: Array, rows: Array) -> float:
    """Percent more pictures of `rows` with another answer than `answers` with the new codec, at equal bytes."""
    sizes = [np.log([seen.payload_bytes[rows].mean() for seen in codec]) for codec in (new, old)]
    wrong = [np.array([(seen.answers[rows] != answers[rows]).mean() for seen in codec]) for codec in (new, old)]
    grid = _common(*sizes)
    new_wrong, old_wrong = (np.interp(grid, s, w) for s, w in zip(sizes, wrong, strict=True))
    return float(100 * (new_wrong - old_wrong).mean())


def _curve(codec: Sequence[Seen], rows: Array) -> tuple[Array, Array]:
    """Logarithms of mean bytes, and of quality (one over the mean divergence, made to rise with the bytes)."""
    sizes = np.array([seen.payload_bytes[rows].mean() for seen in codec])
    divergences = np.array([max(seen.divergence[rows].mean(), LEAST_DIVERGENCE) for seen in codec])
    order = np.argsort(sizes)
    return np.log(sizes[order]), np.maximum.accumulate(-np.log(divergences[order])) + 1e-9 * np.arange(len(order))


def _common(one: Array, other: Array) -> Array:
    """Points of the range that two ascending axes have in common."""
    low, high = max(one[0], other[0]), min(one[-1], other[-1])
    if low > high:
        raise SystemExit("the two codecs have no quality or size in common: measure other rates")
    return np.linspace(low, high, GRID)


def _tensor_coding(fitted: FittedCodec, activations: Array, codec_id: int) -> Coding:
    encoder = None if fitted.encoder is None else open_session(fitted.encoder, threads=1)
    decoder = None if fitted.decoder is None else open_session(fitted.decoder, threads=1)

    def code(index: int) -> tuple[int, Array, float]:
        x = {"x": activations[index][None]}
        begin = time.perf_counter()
        sent = x if encoder is None else encoder.run(x)
        payload = fitted.coder.encode(sent)
        seconds = time.perf_counter() - begin
        received = fitted.coder.decode(payload)
        y = received["x"] if decoder is None else decoder.run(received)["y"]
        return len(pack([payload], codec_id=codec_id, rate=fitted.rate, plan_hash=PLAN)), y[0], seconds

    return code


def _head(place: Place) -> Session | None:
    import torch

    if place.cut == 0:
        return None
    module = torch.nn.Sequential(*place.scene.network.stages[: place.cut]).eval()
    return open_session(export_module(module, (1, *place.scene.x.shape[1:])), threads=1)


def _timed(session: Session, x: Array) -> float:
    begin = time.perf_counter()
    session.run({session.inputs[0].name: x})
    return time.perf_counter() - begin


def _run_graph(model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    return open_session(model, threads=1).run(feeds)


def _memo() -> Any:
    kept: dict[Hashable, Any] = {}

    def memo(key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        if key not in kept:
            kept[key] = make()
        return kept[key]

    return memo


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def load_scene(network: str, data: Path) -> Scene:
    """A network with its pictures."""
    if network == "vgg16":
        x, truth = cifar100(data, "val")
        step = len(x) // VGG_PICTURES
        mean, deviation = (np.array(v, np.float64) for v in CIFAR)
        pictures = np.rint(255 * (x[::step].transpose(0, 2, 3, 1) * deviation + mean)).astype(np.uint8)
        return Scene(vgg16_half(data / "models" / "vgg16h_cifar100.pt"), pictures, truth[::step], _prepare_cifar)
    pictures, truth = imagenet500(data)
    return Scene(efficientnet_lite0(), pictures, truth, _prepare_imagenet)


CIFAR = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)  # mean and deviation, as in `codec_networks.cifar100`


def _prepare_cifar(pictures: Array) -> Array:
    mean, deviation = (np.array(v) for v in CIFAR)
    return np.ascontiguousarray(((pictures / 255 - mean) / deviation).astype(np.float32).transpose(0, 3, 1, 2))


def _prepare_imagenet(pictures: Array) -> Array:
    return np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))


def _measured(place: Place, name: str, options: argparse.Namespace) -> list[Seen]:
    """`measure`, or what it gave before."""
    fit, labels = place.codec(name)
    rates = [rate for rate in options.rates if rate < len(labels)] or range(len(labels))
    about = f"{place.scene.network.name} {place.name} {name} {' '.join(map(str, rates))}"
    about += f" fitted to {options.fifths} fifths" if options.fifths > 1 else ""
    path = options.kept / f"{about.replace(' ', '-')}.npz"
    if path.exists():
        with np.load(path) as stored:
            columns = {key: stored[key] for key in stored.files}
        scalars = zip(columns["rates"], columns["encode_s"], columns["head_s"], strict=True)
        return [
            Seen(rate=str(rate), encode_s=float(e), head_s=float(h), **{name: columns[name][i] for name in COLUMNS})
            for i, (rate, e, h) in enumerate(scalars)
        ]
    seen = measure(place, fit, labels, rates, options.fifths)
    options.kept.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: np.stack([getattr(row, name) for row in seen]) for name in COLUMNS}
    arrays |= {name: np.array([getattr(row, name) for row in seen]) for name in ("encode_s", "head_s")}
    np.savez(path, rates=np.array([row.rate for row in seen]), **arrays)
    return seen


def _rows(scene: Scene, about: Mapping[str, Any], codec: str, seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """Means of every rate, and the paired interval of the points lost."""
    before, found = scene.exact == scene.truth, []
    for row in seen:
        after = row.answers == scene.truth
        drop = paired_drop(before, after, list(map(str, range(len(before)))))
        found.append(
            {
                **about,
                "codec": codec,
                "rate": row.rate,
                "payload_bytes": round(float(row.payload_bytes.mean()), 1),
                "divergence": round(float(row.divergence.mean()), 5),
                "drop_points": round(100 * float(before.mean() - after.mean()), 2),
                "drop_low": round(100 * drop.low, 2),
                "drop_high": round(100 * drop.high, 2),
                "encode_s": round(row.encode_s, 5),
                "head_s": round(row.head_s, 5),
            }
        )
    return found


def main(arguments: Sequence[str]) -> None:
    """Run, print and store after every cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--new", nargs="+", required=True)
    parser.add_argument("--old", required=True)
    parser.add_argument("--network", choices=tuple(CUTS), nargs="+", default=["efficientnet-lite0"])
    parser.add_argument("--cuts", nargs="*", help="names of stages, of each network those it has; default: two of it")
    parser.add_argument("--rates", type=int, nargs="*", default=[1, 3, 5, 7, 9], help="indices, of both codecs")
    parser.add_argument("--fifths", type=int, choices=(1, FOLDS - 1), default=1, help="of the pictures to fit to")
    parser.add_argument("--kept", type=Path, default=Path("codec-savings-kept"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    path = options.out or RESULTS / f"savings-{'-'.join(options.new)}-{options.old}.json"
    print(HEADER, flush=True)
    for network in options.network:
        scene = load_scene(network, options.data)
        print(f"{scene.network.name}: top-1 {100 * (scene.exact == scene.truth).mean():.1f} % of {len(scene.truth)}")
        names = scene.network.names
        cuts = [name for name in options.cuts or CUTS[network] if name in names]
        if not cuts:
            parser.error(f"--cuts: no stage of {network} has that name; there are {', '.join(names)}")
        for name in cuts:
            _at_cut(Place(scene, names.index(name)), options, path)


def _at_cut(place: Place, options: argparse.Namespace, path: Path) -> None:
    """Print the codecs at one cut and add them to what `path` has."""
    count = len(place.scene.truth)
    fitted = options.fifths * count // FOLDS
    about = {"network": place.scene.network.name, "cut": place.name, "pictures": count, "fitted": fitted}
    seen: dict[str, list[Seen]] = {}
    for codec in (options.old, *options.new):
        seen[codec] = _measured(place, codec, options)
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"rows": [], "comparisons": []}
        here = _rows(place.scene, about, codec, seen[codec])
        print("\n".join(map(_line, here)), flush=True)
        found["rows"] = [r for r in found["rows"] if not {**about, "codec": codec}.items() <= r.items()] + here
        if codec != options.old:
            pair = {**about, "new": codec, "old": options.old}
            compared = {**pair, **compare(place.scene, seen[codec], seen[options.old])}
            found["comparisons"] = [r for r in found["comparisons"] if not pair.items() <= r.items()] + [compared]
            print(_comparison(compared), flush=True)
        store(path, {key: found[key] for key in ("rows", "comparisons")}, command=_command(options))


def _command(options: argparse.Namespace) -> str:
    about = f"--new {' '.join(options.new)} --old {options.old} --network {' '.join(options.network)}"
    cuts = " ".join(["--cuts", *(f'"{cut}"' for cut in options.cuts)]) + " " if options.cuts else ""
    fifths = f"--fifths {options.fifths} " if options.fifths > 1 else ""
    return f"codec_savings --data DIR {about} {cuts}{fifths}--rates {' '.join(map(str, options.rates))}"


HEADER = f"{'cut':<9} {'codec':<20} {'rate':>6} {'bytes':>8} {'KL':>8} {'points lost (95 %)':>20} {'encoder/head':>13}"


def _line(row: Mapping[str, Any]) -> str:
    drop = f"{row['drop_points']:+.1f} [{row['drop_low']:+.1f}, {row['drop_high']:+.1f}]"
    share = f"{row['encode_s'] / row['head_s']:.3f}" if row["head_s"] else "-"
    start = f"{row['cut']:<9} {row['codec']:<20} {row['rate']:>6} {row['payload_bytes']:>8,.1f}"
    return f"{start} {row['divergence']:>8.5f} {drop:>20} {share:>13}"


def _comparison(row: Mapping[str, Any]) -> str:
    def interval(name: str) -> str:
        value, low, high = row[name]
        return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"

    return (
        f"{row['cut']:<9} {row['new']} beside {row['old']}: bytes at equal KL {interval('percent_more_bytes')} %, "
        f"points lost at equal bytes {interval('points_more_lost')}, "
        f"answers changed {interval('points_more_changed')}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
