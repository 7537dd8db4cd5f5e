"""What decides at any rate: quality, energy, load, limits of the link, preference; on points made by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.answers.policy import stretches_of_rate
from splitpoint.planner.answers.question import Question
from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.profiles.library.catalog import load_device, load_server
from splitpoint.profiles.link.types import FixedLink

Make = Callable[..., Any]
DEFAULT = Aim()
LINK = FixedLink(
    name="flat",
    description="nothing but a rate and a round trip",
    downlink_bit_s=1e15,
    rtt_s=0.010,
    uplink_bit_s=1e6,
    per_packet_overhead_bytes=0,
)


def table(
    points: list[Any], needs: Any, *, link: FixedLink = LINK, load: float = 0.0, aim: Aim = DEFAULT
) -> list[tuple[str | None, float]]:
    """(what, to) of every stretch from 100 kbit/s to 1 Gbit/s."""
    question = Question(
        points=tuple(points),
        device=load_device("raspberry-pi-4"),
        server=load_server("cloud-8core"),
        channel=Channel(link=link, share=needs.deadline_share, server_load=load),
        needs=needs,
        objectives=("latency", "payload", "drop"),
        aim=aim,
    )
    return [
        (None if s.point is None else s.point.candidate.cut or s.point.candidate.placement, s.high)
        for s in stretches_of_rate(question, 1e5, 1e9)
    ]


def test_the_device_alone_a_split_and_the_picture(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", payload=0.0, latency=0.5)
    picture = make_point(placement="server", cut="", codec="jpeg", label="q50", payload=50_000, latency=0.0, drop=0.01)
    small = make_point(variant="int8", cut="c", codec="fast", label="4 bit", payload=5000, latency=0.1, drop=0.02)
    rows = table([picture, alone, small], make_needs(drop=0.5))
    assert [what for what, _ in rows] == ["device", "c", "server"]
    # 0.5 s = 0.1 s + 40 kbit / rate + 0.01 s; 0.1 s + 40 kbit / rate = 400 kbit / rate
    assert [end for _, end in rows] == [pytest.approx(40e3 / 0.39, rel=1e-3), pytest.approx(3.6e6, rel=1e-3), 1e9]


def test_points_that_miss_their_quality_never_come(make_point: Make, make_needs: Make) -> None:
    poor = make_point(cut="poor", payload=10, latency=0.0, drop=0.3)
    assert table([poor], make_needs(drop=0.1)) == [(None, 1e9)]
    assert table([poor], make_needs(drop=0.3)) == [("poor", 1e9)]


def test_without_any_point_nothing_fits(make_needs: Make) -> None:
    assert table([], make_needs()) == [(None, 1e9)]


def test_energy_that_is_not_known_fits_at_no_rate(make_point: Make, make_needs: Make) -> None:
    assert table([make_point()], make_needs(energy=1e9)) == [(None, 1e9)]


def test_the_server_s_load_is_kept(make_point: Make, make_needs: Make) -> None:
    busy = make_point(tail_s=0.5)
    assert table([busy], make_needs(), load=1.0) == [("c", 1e9)]
    assert table([busy], make_needs(), load=2.0) == [(None, 1e9)]  # the queue grows for ever


def test_what_the_link_cannot_carry_fits_at_no_rate(make_point: Make, make_needs: Make) -> None:
    narrow = msgspec.structs.replace(LINK, max_payload_bytes=999)
    assert table([make_point(payload=1000)], make_needs(), link=narrow) == [(None, 1e9)]
    assert table([make_point(payload=999)], make_needs(), link=narrow) == [("c", 1e9)]


def test_what_is_not_sent_pays_no_round_trip(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", payload=0.0, latency=0.010)
    assert table([alone], make_needs(latency=0.010)) == [("device", 1e9)]


def test_the_preference_is_kept_at_every_rate(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=500, latency=0.100)
    large = make_point(cut="large", payload=20_000, latency=0.001)
    assert table([small, large], make_needs(), aim=Aim(prefer="payload")) == [("small", 1e9)]
