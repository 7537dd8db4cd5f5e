"""Choi et al., "Back-and-Forth Prediction for Deep Tensor Compression", on networks at hand.

    python -m splitpoint.examples.papers.choi --data DIR [--train]   # YOLOX-Nano, COCO pictures
    python -m splitpoint.examples.papers.choi --quick                # a small network, digits

Back-and-Forth prediction from an eighth and a quarter of the channels (figure 3), and what n = 2 to 8 bits cost with
the lossless picture coders on all channels, and on a quarter of them predicted linearly (figure 4). HEVC is measured
where PyAV is installed. The network is cut between a convolution and its activation and is not trained.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from splitpoint.examples.papers import common, figure
from splitpoint.examples.papers.planned import Task, assets_table, planned, task_of, trained

CODEC = "choi-baf"
COMPARED = ("choi-tiles-webp", "tiles-webp", "kltq-ctx")
PICTURES = ("png", "jpeg")  # of the input
HEVC = "lossy-tiles-hevc"
DARK3 = "Conv_73"  # of YOLOX-Nano: the 1x1 convolution behind the depthwise one of stride 2 that opens its stage dark3
PAPER_MAP = 55.85  # %, of the paper's YOLO-v3, unsplit
PAPER = {"all 256": PAPER_MAP, "128": 55.85, "64": 55.26}  # figure 3, as the text gives it: channels -> mAP
PAPER_SAVED = {1: 62, 2: 75}  # points of mAP lost at most -> % fewer bytes than the coded picture, with HEVC


def detector(given: Any) -> Task:
    """YOLOX-Nano, judged on coco/val2017 with its boxes and trained, without them, on coco/train2017."""
    coco = given.data / "coco"
    block = {"kind": "image", "size": 416, "letterbox": 114, "letterbox_at": "corner", "color": "bgr"}
    return Task(
        name="YOLOX-Nano",
        model=str(given.data / "models" / "yolox_nano.onnx"),
        shape=(1, 3, 416, 416),
        data=str(coco / "val2017"),
        training=str(coco / "train2017" / "images"),
        input=block,
    )


def figures(found: Mapping[str, Any]) -> dict[str, str]:
    """The metric over channels, a curve a number of bits, and over bytes, a curve a codec."""
    channels: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        if row["codec"] == CODEC:
            share, _, bits = row["rate"].partition(" at ")
            channels.setdefault(f"{bits} bit", []).append((common.POINTS / int(share[2:]), row["value"]))
        elif row["codec"] == "tiles-webp" and row["rate"] in channels:
            channels[row["rate"]].append((common.POINTS, row["value"]))
    series: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        series.setdefault(row["codec"], []).append((row["bytes"], row["value"]))
    return {
        "figure3": figure.curves(
            channels, title=f"{found['network']}: {CODEC}, and all channels", x="channels, %", y=found["metric"]
        ),
        "figure4": figure.curves(
            series,
            title=f"{found['network']}, between the convolution and its activation",
            x="bytes, logarithmic",
            y=found["metric"],
            logarithmic=True,
        ),
    }


def tables(found: Mapping[str, Any]) -> dict[str, str]:
    """The parts of docs/papers/choi.md that this script's own run gives."""
    return {
        "run": common.table(
            ("codec", "rate", "bytes", found["metric"], "points lost, 95 %"),
            [
                (
                    f"`{row['codec']}`",
                    row["rate"],
                    f"{row['bytes']:,.0f}",
                    f"{row['value']:.1f}",
                    f"{row['lost']:.1f} [{row['low']:.1f}, {row['high']:.1f}]",
                )
                for row in found["rows"]
            ],
        ),
        "trained": assets_table(found),
    }


def measured(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The parts from the longer trainings of benchmarks/results."""
    return {
        "side by side": _side_by_side(results),
        "figure 3": common.table(
            ("network", "channels", *COLUMNS, "points lost, 95 %", "mAP@0.5 or top-1, %"),
            [row for name in NETWORKS for row in _lossless(name, results[f"choi-channels-{NETWORKS[name]}"])],
        ),
        "figure 4": common.table(
            ("network", "channels at bits", *COLUMNS, "points lost, 95 %", "mAP@0.5 or top-1, %"),
            [row for name in NETWORKS for row in _lossless(name, results[f"choi-bits-{NETWORKS[name]}"], whole=False)],
        ),
        "figure 4, HEVC": common.table(
            ("network", "6 bits, HEVC at", "bytes", "points lost, 95 %", "mAP@0.5 or top-1, %"),
            [
                (name, row["rate"].partition(", ")[2], f"{row['payload_bytes']:,.0f}", *_quality(row))
                for name in NETWORKS
                for row in results[f"choi-bits-{NETWORKS[name]}"]["rows"]
                if row["codec"] == f"{CODEC}, hevc"
            ],
        ),
        "others": common.table(
            ("codec", "rate", "bytes", "points lost, 95 %", "mAP@0.5, %"),
            [
                (f"`{row['codec']}`", row["rate"], f"{row['payload_bytes']:,.0f}", *_quality(row))
                for row in results["back-and-forth-yolox-nano"]["rows"]
                if row["cut"] in (DARK3, "input") and row["codec"] != CODEC
            ],
        ),
    }


NETWORKS = {"YOLOX-Nano, dark3": "yolox-nano", "plain, strided": "strided"}
COLUMNS = ("WebP, bytes", "PNG", "JPEG XL")
CODERS = tuple(f"{CODEC}, {kind}" for kind in ("webp", "png", "jxl"))


def _lossless(name: str, found: Mapping[str, Any], *, whole: bool = True) -> list[tuple[str, ...]]:
    """A row a rate, with the bytes of every coder; the unsplit network's own figure in front."""
    unsplit, *rows = found["rows"]
    lines: list[tuple[str, ...]] = [(name, "unsplit", "-", "-", "-", "-", _quality(unsplit)[1])] if whole else []
    for rate in dict.fromkeys(row["rate"] for row in rows if row["codec"] in CODERS):
        own = {row["codec"]: row for row in rows if row["rate"] == rate}
        sizes = [f"{own[coder]['payload_bytes']:,.0f}" if coder in own else "not run" for coder in CODERS]
        lines.append((name, rate, *sizes, *_quality(own[CODERS[0]])))
    return lines


def _side_by_side(results: Mapping[str, Mapping[str, Any]]) -> str:
    channels = {name: results[f"choi-channels-{short}"] for name, short in NETWORKS.items()}
    bits = {name: results[f"choi-bits-{short}"] for name, short in NETWORKS.items()}
    quarter = {name: _of(found, CODERS[0], "1/4 at 8") for name, found in channels.items()}
    half = {name: _of(found, CODERS[0], "1/2 at 8") for name, found in channels.items()}
    detector, plain = NETWORKS
    jpeg = {
        detector: results["back-and-forth-yolox-nano"]["rows"],
        plain: results["back-and-forth-strided"]["rows"],
    }
    return common.table(
        ("claim", "paper (YOLO-v3, 256 channels)", *NETWORKS),
        [
            (
                "half of the channels at 8 bits lose nothing",
                f"mAP {PAPER_MAP} to {PAPER['128']}",
                *(_before_after(channels[name], half[name]) for name in NETWORKS),
            ),
            (
                "a quarter of the channels at 8 bits is nearly lossless",
                f"mAP {PAPER_MAP} to {PAPER['64']}",
                *(_before_after(channels[name], quarter[name]) for name in NETWORKS),
            ),
            *(
                (
                    f"fewer bytes than the coded picture, {points} point{'s' if points > 1 else ''} lost at most",
                    f"-{saved} %",
                    *(_beside_picture([*channels[n]["rows"], *bits[n]["rows"]], jpeg[n], points) for n in NETWORKS),
                )
                for points, saved in PAPER_SAVED.items()
            ),
        ],
    )


def _of(found: Mapping[str, Any], codec: str, rate: str) -> Mapping[str, Any]:
    return next(row for row in found["rows"] if (row["codec"], row["rate"]) == (codec, rate))


def _against(row: Mapping[str, Any]) -> float:
    """The figure against the labels, in percent: mAP at IoU 0.5, or top-1."""
    own = row["figures"]
    return float((own["mAP@0.5"] if "mAP@0.5" in own else own["top-1"])[0])


def _quality(row: Mapping[str, Any]) -> tuple[str, str]:
    """What is lost, F1 of the unsplit network's boxes or top-1, and the figure against the labels."""
    own = row["figures"]
    lost = "F1 lost" if "F1 lost" in own else "top-1 lost"
    return f"{_interval(own[lost])} ({lost.removesuffix(' lost')})", f"{_against(row):.1f}"


def _interval(figures: Sequence[float]) -> str:
    return f"{figures[0]:.1f} [{figures[1]:.1f}, {figures[2]:.1f}]"


def _before_after(found: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    what = "mAP" if "mAP@0.5" in row["figures"] else "top-1"
    return f"{what} {_against(found['rows'][0]):.1f} to {_against(row):.1f}"


def _beside_picture(ours: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]], points: int) -> str:
    """The smallest prediction and the smallest JPEG of the picture whose mAP or top-1 falls by at most so much."""
    whole = next(_against(row) for row in ours if row["codec"] == "unsplit")
    sizes = []
    for name, rows in ((CODEC, ours), ("jpeg", others)):
        good = [r for r in rows if r["codec"].startswith(name) and whole - _against(r) <= points]
        sizes.append(min((row["payload_bytes"] for row in good), default=None))
    best, jpeg = sizes
    if best is None or jpeg is None:
        return f"no rate of {CODEC if best is None else 'JPEG'}"
    return f"{best:,.0f} against {jpeg:,.0f} bytes: {common.POINTS * (best / jpeg - 1):+.0f} %"


def main(arguments: Sequence[str]) -> None:
    """Load or train, measure and store."""
    begin, given = time.monotonic(), common.options(__doc__, arguments, minutes=8.0)
    codecs = [CODEC, *COMPARED, *([HEVC] if importlib.util.find_spec("av") else [])]
    layer = "2" if given.quick else DARK3
    with contextlib.nullcontext(None) if not given.quick else task_of(given) as digits:
        task = digits or detector(given)
        use = "classify" if given.quick else {"name": "detect", "decode": "yolox"}
        made = trained("choi", given, task, [layer], CODEC, use=use)
        rows = planned("choi", given, task, [layer], {"codecs": codecs}, use=use)
    rows = [{**row, "value": row.pop("top1")} for row in rows if row["codec"] in (*codecs, *PICTURES)]
    for row in rows:
        common.say(f"{row['codec']} {row['rate']}: {row['bytes']:,.0f} bytes, {row['lost']} points lost")
    found = {
        "network": task.name,
        "metric": "top-1, %" if given.quick else "F1, %",
        "images": rows[0]["images"],
        "trained": made,
        "rows": rows,
    }
    common.save("choi", found, figures(found), given, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(sys.argv[1:])
