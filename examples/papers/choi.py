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
PAPER_SAVED = {"within 1 %": 62, "within 2 %": 75}  # % fewer bytes than the coded picture, with HEVC


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
    yolo, strided = results["back-and-forth-yolox-nano"], results["back-and-forth-strided"]
    whole = next(row for row in yolo["rows"] if row["codec"] == "unsplit")["figures"]["mAP@0.5"][0]
    quarter = [_of(yolo, cut, CODEC, "1/4 at 8")["figures"]["mAP@0.5"][0] for cut in ("Conv_47", DARK3)]
    plain = _of(strided, "features.10/Conv", CODEC, "1/4 at 8")["figures"]["top-1 lost"]
    return {
        "side by side": common.table(
            ("claim", "paper (YOLO-v3, 256 channels)", "here"),
            [
                (
                    "a quarter of the channels at 8 bits is nearly lossless",
                    f"mAP {PAPER_MAP} to {PAPER['64']}",
                    f"YOLOX-Nano, 32 and 64 channels: mAP {whole:.1f} to {quarter[0]:.1f} and {quarter[1]:.1f}; "
                    f"a plain CIFAR-100 network, 128 channels: {_interval(plain)} points of top-1 lost",
                ),
                (
                    "fewer bytes than the coded picture",
                    ", ".join(f"-{saved} % {what}" for what, saved in PAPER_SAVED.items()),
                    _beside_picture(strided),
                ),
            ],
        ),
        "figure 3": common.table(
            ("network, after", "channels at bits", "bytes", "lost", "mAP@0.5 or top-1, %"),
            [
                (f"{name}, {row['cut']}", row["rate"], f"{row['payload_bytes']:,.0f}", *_quality(row))
                for name, found in (("YOLOX-Nano", yolo), ("plain, strided", strided))
                for row in found["rows"]
                if row["codec"] == CODEC
            ],
        ),
        "figure 4": common.table(
            ("codec", "rate", "bytes", "lost", "mAP@0.5, %"),
            [
                (f"`{row['codec']}`", row["rate"], f"{row['payload_bytes']:,.0f}", *_quality(row))
                for row in yolo["rows"]
                if row["cut"] in (DARK3, "input") and row["codec"] != CODEC
            ],
        ),
    }


def _of(found: Mapping[str, Any], cut: str, codec: str, rate: str) -> Mapping[str, Any]:
    return next(r for r in found["rows"] if (r["cut"], r["codec"], r["rate"]) == (cut, codec, rate))


def _quality(row: Mapping[str, Any]) -> tuple[str, str]:
    """What is lost, F1 of the unsplit network's boxes or top-1, and the figure against the labels."""
    own = row["figures"]
    lost = "F1 lost" if "F1 lost" in own else "top-1 lost"
    against = own["mAP@0.5"] if "mAP@0.5" in own else own["top-1"]
    return f"{_interval(own[lost])} ({lost.removesuffix(' lost')})", f"{against[0]:.1f}"


def _interval(figures: Sequence[float]) -> str:
    return f"{figures[0]:.1f} [{figures[1]:.1f}, {figures[2]:.1f}]"


def _beside_picture(found: Mapping[str, Any]) -> str:
    """On the plain network: the smallest prediction and the smallest JPEG that lose at most a point."""
    best = {}
    for codec in (CODEC, "jpeg"):
        good = [r for r in found["rows"] if r["codec"] == codec and r["figures"]["top-1 lost"][0] <= 1.0]
        best[codec] = min((row["payload_bytes"] for row in good), default=None)
    ours, jpeg = best[CODEC], best["jpeg"]
    if ours is None or jpeg is None:
        lacking = CODEC if ours is None else "JPEG"
        return f"plain network: no rate of {lacking} within a point"
    beside = f"JPEG of the picture {jpeg:,.0f} ({common.POINTS * (ours / jpeg - 1):+.0f} %)"
    return f"plain network, within a point: {ours:,.0f} bytes, {beside}"


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
