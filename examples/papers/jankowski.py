"""Jankowski et al., "Deep Joint Transmission-Recognition for Power-Constrained IoT Devices", on networks at hand.

    python -m splitpoint.examples.papers.jankowski --data DIR [--minutes 4]   # VGG16 of half width, CIFAR-100
    python -m splitpoint.examples.papers.jankowski --quick                    # a small network, digits

Channel symbols in place of bits over white noise: accuracy at several SNRs for channel bandwidths (figure 5) and
pruning ratios (figure 4), and bandwidth over on-device computation (figure 3). One codec is trained for 14.5 dB at each
place and ratio and used at every SNR. Each training takes the minutes, each pruned network the minutes more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.planned import planned, task_of

CODEC = "jankowski-jscc"
TRAINED_DB = 14.5  # the paper's SNR of figure 3
SNRS_DB = (0.0, 5.0, 14.5, 25.0)
LINK = "awgn-20db"  # its SNR is replaced
WITHIN = 2.0  # points lost, in figure 3
PAPER_RATIO = 64  # times fewer symbols than values after the last pool, from 512 to 8


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Points lost over the SNR, a curve for each place, ratio and bandwidth."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        series.setdefault(f"{row['variant']}, {row['uses']:g} uses", []).append((row["snr_db"], row["lost"]))
    return {
        "figure5": figure.curves(
            series, title=f"{found['network']}, after {found['rows'][0]['layer']}", x="SNR, dB", y="points lost"
        )
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The part of docs/papers/jankowski.md that this script's own run gives."""
    snrs = list(dict.fromkeys(row["snr_db"] for row in found["rows"]))
    lines = dict.fromkeys((row["variant"], row["rate"], row["uses"]) for row in found["rows"])
    lost = {(row["variant"], row["rate"], row["snr_db"]): row["lost"] for row in found["rows"]}
    return {
        "run": common.table(
            ("network", "rate", "channel uses", *(f"{snr:g} dB" for snr in snrs)),
            [
                (variant, rate, f"{uses:g}", *(f"{lost[variant, rate, snr]:.1f}" for snr in snrs))
                for variant, rate, uses in lines
            ],
        )
    }


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
    """Train, measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments, minutes=4.0)
    layer, ratios = ("7", ()) if given.quick else ("pool4", (0.25,))
    rows = []
    with task_of(given) as task:
        more = {"prune": {"method": "taylor", "ratios": [0.0, *ratios]}} if ratios else {}
        for snr_db in SNRS_DB:
            measured_now = planned(
                task,
                [layer],
                minutes=given.minutes,
                search={"codecs": [CODEC]},
                link=f"{LINK}@{snr_db:g}dB",
                threads=given.threads,
                train={"snr_db": [TRAINED_DB], "pruned": bool(ratios)},
                **more,
            )
            for row in measured_now:
                if row["codec"] == CODEC:
                    rows.append({"snr_db": snr_db, **row})
                    common.say(f"{row['variant']}, {row['uses']} uses, {snr_db:g} dB: {row['lost']} points lost")
    found = {"network": task.name, "images": rows[0]["images"], "minutes": given.minutes, "rows": rows}
    common.save("jankowski", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
