"""A deadline inside the interval is not certain; what to measure is the side whose error is the larger part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.choice.certainty import doubt_text, find_doubt, is_certain
from splitpoint.planner.choice.choose import choose, quantity
from splitpoint.planner.choice.errors import SpeedErrors
from splitpoint.profiles.library.catalog import load_device, load_server

Make = Callable[..., Any]
ERRORS = SpeedErrors(device=1.2)  # 100 ms: 74 to 135 ms
LATENCY = quantity("latency", [], [])


def test_only_a_deadline_that_is_met_inside_the_interval_is_in_doubt(make_point: Make, make_needs: Make) -> None:
    cost = make_point(placement="device", latency=0.100).cost
    for deadline_s, certain in ((0.090, True), (0.100, False), (0.130, False), (0.140, True)):
        needs = make_needs(latency=deadline_s)
        assert is_certain(cost, needs, ERRORS) == certain
        assert (find_doubt(cost, needs, ERRORS) is None) == certain
    assert is_certain(cost, make_needs(), ERRORS)
    measured = msgspec.structs.replace(cost, how="measured")
    assert is_certain(measured, make_needs(latency=0.100), ERRORS)


@given(error=st.floats(1.0, 2.0), more=st.floats(1.0, 2.0), deadline=st.floats(0.05, 0.2))
def test_a_wider_error_never_makes_a_deadline_certain(
    make_point: Make, make_needs: Make, error: float, more: float, deadline: float
) -> None:
    cost, needs = make_point(latency=0.050, tail_s=0.010).cost, make_needs(latency=deadline)
    narrow, wide = SpeedErrors(device=error), SpeedErrors(device=error * more)
    assert is_certain(cost, needs, narrow) or not is_certain(cost, needs, wide)


@pytest.mark.parametrize(("head_s", "tail_s", "side"), [(0.050, 0.010, "device"), (0.010, 0.050, "server")])
def test_the_side_that_is_measured_first_is_the_less_certain_one(
    make_point: Make, make_needs: Make, head_s: float, tail_s: float, side: str
) -> None:
    cost = make_point(latency=head_s, tail_s=tail_s).cost
    doubt = find_doubt(cost, make_needs(latency=0.062), SpeedErrors(device=1.3, server=1.3))
    assert doubt is not None
    assert doubt.side == side


def test_a_cpu_is_calibrated_and_what_calibrate_cannot_measure_is_timed(make_point: Make, make_needs: Make) -> None:
    cost, server = make_point(placement="device", latency=0.100).cost, load_server("cloud-8core")
    doubt = find_doubt(cost, make_needs(latency=0.110), ERRORS)
    assert doubt is not None
    text = doubt_text(doubt, load_device("rk3588-ncnn"), server)
    assert text.startswith("latency <= 110 ms is not certain to hold (74")
    assert "run splitpoint calibrate on the board, or time the whole network on the board (rk3588-ncnn)" in text
    assert text.endswith("--measured-device SECONDS")
    text = doubt_text(doubt, load_device("rk3588-vulkan"), server)
    assert "calibrate" not in text
    assert text.endswith("--measured-device SECONDS")


def test_of_a_kind_what_is_certain_goes_before_what_is_not_surely_better(make_point: Make) -> None:
    """Two splits 1 ms apart, each known to 5 ms: the certain one; at 40 ms apart the fast one, certain or not."""
    fast, near, slow = (
        make_point(cut=name, latency=0.050, tail_s=0.010, link_s=link_s)
        for name, link_s in (("fast", 0.0), ("near", 0.001), ("slow", 0.040))
    )
    assert choose([fast, near, slow], LATENCY, ERRORS) is fast
    assert choose([fast, near, slow], LATENCY, ERRORS, lambda point: point is not fast) is near
    assert choose([fast, slow], LATENCY, ERRORS, lambda point: point is not fast) is fast
