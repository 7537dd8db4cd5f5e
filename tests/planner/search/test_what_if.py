"""Recommendations at other link rates, from points that are priced again by hand."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.search.what_if import RATES_BIT_S, at_link, by_rate
from splitpoint.profiles.library.catalog import load_device, load_link, load_server
from splitpoint.profiles.link.types import FixedLink

Make = Callable[..., Any]
PI, CLOUD = load_device("raspberry-pi-4"), load_server("cloud-8core")
LINK = FixedLink(
    name="flat",
    description="nothing but a rate",
    downlink_bit_s=1e12,
    rtt_s=0.0,
    uplink_bit_s=1e6,
    per_packet_overhead_bytes=0,
)


def outcome(points: list[Any], needs: Any, link: Any = LINK) -> Any:
    """As much of an outcome as the table by rate looks at."""
    problem = types.SimpleNamespace(
        link=link,
        channel=Channel(link=link),
        needs=needs,
        config=types.SimpleNamespace(objectives=("latency", "payload", "drop")),
    )
    side = types.SimpleNamespace
    return side(problem=problem, points=points, device=PI, server=CLOUD, aim=Aim())


def test_a_point_over_another_link_takes_that_links_seconds(make_point: Make) -> None:
    point = make_point(payload=1250.0, latency=0.020)
    moved = at_link(point, Channel(link=LINK), PI, CLOUD)
    assert moved.cost.link_s == pytest.approx(0.010, rel=0.01)  # 10,000 bits at 1 Mbit/s
    assert moved.cost.head_s == point.cost.head_s
    assert (moved.candidate, moved.accuracy) == (point.candidate, point.accuracy)
    alone = make_point(placement="device", cut="", payload=0.0)
    assert at_link(alone, Channel(link=LINK), PI, CLOUD) is alone


def test_one_point_takes_over_from_the_next(make_point: Make, make_needs: Make) -> None:
    """small: 30 ms and 10 kbit, so 30 ms + 10 kbit / rate; large: 5 ms and 100 kbit; both within 50 ms from when on?"""
    small = make_point(cut="small", codec="k", payload=1250, latency=0.030)
    large = make_point(cut="large", codec="k", payload=12500, latency=0.005, drop=-0.01)
    rows = by_rate(outcome([small, large], make_needs(drop=0.1)))
    assert [row.what for row in rows] == ["after small, k q1", "after large, k q1"]
    # equal where 25 ms = 90 kbit / rate: 3.6 Mbit/s
    assert rows[0].to_bit_s < 3.6e6 < rows[1].from_bit_s
    assert rows[0].from_bit_s == RATES_BIT_S[0]
    assert rows[1].to_bit_s == RATES_BIT_S[-1]
    between = [r for r in RATES_BIT_S if rows[0].to_bit_s < r < rows[1].from_bit_s]
    assert between == []


def test_where_nothing_meets_the_deadline_it_says_so(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=1250, latency=0.030)
    rows = by_rate(outcome([small], make_needs(latency=0.050)))
    assert [row.what for row in rows] == [None, "after small, k q1"]
    assert rows[0].to_bit_s < 0.5e6 < rows[1].from_bit_s  # 20 ms for 10 kbit


def test_what_never_sends_is_the_same_at_every_rate(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", payload=0.0)
    rows = by_rate(outcome([alone], make_needs()))
    assert [(row.what, row.from_bit_s, row.to_bit_s) for row in rows] == [
        ("all on device", RATES_BIT_S[0], RATES_BIT_S[-1])
    ]


def test_links_without_a_rate_of_their_own_have_no_table(make_point: Make, make_needs: Make) -> None:
    assert by_rate(outcome([make_point()], make_needs(), load_link("awgn-20db"))) == []
