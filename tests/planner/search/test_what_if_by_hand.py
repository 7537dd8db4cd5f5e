"""The table by link rate against the seconds of each point as a formula of the rate."""

from __future__ import annotations

import itertools
import types
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.choice.choose import Aim
from splitpoint.planner.cost.message import Channel
from splitpoint.planner.search.what_if import RATES_BIT_S, RateRange, by_rate
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
) -> list[RateRange]:
    side = types.SimpleNamespace
    problem = side(
        link=link,
        channel=Channel(link=link, share=needs.deadline_share, server_load=load),
        needs=needs,
        config=side(objectives=("latency", "payload", "drop")),
    )
    device, server = load_device("raspberry-pi-4"), load_server("cloud-8core")
    outcome: Any = side(problem=problem, points=points, device=device, server=server, aim=aim)
    return by_rate(outcome)


def at(rows: list[RateRange], rate: float) -> str | None:
    (what,) = [row.what for row in rows if row.from_bit_s <= rate <= row.to_bit_s]
    assert what is None or isinstance(what, str)
    return what


def test_the_rates_are_six_a_decade_from_100_kbit_to_1_gbit() -> None:
    assert len(RATES_BIT_S) == 25
    assert (RATES_BIT_S[0], RATES_BIT_S[6], RATES_BIT_S[-1]) == pytest.approx((1e5, 1e6, 1e9))


@pytest.mark.parametrize("deadline_s", [None, 0.030, 0.060, 0.2])
def test_the_recommendation_at_every_rate(make_point: Make, make_needs: Make, deadline_s: float | None) -> None:
    # cut, bytes, seconds of the head
    made = [("a", 500, 0.100), ("b", 4000, 0.040), ("c", 20_000, 0.015), ("d", 150_000, 0.001)]
    points = [make_point(cut=cut, payload=n, latency=s, drop=i / 1000) for i, (cut, n, s) in enumerate(made)]
    rows = table(points, make_needs(latency=deadline_s, drop=0.5))
    for rate in RATES_BIT_S:
        seconds = {cut: s + 8 * n / rate + 0.010 for cut, n, s in made}
        fits = [cut for cut in seconds if deadline_s is None or seconds[cut] <= deadline_s]
        best = min(fits, key=lambda cut: seconds[cut], default=None)
        assert at(rows, rate) == (None if best is None else f"after {best}, k q1")
    # every rate stands in one range, and neighbours differ
    assert (rows[0].from_bit_s, rows[-1].to_bit_s) == (RATES_BIT_S[0], RATES_BIT_S[-1])
    for row, following in itertools.pairwise(rows):
        assert row.what != following.what
        assert RATES_BIT_S.index(following.from_bit_s) == RATES_BIT_S.index(row.to_bit_s) + 1


def test_variants_pictures_and_the_device_alone_are_named(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", payload=0.0, latency=0.5)
    picture = make_point(placement="server", cut="", codec="jpeg", label="q50", payload=50_000, latency=0.0, drop=0.01)
    small = make_point(variant="int8", cut="c", codec="fast", label="4 bit", payload=5000, latency=0.1, drop=0.02)
    rows = table([picture, alone, small], make_needs(drop=0.5))
    assert [row.what for row in rows] == ["all on device", "int8: after c, fast 4 bit", "send picture, jpeg q50"]
    # 0.5 s = 0.1 s + 40 kbit / rate + 0.01 s at 103 kbit/s; 0.1 s + 40 kbit / rate = 400 kbit / rate at 3.6 Mbit/s
    assert rows[0].to_bit_s == RATES_BIT_S[0]
    assert rows[1].to_bit_s < 3.6e6 < rows[2].from_bit_s


def test_points_that_miss_their_quality_never_come(make_point: Make, make_needs: Make) -> None:
    poor = make_point(cut="poor", payload=10, latency=0.0, drop=0.3)
    assert table([poor], make_needs(drop=0.1)) == [
        RateRange(from_bit_s=RATES_BIT_S[0], to_bit_s=RATES_BIT_S[-1], what=None)
    ]
    assert [row.what for row in table([poor], make_needs(drop=0.3))] == ["after poor, k q1"]


def test_without_any_point_nothing_fits(make_needs: Make) -> None:
    assert [row.what for row in table([], make_needs())] == [None]


def test_energy_that_is_not_known_fits_at_no_rate(make_point: Make, make_needs: Make) -> None:
    assert [row.what for row in table([make_point()], make_needs(energy=1e9))] == [None]


def test_the_server_s_load_is_kept(make_point: Make, make_needs: Make) -> None:
    busy = make_point(tail_s=0.5)
    assert [row.what for row in table([busy], make_needs(), load=1.0)] == ["after c, k q1"]
    assert [row.what for row in table([busy], make_needs(), load=2.0)] == [None]  # the queue grows for ever


def test_what_the_link_cannot_carry_fits_at_no_rate(make_point: Make, make_needs: Make) -> None:
    narrow = msgspec.structs.replace(LINK, max_payload_bytes=999)
    assert [row.what for row in table([make_point(payload=1000)], make_needs(), link=narrow)] == [None]
    assert [row.what for row in table([make_point(payload=999)], make_needs(), link=narrow)] == ["after c, k q1"]


def test_what_is_not_sent_pays_no_round_trip(make_point: Make, make_needs: Make) -> None:
    alone = make_point(placement="device", cut="", codec="-", payload=0.0, latency=0.010)
    assert [row.what for row in table([alone], make_needs(latency=0.010))] == ["all on device"]


def test_the_preference_is_kept_at_every_rate(make_point: Make, make_needs: Make) -> None:
    small = make_point(cut="small", payload=500, latency=0.100)
    large = make_point(cut="large", payload=20_000, latency=0.001)
    rows = table([small, large], make_needs(), aim=Aim(prefer="payload"))
    assert [row.what for row in rows] == ["after small, k q1"]
