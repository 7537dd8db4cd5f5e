"""Jankowski et al., "Deep Joint Transmission-Recognition for Power-Constrained IoT Devices", on networks at hand.

    python -m splitpoint.examples.papers.jankowski --data DIR [--train]   # VGG16 of half width, CIFAR-100
    python -m splitpoint.examples.papers.jankowski --quick                # a small network, digits

Channel symbols in place of bits over white noise: bandwidth over on-device computation (figure 3), and accuracy at
several SNRs for channel bandwidths (figure 5). A codec is trained for 14.5 dB at each place and used at every SNR.
Pruned heads (figure 4) are trained by benchmarks/jscc.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.planned import INPUT, assets_table, planned, task_of, trained

CODEC = "jankowski-jscc"
BITS = "kltq-ctx"  # the best codec of this project without training
COMPARED = (BITS, "png", "jpeg")  # whose bits take uses at capacity
TRAINED_DB = 14.5  # the paper's SNR of figure 3
SNRS_DB = (0.0, 5.0, 14.5, 25.0)
LINK = "awgn-20db"  # its SNR is replaced
WITHIN = 2.0  # points lost, in figure 3
PAPER_RATIO = 64  # times fewer symbols than values after the last pool, from 512 to 8


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Uses and computation on the device within two points, and points lost over the SNR after the last layer."""
    fewest: dict[str, list[tuple[float, float]]] = {}
    for (_, codec), row in _fewest(found).items():
        fewest.setdefault(codec, []).append((row["uses"], common.POINTS * row["head_share"]))
    series: dict[str, list[tuple[float, float]]] = {}
    last = found["rows"][0]["layer"]
    for row in found["rows"]:
        if (row["codec"], row["layer"]) == (CODEC, last):
            series.setdefault(f"{row['uses']:g} uses", []).append((row["snr_db"], row["lost"]))
    return {
        "figure3": figure.curves(
            fewest,
            title=f"{found['network']}, {TRAINED_DB:g} dB: at most {WITHIN:g} points lost",
            x="channel uses, logarithmic",
            y="multiply-adds on the device, %",
            logarithmic=True,
        ),
        "figure5": figure.curves(series, title=f"{found['network']}, after {last}", x="SNR, dB", y="points lost"),
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The parts of docs/papers/jankowski.md that this script's own run gives."""
    rows = [row for row in found["rows"] if row["codec"] == CODEC]
    snrs = list(dict.fromkeys(row["snr_db"] for row in rows))
    lines = dict.fromkeys((row["layer"], row["rate"], row["uses"]) for row in rows)
    lost = {(row["layer"], row["rate"], row["snr_db"]): row["lost"] for row in rows}
    return {
        "run": common.table(
            ("after", "rate", "channel uses", *(f"{snr:g} dB" for snr in snrs)),
            [
                (layer, rate, f"{uses:g}", *(f"{lost[layer, rate, snr]:.1f}" for snr in snrs))
                for layer, rate, uses in lines
            ],
        ),
        "run, figure 3": common.table(
            ("sent", "as", "MACs on the device", "channel uses", "rate", "points lost, 95 %"),
            [
                (
                    layer if layer == INPUT else f"after {layer}",
                    f"`{codec}`",
                    f"{common.POINTS * row['head_share']:.0f} %",
                    f"{row['uses']:,.0f}",
                    row["rate"],
                    f"{row['lost']:.1f} [{row['low']:.1f}, {row['high']:.1f}]",
                )
                for (layer, codec), row in _fewest(found).items()
            ],
        ),
        "trained": assets_table(found),
    }


def _fewest(found: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """By place and codec: the fewest channel uses that lose no more than two points at the SNR of the training."""
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in found["rows"]:
        if row["snr_db"] == TRAINED_DB and row["lost"] <= WITHIN:
            place = row["layer"], row["codec"]
            best[place] = min(best.get(place, row), row, key=lambda each: float(each["uses"]))
    return best


def measured(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The parts from the longer trainings of benchmarks/results."""
    found = results["jscc-vgg16"]
    rows, whole = found["rows"], _whole_macs(results)
    at = [row for row in rows if row["snr_db"] == TRAINED_DB]
    joint = [row for row in at if row["codec"] == CODEC]
    fewest = []
    for what, mine in {
        "PNG of the picture": [row for row in at if row["codec"] == "png"],
        "JPEG of the picture": [row for row in at if row["codec"] == "jpeg"],
        "`kltq-ctx` after pool 4, capacity": [r for r in at if r["codec"] == "kltq-ctx" and r["ratio"] == 0],
        f"`{CODEC}` after pool 4": [row for row in joint if row["ratio"] == 0],
        f"`{CODEC}` after pool 4, a quarter pruned": [row for row in joint if row["ratio"] == 0.25],
    }.items():
        good = [row for row in mine if row["drop_points"] <= WITHIN]
        if good:
            row = min(good, key=lambda row: row["uses"])
            share = f"{row['head_macs'] / 1e6:.1f} M ({common.POINTS * row['head_macs'] / whole:.0f} %)"
            fewest.append((what, share, f"{row['uses']:,.0f}", row["rate"], _points(row)))
    curves = sorted(
        {(row["ratio"], row["uses"]) for row in rows if row["codec"] == CODEC}, key=lambda each: (each[0], each[1])
    )
    snrs = sorted({row["snr_db"] for row in rows if row["codec"] == CODEC})
    drops = {(r["ratio"], r["uses"], r["snr_db"]): r["drop_points"] for r in rows if r["codec"] == CODEC}
    values = 256 * 2 * 2  # after pool 4
    smallest = min((row for row in joint if row["drop_points"] <= WITHIN), key=lambda row: row["uses"])
    return {
        "figure 3": common.table(
            ("what is sent", "multiply-adds on the device", "channel uses", "rate", "points lost, 95 %"), fewest
        ),
        "figures 4 and 5": common.table(
            ("filters removed", "channel uses", *(f"{snr:g} dB" for snr in snrs)),
            [
                (f"{common.POINTS * ratio:.0f} %", f"{uses:.0f}", *(f"{drops[ratio, uses, snr]:.1f}" for snr in snrs))
                for ratio, uses in curves
            ],
        ),
        "side by side": common.table(
            ("claim", "paper (VGG16, CIFAR-100)", "here (VGG16 of half width, CIFAR-100)"),
            [
                (
                    "fewer symbols than values, at most 2 points lost, 14.5 dB",
                    f"{PAPER_RATIO} times, after pool 5 (512 to 8)",
                    f"{values / smallest['uses']:.0f} times, after pool 4 ({values:,} to {smallest['uses']:.0f})",
                ),
                ("joint coding needs fewer uses than bits at capacity", "by a large margin", _margin(fewest)),
            ],
        ),
    }


def _whole_macs(results: Mapping[str, Mapping[str, Any]]) -> float:
    """Multiply-adds of the network, half of its FLOPs: those before its last layer over their share."""
    row = results["brito"]["networks"]["VGG16, half width"]["layers"][-1]
    return float(row["mflops"] * 1e6 / 2 / row["head_share"])


def _margin(fewest: Sequence[tuple[str, ...]]) -> str:
    uses = {what: float(count.replace(",", "")) for what, _, count, _, _ in fewest}
    ours, bits = uses[f"`{CODEC}` after pool 4"], uses["`kltq-ctx` after pool 4, capacity"]
    return f"{bits / ours:.0f} times: {ours:.0f} against {bits:.0f}"


def _points(row: Mapping[str, Any]) -> str:
    return f"{row['drop_points']:.1f} [{row['drop_low']:.1f}, {row['drop_high']:.1f}]"


def main(arguments: Sequence[str]) -> None:
    """Load or train, measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments, minutes=6.0, trainings=2)
    layers = ("7",) if given.quick else ("pool4", "pool3")
    rows, train = [], {"snr_db": [TRAINED_DB]}
    with task_of(given) as task:
        made = trained("jankowski", given, task, layers, CODEC, train=train, link=f"{LINK}@{TRAINED_DB:g}dB")
        for snr_db in SNRS_DB:
            codecs = [CODEC, BITS] if snr_db == TRAINED_DB else [CODEC]
            link = f"{LINK}@{snr_db:g}dB"
            for row in planned("jankowski", given, task, layers, {"codecs": codecs}, train=train, link=link):
                if row["codec"] == CODEC or (row["codec"] in COMPARED and snr_db == TRAINED_DB):
                    rows.append({"snr_db": snr_db, **row})
                    common.say(f"{row['layer']}, {row['codec']} {row['rate']}, {snr_db:g} dB: {row['lost']} points")
    rows.sort(key=lambda row: [*layers, INPUT].index(row["layer"]))
    found = {"network": task.name, "images": rows[0]["images"], "trained": made, "rows": rows}
    common.save("jankowski", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
