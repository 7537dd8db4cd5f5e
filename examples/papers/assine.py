"""Assine et al., "Compressing Representations for Embedded Deep Learning", on networks at hand.

    python -m splitpoint.examples.papers.assine --data DIR             # EfficientNet-Lite0, 500 ImageNet pictures
    python -m splitpoint.examples.papers.assine --data DIR --widths    # networks of CIFAR-100 alone, the rest as stored
    python -m splitpoint.examples.papers.assine --quick                # small networks, scikit-learn's digits

Computation on the device, bytes that cross and accuracy over layers and variants of a network: input sizes of one, and
widths of another that was trained on CIFAR-100 (figure 1). Layers compressed by PCA, quantization and Huffman coding
against JPEG of the input (figure 2): is there a sweet spot in the middle of the network?
"""

from __future__ import annotations

import dataclasses
import io
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

import splitpoint
from splitpoint.examples.papers import common, figure, widths
from splitpoint.examples.papers.common import Array

CODEC = "assine-pca"
NETWORK = "EfficientNet-Lite0"  # of the runs with --data
RATES = ("3 bit", "4 bit", "5 bit", "6 bit", "8 bit")
QUALITIES = (20, 50, 70, 80, 85, 90, 92, 95)  # of JPEG
SIZES = (128, 160, 192, 224)
BLOCKS = (3, 7, 10, 12, 14)  # of EfficientNet-Lite0; the 15th ends with the layer "_blocks"
CALIBRATION = 100  # pictures; the others are reported
WITHIN = 1.0  # points lost, at which bytes are compared


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Variant:
    """One configuration of a network with its pictures, and the layers that are looked at."""

    name: str
    model: Any
    pictures: Array  # (N, H, W, C) uint8, of which `x` was made
    x: Array
    labels: Array
    layers: Mapping[str, str]  # what the page calls it -> the layer's name

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return (1, *self.x.shape[1:])


def of_widths(given: Any) -> list[Variant]:
    """Three networks of separable convolutions, of CIFAR-100 or of digits; their layers end at blocks."""
    if given.quick:
        training, (x, labels) = common.digits("training"), common.digits("data")
        pictures = np.rint(255 * x).astype(np.uint8).transpose(0, 2, 3, 1)
        models = {f"width {width:g}": widths.of_digits(width, *training) for width in widths.WIDTHS}
    else:
        pictures, labels = common.cifar100(given.data, "val")
        x = common.cifar_input(pictures)
        models = {f"CIFAR-100, width {row['width']:g}": widths.of_cifar100(row["file"]) for row in widths.manifest()}
    layers = widths.layers(widths.DIGITS if given.quick else widths.CIFAR)
    return [
        Variant(name=name, model=model, pictures=pictures, x=x, labels=labels, layers=layers)
        for name, model in models.items()
    ]


def sizes(given: Any) -> list[Variant]:
    """EfficientNet-Lite0 with smaller and smaller pictures of the same scenes."""
    layers = {"stem": "_swish/Clip", **{f"block {i}": f"_blocks.{i}" for i in range(15)}, "block 15": "_blocks"}
    found = []
    for side in SIZES:
        x, labels = common.imagenet500(given.data, side)
        pictures = np.rint(128 * x.transpose(0, 2, 3, 1) + 127).astype(np.uint8)
        found.append(
            Variant(name=f"input {side}", model=common.LITE, pictures=pictures, x=x, labels=labels, layers=layers)
        )
    return found


def over_layers(variant: Variant, *, threads: int) -> dict[str, Any]:
    """Accuracy of the variant, and MFLOPs on the device and float32 bytes at its layers."""
    with splitpoint.split(variant.model, "input", shapes=variant.shape, threads=threads) as halves:
        top1 = common.right(halves.tail(variant.x), variant.labels).mean()
    names = {layer: name for name, layer in variant.layers.items()}
    rows = common.layers_of(variant.model, variant.shape, names.__contains__)
    common.say(f"{variant.name}: top-1 {common.POINTS * top1:.1f} %")
    return {
        "variant": variant.name,
        "images": len(variant.x),
        "top1": common.rounded(common.POINTS * top1, 2),
        "mflops": rows[-1]["mflops"] / rows[-1]["head_share"],
        "layers": [{**row, "layer": names[row["layer"]]} for row in rows],
    }


def compressed(variant: Variant, layers: Sequence[str], *, threads: int) -> list[dict[str, Any]]:
    """Bytes and accuracy of PCA at the layers and of JPEG of the input; the first pictures fit the codecs."""
    fitted = np.arange(len(variant.x)) % (len(variant.x) // CALIBRATION) == 0
    x, labels, pictures = variant.x[~fitted], variant.labels[~fitted], variant.pictures[~fitted]
    rows: list[dict[str, Any]] = []
    for name in layers:
        with splitpoint.split(
            variant.model, variant.layers[name], calibration=variant.x[fitted], shapes=variant.shape, threads=threads
        ) as halves:
            tensors = halves.head(x)
            before = common.right(halves.tail(tensors), labels)
            for rate in RATES:
                arrived, sent = halves.codec(CODEC, rate).round_trip(tensors)
                after = common.right(halves.tail(arrived), labels)
                rows.append(_row(name, rate, sent, before, after, share=halves.cut.head_share))
    with splitpoint.split(variant.model, "input", shapes=variant.shape, threads=threads) as halves:
        before = common.right(halves.tail(x), labels)
        low, scale = _levels(variant)
        for quality in QUALITIES:
            coded = [_jpeg(picture, quality) for picture in pictures]
            seen = common.to_input(np.stack([picture for picture, _ in coded]), low, scale)
            sent = np.array([size for _, size in coded])
            rows.append(_row("JPEG", f"q {quality}", sent, before, common.right(halves.tail(seen), labels), share=0.0))
    return rows


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """The paper's two."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in found["compressed"]["rows"]:
        curves.setdefault(row["layer"], []).append((row["bytes"], row["top1"]))
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for each in found["variants"]:
        group = groups.setdefault("figure1" if _is_size(each) else "figure1-widths", {})
        points = [(row["bytes"], row["mflops"]) for row in each["layers"]]
        group[f"{each['variant']}: {each['top1']:.1f} %"] = points
    return {
        name: figure.curves(
            group,
            title="Triple trade-off: a point is a layer, a colour a variant with its top-1",
            x="bytes that cross, float32, logarithmic",
            y="MFLOPs on the device",
            logarithmic=True,
            connected=False,
        )
        for name, group in groups.items()
    } | {
        "figure2": figure.curves(
            curves,
            title=f"Compressed layers and JPEG, {found['compressed']['variant']}",
            x="bytes a picture, logarithmic",
            y="top-1, %",
            logarithmic=True,
        ),
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The generated parts of docs/papers/assine.md."""
    best = {name: _fewest(found, name) for name in dict.fromkeys(r["layer"] for r in found["compressed"]["rows"])}
    inside = {name: row for name, row in best.items() if row is not None and name != "JPEG"}
    spot = min(inside.values(), key=lambda row: row["bytes"])
    jpeg, images = best["JPEG"], found["compressed"]["images"]
    against = f"JPEG: {jpeg['bytes']:,.0f} bytes" if jpeg else f"JPEG loses more than {WITHIN:g} point at every quality"
    trained = {"trained": _trained(found["trained"])} if "trained" in found else {}
    return trained | {
        "side by side": common.table(
            ("claim", "paper", f"here: {found['network']}, {found['compressed']['variant']}, {images} pictures"),
            [
                (
                    "compressed layers need fewer bytes than JPEG of the input",
                    "a small fraction",
                    f"{spot['bytes']:,.0f} bytes after {spot['layer']}; {against}",
                ),
                (
                    "the sweet spot is in the middle of the network",
                    "yes (no figures in the text)",
                    f"after {spot['layer']}, {common.POINTS * spot['head_share']:.0f} % of the MACs on the device",
                ),
            ],
        ),
        "variants": common.table(
            ("variant", "pictures", "top-1, %", "MFLOPs in all", "least bytes uncompressed", "at MFLOPs on the device"),
            [_least(each) for each in found["variants"]],
        ),
        "compressed": common.table(
            ("after", "MACs on the device", "coarsest rate within a point", "bytes", "points lost, 95 %"),
            [
                (name, "-", "none", "-", "-")
                if row is None
                else (
                    name,
                    f"{common.POINTS * row['head_share']:.1f} %",
                    row["rate"],
                    f"{row['bytes']:,.0f}",
                    f"{row['lost']:+.1f} ± {row['plus_minus']:.1f}",
                )
                for name, row in best.items()
            ],
        ),
    }


def _is_size(each: Mapping[str, Any]) -> bool:
    """Whether a variant is an input size of EfficientNet-Lite0."""
    return str(each["variant"]).startswith("input ")


def _fewest(found: Mapping[str, Any], layer: str) -> dict[str, Any] | None:
    """The smallest payload there that loses at most a point."""
    rows = [row for row in found["compressed"]["rows"] if row["layer"] == layer and row["lost"] <= WITHIN]
    return min(rows, key=lambda row: row["bytes"], default=None)


def _trained(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = "network", "minutes", "epochs", "pictures seen", "seed", "top-1, %", "bytes of the file", "SHA-256"
    return common.table(
        heads,
        [
            (
                f"width {row['width']:g}",
                f"{row['spent']['minutes']:.1f}",
                row["spent"]["epochs"],
                f"{row['spent']['images']:,}",
                row["seed"],
                f"{row['top1']:.1f}",
                f"{row['bytes']:,}",
                row["sha256"][:16],
            )
            for row in rows
        ],
    )


def _least(each: Mapping[str, Any]) -> tuple[object, ...]:
    row = min(each["layers"], key=lambda row: row["bytes"])
    figures = f"{each['images']:,}", f"{each['top1']:.1f}", f"{each['mflops']:,.3g}"
    return (each["variant"], *figures, f"{row['bytes']:,} after {row['layer']}", f"{row['mflops']:,.3g}")


def _row(layer: str, rate: str, sent: Array, before: Array, after: Array, *, share: float) -> dict[str, Any]:
    top1 = common.rounded(common.POINTS * after.mean(), 2)
    size = common.rounded(sent.mean(), 1)
    common.say(f"{layer}, {rate}: {size:,.0f} bytes, top-1 {top1} %")
    share = common.rounded(share, 4)
    return {
        "layer": layer,
        "rate": rate,
        "bytes": size,
        "top1": top1,
        **common.lost(before, after),
        "head_share": share,
    }


def _levels(variant: Variant) -> tuple[float, float]:
    """What is subtracted from levels 0..255, and what they are divided by."""
    return (0.0, 255.0) if variant.x.shape[1] == 1 else (127.0, 128.0)


def _jpeg(picture: Array, quality: int) -> tuple[Array, int]:
    """The picture (H, W, C) after baseline JPEG, and its bytes."""
    file = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(file, "JPEG", quality=quality)
    size = file.tell()
    with Image.open(file) as image:
        return np.asarray(image).reshape(picture.shape), size


def kept(given: Any) -> dict[str, Any]:
    """What the stored run has besides the widths, and by which command; raises `SystemExit` where there is none."""
    try:
        earlier = common.stored("assine", given.out)
    except FileNotFoundError:
        earlier = {}
    if earlier.get("network") != NETWORK:
        raise SystemExit(
            f"--widths keeps the other parts of {given.out / 'assine.json'}, which is of no run with --data; "
            f"run without --widths"
        )
    run = {name: earlier[name] for name in ("command", "date", "machine", "threads", "seconds", "versions")}
    return {
        "kept": earlier.get("kept", run),
        "network": NETWORK,
        "variants": [each for each in earlier["variants"] if _is_size(each)],
        "compressed": earlier["compressed"],
    }


def measured(given: Any, widest: Variant) -> dict[str, Any]:
    """Input sizes of EfficientNet-Lite0 and its compressed layers; of ``--quick`` those of the `widest` network."""
    variants = [] if given.quick else sizes(given)
    chosen = variants[-1] if variants else widest
    layers = list(chosen.layers) if given.quick else [f"block {i}" for i in BLOCKS] + ["block 15"]
    return {
        "network": "separable convolutions, digits" if given.quick else NETWORK,
        "variants": [over_layers(variant, threads=given.threads) for variant in variants],
        "compressed": {
            "variant": chosen.name,
            "images": len(chosen.x) - len(chosen.x[:: len(chosen.x) // CALIBRATION]),
            "rows": compressed(chosen, layers, threads=given.threads),
        },
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    begin = time.monotonic()
    given = common.options(
        __doc__,
        arguments,
        flags={
            "train": f"--data: train the networks of CIFAR-100 again, about {widths.MINUTES} minutes",
            "widths": "--data: measure the networks of CIFAR-100 alone; what else assine.json has stays in it",
        },
    )
    if given.quick and (given.train or given.widths):
        raise SystemExit("--train and --widths go with --data: --quick trains and measures everything")
    found = kept(given) if given.widths else {}
    if given.train:
        widths.train(given.data, f"{common.command('assine', given)}, {common.today()}")
    variants = of_widths(given)
    found = found or measured(given, variants[-1])
    found["variants"] += [over_layers(variant, threads=given.threads) for variant in variants]
    if not given.quick:
        found["trained"] = [{**row, "bytes": (widths.FOLDER / row["file"]).stat().st_size} for row in widths.manifest()]
    common.save("assine", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
