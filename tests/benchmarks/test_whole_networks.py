"""whole_networks.csv out of the published tables."""

from __future__ import annotations

import csv
from pathlib import Path

from splitpoint.benchmarks.whole_networks import COLUMNS, OTHERS, figures_text

QUALCOMM = """device,network,input,runtime,precision,unit,ms
Samsung Galaxy S24,beit,224x224,onnx,float,NPU,9.267
"""
ROCKCHIP = """network,input,precision,chip,fps,ms_if_not_pipelined
lprnet,"[1, 3, 24, 94]",FP16,RK3588 one core,586.4,1.705
"""
HAILO = """chip,network,input,fps_batch1,fps_batch8
HAILO8,resnet50,224x224x3,1372,1370
HAILO8,untimed,224x224x3,,
HAILO8,zero,224x224x3,0,0
"""


def test_a_latency_is_in_seconds_and_a_throughput_stays_one(tmp_path: Path) -> None:
    for name, text in (("qualcomm_ai_hub", QUALCOMM), ("rockchip_rknn", ROCKCHIP), ("hailo", HAILO)):
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    rows = [tuple(row) for row in csv.reader(figures_text(tmp_path).splitlines())]
    assert rows[:4] == [
        COLUMNS,
        ("galaxy-s24", "beit", "224x224", "onnx", "float", "NPU", "0.009267", ""),
        ("rk3588-npu", "lprnet", "1x3x24x94", "rknn", "fp16", "NPU", "", "586.4"),
        ("hailo-8", "resnet50", "224x224x3", "hailort", "int8", "NPU", "", "1372"),
    ]
    assert rows[4:] == [(*row, "") for row in OTHERS]
