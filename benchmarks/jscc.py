"""Joint source-channel coding of a VGG16 with pruned heads: points lost over channel uses, multiply-adds and SNR.

    python -m splitpoint.benchmarks.jscc --data DIR [--pools 4 3 2 1] [--ratios 0 1/4 1/2] [--snr 14.5]
        [--trained-snr LOW HIGH] [--end-to-end] [--minutes 20] [--prune-minutes 20] [--threads 2] [--kept FOLDER]
        [--out FILE]

DIR holds CIFAR-100 and models/vgg16h_cifar100.pt. After each pool, and for each share of the filters that is removed
before it (Taylor's order, trained; Jankowski et al., section 2.4), the codec jankowski-jscc is trained at --snr, or for
SNRs drawn from --trained-snr, and judged at several: symbols through a simulated channel of white noise, then through
the ONNX tail, on all 5,000 pictures of the validation set, none of which is trained on. Points lost are against the
given network, unsplit, of all pictures and of two stratified halves: what was chosen on one is judged by the other.
With --end-to-end the network is then trained with its codec, and the codec behind it once more.

Beside it, on the same channel: the best codec without training at the same cut, and PNG and JPEG of the picture. Their
bits take channel uses at capacity, 1/2 log2(1 + SNR) bits each, and at the rate of LTE's modulation and coding schemes
(CQI, thresholds of RaPlaT). Containers are counted, headers of packets are not.

Networks and trained weights are kept in FOLDER, and the same command goes on where it was stopped. Each ratio above 0
takes --prune-minutes, each codec and network with a codec --minutes, and judging 3 (pool 4) to 15 minutes (pool 1).
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from splitpoint.benchmarks.cifar import SPEC, stratified_halves, vgg16
from splitpoint.benchmarks.jscc_table import HEADER, TRAINED, Row, chosen, figures, line
from splitpoint.benchmarks.learned import BEHIND, Counted, arguments_without, place_map
from splitpoint.benchmarks.pruning import as_share, labelled
from splitpoint.benchmarks.stored import RESULTS, store
from splitpoint.codecs.container import Frame
from splitpoint.codecs.contract.channel import SymbolChannel
from splitpoint.codecs.contract.protocol import FittedCodec
from splitpoint.codecs.pictures.picture import PICTURES
from splitpoint.codecs.registry import CODEC_IDS
from splitpoint.codecs.registry import get as get_codec
from splitpoint.planner.coding.codec_training import CodecTraining
from splitpoint.planner.coding.runs import PLACEHOLDER_HASH, NetworkRuns
from splitpoint.planner.cuts.counterparts import counterparts
from splitpoint.planner.cuts.enumeration import enumerate_cuts
from splitpoint.planner.networks.end_to_end import EndToEndTraining
from splitpoint.planner.networks.pruned_network import prune_network
from splitpoint.planner.networks.pruning import layers_around
from splitpoint.planner.quality.intervals import paired_drop
from splitpoint.planner.setup.config import PruneConfig
from splitpoint.planner.store.results import results_here
from splitpoint.planner.store.store import Store
from splitpoint.planner.training.data import TrainingSet
from splitpoint.planner.training.precision import trained_in
from splitpoint.planner.training.trainer import Trainer
from splitpoint.planner.values.cut import Cut
from splitpoint.planner.values.keys import code_sha256
from splitpoint.profiles.files.user_code import import_named
from splitpoint.profiles.link.link import AwgnLink, Coding, Cqi, Shannon
from splitpoint.profiles.link.symbols import channel_uses
from splitpoint.profiles.network.graph import describe_model, load_graph
from splitpoint.profiles.network.inputs import preprocess, preprocess_batch
from splitpoint.profiles.network.model import ModelGraph
from splitpoint.profiles.network.torch_model import export_module

UNTRAINED = "kltq-ctx"
SNRS_DB: Final = (-5.0, 0.0, 5.0, 10.0, 14.5, 20.0, 25.0)  # Jankowski, figures 4 and 5
CALIBRATION: Final = 1000  # pictures of the training set; for pruning a quarter of them


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """The given network or one with a pruned head, cut after a pool."""

    pool: int
    ratio: float
    graph: ModelGraph
    cut: Cut
    prune_images: int = 0
    network_images: int = 0


class Bench:
    """The pictures, the given network, and what it answers."""

    def __init__(self, data: Path, *, kept: Path, minutes: float, prune_minutes: float, threads: int) -> None:
        self.module = vgg16(torch.load(data / "models" / "vgg16h_cifar100.pt", map_location="cpu", weights_only=True))
        read = import_named("load.py:cifar100", base=data)
        images, labels, _ = read("train")
        self.data = TrainingSet(content=images, labels=np.asarray(labels, np.int64), spec=SPEC)
        self.pictures, truth, _ = read("val")
        self.x, self.truth = preprocess_batch(self.pictures, SPEC), np.asarray(truth, np.int64)
        self.calibration = preprocess_batch(images[:: len(images) // CALIBRATION][:CALIBRATION], SPEC)
        self.graph = load_graph(export_module(self.module, SPEC.shape), name="vgg16")
        self.threads, self.halves = threads, stratified_halves(self.truth)
        self.trainer, self.pruner = (self._trainer(kept, time) for time in (minutes, prune_minutes))
        with self.runs(self.graph) as runs:
            self.unsplit = self.right(runs.map(lambda x: runs.whole(x)[0], [x[None] for x in self.x]))

    def _trainer(self, kept: Path, minutes: float) -> Trainer:
        return Trainer(
            data=self.data,
            data_sha256=self.data.sha256(),
            minutes=minutes,
            folder=kept / "checkpoints",
            results=results_here(Store(kept / "results"), threads=self.threads),
        )

    def runs(self, graph: ModelGraph, channel: SymbolChannel | None = None, **more: Any) -> NetworkRuns:
        """A network on the calibration and the validation pictures."""
        inputs = {"calibration": [x[None] for x in self.calibration], "search": [x[None] for x in self.x]}
        return NetworkRuns(graph, inputs, threads=self.threads, channel=channel, **more)

    def right(self, answers: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
        """Whether each answer is the truth."""
        found: NDArray[np.bool_] = np.array([answer.argmax() for answer in answers]) == self.truth
        return found

    def network(self, pool: int, ratio: float) -> Network:
        """The given network, or one without `ratio` of the filters before the pool, trained or taken from the store."""
        cut = place_map(self.graph, self.module, BEHIND["vgg16"][pool])
        if ratio == 0:
            return Network(pool=pool, ratio=0.0, graph=self.graph, cut=cut)
        before, behind = layers_around(self.graph, self.module, cut)
        made = prune_network(
            self.graph,
            self.module,
            before,
            behind,
            ratio=ratio,
            config=PruneConfig(method="taylor", ratio_of="filters"),
            calibration=labelled(self.data, range(0, len(self.data), 4 * len(self.data) // CALIBRATION)),
            trainer=self.pruner,
            report=_say,
        )
        graph = load_graph(made.model, name=f"vgg16, {ratio:.3g} pruned before pool {pool}")
        thin = enumerate_cuts(graph).cuts[cut.index]
        return Network(pool=pool, ratio=ratio, graph=graph, cut=thin, prune_images=made.images)

    def row(self, answers: Sequence[NDArray[Any]], **about: Any) -> Row:
        """What `answers` lose."""
        right = self.right(answers)
        drop = paired_drop(self.unsplit, right, list(map(str, range(len(right)))))
        lost = 100 * (self.unsplit.astype(float) - right)
        return Row(
            drop_points=float(lost.mean()),
            drop_low=100 * drop.low,
            drop_high=100 * drop.high,
            drop_halves=(float(lost[self.halves[0]].mean()), float(lost[self.halves[1]].mean())),
            **about,
        )


def trained_rows(bench: Bench, network: Network, snr_db: float, trained_db: tuple[float, float]) -> list[Row]:
    """The trained codec at all of its rates and all SNRs; raises `FitError`."""
    codec, cut = get_codec(TRAINED), network.cut
    counted = CodecTraining(network.graph, cut, bench.trainer)
    counted.report = _say
    training, rows = Counted(counted), []
    channel = SymbolChannel(kind="awgn", snr_db=snr_db)
    with bench.runs(network.graph, channel, trained_snr_db=trained_db) as runs:
        for fitted in runs.fit_trained(cut, codec, range(len(codec.rates)), training):
            payloads = _payloads(bench, runs, cut, fitted)
            for snr in sorted({*SNRS_DB, snr_db}):
                there = dataclasses.replace(fitted, channel=SymbolChannel(kind="awgn", snr_db=snr))
                rows.append(
                    bench.row(
                        runs.map(_answer(runs, cut, there, payloads), range(len(payloads))),
                        pool=network.pool,
                        ratio=network.ratio,
                        head_macs=_head_macs(cut, fitted),
                        codec=TRAINED,
                        rate=fitted.rate_label,
                        trained_snr_db=trained_db,
                        snr_db=snr,
                        payload_bytes=None,
                        uses=float(fitted.coder.specs[0].elements),
                        uses_cqi=None,
                        images=training.cost.images,
                        prune_images=network.prune_images,
                        network_images=network.network_images,
                    )
                )
    return rows


def end_to_end(bench: Bench, network: Network, snr_db: float, trained_db: tuple[float, float]) -> Network:
    """The network trained with the codec; raises `FitError`."""
    codec, cut, channel = get_codec(TRAINED), network.cut, SymbolChannel(kind="awgn", snr_db=snr_db)
    alone = CodecTraining(network.graph, cut, bench.trainer)
    training = EndToEndTraining(network.graph, cut, bench.trainer, alone, given=bench.graph)
    alone.report = training.report = _say
    with bench.runs(network.graph, channel, trained_snr_db=trained_db) as runs:
        runs.fit_trained(cut, codec, range(len(codec.rates)), training)
    assert training.made is not None  # the codec called it
    graph = load_graph(training.made.model, name=f"{network.graph.name}, end to end")
    (there,) = counterparts(network.graph, graph, [cut])
    return dataclasses.replace(network, graph=graph, cut=there, network_images=training.made.spent.images)


def digital_rows(bench: Bench, network: Network, snr_db: float) -> list[Row]:
    """The best codec without training at the same cut, at all of its rates."""
    codec, cut, rows = get_codec(UNTRAINED), network.cut, []
    with bench.runs(network.graph) as runs:
        runs.prepare([cut], [codec])
        for rate in range(len(codec.rates)):
            (fitted,) = runs.fit(cut, UNTRAINED, rate)
            payloads = _payloads(bench, runs, cut, fitted)
            rows.append(
                bench.row(
                    runs.map(_answer(runs, cut, fitted, payloads), range(len(payloads))),
                    pool=network.pool,
                    ratio=network.ratio,
                    head_macs=_head_macs(cut, fitted),
                    codec=UNTRAINED,
                    rate=fitted.rate_label,
                    trained_snr_db=None,
                    snr_db=snr_db,
                    prune_images=network.prune_images,
                    **_sizes(payloads, snr_db),
                )
            )
    return rows


def picture_rows(bench: Bench, snr_db: float) -> list[Row]:
    """PNG and JPEG of the picture, and the whole network on what comes back."""
    rows = []
    with bench.runs(bench.graph) as runs:
        for name in ("png", "jpeg"):
            codec = PICTURES[name]
            for rate, label in enumerate(codec.rates):
                parts = [codec.encode(picture, rate) for picture in bench.pictures]
                frame = Frame(codec_id=CODEC_IDS[name], rates=(rate,), plan_hash=PLACEHOLDER_HASH)
                answers = runs.map(_seen(runs, codec, parts), range(len(parts)))
                rows.append(
                    bench.row(
                        answers,
                        pool=0,
                        ratio=0.0,
                        head_macs=0,
                        codec=name,
                        rate=label.label,
                        trained_snr_db=None,
                        snr_db=snr_db,
                        **_sizes([frame.pack([part], rate) for part in parts], snr_db),
                    )
                )
    return rows


def _sizes(payloads: Sequence[bytes], snr_db: float) -> dict[str, float]:
    """Mean bytes, and mean channel uses at capacity and with modulation and coding schemes."""
    lengths = [len(payload) for payload in payloads]
    found = {"payload_bytes": float(np.mean(lengths))}
    for name, coding in (("uses", Shannon()), ("uses_cqi", Cqi())):
        link = _link(snr_db, coding)
        uses = [channel_uses(link, 8 * length) for length in lengths]
        found[name] = float(np.mean([np.inf if each is None else each for each in uses]))
    return found


def _link(snr_db: float, coding: Coding) -> AwgnLink:
    return AwgnLink(
        name="awgn", description="", downlink_bit_s=1e6, rtt_s=0.0, bandwidth_hz=1e6, snr_db=snr_db, coding=coding
    )


def _head_macs(cut: Cut, fitted: FittedCodec) -> int:
    """Of the device, the codec's own among them."""
    return cut.head_macs + (0 if fitted.encoder is None else describe_model(fitted.encoder, name="encoder").macs)


def _payloads(bench: Bench, runs: NetworkRuns, cut: Cut, fitted: FittedCodec) -> list[bytes]:
    return runs.map(lambda i: runs.encode(cut, [fitted], runs.activation(cut, "search", i)), range(len(bench.x)))


def _answer(
    runs: NetworkRuns, cut: Cut, fitted: FittedCodec, payloads: Sequence[bytes]
) -> Callable[[int], NDArray[Any]]:
    return lambda i: runs.tail(cut, runs.decode(cut, [fitted], payloads[i], draw=i).tensors)[0]


def _seen(runs: NetworkRuns, codec: Any, payloads: Sequence[bytes]) -> Callable[[int], NDArray[Any]]:
    return lambda i: runs.whole(preprocess(codec.decode(payloads[i], SPEC.height_width), SPEC))[0]


def kept(bench: Bench, make: Callable[[], list[Row]], **about: object) -> list[Row]:
    """Rows, measured once by this code."""
    assert bench.trainer.results is not None
    key = bench.trainer.key(what="jscc-rows", about=about, prune=bench.pruner.minutes, program=code_sha256())
    rows: list[Row]
    rows, _ = bench.trainer.results.get(
        "jscc-rows",
        key,
        make,
        encode=msgspec.json.encode,
        decode=lambda data: msgspec.json.decode(data, type=list[Row]),
    )
    return rows


def main(arguments: Sequence[str]) -> None:
    """Run and store after every network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pools", type=int, nargs="*", choices=sorted(BEHIND["vgg16"]), default=(4, 3, 2, 1))
    parser.add_argument("--ratios", type=as_share, nargs="*", default=(0.0, 0.25, 0.5))
    parser.add_argument("--snr", type=float, default=14.5, help="dB, of the training [14.5]")
    parser.add_argument("--trained-snr", type=float, nargs=2, help="dB: trained for SNRs between [--snr alone]")
    parser.add_argument("--end-to-end", action="store_true", help="the network is trained with the codec, too")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--prune-minutes", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=Path, default=Path("jscc-kept"))
    parser.add_argument("--out", type=Path, default=RESULTS / "jscc-vgg16.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    bench = Bench(
        options.data,
        kept=options.kept,
        minutes=options.minutes,
        prune_minutes=options.prune_minutes,
        threads=options.threads,
    )
    low, high = options.trained_snr or (options.snr, options.snr)
    print(f"top-1 {100 * bench.unsplit.mean():.2f} % of {len(bench.x)}\n{HEADER}", flush=True)
    rows = _print(kept(bench, lambda: picture_rows(bench, options.snr), pictures=options.snr), options.snr)
    for pool in options.pools:
        for ratio in options.ratios:
            network = bench.network(pool, ratio)
            networks = [network]
            if options.end_to_end:
                networks.append(end_to_end(bench, network, options.snr, (low, high)))
            for each in networks:
                about = {"model": each.graph.sha256, "cut": each.cut.tensors, "snr": options.snr}
                make = functools.partial(trained_rows, bench, each, options.snr, (low, high))
                rows += _print(kept(bench, make, trained=(low, high), **about), options.snr)
            about = {"model": network.graph.sha256, "cut": network.cut.tensors, "snr": options.snr}
            digital = kept(bench, functools.partial(digital_rows, bench, network, options.snr), **about)
            rows += _print(digital, options.snr)
            _store(options, bench, rows, arguments)


def _store(options: argparse.Namespace, bench: Bench, rows: Sequence[Row], arguments: Sequence[str]) -> None:
    found = {
        "minutes": options.minutes,
        "prune_minutes": options.prune_minutes,
        "seed": 0,
        "images": len(bench.x),
        "top1": 100 * float(bench.unsplit.mean()),
        "trained_in": trained_in(),
        "within_2_points": msgspec.to_builtins(chosen(rows, options.snr)),
        "rows": msgspec.to_builtins(rows),
    }
    command = " ".join(["jscc --data DIR", *arguments_without(arguments, "--data", "--kept", "--out")])
    store(options.out, found, command=command, threads=options.threads)
    for name, svg in figures(rows, options.snr, 100 * float(bench.unsplit.mean())).items():
        options.out.with_name(f"{options.out.stem}-{name}.svg").write_text(svg)


def _print(rows: list[Row], snr_db: float) -> list[Row]:
    """Those at the SNR of the training."""
    for row in rows:
        if row.snr_db == snr_db:
            print(line(row), flush=True)
    return rows


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<80}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
