"""Brito's table and Assine's figure, on the networks of the data folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitpoint.benchmarks.codec_folds import measure_codec, measure_picture, report
from splitpoint.benchmarks.codec_networks import cifar100, efficientnet_lite0, imagenet500, vgg16_half
from splitpoint.codecs.coders.huffman import Huffman
from splitpoint.codecs.contract.protocol import TensorSpec
from splitpoint.codecs.lossy.trellis import dequantize, quantize, train_levels

__all__ = ["assine", "assine_series", "brito"]

Array = NDArray[Any]
BITS = (2, 3, 4, 5, 6, 7, 8)
QUANTIZERS = ("SQ", "TCQ")
SPLITS = 9
CALIBRATION = 100  # training images for the codebooks: the paper's "small portion of the training set"
TESTED = 500  # validation images, five of each class
ASSINE_CUTS = (5, 9, 12, 14, 16, 17)  # stages kept on the device: up to blocks 3, 7, 10, 12, 14, 15
ASSINE_RATES = range(2, 7)  # 4 to 8 bits
PAPER_DB = 30.0  # SQNR at 8 bits that the paper reports for every split


def brito(
    data: Path, say: Callable[[str], None], rows: list[dict[str, Any]], save: Callable[[list[dict[str, Any]]], None]
) -> None:
    """Entropy, SQNR and accuracy of SQ and TCQ at 2..8 bits, with and without Huffman, at the nine splits.

    What `rows` holds already is not measured again; the others are put in their order and saved, split by split.
    """
    network = vgg16_half(data / "models" / "vgg16h_cifar100.pt")
    train, _ = cifar100(data, "train")
    x, labels = cifar100(data, "val")
    pick = np.random.default_rng(0).choice(len(train), CALIBRATION, replace=False)
    step = len(x) // TESTED
    train, x, labels = train[pick], x[::step], labels[::step]
    before = network.tail(x, 0).argmax(axis=1) == labels
    say(
        f"{network.name}: top-1 {100 * before.mean():.1f} % of {len(x)}; bits a value, SQNR in dB, top-1 lost in points"
    )
    say(f"{'split':>2} {'after':8} {'quantizer':4} {'bits':>4} {'entropy':>8} {'Huffman':>8} {'SQNR':>6} {'drop':>6}")
    done = {_place(row): row for row in rows}
    for split in range(1, SPLITS + 1):
        fit = network.forward(train, 0, split - 1)
        activations = network.forward(x, 0, split - 1)
        for kind in QUANTIZERS:
            for bits in BITS:
                if (split, kind, bits) in done:
                    continue
                indices, coded = _quantize(kind, bits, fit, activations)
                spec = TensorSpec(
                    name="symbols", shape=(1, *indices.shape[1:]), dtype="uint8", low=0, high=(1 << bits) - 1
                )
                calibrated, _ = _quantize(kind, bits, fit, fit)
                coder = Huffman(per_channel=False).fit((spec,), {"symbols": calibrated})
                huffman_bytes = np.mean([len(coder.encode({"symbols": one[None]})) for one in indices])
                p = np.bincount(indices.ravel(), minlength=1 << bits) / indices.size
                error = np.square(activations.astype(np.float64) - coded).mean()
                row = {
                    "split": split,
                    "after": network.names[split - 1],
                    "quantizer": kind,
                    "bits": bits,
                    "entropy_bits": round(float(-(p[p > 0] * np.log2(p[p > 0])).sum()), 3),
                    "huffman_bits": round(float(8 * huffman_bytes / indices[0].size), 3),
                    "sqnr_db": round(float(10 * np.log10(np.square(activations.astype(np.float64)).mean() / error)), 2),
                    "drop_points": round(
                        float(100 * (before.mean() - _right(network.tail(coded, split - 1), labels))), 2
                    ),
                    "bytes_fixed": int(np.ceil(indices[0].size * bits / 8)),
                    "bytes_huffman": round(float(huffman_bytes), 1),
                }
                done[_place(row)] = row
                bits_text = f"{row['entropy_bits']:8.2f} {row['huffman_bits']:8.2f}"
                quality = f"{row['sqnr_db']:6.1f} {row['drop_points']:+6.1f}"
                say(f"{split:>2} {row['after']:10} {kind:4} {bits:>4} {bits_text} {quality}")
        save([done[place] for place in sorted(done)])
    for kind in QUANTIZERS:
        least = min((r for r in done.values() if r["quantizer"] == kind and r["bits"] == 8), key=lambda r: r["sqnr_db"])
        verdict = "yes" if least["sqnr_db"] >= PAPER_DB else "no"
        say(f"{kind}: SQNR >= {PAPER_DB:.0f} dB at 8 bits on every split? {verdict}")
        say(f"  least {least['sqnr_db']} dB after {least['after']}")


def assine(data: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Bytes against top-1 of PCA-compressed cuts along EfficientNet-Lite0, and of JPEG of the input."""
    pictures, truth = imagenet500(data)
    network = efficientnet_lite0()
    x = np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
    exact = network.tail(x, 0).argmax(axis=1)
    rows = []
    for cut in ASSINE_CUTS:
        activations = network.forward(x, 0, cut)
        [curve] = measure_codec(
            network,
            cut,
            ["assine-pca"],
            activations,
            rates=lambda name: ASSINE_RATES,
            layer_input=None,
            say=lambda text: None,
        )
        rows.append(report(curve, truth, exact))
        c = rows[-1]["chosen"]
        shape = str(activations.shape[1:])
        say(f"{network.names[cut]:9} {shape:14} {c['bytes']:8,.0f} bytes, drop {c['drop_points']:+.1f} points")
    rows.append(report(measure_picture(network, "jpeg", pictures, _prepare), truth, exact))
    c = rows[-1]["chosen"]
    say(f"{'JPEG':9} {'':14} {c['bytes']:8,.0f} bytes, drop {c['drop_points']:+.1f} points")
    inside = min(rows[:-1], key=lambda row: row["chosen"]["bytes"])
    say(f"least bytes at a drop of a point: {inside['cut']}")
    for row in rows:
        row["top1_exact"] = round(float((exact == truth).mean()), 4)
    return rows


def assine_series(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Curves of bytes against top-1, %."""
    return {
        str(row["cut"] if row["codec"] != "jpeg" else "JPEG of the input"): [
            (p["bytes"], 100 * row["top1_exact"] - p["drop_points"]) for p in row["curve"]
        ]
        for row in rows
    }


def _place(row: Mapping[str, Any]) -> tuple[int, str, int]:
    return row["split"], row["quantizer"], row["bits"]


def _quantize(kind: str, bits: int, fit: Array, activations: Array) -> tuple[Array, Array]:
    """Indices and quantized values of (N, ...): the uniform codebook of the calibration range, or a trellis'."""
    if kind == "SQ":
        low, high = float(fit.min()), float(fit.max())
        step = (high - low) / ((1 << bits) - 1)
        indices = np.clip(np.rint((activations - low) / step), 0, (1 << bits) - 1).astype(np.uint8)
        return indices, (indices * step + low).astype(np.float32)
    levels = train_levels(fit, bits)
    indices = np.stack([quantize(row, levels) for row in activations.reshape(len(activations), -1)])
    coded = np.stack([dequantize(row, levels) for row in indices])
    return indices.reshape(activations.shape), coded.reshape(activations.shape)


def _right(logits: Array, labels: Array) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _prepare(pictures: Array) -> Array:
    return np.ascontiguousarray(((pictures.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2))
