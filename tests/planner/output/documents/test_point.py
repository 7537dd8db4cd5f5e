"""A point as documents hold it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.deploy.accuracy import Estimate
from splitpoint.planner.output.documents.point import PointRow, point_row
from splitpoint.planner.plandir.front import front_row

Make = Callable[..., Any]


def plain(row: PointRow) -> Any:
    return msgspec.json.decode(msgspec.json.encode(row))


def test_a_point_as_plain_values(make_point: Make) -> None:
    point = make_point(
        variant="int8",
        cut="c",
        layer="blocks.1",
        head_share=0.25,
        codec="fast",
        label="8 bit",
        payload=1500.0,
        latency=0.01,
        value=0.9,
        low=0.8,
        high=0.95,
        drop=0.02,
        drop_low=0.01,
        drop_high=0.04,
        estimate=Estimate(drop=0.015, low=0.005, high=0.025, own_weight=0.5, candidates=7),
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
    row = plain(
        point_row(front_row(point, SpeedErrors(), number=3), label="baseline", notes=["knee"], misses=["latency"])
    )
    parts = {"prepare": 0.0, "head": 0.01, "encode": 0.0, "link": 0.02, "wait": 0.005, "decode": 0.0, "tail": 0.0}
    assert list(row["latency_parts_s"]) == list(parts)  # in the order of the parts
    assert row == {
        "number": 3,
        "label": "baseline",
        "variant": "int8",
        "placement": "split",
        "cut": "after blocks.1",
        "tensor": "c",
        "head_share": 0.25,
        "codec": "fast",
        "rate": "8 bit",
        "payload_bytes": 1500.0,
        "payload_how": "measured",
        "channel_uses": None,
        "symbols": None,
        "latency_s": pytest.approx(0.035),
        "latency_low_s": None,
        "latency_high_s": None,
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
        "drop_low": 0.01,
        "drop_high": 0.04,
        "lost": 0.015,
        "lost_low": 0.005,
        "lost_high": 0.025,
        "relative_error": 0.0,
        "n": 50,
        "groups": 50,
        "set": "search",
        "notes": ["knee"],
        "not_certain": False,
        "misses": ["latency"],
    }


def test_what_is_not_finite_or_not_known_is_null(make_point: Make) -> None:
    row = plain(
        point_row(
            front_row(make_point(link_s=math.inf, infeasible="too long", latency=0.0), SpeedErrors(), number=None)
        )
    )
    assert (row["latency_s"], row["deadline_latency_s"], row["latency_parts_s"]["link"]) == (None, None, None)
    assert row["latency_parts_s"]["head"] == 0.0
    assert row["frame_rate"] is None
    assert (row["infeasible"], row["energy_j"], row["usd"]) == ("too long", None, None)
    assert (row["number"], row["label"], row["notes"], row["misses"]) == (None, None, [], [])


def test_a_network_all_on_the_device_has_no_codec(make_point: Make) -> None:
    assert front_row(make_point(placement="device", codec="raw"), SpeedErrors(), number=1).codec == "-"
    sent = front_row(make_point(placement="server", cut="", codec="jpeg"), SpeedErrors(), number=1)
    assert (sent.codec, sent.cut, sent.placement) == ("jpeg", "send picture", "server")
