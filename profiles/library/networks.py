"""The networks of ncnn's benchmark as lists of operators, by the names that its tables print ("mobilenet_v2").

networks.csv has one row for equal operators: class, kernel, multiply-adds, elements read, written and of weights, how
often. Shapes were obtained by running ncnn (Tencent/ncnn a4d2ea1d, benchmark/models, BSD-3-Clause); figures only.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from collections.abc import Mapping

from splitpoint.profiles.machine.device import OpWork

__all__ = ["backbone", "published_networks"]


def __dir__() -> list[str]:
    return __all__


# Networks built on the same backbone are left out together: one tells what the other takes.
_BACKBONES = {
    "squeezenet_ssd": "squeezenet",
    "mobilenet_ssd": "mobilenet",
    "mobilenet_yolo": "mobilenet",
    "mobilenetv2_yolov3": "mobilenet_v2",
    "nanodet_m": "shufflenet_v2",
    "yolo-fastestv2": "shufflenet_v2",
    "FastestDet": "shufflenet_v2",
}


def backbone(network: str) -> str:
    """What a network shares with others; its own name where nothing is known of it."""
    return _BACKBONES.get(network, network)


@functools.cache
def published_networks() -> Mapping[str, tuple[OpWork, ...]]:
    """The operators of every network, bytes at fp32."""
    text = (importlib.resources.files("splitpoint.profiles.library") / "networks.csv").read_text(encoding="utf-8")
    networks: dict[str, list[OpWork]] = {}
    for row in csv.DictReader(text.splitlines()):
        work = OpWork(
            op_class=row["class"],  # type: ignore[arg-type]  # as benchmarks/fit_profiles.py wrote it
            macs=int(row["macs"]) if row["class"] != "other" or row["kernel"] == "boxes" else None,
            read_bytes=4 * int(row["read"]),
            write_bytes=4 * int(row["written"]),
            weight_bytes=4 * int(row["weights"]),
            kernel=row["kernel"],  # type: ignore[arg-type]
        )
        networks.setdefault(row["network"], []).extend([work] * int(row["count"]))
    return {name: tuple(ops) for name, ops in networks.items()}
