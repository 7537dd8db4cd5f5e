"""Tables of latencies: what they may contain, and one error each for what they may not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from splitpoint.planner.profiling.latency_table import MOST_NETWORKS, read_latencies
from splitpoint.profiles.errors import ProfileError
from splitpoint.profiles.library.networks import published_networks

THREE = "resnet18,15\nmobilenet_v2,5.44\nvgg16,66\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_times_and_operators(tmp_path: Path) -> None:
    path = write(
        tmp_path, "note, MS ,Network\n,15,resnet18\n\nhot,5.44,ncnn-mobilenet_ssd\n, 1e2 , vgg16\n,15,resnet18\n"
    )
    rows = read_latencies(path)
    assert [(row.network, row.seconds) for row in rows] == [
        ("resnet18", 0.015),
        ("mobilenet_ssd", 0.00544),
        ("vgg16", 0.1),
    ]
    assert [row.backbone for row in rows] == ["resnet18", "mobilenet", "vgg16"]
    assert rows[0].ops == published_networks()["resnet18"]


def test_seconds_are_seconds(tmp_path: Path) -> None:
    in_ms = read_latencies(write(tmp_path, f"network,ms\n{THREE}"))
    in_s = read_latencies(write(tmp_path, "network,s\nresnet18,.015\nmobilenet_v2,.00544\nvgg16,.066\n"))
    assert in_ms == in_s


def test_a_network_of_the_users_own_is_counted(home: Path, tmp_path: Path) -> None:
    shutil.copy(home / "model.onnx", tmp_path / "mine.onnx")
    own = read_latencies(write(tmp_path, f"network,ms\n{THREE}mine.onnx,2\n"))[-1]
    assert (own.network, own.backbone) == ("mine.onnx", "mine.onnx")
    assert sum(op.macs or 0 for op in own.ops) > 1000


BAD = {
    "no header": (THREE, "expected one column 'network', got resnet18, 15", "network,ms"),
    "empty": ("", "expected one column 'network', got nothing", "network,ms"),
    "no unit": (f"network,latency\n{THREE}", "unit of the times is not known", "network,ms"),
    "two units": ("network,ms,s\nresnet18,1,1\n", "unit of the times is not known", "network,ms"),
    "semicolons": ("network;ms\nresnet18;1\n", "expected one column 'network', got network;ms", "network,ms"),
    "zero": (f"network,ms\n{THREE}alexnet,0\n", "a number above 0, got '0'", "not measured"),
    "negative": (f"network,ms\n{THREE}alexnet,-3\n", "a number above 0, got '-3'", "not measured"),
    "nan": (f"network,ms\n{THREE}alexnet,NaN\n", "a number above 0, got 'NaN'", "not measured"),
    "infinite": (f"network,ms\n{THREE}alexnet,inf\n", "a number above 0, got 'inf'", "not measured"),
    "a unit in the cell": (f"network,ms\n{THREE}alexnet,3 ms\n", "a number above 0, got '3 ms'", "not measured"),
    "no time": (f"network,ms\n{THREE}alexnet\n", r"expected a network and its time in ms, got .*alexnet", "line 5"),
    "unknown name": (
        f"network,ms\n{THREE}mobilnet-v2,3\n",
        "unknown network 'mobilnet-v2'",
        "did you mean 'mobilenet_v2'",
    ),
    "nothing near": (f"network,ms\n{THREE}zzzz,3\n", "unknown network 'zzzz'", "an ONNX file .* or one of FastestDet"),
    "no such file": (f"network,ms\n{THREE}no.onnx,3\n", "the network cannot be counted", "line 5"),
    "no network in it": (f"network,ms\n{THREE}broken.onnx,3\n", "the network cannot be counted", "line 5"),
    "two networks": ("network,ms\nvgg16,3\nresnet18,4\n", "at least 3 networks, got 2", "splitpoint calibrate --out"),
    "one network thrice": (
        "network,ms\nvgg16,3\nvgg16,3\nncnn-vgg16,3\n",
        "at least 3 networks, got 1",
        "add networks",
    ),
    "two times": (
        f"network,ms\n{THREE}vgg16,67\n",
        "'vgg16' takes 0.066 s in line 4 and 0.067 s in line 5",
        "keep one",
    ),
    "too many": ("network,ms\n" + "vgg16,3\n" * (MOST_NETWORKS + 1), f"at most {MOST_NETWORKS}", "line 1002"),
    "no CSV": ('network,ms\n"vgg16,3\n', "expected comma-separated values", "line"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_error_each_with_what_to_do(case: str, tmp_path: Path) -> None:
    text, message, then = BAD[case]
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(ProfileError, match=rf"(?s){message}.*{then}"):
        read_latencies(write(tmp_path, text))
