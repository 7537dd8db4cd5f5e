"""Notes of a plan: what its codec costs beside the head, how busy a shared server is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from splitpoint.planner.search.notes import busy_server, costly_encoder
from splitpoint.planner.values.candidate import Evaluated

Make = Callable[..., Any]


def point(make_point: Make, *, head_s: float, encode_s: float, placement: str = "split") -> Evaluated:
    made: Evaluated = make_point(codec="kltq-ctx", placement=placement)
    cost = msgspec.structs.replace(made.cost, head_s=head_s, encode_s=encode_s)
    return msgspec.structs.replace(made, cost=cost, label="q8")


def test_a_codec_that_takes_more_than_a_tenth_of_its_head_says_so(make_point: Make) -> None:
    assert costly_encoder(point(make_point, head_s=0.01, encode_s=0.0035)) == [
        "kltq-ctx q8: encoding takes 35 % of its head's time (3.5 ms for 10 ms)"
    ]
    assert len(costly_encoder(point(make_point, head_s=0.01, encode_s=0.00101))) == 1


@pytest.mark.parametrize(
    "parts",
    [
        {"head_s": 0.01, "encode_s": 0.001},  # a tenth
        {"head_s": 0.0, "encode_s": 0.001},  # the input itself is coded: there is no head
        {"head_s": 0.01, "encode_s": 0.005, "placement": "server"},
        {"head_s": 0.01, "encode_s": 0.005, "placement": "device"},
    ],
)
def test_others_say_nothing(make_point: Make, parts: dict[str, Any]) -> None:
    assert costly_encoder(point(make_point, **parts)) == []


def test_a_shared_server_says_how_busy_it_is(make_point: Make) -> None:
    made = make_point()
    cost = msgspec.structs.replace(made.cost, decode_s=0.002, tail_s=0.018, wait_s=0.00667)
    shared = msgspec.structs.replace(made, cost=cost)
    assert busy_server(shared, 20.0) == ["20 requests/s of 20 ms keep the server 40 % busy: each waits 6.67 ms"]
    assert busy_server(shared, 0.0) == []
    assert busy_server(msgspec.structs.replace(made, cost=msgspec.structs.replace(cost, decode_s=0, tail_s=0)), 9) == []
