"""Published figures of whole networks on boards whose operators nobody counted: shown, and never part of a plan.

whole_networks.csv has a row a figure, made by benchmarks/whole_networks.py. A latency is of one inference, batch 1; a
throughput is what a pipelined chip reaches, and one over it is not a latency.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Literal

__all__ = ["BOARDS", "READ_ON", "Board", "WholeNetwork", "list_whole_networks", "whole_network_text"]


def __dir__() -> list[str]:
    return __all__


READ_ON = "2026-11-27"
_QUALCOMM = "https://github.com/qualcomm/ai-hub-models (b61a009, 2026-02-24)"
_ROCKCHIP = "https://github.com/airockchip/rknn_model_zoo (bad6c73, 2025-04-08)"
_HAILO = "https://github.com/hailo-ai/hailo_model_zoo (c83fc03, 2026-01-20)"


@dataclasses.dataclass(frozen=True, slots=True)
class Board:
    """What has figures of whole networks."""

    printed: str  # its name in the source's tables
    description: str
    source: str
    kind: Literal["device", "server"] = "device"


BOARDS: Mapping[str, Board] = {
    "galaxy-s24": Board("Samsung Galaxy S24", "Samsung Galaxy S24", _QUALCOMM),
    "galaxy-s25": Board("Samsung Galaxy S25", "Samsung Galaxy S25", _QUALCOMM),
    "snapdragon-8-elite-gen-5": Board(
        "Snapdragon 8 Elite Gen 5 QRD", "Qualcomm Snapdragon 8 Elite Gen 5 QRD", _QUALCOMM
    ),
    "snapdragon-7-gen-4": Board("Snapdragon 7 Gen 4 QRD", "Qualcomm Snapdragon 7 Gen 4 QRD", _QUALCOMM),
    "snapdragon-x-elite": Board("Snapdragon X Elite CRD", "Qualcomm Snapdragon X Elite CRD", _QUALCOMM),
    "snapdragon-x2-elite": Board("Snapdragon X2 Elite CRD", "Qualcomm Snapdragon X2 Elite CRD", _QUALCOMM),
    "dragonwing-rb3-gen-2": Board(
        "Dragonwing RB3 Gen 2 Vision Kit", "Qualcomm Dragonwing RB3 Gen 2 Vision Kit", _QUALCOMM
    ),
    "dragonwing-iq-9075": Board("Dragonwing IQ-9075 EVK", "Qualcomm Dragonwing IQ-9075 EVK", _QUALCOMM),
    "dragonwing-q-6690": Board("Dragonwing Q-6690 MTP", "Qualcomm Dragonwing Q-6690 MTP", _QUALCOMM),
    "qcs8550": Board("QCS8550 (Proxy)", "Qualcomm QCS8550 (Proxy)", _QUALCOMM),
    "qcs8450": Board("QCS8450 (Proxy)", "Qualcomm QCS8450 (Proxy)", _QUALCOMM),
    "qcs8275": Board("QCS8275 (Proxy)", "Qualcomm QCS8275 (Proxy)", _QUALCOMM),
    "sa8295p": Board("SA8295P ADP", "Qualcomm SA8295P ADP", _QUALCOMM),
    "sa8775p": Board("SA8775P ADP", "Qualcomm SA8775P ADP", _QUALCOMM),
    "sa7255p": Board("SA7255P ADP", "Qualcomm SA7255P ADP", _QUALCOMM),
    "rk3562-npu": Board("RK3562", "Rockchip RK3562", _ROCKCHIP),
    "rk3566-npu": Board("RK3566/RK3568", "Rockchip RK3566/RK3568", _ROCKCHIP),
    "rk3576-npu": Board("RK3576 one core", "Rockchip RK3576 one core", _ROCKCHIP),
    "rk3588-npu": Board("RK3588 one core", "Rockchip RK3588 one core", _ROCKCHIP),
    "rk1808-npu": Board("RK1808", "Rockchip RK1808", _ROCKCHIP),
    "rv1109-npu": Board("RV1109", "Rockchip RV1109", _ROCKCHIP),
    "rv1126-npu": Board("RV1126", "Rockchip RV1126", _ROCKCHIP),
    "hailo-8": Board("HAILO8", "Hailo-8", _HAILO),
    "hailo-8l": Board("HAILO8L", "Hailo-8L", _HAILO),
    "hailo-10h": Board("HAILO10H", "Hailo-10H", _HAILO),
    "hailo-15h": Board("HAILO15H", "Hailo-15H", _HAILO),
    "hailo-15l": Board("HAILO15L", "Hailo-15L", _HAILO),
    "stm32n6": Board(
        "STM32N6",
        "STM32N6 with Neural-ART",
        "https://github.com/STMicroelectronics/stm32ai-modelzoo/blob/6f10965e/image_classification/mobilenetv2/README.md",
    ),
    "esp32-s3": Board(
        "ESP32-S3", "ESP32-S3 at 240 MHz, with ESP-NN", "https://github.com/espressif/esp-tflite-micro (01a78d0a)"
    ),
    "nvidia-a100": Board(
        "A100",
        "NVIDIA A100, TensorRT 8.4, quantized after training",
        "https://docs.nvidia.com (TensorFlow Quantization Toolkit, Model Zoo Results)",
        "server",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class WholeNetwork:
    """One figure: seconds of an inference, or inferences a second."""

    network: str
    input_size: str  # as the source writes it
    runtime: str
    precision: str
    unit: str  # NPU, GPU, CPU
    seconds: float | None  # None: the source has a throughput alone
    per_second: float | None


@functools.cache
def list_whole_networks() -> Mapping[str, tuple[WholeNetwork, ...]]:
    """The figures by board, in the order of `BOARDS`."""
    text = (importlib.resources.files("splitpoint.profiles.library") / "whole_networks.csv").read_text(encoding="utf-8")
    boards: dict[str, list[WholeNetwork]] = {}
    for row in csv.DictReader(text.splitlines()):
        seconds, per_second = row["seconds"], row["per_second"]
        figure = WholeNetwork(
            network=row["network"],
            input_size=row["input"],
            runtime=row["runtime"],
            precision=row["precision"],
            unit=row["unit"],
            seconds=float(seconds) if seconds else None,
            per_second=float(per_second) if per_second else None,
        )
        boards.setdefault(row["board"], []).append(figure)
    return {board: tuple(boards[board]) for board in BOARDS}


def whole_network_text(board: str) -> str:
    """The board's line in a list: "Hailo-8, NPU: throughput of whole networks only, not for a plan"."""
    figures = list_whole_networks()[board]
    units = " and ".join(dict.fromkeys(figure.unit for figure in figures))
    what = "throughput" if figures[0].seconds is None else "latencies"
    return f"{BOARDS[board].description}, {units}: {what} of whole networks only, not for a plan"
