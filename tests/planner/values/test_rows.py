"""Points, cuts and refused places as plain values."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import pytest

from splitpoint.planner.values.cut import Cut, Rejected
from splitpoint.planner.values.rows import PARTS, bar, cut_row, place, point_row, rejected_row
from splitpoint.profiles.network.model import Tensor

Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cut": "blocks.10/add"}, "blocks.10/add"),
        ({"cut": "blocks.10/add", "variant": "int8"}, "int8: blocks.10/add"),
        ({"cut": "", "placement": "server"}, "send picture"),
        ({"cut": "", "placement": "device"}, "all on device"),
        ({"cut": "", "placement": "device", "variant": "half width"}, "half width: all on device"),
    ],
)
def test_where_a_point_cuts_in_words(make_point: Make, fields: dict[str, Any], text: str) -> None:
    assert place(make_point(**fields)) == text


def test_a_point_as_plain_values(make_point: Make) -> None:
    point = make_point(
        variant="int8",
        cut="c",
        codec="fast",
        label="8 bit",
        payload=1500.0,
        latency=0.01,
        value=0.9,
        low=0.8,
        high=0.95,
        drop=0.02,
        drop_high=0.04,
        n=50,
        link_s=0.02,
        wait_s=0.005,
        deadline_link_s=0.06,
        side_bytes=1,
        head_bytes=2,
        head_peak_bytes=3,
        head_file_bytes=4,
        head_how="measured",
        head_spread_s=0.001,
        compute_j=0.5,
        radio_j=0.25,
        idle_j=0.25,
        server_usd=1e-5,
        link_usd=2e-5,
        air_s=0.02,
    )
    row = point_row(point, number=3, label="baseline", notes=["knee"])
    parts = {"prepare": 0.0, "head": 0.01, "encode": 0.0, "link": 0.02, "wait": 0.005, "decode": 0.0, "tail": 0.0}
    assert tuple(parts) == PARTS
    assert row == {
        "number": 3,
        "label": "baseline",
        "variant": "int8",
        "placement": "split",
        "cut": "c",
        "codec": "fast",
        "rate": "8 bit",
        "payload_bytes": 1500.0,
        "payload_how": "measured",
        "latency_s": pytest.approx(0.035),
        "deadline_latency_s": pytest.approx(0.07),
        "latency_how": "modelled",
        "head_how": "measured",
        "head_spread_s": 0.001,
        "tail_how": None,
        "tail_spread_s": None,
        "latency_parts_s": parts,
        "infeasible": None,
        "frame_rate": pytest.approx(50.0),
        "energy_j": 1.0,
        "usd": pytest.approx(3e-5),
        "side_bytes": 1,
        "head_bytes": 2,
        "head_peak_bytes": 3,
        "head_file_bytes": 4,
        "metric": "top1",
        "value": 0.9,
        "low": 0.8,
        "high": 0.95,
        "drop": 0.02,
        "drop_high": 0.04,
        "relative_error": 0.0,
        "n": 50,
        "groups": 50,
        "set": "search",
        "notes": ["knee"],
    }


def test_what_is_not_finite_or_not_known_is_null(make_point: Make) -> None:
    row = point_row(make_point(link_s=math.inf, infeasible="too long", latency=0.0), number=None)
    assert (row["latency_s"], row["deadline_latency_s"], row["latency_parts_s"]["link"]) == (None, None, None)
    assert row["latency_parts_s"]["head"] == 0.0
    assert row["frame_rate"] is None
    assert (row["infeasible"], row["energy_j"], row["usd"]) == ("too long", None, None)
    assert (row["number"], row["label"], row["notes"]) == (None, None, [])


def test_a_network_all_on_the_device_has_no_codec(make_point: Make) -> None:
    assert point_row(make_point(placement="device", codec="raw"), number=1)["codec"] == "-"
    sent = point_row(make_point(placement="server", cut="", codec="jpeg"), number=1)
    assert (sent["codec"], sent["cut"], sent["placement"]) == ("jpeg", "send picture", "server")


def test_a_cut_as_plain_values() -> None:
    tensors = {name: Tensor(name=name, shape=(1, n), dtype="float32", elements=n, bytes=4 * n) for name, n in
               (("a", 10), ("b", 30), ("other", 5))}  # fmt: skip
    cut = Cut(
        index=2,
        tensors=("b", "a"),
        after="add",
        head=(0, 1),
        elements=40,
        bytes=160,
        head_macs=25,
        head_parameters=7,
        head_weight_bytes=28,
    )
    graph: Any = types.SimpleNamespace(tensors=tensors, macs=100)
    assert cut_row(graph, cut) == {
        "index": 2,
        "after": "add",
        "tensors": ["b", "a"],
        "shapes": [[1, 30], [1, 10]],
        "dtypes": ["float32", "float32"],
        "elements": 40,
        "bytes": 160,
        "head_macs": 25,
        "head_flops": 50,
        "head_share": 0.25,
        "head_parameters": 7,
        "head_weight_bytes": 28,
    }
    assert cut_row(types.SimpleNamespace(tensors=tensors, macs=0), cut)["head_share"] == 0.0  # type: ignore[arg-type]


def test_a_refused_place_as_plain_values() -> None:
    refused = Rejected(tensors=("a", "b"), after="add", reason="two tensors cross")
    assert rejected_row(refused) == {"tensors": ["a", "b"], "after": "add", "reason": "two tensors cross"}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (-1.0, "    "),
        (0.0, "    "),
        (1 / 32, "▏   "),
        (0.25, "█   "),
        (0.375, "█▌  "),
        (31 / 32, "███▉"),
        (1.0, "████"),
        (2.0, "████"),
    ],
)
def test_a_bar_counts_eighths_and_stays_in_its_width(share: float, text: str) -> None:
    assert bar(share, width=4) == text
