"""The five papers beside each other and beside the best of this project, on one task.

    python -m splitpoint.examples.papers.compare --data DIR   # VGG16 of half width, CIFAR-100
    python -m splitpoint.examples.papers.compare --quick      # a small network, digits

What needs no training is measured here: after several pools, the coarsest rate of each codec that loses at most a point
on some pictures, judged by others. Trained codecs come from the longer trainings of benchmarks/results.
"""

from __future__ import annotations

import dataclasses
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

import splitpoint
from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.common import Array

CODECS: Mapping[str, tuple[str, tuple[str, ...]]] = {  # name -> paper, its rates, coarsest first
    "brito-sq": ("Brito", tuple(f"{bits} bit" for bits in range(2, 9))),
    "brito-tcq": ("Brito", tuple(f"{bits} bit" for bits in range(1, 9))),
    "assine-pca": ("Assine", tuple(f"{bits} bit" for bits in range(2, 9))),
    "kltq-ctx": ("this project", tuple(f"q{rate}" for rate in range(1, 15))),
}
QUALITIES = (50, 65, 75, 85, 90, 92, 95, 97, 100)  # of JPEG
CALIBRATION, PICTURES = 500, 2500  # pictures; a quarter of them chooses rates, the others judge
WITHIN = 1.0  # points lost
SNR_DB = 14.5  # of Jankowski's symbols
STRIDED = (
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
)  # benchmarks/strided.py's channels, strides
Send = Callable[[str, Array], tuple[Array, Array]]  # rate and indices of pictures -> right answers, bytes of each
STRIDED_CUT = "3"  # its fourth convolution


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pictures:
    """Labelled pictures (N, H, W, C) uint8, and as the network takes them; some choose a rate, the others judge it."""

    pictures: Array
    x: Array
    labels: Array
    chosen_on: Array  # (N,) bool

    @property
    def rows(self) -> tuple[Array, Array]:
        """Indices of the pictures to choose on, and of those to judge by."""
        return np.flatnonzero(self.chosen_on), np.flatnonzero(~self.chosen_on)


def at_layer(model: Any, layer: str, data: Pictures, calibration: Array, *, threads: int) -> list[dict[str, Any]]:
    """Every codec at the rate that `_chosen` finds."""
    rows = []
    shape = (1, *data.x.shape[1:])
    with splitpoint.split(model, layer, calibration=calibration, shapes=shape, threads=threads) as halves:
        tensors = halves.head(data.x)
        before = common.right(halves.tail(tensors), data.labels)
        for name, (paper, rates) in CODECS.items():

            def send(rate: str, picked: Array, name: str = name) -> tuple[Array, Array]:
                arrived, sizes = halves.codec(name, rate).round_trip(tensors[picked])
                return common.right(halves.tail(arrived), data.labels[picked]), sizes

            share = common.rounded(halves.cut.head_share, 4)
            place = {"paper": paper, "codec": name, "layer": layer, "head_share": share}
            rows.append({**place, **_chosen(rates, data, before, send)})
            common.say(
                f"{layer}, {name} {rows[-1]['rate']}: {rows[-1]['bytes']:,.0f} bytes, {rows[-1]['lost']} points lost"
            )
    return rows


def of_picture(model: Any, data: Pictures, *, threads: int) -> dict[str, Any]:
    """JPEG of the picture, all on the server."""
    single = data.pictures.shape[-1] == 1
    mean, std = (0.0, 255.0) if single else (np.multiply(common.MEAN, 255), np.multiply(common.STD, 255))
    with splitpoint.split(model, "input", shapes=(1, *data.x.shape[1:]), threads=threads) as halves:
        before = common.right(halves.tail(data.x), data.labels)

        def send(rate: str, picked: Array) -> tuple[Array, Array]:
            files = [io.BytesIO() for _ in picked]
            for file, picture in zip(files, data.pictures[picked], strict=True):
                quality = int(rate.removeprefix("q "))
                Image.fromarray(picture.squeeze(-1) if single else picture).save(file, "JPEG", quality=quality)
            seen = np.stack([np.asarray(Image.open(file)) for file in files]).reshape(data.pictures[picked].shape)
            after = common.right(halves.tail(common.to_input(seen, mean, std)), data.labels[picked])
            return after, np.array([len(file.getvalue()) for file in files])

        row = _chosen([f"q {quality}" for quality in QUALITIES], data, before, send)
    common.say(f"JPEG {row['rate']}: {row['bytes']:,.0f} bytes, {row['lost']} points lost")
    return {"paper": "no split", "codec": "JPEG of the picture", "layer": "input", "head_share": 0.0, **row}


def _chosen(rates: Sequence[str], data: Pictures, before: Array, send: Send) -> dict[str, Any]:
    """The coarsest rate that loses at most a point where it is chosen, else the finest; the others judge it."""
    choose, judge = data.rows
    for rate in rates:
        seen = common.lost(before[choose], send(rate, choose)[0])["lost"]
        if seen <= WITHIN:
            break
    after, sizes = send(rate, judge)
    size = common.rounded(sizes.mean(), 1)
    return {"rate": rate, "bytes": size, "lost_where_chosen": seen, **common.lost(before[judge], after)}


def strided_share() -> float:
    """The share of the multiply-adds before the cut of the network on which Choi's prediction was trained."""
    from torch import nn

    module, channels = nn.Sequential(), 3
    for number, (width, stride) in enumerate(STRIDED):
        module.add_module(f"{number}", nn.Conv2d(channels, width, 3, stride, padding=1))
        channels = width
    module.add_module("pool", nn.AdaptiveAvgPool2d(1))
    module.add_module("flatten", nn.Flatten())
    module.add_module("dense", nn.Linear(channels, 100))
    rows = common.layers_of(module.eval(), (1, 3, 32, 32), lambda layer: layer == STRIDED_CUT)
    return float(rows[0]["head_share"])


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Bytes within a point over the share of the multiply-adds on the device."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        share = common.POINTS * row["head_share"]
        series.setdefault(row["codec"], []).append((share, math.log10(row["bytes"])))
    return {
        "bytes": figure.curves(
            series,
            title=f"{found['network']}: rates chosen for at most {WITHIN:g} point lost",
            x="share of the MACs on the device, %",
            y="bytes a picture, log10",
        )
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The untrained rows."""
    return {"untrained": common.table(HEADS, [_line(row) for row in _sorted(found["rows"])])}


HEADS = ("method", "after", "MACs on the device", "bytes", "rate", "points lost, 95 %", "source")


def measured(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """All methods together, and what others published."""
    return {
        "together": common.table(HEADS, _together(results)),
        "published": common.table(
            ("method", "network, data", "MACs on the device", "bytes", "result", ""),
            [
                ("Duan and Zhu 2022", "ResNet-50, ImageNet", "23 %", "7,269", "75.20 % top-1", NOT_RUN),
                ("Duan and Zhu 2022", "ResNet-50, ImageNet", "12 %", "4,575", "74.90 % top-1", NOT_RUN),
                ("FCM (MPEG)", "several", "not given", "-85 %", "against coded pictures, equal accuracy", NOT_RUN),
            ],
        ),
    }


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The table of README.md: the places at which most methods were measured, and the picture."""
    places = ("input", "pool3", "pool4")
    lines = [line for line in _together(results) if line[1] in places]
    lines.sort(key=lambda line: places.index(line[1]))
    return common.table(HEADS[:4] + HEADS[5:6], [(*line[:4], line[5]) for line in lines])


def _together(results: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """This script's rows and, of the trained methods, the coarsest rate within a point, by place and method."""
    own = results["compare"]
    lines: list[tuple[float, tuple[str, ...]]] = [
        (row["head_share"], (*_line(row)[:-1], "compare.json")) for row in own["rows"]
    ]
    switch = results["learned-vgg16"]["rows"]
    for cut in dict.fromkeys(row["cut"] for row in switch):
        rows = [row for row in switch if row["cut"] == cut and row["codec"] == "dynamic-switch"]
        lines.append(_trained("Kumaraswamy: `dynamic-switch`", cut, rows, rows[0]["head_share"], "learned-vgg16.json"))
    rows = [row for row in results["bottleneck-vgg16"]["rows"] if row["codec"] == "rate-bottleneck"]
    name = "this project: `rate-bottleneck`"
    lines.append(_trained(name, rows[0]["cut"], rows, rows[0]["head_share"], "bottleneck-vgg16.json"))
    joint = [
        {**row, "payload_bytes": row["uses"] * _bits_a_use() / 8}
        for row in results["jscc-vgg16"]["rows"]
        if (row["codec"], row["snr_db"], row["ratio"]) == ("jankowski-jscc", SNR_DB, 0.0)
    ]
    whole = results["brito"]["networks"]["VGG16, half width"]["layers"][-1]
    share = joint[0]["head_macs"] / (whole["mflops"] * 1e6 / 2 / whole["head_share"])
    share_, line = _trained("Jankowski: `jankowski-jscc`", "features.33/MaxPool", joint, share, "jscc-vgg16.json")
    uses = next(row["uses"] for row in joint if row["rate"] == line[4])
    lines.append((share_, (*line[:3], f"{uses:.0f} uses, which carry {line[3]} bytes at capacity", *line[4:])))
    baf = [
        {**row, **dict(zip(("drop_points", "drop_low", "drop_high"), row["figures"]["top-1 lost"], strict=True))}
        for row in results["back-and-forth-strided"]["rows"]
        if row["codec"] == "choi-baf"
    ]
    name = "Choi: `choi-baf`, another network (plain, strided)"
    lines.append(_trained(name, baf[0]["cut"], baf, own["strided_share"], "back-and-forth-strided.json"))
    return [line for _, line in sorted(lines, key=lambda each: (each[0], each[1][0]))]


NOT_RUN = "published, not run here"


def _trained(
    name: str, cut: str, rows: Sequence[Mapping[str, Any]], share: float, source: str
) -> tuple[float, tuple[str, ...]]:
    """The smallest payload within a point, else the one that loses least."""
    good = [row for row in rows if row["drop_points"] <= WITHIN]
    row = min(good, key=lambda r: r["payload_bytes"]) if good else min(rows, key=lambda r: r["drop_points"])
    drop = f"{row['drop_points']:+.1f} [{row['drop_low']:+.1f}, {row['drop_high']:+.1f}]"
    size = f"{row['payload_bytes']:,.0f}"
    place = POOLS.get(cut, cut)
    return share, (name, place, f"{common.POINTS * share:.1f} %", size, row["rate"], drop, source)


POOLS = {f"features.{6 + at}/MaxPool": f"pool{n}" for n, at in ((1, 0), (2, 7), (3, 17), (4, 27))}


def _bits_a_use() -> float:
    """Shannon's capacity of a real symbol over white noise; Jankowski, section 2.1."""
    return 0.5 * math.log2(1 + 10 ** (SNR_DB / 10))


def _sorted(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(rows, key=lambda row: (row["head_share"], row["codec"]))


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    drop = f"{row['lost']:+.1f} ± {row['plus_minus']:.1f}"
    name = row["codec"] if row["paper"] == "no split" else f"{row['paper']}: `{row['codec']}`"
    figures = f"{common.POINTS * row['head_share']:.1f} %", f"{row['bytes']:,.0f}", row["rate"]
    return (name, row["layer"], *figures, drop, "this run")


def main(arguments: Sequence[str]) -> None:
    """Measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments)
    layers: Sequence[str]
    if given.quick:
        model, layers = common.example("digits").model(), ("4", "7")
        calibration, (x, labels) = common.digits("training")[0][:100], common.digits("data")
        x, labels, every = x[:300], labels[:300], 3
        pictures = np.rint(255 * x).astype(np.uint8).transpose(0, 2, 3, 1)
    else:
        model, layers = common.vgg16(given.data), ("pool1", "pool2", "pool3", "pool4")
        train, (pictures, labels) = common.cifar100(given.data, "train")[0], common.cifar100(given.data, "val")
        picked = np.random.default_rng(0).choice(len(train), CALIBRATION, replace=False)
        calibration, step, every = common.cifar_input(train[picked]), len(pictures) // PICTURES, 4
        pictures, labels = pictures[::step], labels[::step]
        x = common.cifar_input(pictures)
    data = Pictures(pictures=pictures, x=x, labels=labels, chosen_on=np.arange(len(x)) % every == 0)
    rows = [of_picture(model, data, threads=given.threads)]
    for layer in layers:
        rows += at_layer(model, layer, data, calibration, threads=given.threads)
    name = "digits" if given.quick else "VGG16, half width"
    found = {
        "network": name,
        "images": len(data.rows[1]),
        "chosen_on": len(data.rows[0]),
        "strided_share": strided_share(),
        "rows": rows,
    }
    common.save("compare", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
