"""The answer among feasible points: the preferred quantity, and the simpler kind where it is as good."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.choice.choose import best_of_kinds, choose, quantity
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.planner.choice.uncertainty import compare
from splitpoint.planner.values.place import KINDS, kind_of

Make = Callable[..., Any]
NONE = SpeedErrors()
LATENCY = quantity("latency", [], [])


def device(make_point: Make, **figures: Any) -> Any:
    return make_point(placement="device", cut="", codec="-", payload=0.0, **figures)


def picture(make_point: Make, **figures: Any) -> Any:
    return make_point(placement="server", cut="", codec="jpeg", **figures)


def test_one_point_is_the_answer_and_no_point_is_none(make_point: Make) -> None:
    point = make_point()
    assert choose([point], LATENCY, NONE) is point
    with pytest.raises(ValueError, match="no points"):
        choose([], LATENCY, NONE)


def test_ties_go_to_the_simpler_kind(make_point: Make) -> None:
    alone, sent, split = device(make_point), picture(make_point), make_point()
    for points in ([alone, sent, split], [split, sent, alone]):
        assert choose(points, LATENCY, NONE) is alone
    assert choose([split, sent], LATENCY, NONE) is sent
    tensor = make_point(cut="x", layer="")
    assert choose([split, tensor], LATENCY, NONE) is tensor


def test_a_split_must_beat_the_simple_answers_by_more_than_is_known(make_point: Make) -> None:
    """60 ms fewer on the device; at an error of 1.25 a fifth of them, 12 ms, is not known."""
    alone = device(make_point, latency=0.100)
    errors = SpeedErrors(device=1.25)
    for link_s, answer in ((0.047, "split"), (0.049, "device"), (0.061, "device")):
        split = make_point(latency=0.040, link_s=link_s)
        assert kind_of(choose([alone, split], LATENCY, errors)) == answer
    assert kind_of(choose([alone, make_point(latency=0.040, link_s=0.059)], LATENCY, NONE)) == "split"


def test_a_split_must_beat_every_simple_answer(make_point: Make) -> None:
    alone, sent = device(make_point, latency=0.100), picture(make_point, latency=0.0, tail_s=0.060)
    split = make_point(latency=0.058)
    assert choose([alone, sent, split], LATENCY, NONE) is split
    # 58 ms on the device against none: 11.6 ms of the 2 ms gained are not known.
    assert choose([alone, sent, split], LATENCY, SpeedErrors(device=1.2)) is sent


def test_the_picture_must_beat_the_device_too(make_point: Make) -> None:
    alone, sent = device(make_point, latency=0.050), picture(make_point, latency=0.0, link_s=0.045)
    assert choose([alone, sent], LATENCY, NONE) is sent
    assert choose([alone, sent], LATENCY, SpeedErrors(device=1.2)) is alone


def test_a_surer_split_is_the_answer_where_the_fastest_is_not_sure(make_point: Make) -> None:
    sent = picture(make_point, latency=0.0, link_s=0.100)
    fast, sure = make_point(cut="fast", latency=0.090), make_point(cut="sure", latency=0.010, link_s=0.082)
    errors = SpeedErrors(device=1.2)
    assert choose([sent, fast, sure], LATENCY, errors) is sure
    assert choose([sent, fast], LATENCY, errors) is sent
    assert choose([fast, sure], LATENCY, errors) is fast  # among splits the fastest


def test_equal_points_of_a_kind_go_by_quality_then_bytes_then_latency(make_point: Make) -> None:
    plain = make_point(cut="plain", drop=0.02, payload=500.0)
    good, small = make_point(cut="good", drop=0.0, payload=900.0), make_point(cut="small", drop=0.0, payload=800.0)
    assert choose([plain, good, small], LATENCY, NONE) is small
    assert best_of_kinds([plain, good], LATENCY) == {"split": good}


@pytest.mark.parametrize(
    ("prefer", "better", "worse"),
    [
        ("latency", {"latency": 0.01}, {"latency": 0.02}),
        ("payload", {"payload": 10.0}, {"payload": 20.0}),
        ("energy", {"compute_j": 1.0}, {"compute_j": 2.0}),
        ("cost", {"link_usd": 1.0}, {"link_usd": 2.0}),
        ("quality", {"drop": 0.0}, {"drop": 0.1}),
    ],
)
def test_every_preference_reads_its_own_quantity(make_point: Make, prefer: str, better: Any, worse: Any) -> None:
    known = {"compute_j": 0.0, "radio_j": 0.0, "idle_j": 0.0, "server_usd": 0.0, "link_usd": 0.0}
    good, bad = (make_point(cut=str(i), **{**known, **figures}) for i, figures in enumerate((better, worse)))
    assert choose([bad, good], quantity(prefer, [], []), NONE) is good


def test_what_is_not_known_never_beats_a_simpler_answer(make_point: Make) -> None:
    energy = quantity("energy", [], [])
    unknown, split = make_point(compute_j=None), make_point(cut="d", compute_j=1.0, radio_j=0.0, idle_j=0.0)
    assert energy(unknown) == math.inf
    assert choose([device(make_point, compute_j=None), unknown], energy, NONE).candidate.placement == "device"
    assert choose([unknown, split], energy, NONE) is split
    assert choose([device(make_point, compute_j=None), split], energy, NONE) is split


def test_the_knee_is_the_least_sum_of_scaled_objectives(make_point: Make) -> None:
    objectives = ("latency", "payload", "drop")
    points = [
        make_point(cut="left", payload=100, latency=1.0),
        make_point(cut="knee", payload=200, latency=0.02),
        make_point(cut="right", payload=10000, latency=0.01),
    ]
    read = quantity("knee", points, objectives)
    assert [read(point) for point in points] == pytest.approx([1.0, 0.5 * (math.log10(2) + math.log10(2)), 1.0])
    assert choose(points, read, NONE) is points[1]
    # An objective that is not known of every point is left out.
    assert quantity("knee", points, (*objectives, "energy"))(points[1]) == read(points[1])
    assert quantity("knee", points[:1], objectives)(points[0]) == 0.0


cells = st.integers(1, 4)
rows = st.lists(st.tuples(st.sampled_from(KINDS), cells, cells), min_size=1, max_size=8)


@given(rows, st.sampled_from([1.0, 1.1, 1.5]))
def test_the_answer_by_enumeration(make_point: Make, made: list[tuple[str, int, int]], error: float) -> None:
    """No simpler kind has a point that the answer does not surely beat, and no less simple one surely beats it."""
    placements = {"device": "device", "input": "server", "split": "split"}
    points = [
        make_point(cut=str(i), placement=placements[kind], latency=0.01 * head, link_s=0.01 * link)
        for i, (kind, head, link) in enumerate(made)
    ]
    errors = SpeedErrors(device=error)
    answer = choose(points, LATENCY, errors)
    rank = KINDS.index(kind_of(answer))
    best = best_of_kinds(points, LATENCY)
    for kind, point in best.items():
        if KINDS.index(kind) < rank:
            assert compare(answer, point, LATENCY, errors).sure
    for point in points:
        if KINDS.index(kind_of(point)) > rank:
            simpler = [best[kind] for kind in KINDS[: KINDS.index(kind_of(point))] if kind in best]
            assert not all(compare(point, other, LATENCY, errors).sure for other in simpler)
        if kind_of(point) == kind_of(answer) and rank == 0:
            assert LATENCY(answer) <= LATENCY(point)
