"""The tables that profiles are fitted to: latencies that ncnn's users published, and the operators of the networks."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from splitpoint.profiles.network.operators.kernels import LEAST_CHANNELS

__all__ = ["Setting", "chip", "networks_text", "read_settings"]

# Names that one board's table spells differently.
_SPELLED = {
    "mobilenet-ssd": "mobilenet_ssd",
    "mobilenet-yolo": "mobilenet_yolo",
    "squeezenet-int8": "squeezenet_int8",
    "squeezenet-ssd": "squeezenet_ssd",
}
# Boards with the same chip, which are left out together when a device has four points.
_CHIPS = (
    "RK3588", "RK3399", "RK356[68]", "Cortex-A55 \\(ARMv82\\) \\(1.416", "RK3288", "BCM2712", "Orin",
    "Snapdragon 8 Gen 2", "3A4000", "2K1000", "FT-2000", "KunPeng 920", "RTX3090",
    "UHD Graphics 770|i7-13700K", "D64as", "D64s ", "D64ps",
    "RK3328|RK3228H", "MacBook Pro \\(15-inch", "Ryzen 5700g", "AX6[23]0",
)  # fmt: skip
_MOVES = frozenset({"Concat", "Crop", "Flatten", "Padding", "Permute", "Reshape", "ShuffleChannel", "Slice"})
# Numbers a candidate box has: four of its place, one that it is a box, and one a class (20 of VOC, 80 of COCO). Of
# YoloDetectionOutput and DetectionOutput the number that is kept is not known, or none is.
_BOX_NUMBERS = {"mobilenetv2_yolov3": 25, "yolov4-tiny": 85, "yolo-fastest-1.1": 85}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A board as benchncnn was called there, with the least seconds of each network."""

    board: str
    unit: str  # "CPU", or the Vulkan device
    threads: int
    cores: str  # all, big, little
    table: int  # 0; 1 is the second table of the same setting
    seconds: Mapping[str, float]

    @property
    def key(self) -> tuple[str, str, int, str, int]:
        return self.board, self.unit, self.threads, self.cores, self.table

    @property
    def kind(self) -> str:
        """cpu, gpu, or unclear: no unit is given, or a CPU that plays a GPU (llvmpipe)."""
        if self.unit == "CPU":
            return "cpu"
        return "unclear" if not self.unit or self.unit.startswith("llvmpipe") else "gpu"


def chip(board: str) -> str:
    """What boards share, or the board's own name."""
    found = next((name for name in _CHIPS if re.search(name, board, re.IGNORECASE)), board)
    return "RK356[68]" if found.startswith("Cortex-A55 ") else found


def read_settings(folder: Path) -> list[Setting]:
    """Every setting of ncnn.csv in its order, without int8 networks; a latency of zero is left out."""
    found: dict[tuple[str, str, int, str, int], dict[str, float]] = {}
    with (folder / "ncnn.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = _SPELLED.get(row["network"], row["network"])
            key = (row["board"], row["unit"], int(row["threads"]), row["cores"])
            table = 0
            while name in found.setdefault((*key, table), {}):
                table += 1
            if not name.endswith("_int8") and float(row["min_ms"]) > 0:
                found[*key, table][name] = float(row["min_ms"]) / 1e3
    return [
        Setting(board=board, unit=unit, threads=threads, cores=cores, table=table, seconds=seconds)
        for (board, unit, threads, cores, table), seconds in found.items()
        if seconds
    ]


def networks_text(folder: Path) -> str:
    """profiles/library/networks.csv out of ncnn_networks.csv: one row for equal operators of a network."""
    rows: Counter[tuple[str, ...]] = Counter()
    with (folder / "ncnn_networks.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            grouped, kernel = row["class"] == "grouped", _kernel(row)
            numbers = (row[field] or "0" for field in ("input_elements", "output_elements", "weight_elements"))
            macs = str(_compared_boxes(row)) if kernel == "boxes" else row["macs"] or "0"
            rows[row["network"], "dense" if grouped else row["class"], kernel, macs, *numbers] += 1
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("network", "class", "kernel", "macs", "read", "written", "weights", "count"))
    writer.writerows((*row, count) for row, count in rows.items())
    return out.getvalue()


def _kernel(row: Mapping[str, str]) -> str:
    if row["class"] == "grouped":
        return "grouped"
    if row["class"] == "depthwise" and row["kernel"] != "3x3":
        return "wide"
    if row["class"] == "dense" and row["kernel"] == "3x3" and row["stride"] == "1":
        # Weights are out x in x 3 x 3.
        channels = int(row["weight_elements"]) // (9 * int(row["output_chw"].split("x")[0]))
        return "winograd" if channels >= LEAST_CHANNELS else "plain"
    if row["type"] == "Yolov3DetectionOutput":
        return "boxes"
    return "moves" if row["type"] in _MOVES else "plain"


def _compared_boxes(row: Mapping[str, str]) -> int:
    """Pairs of boxes that non-maximum suppression compares: each candidate with each box that is kept.

    benchncnn's weights are empty, so that all candidates are as likely: hundreds are kept. Where a GPU is timed,
    this runs on its CPU.
    """
    return int(row["input_elements"]) // _BOX_NUMBERS[row["network"]] * (int(row["output_elements"]) // 6)
