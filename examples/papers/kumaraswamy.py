"""Kumaraswamy et al., "Feature Compression Using Dynamic Switches in Multi-split CNNs", on networks at hand.

    python -m splitpoint.examples.papers.kumaraswamy --data DIR [--train]   # VGG16 of half width, CIFAR-100
    python -m splitpoint.examples.papers.kumaraswamy --quick                # a small network, digits

One switch at a time is trained in a network that stays as it is (table 3, "from pretrained"): 50, 75 and 90 % of the
channels are left out, from one set of weights.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.planned import assets_table, planned, task_of, trained

CODEC = "dynamic-switch"
RATES = ("50 %", "75 %", "90 %")
UNTRAINED = "kltq-ctx"  # the best codec of this project without training
PAPER = {  # tables 1 and 3: points lost at 50, 75 and 90 %, from accuracies in percent
    "ResNet-18, one switch, from scratch (table 3, block 1)": (75.95 - 72.00, 75.95 - 71.89, 75.95 - 71.88),
    "ResNet-18, one switch, from pretrained (table 3, block 1)": (75.95 - 71.66, 75.95 - 71.45, 75.95 - 69.75),
    "ResNet-18, all switches, from scratch (table 1)": (75.95 - 71.93, 75.95 - 71.77, 75.95 - 71.78),
    "MobileNetV2, all switches, from scratch (table 1)": (67.26 - 65.05, 67.26 - 64.95, 67.26 - 65.09),
    "MSDNet, all switches, from scratch (table 1)": (73.79 - 70.05, 73.79 - 69.42, 73.79 - 69.21),
}


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """Bytes and points lost, of each place."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        series.setdefault(row["layer"], []).append((row["bytes"], row["lost"]))
    return {
        "rates": figure.curves(
            series,
            title=f"{found['network']}: a switch after",
            x="bytes, logarithmic",
            y="points lost",
            logarithmic=True,
        )
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The parts of docs/papers/kumaraswamy.md that this script's own run gives."""
    places = {row["layer"]: row["head_share"] for row in found["rows"]}
    return {
        "run": common.table(
            ("switch after", "MACs on the device", *(f"{rate} left out" for rate in RATES)),
            [
                (layer, f"{common.POINTS * share:.0f} %", *(_cell(found, layer, rate) for rate in RATES))
                for layer, share in places.items()
            ],
        ),
        "trained": assets_table(found),
    }


def measured(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The parts from the longer trainings of benchmarks/results."""
    rows: list[tuple[str, ...]] = [
        (name, "CIFAR-100", "-", *(f"{points:.1f}" for points in lost)) for name, lost in PAPER.items()
    ]
    for name, network in (("learned-vgg16", "VGG16, half width"), ("learned-resnet20", "ResNet-20")):
        for cut in dict.fromkeys(row["cut"] for row in results[name]["rows"]):
            for codec, what in ((CODEC, "one switch, from pretrained"), (UNTRAINED, "no training")):
                row = _lost(results[name], cut, codec)
                if row is not None:
                    rows.append((f"{network}, {what}: `{codec}` after {cut}", "here", *row))
    joint = _lost(results["learned-joint"], "blocks.5/Relu", f"{CODEC}, from scratch")
    assert joint is not None
    rows.append((f"ResNet-20, one switch, from scratch: `{CODEC}` after blocks.5/Relu", "here", *joint))
    shared = [
        (each["at"], f"{each['percent_more']:+.1f} % [{each['low']:+.1f}, {each['high']:+.1f}]")
        for each in results["bottleneck-vgg16"]["comparisons"]
        if each["against"] == "one training a rate"
    ]
    return {
        "tables 1 and 3": common.table(
            ("network and switch", "measured", "MACs on the device", *(f"points lost, {rate}" for rate in RATES)), rows
        ),
        "single and joint": _single_and_joint(results["learned-single-joint"]),
        "one a rate, switches": _one_a_rate(results),
        "one a rate": common.table(("at", "bytes of the shared weights beside one training a rate, 95 %"), shared),
    }


def _single_and_joint(found: Mapping[str, Any]) -> str:
    """One training a switch beside one training of all switches: each place, all places, and no switch at work."""
    table: list[tuple[str, ...]] = []
    places = {row["cut"]: row["channels"] for each in found["trainings"] for row in each["rows"]}
    for place, channels in sorted(places.items()):
        for each in found["trainings"]:
            here = {row["rate"]: _points(row) for row in each["rows"] if row["cut"] == place}
            if here:
                table.append((f"{place}, {channels} channels", *_training(each), *(here[rate] for rate in RATES)))
    for each in found["trainings"]:
        if each["all"]:
            cells = {row["rate"]: f"{_interval(row)} (no codec)" for row in each["all"]}
            table.append(("all three at once", *_training(each), *(cells[rate] for rate in RATES)))
    for each in found["trainings"]:
        behind = "all" if len(each["stages"]) > 1 else f"stage {each['stages'][0]} alone"
        table.append((f"none (trained with {behind})", *_training(each), *(_interval(each["none"]),) * len(RATES)))
    headings = ("switch at work after", "switches in the training", "steps", "minutes")
    return common.table((*headings, *(f"points lost, {rate}" for rate in RATES)), table)


def _one_a_rate(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Weights that all rates share beside a training for each of them, of equal minutes each."""
    table: list[tuple[str, ...]] = []
    for name, network in (("vgg16", "VGG16, half width"), ("resnet20", "ResNet-20")):
        rows = results[f"learned-{name}-one-a-rate"]["rows"]
        for codec, how in ((CODEC, "all rates, one training"), (f"{CODEC}, one a rate", "each rate, its own")):
            own = {row["rate"]: row for row in rows if row["codec"] == codec}
            seen = ", ".join(f"{steps:,}" for steps in dict.fromkeys(own[rate]["steps"] for rate in RATES))
            table.append((f"{network} after {rows[0]['cut']}", how, seen, *(_points(own[rate]) for rate in RATES)))
    return common.table(("switch", "trained", "steps", *(f"points lost, {rate}" for rate in RATES)), table)


def _training(each: Mapping[str, Any]) -> tuple[str, str, str]:
    switches = "one" if len(each["stages"]) == 1 else f"all {len(each['stages'])}"
    return switches, f"{each['steps']:,}", f"{each['minutes']:.1f}"


def _lost(found: Mapping[str, Any], cut: str, codec: str) -> tuple[str, ...] | None:
    """Share of the MACs and points lost with bytes: of the switch's rates, or of a codec at no more bytes."""
    own = [row for row in found["rows"] if row["cut"] == cut and row["codec"] == codec]
    if not own:
        return None
    switch = {row["rate"]: row for row in found["rows"] if row["cut"] == cut and row["codec"] in (CODEC, codec)}
    cells = []
    for rate in RATES:
        most = switch[rate]["payload_bytes"]
        fit = [row for row in own if row["payload_bytes"] <= most]
        row = switch[rate] if codec.startswith(CODEC) else max(fit, key=lambda row: row["payload_bytes"], default=None)
        cells.append("none as small" if row is None else _points(row))
    return (f"{common.POINTS * own[0]['head_share']:.0f} %", *cells)


def _points(row: Mapping[str, Any]) -> str:
    return f"{_interval(row)} ({row['payload_bytes']:,.0f} bytes)"


def _interval(row: Mapping[str, Any]) -> str:
    return f"{row['drop_points']:.1f} [{row['drop_low']:.1f}, {row['drop_high']:.1f}]"


def _cell(found: Mapping[str, Any], layer: str, rate: str) -> str:
    (row,) = (row for row in found["rows"] if (row["layer"], row["rate"]) == (layer, rate))
    return f"{row['lost']:.1f} [{row['low']:.1f}, {row['high']:.1f}] ({row['bytes']:,.0f} bytes)"


def main(arguments: Sequence[str]) -> None:
    """Load or train, measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments, minutes=4.0, trainings=3)
    layers = ("4", "7") if given.quick else ("pool2", "pool3", "pool4")
    with task_of(given) as task:
        made = trained("kumaraswamy", given, task, layers, CODEC)
        rows = [
            row for row in planned("kumaraswamy", given, task, layers, {"codecs": [CODEC]}) if row["codec"] == CODEC
        ]
    for row in rows:
        common.say(f"{row['layer']}, {row['rate']}: {row['bytes']} bytes, {row['lost']} points lost")
    found = {"network": task.name, "images": rows[0]["images"], "trained": made, "rows": rows}
    common.save("kumaraswamy", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
