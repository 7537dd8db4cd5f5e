"""Intervals of modelled latencies: exact where one factor is in doubt, common errors cancel, measured has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitpoint.planner.choice.errors import DIVISION_ERROR, SpeedErrors
from splitpoint.planner.choice.intervals import chance_faster, deadline_interval, latency_interval
from splitpoint.planner.cost.anchored import NINETY

Make = Callable[..., Any]
NONE = SpeedErrors()
# The lattice has 1021 draws: a quantile at 5 % is one of them, 3 % from the exact one at an error of 30 %.
CLOSE = 0.03


@pytest.mark.parametrize("error", [1.02, 1.2, 1.5])
def test_one_factor_in_doubt_gives_its_own_interval(make_point: Make, error: float) -> None:
    cost = make_point(placement="device", latency=0.100).cost
    found = latency_interval(cost, SpeedErrors(device=error))
    assert found is not None
    assert found.low_s == pytest.approx(0.100 * error**-NINETY, rel=CLOSE)
    assert found.high_s == pytest.approx(0.100 * error**NINETY, rel=CLOSE)


def test_the_link_is_given_and_widens_nothing(make_point: Make) -> None:
    errors = SpeedErrors(device=1.3)
    near, far = (latency_interval(make_point(latency=0.010, link_s=link_s).cost, errors) for link_s in (0.0, 0.100))
    assert near is not None
    assert far is not None
    assert far.low_s == pytest.approx(near.low_s + 0.100)
    assert far.high_s == pytest.approx(near.high_s + 0.100)


def test_a_deadline_is_compared_with_its_own_link(make_point: Make) -> None:
    cost, errors = make_point(latency=0.010, link_s=0.020, deadline_link_s=0.050).cost, SpeedErrors(device=1.3)
    mean, late = latency_interval(cost, errors), deadline_interval(cost, errors)
    assert mean is not None
    assert late is not None
    assert late.high_s == pytest.approx(mean.high_s + 0.030)


def test_every_part_has_the_factors_of_its_side(make_point: Make) -> None:
    """Of device and server alone, by a million independent draws of the same law."""
    parts = {"head_s": 0.020, "encode_s": 0.004, "prepare_s": 0.006, "tail_s": 0.010, "decode_s": 0.020}
    cost = make_point(**{"latency": parts["head_s"], **{name: s for name, s in parts.items() if name != "head_s"}}).cost
    errors = SpeedErrors(device=1.2, server=1.5, device_coder=1.1, server_coder=2.0)
    draw = np.random.default_rng(0).standard_normal((6, 1_000_000))
    f, s, c, d = (np.exp(math.log(e) * z) for e, z in zip((1.2, 1.5, 1.1, 2.0), draw[:4], strict=True))
    head, tail = (np.exp(DIVISION_ERROR["modelled"] * z) for z in draw[4:])
    seconds = f * (0.020 * head + c * 0.010) + s * (0.010 * tail + d * 0.020)
    found = latency_interval(cost, errors)
    assert found is not None
    assert [found.low_s, found.high_s] == pytest.approx(np.quantile(seconds, [0.05, 0.95]).tolist(), rel=CLOSE)


def test_what_is_measured_or_never_arrives_has_no_interval(make_point: Make) -> None:
    errors = SpeedErrors(device=2.0)
    for how in ("measured", "profiled"):
        assert latency_interval(make_point(how=how, head_how=how).cost, errors) is None
    assert latency_interval(make_point(link_s=math.inf, infeasible="too long").cost, errors) is None
    assert latency_interval(make_point().cost, NONE) is None


def test_equal_seconds_of_the_device_compare_by_the_link_alone(make_point: Make) -> None:
    """Both prepare and encode alike on a device that may be ten times slower: the link decides in every draw."""
    near, far = (
        make_point(placement="server", latency=0.0, head_s=0.0, encode_s=0.1, link_s=s).cost for s in (0.010, 0.011)
    )
    errors = SpeedErrors(device=10.0, device_coder=3.0)
    assert chance_faster(near, far, errors) == 1.0
    assert chance_faster(far, near, errors) == 0.0
    assert chance_faster(near, near, errors) == 0.5


def test_the_chance_is_that_of_the_factor_at_which_both_are_as_fast(make_point: Make) -> None:
    """All on the device takes 100 f, sending 50: it is faster where f < 1/2, at -ln 2 / ln 1.5 deviations."""
    alone = make_point(placement="device", latency=0.100).cost
    sent = make_point(placement="server", latency=0.0, head_s=0.0, link_s=0.050).cost
    exact = 0.5 * math.erfc(math.log(2) / math.log(1.5) / math.sqrt(2))
    assert chance_faster(alone, sent, SpeedErrors(device=1.5)) == pytest.approx(exact, abs=0.005)


def test_two_splits_divide_the_network_independently(make_point: Make) -> None:
    one, other = (make_point(latency=0.050, tail_s=0.010, link_s=s).cost for s in (0.0, 0.001))
    assert 0.5 < chance_faster(one, other, NONE) < 0.7


@given(error=st.floats(1.0, 3.0), more=st.floats(1.0, 2.0), tail=st.floats(0.0, 0.1))
def test_a_wider_error_gives_a_wider_interval(make_point: Make, error: float, more: float, tail: float) -> None:
    cost = make_point(latency=0.050, tail_s=tail).cost
    narrow = latency_interval(cost, SpeedErrors(device=error, server=1.3))
    wide = latency_interval(cost, SpeedErrors(device=error * more, server=1.3))
    if narrow is not None and wide is not None:
        # Quantiles of 1,021 draws: where the server's error leads, a small one moves them either way by 0.25 %.
        assert wide.high_s >= narrow.high_s * (1 - 0.01)
