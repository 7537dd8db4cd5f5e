"""Brito et al., "Signal Compression for Efficient Partitioning of Deep Neural Networks", on networks at hand.

    python -m splitpoint.examples.papers.brito --data DIR     # VGG16 of half width, CIFAR-100; nothing is trained
    python -m splitpoint.examples.papers.brito --quick        # a small network, scikit-learn's digits

Multiply-adds on the device (figure 2), accuracy over bits of scalar and trellis-coded quantization with Huffman coding
(figure 3), histograms at nine splits (figure 4), entropy and SQNR (figure 5), and what the paper leaves to the future:
Lloyd codebooks, vector quantization, a second serial network and one that is not serial. Bytes are those of real
payloads, container included.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import splitpoint
from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.common import Array

BITS = (2, 3, 4, 5, 6, 7, 8)
CODECS = {"SQ": "brito-sq", "TCQ": "brito-tcq", "Lloyd": "brito-lloyd"}
VECTORS = ("16 of 4", "64 of 4", "256 of 4", "64 of 2", "256 of 2", "1024 of 2")  # codebook and values in a vector
CALIBRATION = 100  # training pictures for the codebooks: the paper's "small portion of the training set"
BARS = 64  # of a histogram
PAPER_DB = 30.0  # SQNR at 8 bits that the paper reports for every split
PAPER_ACCURACY = 98.0  # %, SQ after the first convolution


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """A network with its pictures as it takes them, and the layers after which it is split."""

    name: str
    kind: str
    model: Any
    calibration: Array
    x: Array
    labels: Array
    splits: Mapping[str, str]  # what the page calls it -> the layer's name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (1, *self.x.shape[1:])


def digits_network(images: int) -> Network:
    """The small serial network of examples/digits.py."""
    training, (x, labels) = common.digits("training")[0], common.digits("data")
    splits = {"input": "input", "conv 1": "1", "conv 2": "3", "pool 1": "4", "conv 3": "6", "pool 2": "7"}
    model = common.example("digits").model()
    return Network(
        name="digits",
        kind="serial, 3 convolutions",
        model=model,
        calibration=training[:CALIBRATION],
        x=x[:images],
        labels=labels[:images],
        splits=splits,
    )


def vgg_network(data: Path, images: int) -> Network:
    """VGG16 of half width; the nine splits of the paper's table I."""
    train, (pictures, labels) = common.cifar100(data, "train")[0], common.cifar100(data, "val")
    picked = np.random.default_rng(0).choice(len(train), CALIBRATION, replace=False)
    every = len(pictures) // images
    layers = ("input", *["conv1_1", "conv1_2", "pool1", "conv2_1", "conv2_2", "pool2", "conv3_1", "conv3_2"])
    return Network(
        name="VGG16, half width",
        kind="serial, 13 convolutions",
        model=common.vgg16(data),
        calibration=common.cifar_input(train[picked]),
        x=common.cifar_input(pictures[::every]),
        labels=labels[::every],
        splits={layer: layer for layer in layers},
    )


def lite_network(data: Path, images: int) -> Network:
    """EfficientNet-Lite0, whose blocks have skip connections: every fifth picture is kept for the codebooks."""
    x, labels = common.imagenet500(data)
    fitted = np.arange(len(x)) % 5 == 0
    splits = {f"block {number}": f"_blocks.{number}" for number in (2, 4, 7, 10, 14)}
    return Network(
        name="EfficientNet-Lite0",
        kind="not serial, 16 blocks",
        model=common.LITE,
        calibration=x[fitted][:CALIBRATION],
        x=x[~fitted][:images],
        labels=labels[~fitted][:images],
        splits=splits,
    )


def at_split(
    network: Network, layer: str, rates: Sequence[tuple[str, str, str]], *, threads: int
) -> tuple[list[dict[str, Any]], Array, Array]:
    """A row for each (quantizer, codec, rate); what was sent exactly, and what arrived with the last of them."""
    rows = []
    with splitpoint.split(
        network.model, layer, calibration=network.calibration, shapes=network.shape, threads=threads
    ) as halves:
        tensors = halves.head(network.x)
        before = common.right(halves.tail(tensors), network.labels)
        for quantizer, codec, rate in rates:
            arrived, sizes = halves.codec(codec, rate).round_trip(tensors)
            after = common.right(halves.tail(arrived), network.labels)
            rows.append(
                {
                    "quantizer": quantizer,
                    "rate": rate,
                    "bits": common.rounded(8 * sizes.mean() / tensors[0].size, 3),
                    "bytes": common.rounded(sizes.mean(), 1),
                    "sqnr_db": common.rounded(sqnr_db(tensors, arrived), 2),
                    "top1": common.rounded(common.POINTS * after.mean(), 2),
                    **common.lost(before, after),
                    "head_share": common.rounded(halves.cut.head_share, 4),
                }
            )
    return rows, tensors, arrived


def sqnr_db(exact: Array, arrived: Array) -> float:
    """Power of the tensor over that of its error, in decibels."""
    power, error = np.square(exact.astype(np.float64)).mean(), np.square(exact.astype(np.float64) - arrived).mean()
    return float(10 * np.log10(power / error))


def levels(arrived: Array) -> Array:
    """How often each level of a uniform quantizer occurs, unused ones between the outermost included."""
    values, counts = np.unique(arrived, return_counts=True)
    if len(values) == 1:
        return counts
    step = np.diff(values.astype(np.float64)).min()
    places = np.rint((values - values[0]) / step).astype(int)
    return np.bincount(places, counts, minlength=places[-1] + 1)


def entropy_bits(counts: Array) -> float:
    """Bits a value, of a source with those counts."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def histogram(counts: Array, bars: int = BARS) -> list[float]:
    """Shares of `bars` equal parts of the range."""
    places = np.arange(len(counts)) * bars // len(counts)
    return [common.rounded(share, 6) for share in np.bincount(places, counts, minlength=bars) / counts.sum()]


def measure(network: Network, *, curves_at: str, threads: int) -> dict[str, Any]:
    """Everything of the paper's figures for one network."""
    scalar = [("SQ", CODECS["SQ"], "8 bit")]
    splits, shares = [], {}
    for label, layer in network.splits.items():
        (row,), tensors, arrived = at_split(network, layer, scalar, threads=threads)
        counts = levels(arrived)
        shares[label] = histogram(counts)
        zero = common.rounded((tensors == 0).mean(), 4)
        splits.append({"layer": label, "entropy": common.rounded(entropy_bits(counts), 3), "zeros": zero, **row})
        common.say(f"{network.name}, {label}: {splits[-1]['entropy']} bits of entropy, {row['sqnr_db']} dB")
    rates = [(name, codec, f"{bits} bit") for name, codec in CODECS.items() for bits in BITS]
    rates += [("VQ", "brito-vq", rate) for rate in VECTORS]
    curve = at_split(network, network.splits[curves_at], rates, threads=threads)[0]
    for row in curve:
        common.say(
            f"{network.name}, {curves_at}: {row['quantizer']} {row['rate']}, {row['bits']} bits, {row['top1']} %"
        )
    return {
        "kind": network.kind,
        "images": len(network.x),
        "classes": len(np.unique(network.labels)),
        "layers": common.layers_of(network.model, network.shape, lambda layer: not layer.endswith(".1")),
        "curves_at": curves_at,
        "splits": splits,
        "histograms": shares,
        "curve": curve,
    }


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """One for each of the paper's, of the first network."""
    name, first = next(iter(found["networks"].items()))
    curve: dict[str, list[tuple[float, float]]] = {}
    for row in first["curve"]:
        curve.setdefault(row["quantizer"], []).append((row["bits"], row["top1"]))
    after = f"{name}, after {first['curves_at']}"
    splits = list(enumerate(first["splits"], start=1))
    return {
        "figure2": figure.curves(
            {"cumulative": [(i, row["mflops"]) for i, row in enumerate(first["layers"])]},
            title=f"{name}: MFLOPs on the device",
            x="layers on the device",
            y="MFLOPs",
        ),
        "figure3": figure.curves(curve, title=after, x="bits a value, as payloads have them", y="top-1, %"),
        "figure4": figure.histograms(
            first["histograms"],
            title=f"{name}: SQ at 8 bits",
            x="range of the tensor; heights from 1e-4 to 1, logarithmic",
        ),
        "figure5": figure.curves(
            {
                "entropy, bits": [(i, row["entropy"]) for i, row in splits],
                "SQNR, dB": [(i, row["sqnr_db"]) for i, row in splits],
            },
            title=f"{name}: SQ at 8 bits",
            x="split",
            y="bits, dB",
        ),
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The generated parts of docs/papers/brito.md."""
    name, first = next(iter(found["networks"].items()))
    least = min(first["splits"], key=lambda row: row["sqnr_db"])
    scalar = [row for row in first["curve"] if row["quantizer"] == "SQ"]
    best = max(row["top1"] for row in scalar)
    enough = next(row for row in scalar if row["top1"] >= best - 1.0)
    zeros = [common.POINTS * row["zeros"] for row in first["splits"][1:]]
    return {
        "side by side": common.table(
            ("claim", "paper", f"here: {name}"),
            [
                (
                    "accuracy after the first convolution, SQ with Huffman",
                    f"{PAPER_ACCURACY:g} % of 40 pictures, two classes",
                    f"{best:.1f} % of {first['images']}, {first['classes']} classes, at the best of 2 to 8 bits",
                ),
                ("SQ converges early", "yes", f"within a point of its best from {enough['rate']}s on"),
                (
                    "SQNR at 8 bits, SQ, least of all splits",
                    f"at least {PAPER_DB:g} dB",
                    f"{least['sqnr_db']:.1f} dB, after {least['layer']}",
                ),
                (
                    "values concentrate around zero",
                    "at all nine splits",
                    f"{min(zeros):.0f} to {max(zeros):.0f} % are exactly zero behind the input",
                ),
            ],
        ),
        "bits": common.table(
            ("quantizer", "rate", "bits a value", "bytes", "SQNR, dB", "top-1, %", "points lost, 95 %"),
            [(row["quantizer"], row["rate"], *_figures(row)) for row in first["curve"]],
        ),
        "splits": common.table(
            ("split", "MACs on the device", "bytes", "entropy, bits", "bits sent", "SQNR, dB", "points lost, 95 %"),
            [
                (
                    row["layer"],
                    f"{common.POINTS * row['head_share']:.1f} %",
                    f"{row['bytes']:,.0f}",
                    f"{row['entropy']:.2f}",
                    f"{row['bits']:.2f}",
                    f"{row['sqnr_db']:.1f}",
                    f"{row['lost']:+.1f} ± {row['plus_minus']:.1f}",
                )
                for row in first["splits"]
            ],
        ),
        "networks": common.table(
            (
                "network",
                "kind",
                "pictures",
                "least SQNR at 8 bits, dB",
                "entropy at 8 bits",
                "fewest bytes within a point",
            ),
            [
                (
                    each,
                    own["kind"],
                    own["images"],
                    f"{min(row['sqnr_db'] for row in own['splits']):.1f}",
                    _range([row["entropy"] for row in own["splits"]]),
                    _fewest(own),
                )
                for each, own in found["networks"].items()
            ],
        ),
    }


def _figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = f"{row['bits']:.2f}", f"{row['bytes']:,.0f}", f"{row['sqnr_db']:.1f}"
    return (*sizes, f"{row['top1']:.1f}", f"{row['lost']:+.1f} ± {row['plus_minus']:.1f}")


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"


def _fewest(network: Mapping[str, Any]) -> str:
    """The smallest payload of its curve that loses at most a point."""
    good = [row for row in network["curve"] if row["lost"] <= 1.0]
    if not good:
        return f"none after {network['curves_at']}"
    row = min(good, key=lambda row: row["bytes"])
    return f"{row['bytes']:,.0f} ({row['quantizer']}, {row['rate']}) after {network['curves_at']}"


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments)
    if given.quick:
        networks = [(digits_network(200), "conv 1")]
    else:
        networks = [
            (vgg_network(given.data, 500), "conv1_1"),
            (digits_network(500), "conv 1"),
            (lite_network(given.data, 200), "block 4"),
        ]
    found = {
        "networks": {
            network.name: measure(network, curves_at=place, threads=given.threads) for network, place in networks
        }
    }
    common.save("brito", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
